//! The way from a leaf over the intermediates it came with to a registered certificate authority
//! (contract/mqtt.md 2.5).
//!
//! Our own check because webpki builds no chain for an X.509 version 1 leaf. It is the part of RFC 5280 section 6
//! the hub needs: names, signatures, dates, `CA:TRUE`, `keyCertSign`, path length. Revocation is not checked, as on
//! the real hub; extended key usages and name constraints are not evaluated, so an intermediate that makes one of
//! the latter critical is refused.

use std::fmt;

use hub::time::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{
    OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_CERTIFICATE_POLICIES, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
};
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::{PeerCertificates, parsed};

/// Checks that `peer` leads to one of `authorities` (DER), every step being good at `at`.
///
/// # Errors
/// The first step that fails, in words for the log.
pub fn leads_to<'a>(
    peer: &PeerCertificates,
    authorities: impl IntoIterator<Item = &'a [u8]>,
    at: Timestamp,
) -> Result<(), BrokenChain> {
    let leaf = parsed(peer.leaf()).map_err(|error| BrokenChain(error.to_string()))?;
    check_dates(&leaf, at)?;
    let search = Search {
        // What cannot be read cannot be a step; a client may send rubbish along with a good chain.
        intermediates: peer.intermediates().filter_map(|der| parsed(der).ok()).collect(),
        authorities: authorities.into_iter().filter_map(|der| parsed(der).ok()).collect(),
        at,
    };
    let mut checks_left = SIGNATURE_CHECKS_MAX;
    search.from(&leaf, &mut Vec::new(), &mut checks_left)
}

/// Checks that `leaf` was signed directly by `authority`, dates aside; for proof of possession.
pub(crate) fn check_issued_by(
    leaf: &X509Certificate<'_>,
    authority: &X509Certificate<'_>,
) -> Result<(), NotIssued> {
    // The algorithm stands in a certificate twice, and only the inner one is signed.
    let is_named = leaf.issuer().as_raw() == authority.subject().as_raw()
        && leaf.signature_algorithm == leaf.tbs_certificate.signature;
    if !is_named {
        return Err(NotIssued::OtherIssuer);
    }
    leaf.verify_signature(Some(authority.public_key())).map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => NotIssued::Unverifiable,
        _ if has_other_salt(&leaf.signature_algorithm) => NotIssued::Unverifiable,
        _ => NotIssued::OtherIssuer,
    })
}

/// Whether this is RSA-PSS with a salt of another length than its digest, which *ring* cannot tell from a bad one.
fn has_other_salt(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    let Ok(SignatureAlgorithm::RSASSA_PSS(params)) = SignatureAlgorithm::try_from(algorithm) else {
        return false;
    };
    let digest_bytes = [(OID_NIST_HASH_SHA256, 32), (OID_NIST_HASH_SHA384, 48), (OID_NIST_HASH_SHA512, 64)]
        .into_iter()
        .find_map(|(digest, bytes)| (digest == *params.hash_algorithm_oid()).then_some(bytes));
    digest_bytes != Some(params.salt_length())
}

/// Why a certificate does not count as signed by an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotIssued {
    OtherIssuer,
    /// By an algorithm that *ring* does not know; it may well be a good signature.
    Unverifiable,
}

/// The signatures that can be verified, in words for the log and the admin API.
pub(crate) const KNOWN_SIGNATURES: &str = "RSA, ECDSA on P-256 or P-384 with SHA-256 or SHA-384, and Ed25519";

/// Why a certificate leads to no registered authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenChain(String);

impl fmt::Display for BrokenChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BrokenChain {}

struct Search<'a> {
    intermediates: Vec<X509Certificate<'a>>,
    authorities: Vec<X509Certificate<'a>>,
    at: Timestamp,
}

impl Search<'_> {
    /// Looks for an issuer of `current`: a registered authority, else an intermediate not used so far (`path`
    /// holds the used ones, so its length is the depth).
    fn from(
        &self,
        current: &X509Certificate<'_>,
        path: &mut Vec<usize>,
        checks_left: &mut usize,
    ) -> Result<(), BrokenChain> {
        let mut failure = None;
        for authority in named(&self.authorities, current) {
            match self.step(current, authority, path.len(), checks_left) {
                Ok(()) => return Ok(()),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for (index, intermediate) in self.intermediates.iter().enumerate() {
            let is_candidate = intermediate.subject().as_raw() == current.issuer().as_raw();
            if !is_candidate || path.contains(&index) {
                continue;
            }
            let result = may_issue(intermediate)
                .and_then(|()| self.step(current, intermediate, path.len(), checks_left))
                .and_then(|()| {
                    path.push(index);
                    let result = self.from(intermediate, path, checks_left);
                    path.pop();
                    result
                });
            match result {
                Ok(()) => return Ok(()),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| {
            BrokenChain(format!(
                "'{}' was issued by '{}', which is no registered and verified certificate authority",
                current.subject(),
                current.issuer()
            ))
        }))
    }

    /// One step up: `issuer`, with `below` intermediates under it, signed `current`.
    fn step(
        &self,
        current: &X509Certificate<'_>,
        issuer: &X509Certificate<'_>,
        below: usize,
        checks_left: &mut usize,
    ) -> Result<(), BrokenChain> {
        *checks_left = checks_left
            .checked_sub(1)
            .ok_or_else(|| BrokenChain("too many certificates of the same name were presented".into()))?;
        check_issued_by(current, issuer).map_err(|why| {
            let (current, issuer) = (current.subject(), issuer.subject());
            BrokenChain(match why {
                NotIssued::OtherIssuer => {
                    format!("'{current}' names '{issuer}' as its issuer but was not signed with its key")
                }
                NotIssued::Unverifiable => format!(
                    "the signature of '{current}' by '{issuer}' cannot be verified: \
                     the hub knows {KNOWN_SIGNATURES} only"
                ),
            })
        })?;
        check_dates(issuer, self.at)?;
        let allowed =
            issuer.basic_constraints().ok().flatten().and_then(|found| found.value.path_len_constraint);
        match allowed {
            Some(allowed) if below > usize::try_from(allowed).unwrap_or(usize::MAX) => Err(BrokenChain(
                format!("'{}' allows {allowed} authorities below it and there are {below}", issuer.subject()),
            )),
            _ => Ok(()),
        }
    }
}

fn named<'a, 'b>(
    candidates: &'a [X509Certificate<'b>],
    current: &'a X509Certificate<'_>,
) -> impl Iterator<Item = &'a X509Certificate<'b>> {
    candidates.iter().filter(|candidate| candidate.subject().as_raw() == current.issuer().as_raw())
}

/// An intermediate is a version 3 certificate that says it is an authority; a version 1 certificate cannot say so.
fn may_issue(intermediate: &X509Certificate<'_>) -> Result<(), BrokenChain> {
    let refused =
        |what| Err(BrokenChain(format!("'{}' may not issue certificates: {what}", intermediate.subject())));
    if !intermediate.is_ca() {
        return refused("it is not marked CA:TRUE");
    }
    match intermediate.key_usage() {
        Ok(None) => {}
        Ok(Some(usage)) if usage.value.key_cert_sign() => {}
        Ok(Some(_)) => return refused("its key usage lacks keyCertSign"),
        Err(_) => return refused("its key usage cannot be read"),
    }
    let is_understood = |oid| {
        [
            OID_X509_EXT_BASIC_CONSTRAINTS,
            OID_X509_EXT_CERTIFICATE_POLICIES,
            OID_X509_EXT_EXTENDED_KEY_USAGE,
            OID_X509_EXT_KEY_USAGE,
        ]
        .contains(oid)
    };
    match intermediate
        .iter_extensions()
        .find(|extension| extension.critical && !is_understood(&extension.oid))
    {
        Some(_) => refused("it has a critical extension this hub does not evaluate"),
        None => Ok(()),
    }
}

fn check_dates(certificate: &X509Certificate<'_>, at: Timestamp) -> Result<(), BrokenChain> {
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = at.unix_secs();
    if (from..=to).contains(&now) {
        return Ok(());
    }
    let what = if now < from { "is not valid yet" } else { "has expired" };
    Err(BrokenChain(format!(
        "the certificate '{}' {what}: it is good from {} to {}",
        certificate.subject(),
        Timestamp::from_unix_secs(from),
        Timestamp::from_unix_secs(to)
    )))
}

/// Ours: signatures checked for one client, so that equal names in a chain cannot keep the hub busy.
const SIGNATURE_CHECKS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::samples::der;

    const NOW: &str = "2030-01-01T00:00:00Z";

    fn check_at(now: &str, leaf: &str, intermediates: &[&str], authorities: &[&str]) -> Result<(), String> {
        let chain = [&[leaf], intermediates].concat().into_iter().map(der).collect();
        let authorities: Vec<_> = authorities.iter().map(|name| der(name)).collect();
        let at = Timestamp::parse(now).unwrap();
        leads_to(&PeerCertificates::new(chain), authorities.iter().map(Vec::as_slice), at)
            .map_err(|error| error.to_string())
    }

    fn check(leaf: &str, intermediates: &[&str], authorities: &[&str]) -> Result<(), String> {
        check_at(NOW, leaf, intermediates, authorities)
    }

    const ROOTS: &[&str] = &["root-p256", "root-p384", "root-rsa"];

    #[test]
    fn leaves_of_every_version_and_key_kind_lead_to_their_root() {
        for leaf in ["v1-device", "v1-device-p384", "v1-module-rsa", "v3-module"] {
            assert_eq!(check(leaf, &[], ROOTS), Ok(()), "{leaf}");
        }
    }

    #[test]
    fn a_leaf_of_an_unregistered_root_is_refused_with_the_issuers_name() {
        let error = check("v1-device", &[], &["root-p384", "root-rsa"]).unwrap_err();
        assert!(error.contains("CN=Test root P-256"), "{error}");
        assert!(check("v1-device", &["root-p256"], &[]).is_err(), "sending the root along proves nothing");
    }

    #[test]
    fn a_leaf_of_another_key_under_a_registered_name_is_refused() {
        let error = check("by-impostor", &[], ROOTS).unwrap_err();
        assert!(error.contains("not signed with its key"), "{error}");
        assert!(check("by-impostor", &["impostor"], ROOTS).is_err());
        assert_eq!(check("by-impostor", &[], &["root-p256", "impostor"]), Ok(()), "both may be registered");
    }

    #[test]
    fn a_signature_that_cannot_be_verified_is_not_called_a_false_one() {
        for (leaf, root) in [("under-p521", "root-p521"), ("under-pss-salt-20", "root-rsa-pss")] {
            let error = check(leaf, &[], &[root]).unwrap_err();
            assert!(error.contains("cannot be verified") && error.contains("P-384"), "{leaf}: {error}");
        }
        assert_eq!(check("under-pss", &[], &["root-rsa-pss"]), Ok(()), "what is known is verified");
        let error = check("by-other-pss", &[], &["root-rsa-pss"]).unwrap_err();
        assert!(error.contains("not signed with its key"), "{error}");
    }

    #[test]
    fn an_intermediate_is_followed_when_it_was_sent_or_registered() {
        assert_eq!(check("under-intermediate", &["intermediate"], ROOTS), Ok(()));
        assert_eq!(
            check("under-intermediate", &["v1-device", "intermediate"], ROOTS),
            Ok(()),
            "in any order"
        );
        assert_eq!(check("under-intermediate", &[], &["intermediate"]), Ok(()));
        assert!(check("under-intermediate", &[], ROOTS).is_err());
    }

    #[test]
    fn what_is_not_an_authority_cannot_be_a_step() {
        for (leaf, issuer, why) in [
            ("under-v1", "v1-device", "CA:TRUE"),
            ("under-leaf", "v3-module", "CA:TRUE"),
            ("under-no-cert-sign", "no-cert-sign", "keyCertSign"),
        ] {
            let error = check(leaf, &[issuer], ROOTS).unwrap_err();
            assert!(error.contains(why), "{leaf}: {error}");
        }
    }

    #[test]
    fn a_path_longer_than_an_authority_allows_is_refused() {
        let error = check("too-deep", &["second-intermediate", "intermediate"], ROOTS).unwrap_err();
        assert!(error.contains("allows 0"), "{error}");
        assert_eq!(check("too-deep", &["second-intermediate"], &["second-intermediate"]), Ok(()));
    }

    #[test]
    fn an_expired_step_is_refused_wherever_it_stands() {
        for (leaf, intermediates) in [("expired", &[][..]), ("under-expired", &["expired-intermediate"])] {
            let error = check(leaf, intermediates, ROOTS).unwrap_err();
            assert!(error.contains("has expired"), "{leaf}: {error}");
        }
        let error = check_at("2019-12-31T23:59:59Z", "expired", &[], ROOTS).unwrap_err();
        assert!(error.contains("not valid yet"), "{error}");
        let error = check_at("2200-01-01T00:00:00Z", "v1-device", &[], ROOTS).unwrap_err();
        assert!(error.contains("has expired"), "{error}");
    }

    #[test]
    fn a_self_signed_certificate_leads_nowhere() {
        for leaf in ["self-signed", "self-signed-rsa", "self-signed-v1"] {
            assert!(check(leaf, &[], ROOTS).is_err(), "{leaf}");
            assert!(check(leaf, &[leaf], ROOTS).is_err(), "{leaf} sent twice");
        }
    }

    #[test]
    fn a_tampered_leaf_is_refused() {
        let mut leaf = der("v1-device");
        let position = leaf.windows(2).position(|pair| pair == b"d1").unwrap();
        leaf[position + 1] = b'2';
        let root = der("root-p256");
        let peer = PeerCertificates::new(vec![leaf]);
        assert!(leads_to(&peer, [root.as_slice()], Timestamp::parse(NOW).unwrap()).is_err());
    }

    #[test]
    fn rubbish_in_the_chain_is_skipped_and_a_rubbish_leaf_refused() {
        let root = der("root-p256");
        let at = Timestamp::parse(NOW).unwrap();
        let peer = PeerCertificates::new(vec![der("v1-device"), b"rubbish".to_vec()]);
        assert_eq!(leads_to(&peer, [root.as_slice()], at), Ok(()));
        assert!(leads_to(&PeerCertificates::new(vec![]), [root.as_slice()], at).is_err());
        assert!(leads_to(&PeerCertificates::new(vec![b"x".to_vec()]), [root.as_slice()], at).is_err());
    }
}
