//! Shared access signatures: `SharedAccessSignature sr=..&sig=..&se=..[&skn=..]` (contract/rest.md 5.1,
//! contract/mqtt.md 2.4).
//!
//! The signed text is `sr` and `se` exactly as they stand in the token. Nothing here decodes and re-encodes them,
//! because every SDK spells them its own way and signs what it sends.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hub::access::{PolicyName, SymmetricKey, SymmetricKeys};
use hub::error::{ErrorCode, HubError};
use hub::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::resource::Resource;

/// A token as a client presented it. Prints without its signature.
pub struct SasToken {
    signed_text: Box<str>,
    signature: Box<[u8]>,
    resource: Resource,
    expires_at: Timestamp,
    policy: Option<PolicyName>,
    /// The key that was found to have signed it.
    signer: OnceLock<SymmetricKey>,
}

impl SasToken {
    /// Whether a text is meant to be a token, be it a good one or not.
    pub fn is_meant_by(text: &str) -> bool {
        text.trim_start().get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads a token. Fields come in any order, unknown ones are ignored, an empty `skn` is none.
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess`, with the broken rule as the reason for the log.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(malformed(format!("it is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let fields = match text.trim().split_once(' ') {
            Some((scheme, fields)) if scheme.eq_ignore_ascii_case(SCHEME) => fields.trim_start(),
            _ => return Err(malformed(format!("it does not begin with '{SCHEME} '"))),
        };
        let [mut sr, mut sig, mut se, mut skn] = [None; 4];
        for field in fields.split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let slot = match name {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(malformed(format!("'{name}' stands in it twice")));
            }
        }
        let required =
            |value: Option<_>, name| value.ok_or_else(|| malformed(format!("'{name}' is missing")));
        let (sr, sig, se): (&str, &str, &str) =
            (required(sr, "sr")?, required(sig, "sig")?, required(se, "se")?);
        Ok(Self {
            signed_text: signed_text(sr, se).into(),
            signature: signature(sig)?,
            resource: Resource::parse(sr),
            expires_at: expiry(se)?,
            policy: policy(skn)?,
            signer: OnceLock::new(),
        })
    }

    /// Writes a token for `resource` (plain, such as `localhost/devices/d1`) the way most SDKs do.
    pub fn sign(
        resource: &str,
        key: &SymmetricKey,
        expires_at: Timestamp,
        policy: Option<&PolicyName>,
    ) -> String {
        let sr = utf8_percent_encode(resource, FIELD).to_string();
        let se = expires_at.unix_secs().to_string();
        let sig = BASE64.encode(mac(key.as_bytes(), &signed_text(&sr, &se)));
        let sig = utf8_percent_encode(&sig, FIELD);
        match policy {
            Some(policy) => {
                format!(
                    "{SCHEME} sr={sr}&sig={sig}&se={se}&skn={}",
                    utf8_percent_encode(policy.as_str(), FIELD)
                )
            }
            None => format!("{SCHEME} sr={sr}&sig={sig}&se={se}"),
        }
    }

    /// Whether either key made the signature. Takes the same time whatever the answer, until a key was found; what
    /// is compared from then on are keys of the hub.
    pub fn is_signed_by(&self, keys: &SymmetricKeys) -> bool {
        self.is_signed(keys, |key| self.has_mac_of(key.as_bytes()))
    }

    /// The same for the keys of a policy, which Event Hubs clients use as the text they are written in
    /// (contract/eventhubs.md 2).
    pub fn is_signed_by_policy(&self, keys: &SymmetricKeys) -> bool {
        self.is_signed(keys, |key| {
            self.has_mac_of(key.as_bytes()) | self.has_mac_of(key.to_base64().as_bytes())
        })
    }

    fn is_signed(&self, keys: &SymmetricKeys, by: impl Fn(&SymmetricKey) -> Choice) -> bool {
        let either = [&keys.primary, &keys.secondary];
        if self.signer.get().is_some_and(|signer| either.contains(&signer)) {
            return true;
        }
        let verdicts = either.map(|key| (key, by(key)));
        let Some((signer, _)) = verdicts.into_iter().find(|(_, is_signer)| bool::from(*is_signer)) else {
            return false;
        };
        self.signer.get_or_init(|| signer.clone());
        true
    }

    fn has_mac_of(&self, key: &[u8]) -> Choice {
        mac(key, &self.signed_text).ct_eq(&*self.signature)
    }

    /// What the token is for.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The first instant at which it is no longer good.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The shared access policy whose key signed it; `None` means the device's or module's own key.
    pub fn policy(&self) -> Option<&PolicyName> {
        self.policy.as_ref()
    }

    /// Whether it names that policy as its signer.
    pub fn is_of_policy(&self, name: &str) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.as_str() == name)
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &format_args!("{}", self.resource))
            .field("signature", &format_args!("***"))
            .field("expires_at", &self.expires_at)
            .field("policy", &self.policy)
            .finish()
    }
}

fn signed_text(sr: &str, se: &str) -> String {
    [sr, se].join("\n")
}

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// A raw `+` is a base64 digit here, never a space; a space can only be a `+` somebody form-decoded.
fn signature(sig: &str) -> Result<Box<[u8]>, HubError> {
    let text = percent_decode_str(sig).decode_utf8().map_err(|_| malformed("'sig' is not UTF-8"))?;
    let text = if text.contains(' ') { text.replace(' ', "+").into() } else { text };
    let bytes = BASE64.decode(&*text).map_err(|_| malformed("'sig' is not base64"))?;
    Ok(bytes.into())
}

fn expiry(se: &str) -> Result<Timestamp, HubError> {
    let secs: u64 = se.parse().map_err(|_| malformed("'se' is not a number of seconds since 1970"))?;
    Ok(Timestamp::from_unix_secs(i64::try_from(secs).unwrap_or(i64::MAX)))
}

fn policy(skn: Option<&str>) -> Result<Option<PolicyName>, HubError> {
    let Some(skn) = skn.filter(|skn| !skn.is_empty()) else { return Ok(None) };
    let name = percent_decode_str(skn).decode_utf8().map_err(|_| malformed("'skn' is not UTF-8"))?;
    PolicyName::parse(&name).map(Some).map_err(|error| malformed(format!("'skn': {}", error.message())))
}

fn malformed(what: impl fmt::Display) -> HubError {
    HubError::new(ErrorCode::IotHubUnauthorizedAccess, "The shared access signature is malformed.")
        .with_reason(format!("the SAS token is malformed: {what}"))
}

const SCHEME: &str = "SharedAccessSignature";
/// Ours: the longest token a client can need has two ids of 128 characters, each encoded twice, and a host name.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// What stands in a field of a token unescaped.
const FIELD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of every vector below: base64 of 32 times the byte 7.
    const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    fn keys(primary: &str, secondary: &str) -> SymmetricKeys {
        let key = |text| SymmetricKey::from_base64(text).unwrap();
        SymmetricKeys { primary: key(primary), secondary: key(secondary) }
    }

    fn other_key() -> String {
        BASE64.encode([9; 32])
    }

    /// Signed outside this crate, each in the spelling of one SDK; all signatures hold a `+`, most a `/`.
    const VECTORS: &[(&str, &str, &str, Option<&str>)] = &[
        (
            "Node device",
            "SharedAccessSignature sr=localhost%2Fdevices%2Fd1%2Fmodules%2Fm1\
             &sig=2OYvXs49N1awgefbh0G%2BJ7jLiA%2F6APO8piuvz1DmBNc%3D&se=1893456010",
            "localhost/devices/d1/modules/m1",
            None,
        ),
        (
            "Node service: raw host, skn before se",
            "SharedAccessSignature sr=myhub.example\
             &sig=T9LAJwEhqb9CDNbcRpSXr06LtXtf%2BO%2FE6BWX5yQa9Us%3D&skn=iothubowner&se=1893456017",
            "myhub.example",
            Some("iothubowner"),
        ),
        (
            "Python device: a raw slash in sig",
            "SharedAccessSignature sr=localhost%2Fdevices%2Fd1\
             &sig=L5/K7tKRYNLnTbl%2BtQMayxvIKy%2Bn0EUlYvCNVQjm6u4%3D&se=1893456002",
            "localhost/devices/d1",
            None,
        ),
        (
            "Python service over AMQP: nothing escaped",
            "SharedAccessSignature sr=localhost\
             &sig=xVzzsNAWQiK/1NIWvqgioTN0gOL+cqv1N7YS06lQIPg=&se=1893456006&skn=service",
            "localhost",
            Some("service"),
        ),
        (
            "Java: sig, se, sr",
            "SharedAccessSignature sig=gZbGp3udR5%2B1M9G7GCcK2ZaouCrrldEGysmVNHbHCG8%3D\
             &se=1893456001&sr=localhost%2Fdevices%2Fd1",
            "localhost/devices/d1",
            None,
        ),
        (
            "C: lower-case escapes, empty skn",
            "SharedAccessSignature sr=localhost%2fdevices%2fd1\
             &sig=3ytqbpBRCKXxgZyYF%2fcpd8RvS7a5NbY%2bSNMwE6F%2bF2c%3d&se=1893456003&skn=",
            "localhost/devices/d1",
            None,
        ),
        (
            "Go module: escaped twice",
            "SharedAccessSignature sr=localhost%252Fdevices%252Fd1%252Fmodules%252Fm1\
             &sig=o%2Bb8JH%2F1ULj4Hs5G2kOBIvlB%2FhWFatKXYgRam2weBOo%3D&se=1893456001&skn=",
            "localhost/devices/d1/modules/m1",
            None,
        ),
        (
            "C#: policy last",
            "SharedAccessSignature sr=localhost%2Fdevices%2Fd1\
             &sig=gZbGp3udR5%2B1M9G7GCcK2ZaouCrrldEGysmVNHbHCG8%3D&se=1893456001&skn=device",
            "localhost/devices/d1",
            Some("device"),
        ),
    ];

    #[test]
    fn every_sdks_spelling_is_read_and_its_signature_holds() {
        for (sdk, text, resource, policy) in VECTORS {
            let token = SasToken::parse(text).unwrap();
            assert!(token.is_signed_by(&keys(KEY, &other_key())), "{sdk}: primary key");
            assert!(token.is_signed_by(&keys(&other_key(), KEY)), "{sdk}: secondary key");
            assert!(!token.is_signed_by(&keys(&other_key(), &other_key())), "{sdk}: another key");
            assert_eq!(token.resource().to_string(), *resource, "{sdk}");
            assert_eq!(token.policy().map(PolicyName::as_str), *policy, "{sdk}");
        }
    }

    #[test]
    fn a_signature_does_not_hold_for_another_spelling_of_the_same_resource() {
        for (sdk, text, ..) in VECTORS {
            let respelt = match text.contains("sr=localhost") {
                true => text.replacen("sr=localhost", "sr=Localhost", 1),
                false => text.replacen("sr=myhub", "sr=Myhub", 1),
            };
            assert_ne!(&respelt, text);
            assert!(!SasToken::parse(&respelt).unwrap().is_signed_by(&keys(KEY, KEY)), "{sdk}");
        }
    }

    #[test]
    fn a_key_that_signed_is_known_again_and_no_other_becomes_one() {
        let token = SasToken::parse(VECTORS[0].1).unwrap();
        assert!(!token.is_signed_by(&keys(&other_key(), &other_key())));
        assert!(token.is_signed_by(&keys(&other_key(), KEY)));
        assert!(token.is_signed_by(&keys(KEY, &other_key())), "it moved to the other place");
        assert!(!token.is_signed_by(&keys(&other_key(), &other_key())), "it was replaced");
    }

    #[test]
    fn a_plus_that_was_form_decoded_to_a_space_is_put_back() {
        let (_, raw, ..) = VECTORS[3];
        let spaced = raw.replacen("gOL+cqv1", "gOL%20cqv1", 1);
        assert_ne!(spaced, raw);
        assert!(SasToken::parse(&spaced).unwrap().is_signed_by(&keys(KEY, KEY)));
    }

    #[test]
    fn what_is_signed_here_reads_back() {
        let key = SymmetricKey::from_base64(KEY).unwrap();
        let at = Timestamp::from_unix_secs(1_893_456_010);
        let text = SasToken::sign("localhost/devices/d1/modules/m1", &key, at, None);
        assert_eq!(text, VECTORS[0].1, "byte for byte what Node sends");
        let policy = PolicyName::parse("a@b").unwrap();
        let token = SasToken::parse(&SasToken::sign("h", &key, at, Some(&policy))).unwrap();
        assert_eq!(token.policy(), Some(&policy));
        assert_eq!(token.expires_at(), at);
        assert!(token.is_signed_by(&keys(KEY, KEY)));
    }

    #[test]
    fn a_token_is_told_from_a_key_by_how_it_begins() {
        assert!(VECTORS.iter().all(|(_, text, ..)| SasToken::is_meant_by(text)));
        assert!(SasToken::is_meant_by("sharedaccesssignature broken"));
        assert!(!SasToken::is_meant_by(KEY) && !SasToken::is_meant_by(""));
    }

    #[test]
    fn a_malformed_token_is_refused_with_the_rule_it_breaks() {
        for (text, reason) in [
            ("", "begin with"),
            ("Bearer abc", "begin with"),
            ("SharedAccessSignature", "begin with"),
            ("SharedAccessSignature sig=YQ%3D%3D&se=1", "'sr' is missing"),
            ("SharedAccessSignature sr=h&se=1", "'sig' is missing"),
            ("SharedAccessSignature sr=h&sig=YQ%3D%3D", "'se' is missing"),
            ("SharedAccessSignature sr=h&sr=i&sig=YQ%3D%3D&se=1", "'sr' stands in it twice"),
            ("SharedAccessSignature sr=h&sig=!&se=1", "not base64"),
            ("SharedAccessSignature sr=h&sig=%ff&se=1", "not UTF-8"),
            ("SharedAccessSignature sr=h&sig=YQ%3D%3D&se=soon", "number of seconds"),
            ("SharedAccessSignature sr=h&sig=YQ%3D%3D&se=-1", "number of seconds"),
            ("SharedAccessSignature sr=h&sig=YQ%3D%3D&se=1&skn=a%20b", "no policy name"),
        ] {
            let error = SasToken::parse(text).unwrap_err();
            assert_eq!(error.code(), ErrorCode::IotHubUnauthorizedAccess, "{text}");
            assert!(error.reason().contains(reason), "{text}: {}", error.reason());
        }
    }

    #[test]
    fn a_token_of_the_longest_length_is_read_and_one_byte_more_refused() {
        let shortest = "SharedAccessSignature sig=YQ%3D%3D&se=1&sr=";
        let longest = format!("{shortest}{}", "h".repeat(TOKEN_BYTES_MAX - shortest.len()));
        assert!(SasToken::parse(&longest).is_ok());
        assert!(SasToken::parse(&format!("{longest}h")).is_err());
    }

    #[test]
    fn a_millisecond_or_largest_expiry_is_read_as_far_away() {
        for se in ["1893456000000", "18446744073709551615"] {
            let token = SasToken::parse(&format!("SharedAccessSignature sr=h&sig=YQ%3D%3D&se={se}")).unwrap();
            assert_eq!(token.expires_at(), Timestamp::MAX, "{se}");
        }
    }

    #[test]
    fn a_token_never_prints_its_signature() {
        let (_, text, ..) = VECTORS[0];
        let printed = format!("{:?}", SasToken::parse(text).unwrap());
        assert!(printed.contains("***") && !printed.contains("2OYv"), "{printed}");
    }
}
