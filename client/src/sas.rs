//! Shared access keys and the tokens signed with them (contract/rest.md 5.1): HMAC-SHA256 with the decoded key
//! over `{sr}\n{se}`, where `sr` is signed in exactly the spelling the token carries.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use crate::error::Error;
use crate::time::unix_now;

/// What a shared access signature may leave as it is: RFC 3986's unreserved characters.
pub(crate) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A symmetric key as connection strings and identities carry it. `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedAccessKey {
    bytes: Vec<u8>,
}

/// A token for one resource until one moment. `Debug` prints `***` for the signature.
#[derive(Clone)]
pub struct SasToken {
    text: String,
    expires_at: Duration,
}

/// Signs tokens for one resource with one key, as often as needed.
#[derive(Clone, Debug)]
pub(crate) struct SasSigner {
    resource: String,
    key: SharedAccessKey,
    policy: Option<String>,
}

impl SharedAccessKey {
    /// Takes the Base64 text the hub shows.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the text is not Base64 or empty. It is not repeated in the error.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        match STANDARD.decode(text) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self { bytes }),
            _ => Err(Error::configuration(
                "the shared access key is not Base64 text: copy the key or connection string again, whole",
            )),
        }
    }

    /// Takes the text as the key itself, which is how event hubs sign (contract/eventhubs.md 2).
    pub(crate) fn of_event_hub(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec() }
    }

    /// The key as text. Keep it out of logs.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    fn hmac_base64(&self, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedAccessKey(***)")
    }
}

impl SasToken {
    /// Signs `resource` (a hub host name, or `{host}/devices/{id}[/modules/{id}]`) until `expires_at`, which
    /// counts from 1970-01-01 UTC. `policy` names the shared access policy the key belongs to; none for a key
    /// of the device or module itself.
    #[must_use]
    pub fn sign(resource: &str, key: &SharedAccessKey, expires_at: Duration, policy: Option<&str>) -> Self {
        let sr = utf8_percent_encode(resource, UNRESERVED).to_string();
        let se = expires_at.as_secs();
        let signature = key.hmac_base64(&format!("{sr}\n{se}"));
        let sig = utf8_percent_encode(&signature, UNRESERVED);
        let mut text = format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}");
        if let Some(policy) = policy {
            text.push_str("&skn=");
            text.extend(utf8_percent_encode(policy, UNRESERVED));
        }
        Self { text, expires_at: Duration::from_secs(se) }
    }

    /// Takes a token somebody else signed.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the text has not the form of a token.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fields = text.trim().strip_prefix("SharedAccessSignature ").ok_or_else(|| {
            Error::configuration("a shared access signature begins with \"SharedAccessSignature \"")
        })?;
        let field = |name: &str| {
            fields.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        };
        if field("sr").is_none() || field("sig").is_none() {
            return Err(Error::configuration("the shared access signature has no sr= or no sig= field"));
        }
        let expires_at =
            field("se").and_then(|(_, value)| value.parse().ok()).map(Duration::from_secs).ok_or_else(
                || Error::configuration("the shared access signature has no se= field in seconds since 1970"),
            )?;
        Ok(Self { text: text.trim().to_owned(), expires_at })
    }

    /// The whole token, as HTTP, CBS and MQTT want it. Keep it out of logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it stops being valid, counted from 1970-01-01 UTC.
    #[must_use]
    pub const fn expires_at(&self) -> Duration {
        self.expires_at
    }

    /// How long it is still valid; zero when it is not.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.expires_at.saturating_sub(unix_now())
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SasToken(***, expires at {} s)", self.expires_at.as_secs())
    }
}

impl SasSigner {
    pub(crate) const fn new(resource: String, key: SharedAccessKey, policy: Option<String>) -> Self {
        Self { resource, key, policy }
    }

    pub(crate) fn token(&self, lifetime: Duration) -> SasToken {
        // Tokens expire on whole seconds; the next one, so that none lives shorter than asked.
        let expires_at = unix_now().saturating_add(lifetime).saturating_add(Duration::from_secs(1));
        SasToken::sign(&self.resource, &self.key, expires_at, self.policy.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac, base64 and urllib.parse.quote over the same input.
    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    #[test]
    fn a_module_token_matches_an_independent_implementation() {
        let key = SharedAccessKey::from_base64(KEY).unwrap();
        let token =
            SasToken::sign("localhost/devices/d1/modules/m1", &key, Duration::from_secs(1_900_000_000), None);
        assert_eq!(token.as_str(), VECTOR_MODULE);
    }

    #[test]
    fn a_policy_token_carries_the_policy_name_last() {
        let key = SharedAccessKey::from_base64(KEY).unwrap();
        let token =
            SasToken::sign("localhost", &key, Duration::from_secs(1_900_000_000), Some("iothubowner"));
        assert_eq!(token.as_str(), VECTOR_POLICY);
    }

    #[test]
    fn a_signed_token_parses_back_with_its_expiry() {
        let key = SharedAccessKey::from_base64(KEY).unwrap();
        let token = SasToken::sign("h", &key, Duration::from_secs(7), None);
        let parsed = SasToken::parse(token.as_str()).unwrap();
        assert_eq!(parsed.expires_at(), Duration::from_secs(7));
        assert_eq!(parsed.remaining(), Duration::ZERO);
    }

    #[test]
    fn a_token_lives_at_least_as_long_as_asked() {
        let signer = SasSigner::new("h".into(), SharedAccessKey::from_base64(KEY).unwrap(), None);
        let remaining = signer.token(Duration::from_secs(10)).remaining();
        assert!(remaining > Duration::from_secs(9) && remaining <= Duration::from_secs(11), "{remaining:?}");
    }

    #[test]
    fn text_without_the_fields_of_a_token_is_refused() {
        for text in
            ["", "sr=a&sig=b&se=1", "SharedAccessSignature sr=a&se=1", "SharedAccessSignature sr=a&sig=b"]
        {
            assert!(SasToken::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_not_base64_is_refused_without_repeating_it() {
        let error = SharedAccessKey::from_base64("not base64!").unwrap_err();
        assert!(!error.to_string().contains("not base64!"));
        assert!(SharedAccessKey::from_base64("").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SharedAccessKey::from_base64(KEY).unwrap();
        let token = SasToken::sign("h", &key, Duration::from_secs(7), None);
        let shown = format!("{key:?} {token:?} {:?}", SasSigner::new("h".into(), key.clone(), None));
        assert!(shown.contains("***"));
        assert!(!shown.contains("0123456789") && !shown.contains("sig="));
    }

    const VECTOR_MODULE: &str = "SharedAccessSignature sr=localhost%2Fdevices%2Fd1%2Fmodules%2Fm1&sig=wlSPO7Urfzi1nC%2FfNmD2fKIbR86PA309wwRHoqVTAUI%3D&se=1900000000";
    const VECTOR_POLICY: &str = "SharedAccessSignature sr=localhost&sig=9tsUXONiVQeOe9f%2Fn3dSacznE97ewT89VtyHszxjBqk%3D&se=1900000000&skn=iothubowner";
}
