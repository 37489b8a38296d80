//! Client certificates as TLS saw them, and what the hub reads in one: thumbprints, common name, dates
//! (contract/mqtt.md 2.5, contract/rest.md 5.4).
//!
//! Parsed with x509-parser because devices present X.509 version 1 leaves, which webpki refuses.

use std::fmt;

use hub::time::Timestamp;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// The chain a client sent, leaf first, in DER. TLS has proven that the client holds the leaf's key; nothing else
/// about it is known.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificates {
    chain: Vec<Vec<u8>>,
}

impl PeerCertificates {
    /// Takes the chain in the order it was sent. Certificates beyond the eighth are dropped: no chain the hub
    /// accepts is that long.
    pub fn new(mut chain: Vec<Vec<u8>>) -> Self {
        chain.truncate(PRESENTED_MAX);
        Self { chain }
    }

    /// The client's own certificate.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], Vec::as_slice)
    }

    /// Whatever it sent along.
    pub fn intermediates(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().skip(1).map(Vec::as_slice)
    }
}

impl fmt::Debug for PeerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificates({} certificates)", self.chain.len())
    }
}

/// What the hub reads in one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The whole subject, such as `O=Test, CN=d1`.
    pub subject: String,
    /// The common name, when the subject has exactly one.
    pub common_name: Option<String>,
    /// The SHA-1 of the certificate, 40 upper-case hexadecimal digits.
    pub sha1: String,
    /// The SHA-256 of the certificate, 64 upper-case hexadecimal digits.
    pub sha256: String,
    /// Not good before this instant.
    pub not_before: Timestamp,
    /// Not good after this instant.
    pub not_after: Timestamp,
    /// Whether it says `CA:TRUE`.
    pub is_authority: bool,
}

impl CertificateFacts {
    /// Reads one DER certificate.
    ///
    /// # Errors
    /// [`Unreadable`] when it is none.
    pub fn of(der: &[u8]) -> Result<Self, Unreadable> {
        let certificate = parsed(der)?;
        Ok(Self {
            subject: certificate.subject().to_string(),
            common_name: common_name(&certificate),
            sha1: hex(&Sha1::digest(der)),
            sha256: hex(&Sha256::digest(der)),
            not_before: Timestamp::from_unix_secs(certificate.validity().not_before.timestamp()),
            not_after: Timestamp::from_unix_secs(certificate.validity().not_after.timestamp()),
            is_authority: certificate.is_ca(),
        })
    }

    /// Whether `thumbprint`, SHA-1 or SHA-256, is this certificate's. Letter case is ignored.
    pub fn has_thumbprint(&self, thumbprint: &str) -> bool {
        self.sha1.eq_ignore_ascii_case(thumbprint) || self.sha256.eq_ignore_ascii_case(thumbprint)
    }
}

/// The bytes are no X.509 certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a readable X.509 certificate")]
pub struct Unreadable;

pub(crate) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, Unreadable> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Unreadable),
    }
}

/// Two common names could be read as either identity, so such a subject has none.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02X}").expect("a String takes all text");
        text
    })
}

/// Ours: certificates of one client that are looked at.
const PRESENTED_MAX: usize = 8;

#[cfg(test)]
pub(crate) mod samples {
    //! The certificates of `tests/certificates`, by file name.
    use std::path::Path;

    use x509_parser::pem::parse_x509_pem;

    pub(crate) fn pem(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/certificates/{name}.pem"));
        std::fs::read_to_string(path).unwrap()
    }

    pub(crate) fn der(name: &str) -> Vec<u8> {
        parse_x509_pem(pem(name).as_bytes()).unwrap().1.contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str) -> CertificateFacts {
        CertificateFacts::of(&samples::der(name)).unwrap()
    }

    #[test]
    fn thumbprints_are_those_openssl_prints() {
        // tests/certificates/make.sh asks openssl for them.
        let facts = facts("self-signed");
        assert_eq!(facts.sha1, include_str!("../tests/certificates/self-signed.sha1").trim());
        assert_eq!(facts.sha256, include_str!("../tests/certificates/self-signed.sha256").trim());
        assert!(facts.has_thumbprint(&facts.sha1.to_lowercase()) && facts.has_thumbprint(&facts.sha256));
        assert!(!facts.has_thumbprint(&facts.sha1[1..]) && !facts.has_thumbprint(""));
    }

    #[test]
    fn the_common_name_is_read_from_v1_and_v3_certificates() {
        for (name, cn) in [
            ("v1-device", Some("d1")),
            ("v1-module-rsa", Some("device01/module01")),
            ("v3-module", Some("d1/m1")),
            ("no-cn", None),
            ("two-cn", None),
        ] {
            assert_eq!(facts(name).common_name.as_deref(), cn, "{name}");
        }
    }

    #[test]
    fn dates_and_authority_are_read() {
        let expired = facts("expired");
        assert_eq!(expired.not_before.to_string(), "2020-01-01T00:00:00.0000000Z");
        assert_eq!(expired.not_after.to_string(), "2021-01-01T00:00:00.0000000Z");
        assert!(!expired.is_authority && facts("root-rsa").is_authority && facts("self-signed").is_authority);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused_without_a_panic() {
        let der = samples::der("v1-device");
        for bad in [&[][..], b"garbage", &der[..der.len() - 1], &[der.as_slice(), b"x"].concat()] {
            assert_eq!(CertificateFacts::of(bad), Err(Unreadable));
        }
    }
}
