//! The development certificates: a root CA of this installation, the server certificate it issues for every name
//! of the hub, and client certificates for devices (PRODUCT section 3, contract/rest.md 8.1). All keys are P-256.

use std::net::IpAddr;

use hub::ids::IdentityId;
use hub::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::{Pem, parse_x509_pem};

use crate::state_folder::{Access, StateFolder, StateFolderError};

/// The root CA with its key.
#[derive(Debug)]
pub struct RootAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    /// Whether it did not exist before.
    pub is_new: bool,
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key in PKCS #8.
    pub key: String,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A stored certificate or key is not what it should be.
    #[error(
        "{file} in the state folder is damaged ({problem}); remove {ROOT_CERTIFICATE} and {ROOT_KEY} to have new ones made, which clients then have to trust"
    )]
    Damaged {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The state folder cannot be used.
    #[error(transparent)]
    Folder(#[from] StateFolderError),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

impl RootAuthority {
    /// The root of this installation; made on first use, and again before it expires.
    ///
    /// # Errors
    /// [`CertificateError`]. A damaged root is never replaced silently: clients trust it.
    pub fn load_or_make(folder: &StateFolder, now: Timestamp) -> Result<Self, CertificateError> {
        let now = date(now);
        // Two commands at once must not leave the key of one with the certificate of the other.
        let _lock = folder.lock()?;
        if let (Some(certificate), Some(key)) = (folder.read(ROOT_CERTIFICATE)?, folder.read(ROOT_KEY)?) {
            let authority = Self::from_pem(certificate, &key)?;
            if parsed(&authority.certificate, |root| is_good_for(root, now, ROOT_RENEWAL)).unwrap_or(false) {
                return Ok(authority);
            }
        }
        let authority = Self::make(now)?;
        folder.write(ROOT_KEY, &authority.issuer.key().serialize_pem(), Access::Private)?;
        folder.write(ROOT_CERTIFICATE, &authority.certificate, Access::Public)?;
        Ok(authority)
    }

    fn from_pem(certificate: String, key: &str) -> Result<Self, CertificateError> {
        let damaged = |file| move |problem: String| CertificateError::Damaged { file, problem };
        let key = KeyPair::from_pem(key).map_err(|error| damaged(ROOT_KEY)(error.to_string()))?;
        let is_its_key =
            parsed(&certificate, |root| root.public_key().subject_public_key.data == key.public_key_raw())
                .ok_or_else(|| damaged(ROOT_CERTIFICATE)("it is no certificate".into()))?;
        if !is_its_key {
            return Err(damaged(ROOT_KEY)(format!("it does not belong to {ROOT_CERTIFICATE}")));
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|error| damaged(ROOT_CERTIFICATE)(error.to_string()))?;
        Ok(Self { certificate, issuer, is_new: false })
    }

    fn make(now: OffsetDateTime) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        // Part of the key in the name: two installations' roots can live in one trust store.
        let mark: String =
            key.public_key_raw().iter().rev().take(3).map(|byte| format!("{byte:02x}")).collect();
        let mut params = params(&format!("iothub-emulator development root {mark}"), now, ROOT_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key), is_new: true })
    }

    /// The root certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The server certificate for `names` (DNS names and addresses): the stored one, or a new one when the names,
    /// the root or the time left have changed.
    ///
    /// # Errors
    /// [`CertificateError`]. A damaged server certificate is simply replaced.
    pub fn server_certificate(
        &self,
        names: &[String],
        folder: &StateFolder,
        now: Timestamp,
    ) -> Result<IssuedCertificate, CertificateError> {
        let now = date(now);
        let _lock = folder.lock()?;
        let mut names = names.to_vec();
        names.push(LOCALHOST_WILDCARD.to_owned());
        if let (Some(certificate), Some(key)) = (folder.read(SERVER_CERTIFICATE)?, folder.read(SERVER_KEY)?) {
            let stored = IssuedCertificate { certificate, key };
            if self.is_current(&stored, &names, now) {
                return Ok(stored);
            }
        }
        let common_name = names.first().map_or("localhost", String::as_str).to_owned();
        let mut params = params(&common_name, now, SERVER_LIFE)?;
        for name in &names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        let issued = self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        folder.write(SERVER_KEY, &issued.key, Access::Private)?;
        folder.write(SERVER_CERTIFICATE, &issued.certificate, Access::Public)?;
        Ok(issued)
    }

    /// A certificate with which a device or module logs in: its id is the common name (contract/mqtt.md 2.5).
    ///
    /// # Errors
    /// [`CertificateError::Making`].
    pub fn client_certificate(
        &self,
        identity: &IdentityId,
        days: u32,
        now: Timestamp,
    ) -> Result<IssuedCertificate, CertificateError> {
        let params = params(&identity.to_string(), date(now), Duration::days(i64::from(days)))?;
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<IssuedCertificate, CertificateError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(IssuedCertificate { certificate, key: key.serialize_pem() })
    }

    fn is_current(&self, stored: &IssuedCertificate, names: &[String], now: OffsetDateTime) -> bool {
        let Ok(key) = KeyPair::from_pem(&stored.key) else { return false };
        let check = |leaf: &X509Certificate<'_>, root: &X509Certificate<'_>| {
            leaf.public_key().subject_public_key.data == key.public_key_raw()
                && leaf.verify_signature(Some(root.public_key())).is_ok()
                && is_good_for(leaf, now, SERVER_RENEWAL)
                && has_names(leaf, names)
        };
        parsed(&stored.certificate, |leaf| parsed(&self.certificate, |root| check(leaf, root)))
            .flatten()
            .unwrap_or(false)
    }
}

impl std::fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("certificate", &self.certificate)
            .field("key", &"***")
            .finish()
    }
}

fn params(common_name: &str, now: OffsetDateTime, life: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + life;
    Ok(params)
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.unix_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Runs `read` on the one certificate in `pem`.
fn parsed<T>(pem: &str, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let (_, block): (_, Pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    Some(read(&certificate))
}

fn is_good_for(certificate: &X509Certificate<'_>, now: OffsetDateTime, longer: Duration) -> bool {
    let validity = certificate.validity();
    validity.not_before.to_datetime() <= now && now + longer < validity.not_after.to_datetime()
}

fn has_names(certificate: &X509Certificate<'_>, names: &[String]) -> bool {
    let wanted =
        names.iter().map(|name| name.parse::<IpAddr>().map_or_else(|_| name.clone(), |ip| ip.to_string()));
    let mut found = Vec::new();
    for extension in certificate.iter_extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else {
            continue;
        };
        found.extend(alternatives.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        }));
    }
    wanted.eq(found)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// The root certificate, for clients to trust.
pub const ROOT_CERTIFICATE: &str = "root-ca.pem";
const ROOT_KEY: &str = "root-ca.key";
const SERVER_CERTIFICATE: &str = "server.pem";
const SERVER_KEY: &str = "server.key";
const LOCALHOST_WILDCARD: &str = "*.localhost";
/// Certificates are good from a day before they are made: containers and boards have clocks that lag.
const CLOCK_SKEW: Duration = Duration::days(1);
const ROOT_LIFE: Duration = Duration::days(3650);
/// A root with less time left is replaced, which clients notice; so not earlier than needed.
const ROOT_RENEWAL: Duration = Duration::days(1);
/// Apple's systems refuse server certificates that live longer than 398 days.
const SERVER_LIFE: Duration = Duration::days(397);
const SERVER_RENEWAL: Duration = Duration::days(30);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

    fn folder() -> (tempfile::TempDir, StateFolder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(temporary.path()).unwrap();
        (temporary, folder)
    }

    fn now() -> Timestamp {
        Timestamp::parse("2030-01-01T00:00:00Z").unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_root_is_made_once_and_kept() {
        let (_temporary, folder) = folder();
        let first = RootAuthority::load_or_make(&folder, now()).unwrap();
        let second = RootAuthority::load_or_make(&folder, now().plus(300 * DAY)).unwrap();
        assert!(first.is_new && !second.is_new);
        assert_eq!(first.certificate(), second.certificate());
        let expired = RootAuthority::load_or_make(&folder, now().plus(3650 * DAY)).unwrap();
        assert!(expired.is_new);
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_root() {
        let (_temporary, folder) = folder();
        let roots: Vec<String> = std::thread::scope(|scope| {
            let load = || RootAuthority::load_or_make(&folder, now()).unwrap().certificate().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
    }

    #[test]
    fn a_damaged_root_is_reported_and_never_replaced() {
        for file in [ROOT_CERTIFICATE, ROOT_KEY] {
            let (_temporary, folder) = folder();
            RootAuthority::load_or_make(&folder, now()).unwrap();
            folder.write(file, "rubbish", Access::Private).unwrap();
            let error = RootAuthority::load_or_make(&folder, now()).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("damaged"), "{error}");
            assert_eq!(folder.read(file).unwrap().as_deref(), Some("rubbish"));
        }
    }

    #[test]
    fn the_key_of_another_root_is_reported() {
        let (_temporary, folder) = folder();
        RootAuthority::load_or_make(&folder, now()).unwrap();
        folder.write(ROOT_KEY, &KeyPair::generate().unwrap().serialize_pem(), Access::Private).unwrap();
        let error = RootAuthority::load_or_make(&folder, now()).unwrap_err().to_string();
        assert!(error.contains("does not belong"), "{error}");
    }

    #[test]
    fn the_server_certificate_is_kept_until_names_root_or_time_change() {
        let (_temporary, folder) = folder();
        let root = RootAuthority::load_or_make(&folder, now()).unwrap();
        let both = names(&["localhost", "127.0.0.1", "::1"]);
        let first = root.server_certificate(&both, &folder, now()).unwrap();
        let again = root.server_certificate(&both, &folder, now().plus(366 * DAY)).unwrap();
        assert_eq!(first.certificate, again.certificate);
        let near_expiry = root.server_certificate(&both, &folder, now().plus(368 * DAY)).unwrap();
        assert_ne!(first.certificate, near_expiry.certificate);
        let renamed = root.server_certificate(&names(&["myhub"]), &folder, now().plus(368 * DAY)).unwrap();
        assert_ne!(renamed.certificate, near_expiry.certificate);
        let other_root = RootAuthority::make(date(now())).unwrap();
        let reissued = other_root.server_certificate(&names(&["myhub"]), &folder, now()).unwrap();
        assert_ne!(reissued.certificate, renamed.certificate);
    }

    #[test]
    fn the_server_certificate_carries_every_name_and_may_serve() {
        let (_temporary, folder) = folder();
        let root = RootAuthority::load_or_make(&folder, now()).unwrap();
        let issued =
            root.server_certificate(&names(&["myhub.example", "127.0.0.2", "::1"]), &folder, now()).unwrap();
        parsed(&issued.certificate, |leaf| {
            assert!(has_names(leaf, &names(&["myhub.example", "127.0.0.2", "::1", "*.localhost"])));
            let usage = leaf.extended_key_usage().unwrap().unwrap();
            assert!(usage.value.server_auth && !usage.value.client_auth);
            assert!(!leaf.is_ca());
        })
        .unwrap();
    }

    #[test]
    fn a_client_certificate_leads_to_the_root_and_is_named_after_its_identity() {
        let (_temporary, folder) = folder();
        let root = RootAuthority::load_or_make(&folder, now()).unwrap();
        let identity = IdentityId::parse("d1", Some("m1")).unwrap();
        let issued = root.client_certificate(&identity, 30, now()).unwrap();
        let der = |pem: &str| parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
        let facts = auth::certificate::CertificateFacts::of(&der(&issued.certificate)).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("d1/m1"));
        let peer = auth::PeerCertificates::new(vec![der(&issued.certificate)]);
        let root = der(root.certificate());
        let check = |at| auth::chain::leads_to(&peer, [root.as_slice()], at);
        assert_eq!(check(now()), Ok(()));
        assert!(check(now().plus(31 * DAY)).is_err());
    }
}
