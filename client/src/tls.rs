//! TLS as this crate uses it: rustls with ring, the system's root certificates plus any given as PEM, and
//! optionally a client certificate (contract/rest.md 5.4). Certificates as OpenSSL makes them by default, X.509
//! version 1 included, can be presented: rustls is not asked to understand a leaf it only has to send.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};

use crate::error::Error;

/// Which servers to believe.
#[derive(Clone, Default)]
pub struct TrustedRoots {
    extra: Vec<CertificateDer<'static>>,
}

/// A device's or module's certificate chain, leaf first, and the leaf's private key.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TrustedRoots {
    /// The root certificates the operating system trusts.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Adds every certificate of a PEM text.
    ///
    /// # Errors
    /// `InvalidConfiguration` when it is not PEM or holds no certificate.
    pub fn and_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.extra.extend(certificates(pem)?);
        Ok(self)
    }

    /// Adds every certificate of a PEM file.
    ///
    /// # Errors
    /// As [`TrustedRoots::and_pem`], and when the file cannot be read.
    pub fn and_pem_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        self.and_pem(&read(path)?).map_err(|error| in_file(path, &error))
    }
}

impl fmt::Debug for TrustedRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedRoots(system + {})", self.extra.len())
    }
}

impl ClientCertificate {
    /// Reads chain and key from PEM texts. The key may be PKCS#8, PKCS#1 or SEC1, RSA or EC, without password.
    ///
    /// # Errors
    /// `InvalidConfiguration` when either cannot be used, or when the key does not belong to the leaf.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            Error::configuration("no private key without password found in the PEM text").with_source(error)
        })?;
        let certificate = Self { chain: certificates(chain)?, key };
        certificate.certified_key()?;
        Ok(certificate)
    }

    /// Reads chain and key from PEM files.
    ///
    /// # Errors
    /// As [`ClientCertificate::from_pem`], and when a file cannot be read.
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        Self::from_pem(&read(chain)?, &read(key)?).map_err(|error| in_file(chain, &error))
    }

    fn certified_key(&self) -> Result<CertifiedKey, Error> {
        let key = ring::default_provider().key_provider.load_private_key(self.key.clone_key()).map_err(
            |error| Error::configuration("the private key is of a kind TLS cannot use").with_source(error),
        )?;
        let certified = CertifiedKey::new(self.chain.clone(), key);
        // Any other error means only that rustls cannot read the leaf, as with X.509 v1: that is the hub's affair.
        match certified.keys_match() {
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(Error::configuration(
                "the private key does not belong to the certificate: give the pair that was made together",
            )),
            _ => Ok(certified),
        }
    }
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({} in chain, key ***)", self.chain.len())
    }
}

/// One configuration per client: parsing the system's roots costs milliseconds.
pub(crate) fn client_config(
    roots: &TrustedRoots,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, Error> {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    if system.certs.is_empty() && roots.extra.is_empty() {
        let error = Error::configuration(
            "no trusted root certificates: this system has none and none were given \
             (IOTHUB_CA_FILE, or the package ca-certificates)",
        );
        return Err(match system.errors.into_iter().next() {
            Some(cause) => error.with_source(cause),
            None => error,
        });
    }
    // A system store holds roots rustls cannot parse now and then; a root given by hand must be usable.
    store.add_parsable_certificates(system.certs);
    for root in &roots.extra {
        store.add(root.clone()).map_err(|error| {
            Error::configuration("a root certificate given cannot be used").with_source(error)
        })?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::configuration("TLS cannot be set up").with_source(error))?
        .with_root_certificates(store);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.certified_key()?)))
        }
    };
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::configuration("the PEM text cannot be read").with_source(error))?;
    if found.is_empty() {
        return Err(Error::configuration("no certificate (BEGIN CERTIFICATE) found in the PEM text"));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::configuration(format!("cannot read {}", path.display())).with_source(error))
}

fn in_file(path: &Path, error: &Error) -> Error {
    Error::configuration(format!("{}: {}", path.display(), error.duplicate()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["d1".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_matching_pair_is_accepted_and_its_key_not_shown() {
        let (chain, key) = pair();
        let certificate = ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(format!("{certificate:?}"), "ClientCertificate(1 in chain, key ***)");
        assert!(
            client_config(&TrustedRoots::system().and_pem(chain.as_bytes()).unwrap(), Some(&certificate))
                .is_ok()
        );
    }

    #[test]
    fn the_key_of_another_certificate_is_refused() {
        let error = ClientCertificate::from_pem(pair().0.as_bytes(), pair().1.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }

    #[test]
    fn text_without_a_certificate_is_refused() {
        assert!(TrustedRoots::system().and_pem(b"").is_err());
        assert!(TrustedRoots::system().and_pem(pair().1.as_bytes()).is_err());
        let error = TrustedRoots::system().and_pem_file("/nowhere/ca.pem").unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
