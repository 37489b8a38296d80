//! The certificate authorities registered with the hub (contract/mqtt.md 2.5: "uploaded AND verified").
//!
//! A CA is uploaded as PEM and proves nothing yet. Its owner asks for a verification code, issues a certificate
//! with that code as its common name, and uploads it; from then on devices whose chain leads to the CA log in.
//! Whoever runs the hub may mark a CA verified without the ceremony.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hub::entropy::Entropy;
use hub::error::{ErrorCode, HubError};
use hub::ids::IfMatch;
use hub::limits;
use hub::time::{Clock, Timestamp};
use parking_lot::Mutex;
use x509_parser::pem::Pem;

use crate::certificate::{CertificateFacts, parsed};
use crate::chain::{KNOWN_SIGNATURES, NotIssued, check_issued_by};

/// The registry of certificate authorities, in order of their names.
#[derive(Debug)]
pub struct CertificateAuthorities {
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    by_name: BTreeMap<Box<str>, Row>,
    revision: u64,
}

#[derive(Debug)]
struct Row {
    authority: CertificateAuthority,
    verification_code: Option<Box<str>>,
}

/// A registered certificate authority.
#[derive(Clone, Debug)]
pub struct CertificateAuthority {
    /// The name it was registered under.
    pub name: Box<str>,
    /// The certificate in DER.
    pub certificate: Arc<[u8]>,
    /// What stands in it.
    pub facts: CertificateFacts,
    /// Whether possession of its key was proven, or vouched for.
    pub is_verified: bool,
    /// When it was registered.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Changes with every change; unquoted.
    pub etag: Box<str>,
}

impl CertificateAuthorities {
    /// An empty registry.
    pub fn new(clock: Arc<dyn Clock>, entropy: Entropy) -> Self {
        Self { clock, entropy, rows: Mutex::default() }
    }

    /// Every authority, in order of the names.
    pub fn list(&self) -> Vec<CertificateAuthority> {
        self.rows.lock().by_name.values().map(|row| row.authority.clone()).collect()
    }

    /// One authority.
    ///
    /// # Errors
    /// `CertificateNotFound`.
    pub fn authority(&self, name: &str) -> Result<CertificateAuthority, HubError> {
        self.rows.lock().row(name).map(|row| row.authority.clone())
    }

    /// Registers the certificate in `pem`. The same certificate under the same name again is no change, except
    /// that `verified` marks it so.
    ///
    /// # Errors
    /// `ArgumentInvalid` for a bad name, no or several certificates, one that is no authority or has expired;
    /// `PreconditionFailed` when the name holds another certificate; `GenericForbidden` when the registry is full.
    pub fn add(&self, name: &str, pem: &str, verified: bool) -> Result<CertificateAuthority, HubError> {
        check_name(name)?;
        let der = single_certificate(pem)?;
        let facts = facts(&der)?;
        let at = self.clock.now();
        if !facts.is_authority {
            return Err(invalid(format!(
                "'{}' is no certificate authority: it lacks basicConstraints CA:TRUE.",
                facts.subject
            )));
        }
        if facts.not_after < at {
            return Err(invalid(format!("'{}' expired on {}.", facts.subject, facts.not_after)));
        }
        let mut rows = self.rows.lock();
        if let Some(row) = rows.by_name.get(name) {
            if *row.authority.certificate != *der {
                return Err(HubError::new(
                    ErrorCode::PreconditionFailed,
                    format!("The name '{name}' holds another certificate; delete that one first."),
                ));
            }
            return if verified { rows.set_verified(name, at) } else { Ok(row.authority.clone()) };
        }
        if rows.by_name.len() >= limits::CERTIFICATE_AUTHORITIES {
            return Err(HubError::new(
                ErrorCode::GenericForbidden,
                format!("The hub holds its limit of {} certificates.", limits::CERTIFICATE_AUTHORITIES),
            ));
        }
        let authority = CertificateAuthority {
            name: name.into(),
            certificate: der.into(),
            facts,
            is_verified: verified,
            created: at,
            updated: at,
            etag: rows.next_etag(),
        };
        rows.by_name.insert(name.into(), Row { authority: authority.clone(), verification_code: None });
        Ok(authority)
    }

    /// A fresh code to prove possession with: issue a certificate with it as the common name, then [`Self::verify`].
    /// It replaces the code given before.
    ///
    /// # Errors
    /// `CertificateNotFound`.
    pub fn verification_code(&self, name: &str) -> Result<String, HubError> {
        let code = format!("{:032X}", self.entropy.wide());
        self.rows.lock().row_mut(name)?.verification_code = Some(code.as_str().into());
        Ok(code)
    }

    /// Takes the proof: a certificate signed by the authority's key whose common name is the code.
    ///
    /// # Errors
    /// `CertificateNotFound`; `ArgumentInvalid` naming what is wrong with the proof.
    pub fn verify(&self, name: &str, pem: &str) -> Result<CertificateAuthority, HubError> {
        let der = single_certificate(pem)?;
        let facts = facts(&der)?;
        let at = self.clock.now();
        let mut rows = self.rows.lock();
        let row = rows.row(name)?;
        let Some(code) = &row.verification_code else {
            return Err(invalid(format!("No verification code was asked for '{name}' yet.")));
        };
        if facts.common_name.as_deref() != Some(code) {
            return Err(invalid(format!(
                "The common name of the proof must be the verification code '{code}'; its subject is '{}'.",
                facts.subject
            )));
        }
        let issued = match (parsed(&der), parsed(&row.authority.certificate)) {
            (Ok(proof), Ok(authority)) => check_issued_by(&proof, &authority),
            _ => Err(NotIssued::OtherIssuer),
        };
        issued.map_err(|why| match why {
            NotIssued::OtherIssuer => invalid(format!(
                "The proof was not signed with the key of '{}'.",
                row.authority.facts.subject
            )),
            NotIssued::Unverifiable => {
                invalid(format!("The proof cannot be verified: the hub knows {KNOWN_SIGNATURES} only."))
            }
        })?;
        if !(facts.not_before..=facts.not_after).contains(&at) {
            return Err(invalid(format!(
                "The proof is good from {} to {} only.",
                facts.not_before, facts.not_after
            )));
        }
        rows.set_verified(name, at)
    }

    /// Vouches for an authority without proof.
    ///
    /// # Errors
    /// `CertificateNotFound`.
    pub fn mark_verified(&self, name: &str) -> Result<CertificateAuthority, HubError> {
        self.rows.lock().set_verified(name, self.clock.now())
    }

    /// Forgets an authority. Devices that are connected stay so; they cannot connect again.
    ///
    /// # Errors
    /// `CertificateNotFound`, `PreconditionFailed`.
    pub fn remove(&self, name: &str, if_match: &IfMatch) -> Result<(), HubError> {
        let mut rows = self.rows.lock();
        if_match.check(&rows.row(name)?.authority.etag)?;
        rows.by_name.remove(name);
        Ok(())
    }

    /// The certificates a device's chain may lead to.
    pub(crate) fn verified(&self) -> Vec<Arc<[u8]>> {
        let rows = self.rows.lock();
        let verified = rows.by_name.values().filter(|row| row.authority.is_verified);
        verified.map(|row| Arc::clone(&row.authority.certificate)).collect()
    }
}

impl Rows {
    fn row(&self, name: &str) -> Result<&Row, HubError> {
        self.by_name.get(name).ok_or_else(|| not_found(name))
    }

    fn row_mut(&mut self, name: &str) -> Result<&mut Row, HubError> {
        self.by_name.get_mut(name).ok_or_else(|| not_found(name))
    }

    fn set_verified(&mut self, name: &str, at: Timestamp) -> Result<CertificateAuthority, HubError> {
        let etag = self.next_etag();
        let row = self.row_mut(name)?;
        row.verification_code = None;
        if !row.authority.is_verified {
            row.authority.is_verified = true;
            row.authority.updated = at;
            row.authority.etag = etag;
        }
        Ok(row.authority.clone())
    }

    fn next_etag(&mut self) -> Box<str> {
        self.revision += 1;
        BASE64.encode(self.revision.to_be_bytes()).into()
    }
}

fn check_name(name: &str) -> Result<(), HubError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(legal) {
        return Ok(());
    }
    Err(invalid(format!("A certificate's name is 1 to {NAME_CHARS_MAX} letters, digits and - . _")))
}

fn single_certificate(pem: &str) -> Result<Vec<u8>, HubError> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(invalid(format!("The PEM text is longer than {PEM_BYTES_MAX} bytes.")));
    }
    let mut certificates = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|_| invalid("The text is not well-formed PEM.".into()))?;
        if block.label != "CERTIFICATE" {
            return Err(invalid(
                "The PEM text must hold a certificate and nothing else, no key above all.".into(),
            ));
        }
        certificates.push(block.contents);
    }
    match <[Vec<u8>; 1]>::try_from(certificates) {
        Ok([certificate]) => Ok(certificate),
        Err(found) => {
            Err(invalid(format!("The PEM text holds {} certificates; one is wanted.", found.len())))
        }
    }
}

fn facts(der: &[u8]) -> Result<CertificateFacts, HubError> {
    CertificateFacts::of(der).map_err(|error| invalid(format!("The certificate is refused: {error}.")))
}

fn invalid(message: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

fn not_found(name: &str) -> HubError {
    HubError::new(ErrorCode::CertificateNotFound, format!("No certificate is registered as '{name}'."))
}

/// Characters of a certificate's name; ours, the portal's limit.
const NAME_CHARS_MAX: usize = 64;
/// Bytes of an uploaded certificate; ours.
const PEM_BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hub::time::ManualClock;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::certificate::samples;

    const NOW: &str = "2030-01-01T00:00:00Z";

    fn registry() -> (CertificateAuthorities, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::parse(NOW).unwrap()));
        (CertificateAuthorities::new(Arc::clone(&clock) as _, Entropy::seeded(1)), clock)
    }

    fn params(cn: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, cn);
        params
    }

    /// A certificate authority of which the tests hold the key.
    fn minted() -> (String, Issuer<'static, KeyPair>) {
        let mut params = params("Minted root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    }

    fn leaf(cn: &str, issuer: &Issuer<'_, KeyPair>) -> String {
        params(cn).signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().pem()
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, HubError>, code: ErrorCode, words: &str) {
        let error = result.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
    }

    #[test]
    fn an_uploaded_authority_is_trusted_only_once_possession_is_proven() {
        let (registry, _) = registry();
        let (root, issuer) = minted();
        let added = registry.add("mine", &root, false).unwrap();
        assert!(!added.is_verified && registry.verified().is_empty());
        let code = registry.verification_code("mine").unwrap();
        let verified = registry.verify("mine", &leaf(&code, &issuer)).unwrap();
        assert!(verified.is_verified);
        assert_ne!(verified.etag, added.etag);
        assert_eq!(registry.verified(), [Arc::clone(&added.certificate)]);
    }

    #[test]
    fn a_proof_with_another_name_or_another_key_or_an_old_code_proves_nothing() {
        let (registry, _) = registry();
        let (root, issuer) = minted();
        let (_, stranger) = minted();
        registry.add("mine", &root, false).unwrap();
        refused(
            registry.verify("mine", &leaf("x", &issuer)),
            ErrorCode::ArgumentInvalid,
            "No verification code",
        );
        let old = registry.verification_code("mine").unwrap();
        let code = registry.verification_code("mine").unwrap();
        assert_ne!(old, code);
        for cn in ["x", &old] {
            refused(registry.verify("mine", &leaf(cn, &issuer)), ErrorCode::ArgumentInvalid, "common name");
        }
        refused(registry.verify("mine", &leaf(&code, &stranger)), ErrorCode::ArgumentInvalid, "not signed");
        assert!(registry.verified().is_empty());
    }

    #[test]
    fn marking_verified_needs_no_proof_but_an_authority() {
        let (registry, _) = registry();
        registry.add("root", &samples::pem("root-rsa"), false).unwrap();
        assert!(registry.mark_verified("root").unwrap().is_verified);
        refused(registry.mark_verified("other"), ErrorCode::CertificateNotFound, "other");
    }

    #[test]
    fn the_same_upload_twice_is_no_change_and_another_certificate_is_refused() {
        let (registry, clock) = registry();
        let first = registry.add("root", &samples::pem("root-rsa"), false).unwrap();
        clock.advance(Duration::from_secs(1));
        assert_eq!(registry.add("root", &samples::pem("root-rsa"), false).unwrap().etag, first.etag);
        assert!(registry.add("root", &samples::pem("root-rsa"), true).unwrap().is_verified);
        refused(
            registry.add("root", &samples::pem("root-p256"), false),
            ErrorCode::PreconditionFailed,
            "another certificate",
        );
    }

    #[test]
    fn what_is_no_single_living_authority_is_refused() {
        let (registry, _) = registry();
        let two = samples::pem("root-rsa") + &samples::pem("root-p256");
        let key = KeyPair::generate().unwrap().serialize_pem();
        for (pem, words) in [
            (samples::pem("v1-device"), "CA:TRUE"),
            (samples::pem("v3-module"), "CA:TRUE"),
            (samples::pem("expired-intermediate"), "expired"),
            (two, "2 certificates"),
            (key, "no key"),
            (String::new(), "0 certificates"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), "not a readable"),
            (" ".repeat(PEM_BYTES_MAX + 1), "longer than"),
        ] {
            refused(registry.add("x", &pem, true), ErrorCode::ArgumentInvalid, words);
        }
        for name in ["", "a/b", &"n".repeat(NAME_CHARS_MAX + 1)] {
            refused(registry.add(name, &samples::pem("root-rsa"), true), ErrorCode::ArgumentInvalid, "name");
        }
        assert!(registry.list().is_empty());
    }

    #[test]
    fn removal_honours_the_etag_and_ends_the_trust() {
        let (registry, _) = registry();
        let added = registry.add("root", &samples::pem("root-rsa"), true).unwrap();
        let stale = IfMatch::parse(Some("\"AAAA\""));
        refused(registry.remove("root", &stale), ErrorCode::PreconditionFailed, &added.etag);
        registry.remove("root", &IfMatch::parse(Some(&format!("\"{}\"", added.etag)))).unwrap();
        assert!(registry.verified().is_empty());
        refused(registry.remove("root", &IfMatch::Absent), ErrorCode::CertificateNotFound, "root");
    }

    #[test]
    fn the_registry_is_full_at_its_limit() {
        let (registry, _) = registry();
        let root = samples::pem("root-rsa");
        for n in 0..limits::CERTIFICATE_AUTHORITIES {
            registry.add(&format!("ca-{n}"), &root, false).unwrap();
        }
        refused(registry.add("one-more", &root, false), ErrorCode::GenericForbidden, "limit");
    }
}
