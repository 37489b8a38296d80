//! What `tests/fuzz` calls: tokens and their resources, with the laws that hold whatever comes. Compiled for the
//! fuzzer and for the tests, which replay its corpus; no part of the crate.

use hub::access::{SymmetricKey, SymmetricKeys};
use hub::ids::IdentityId;
use hub::time::Timestamp;

use crate::SasToken;

/// A token as a client presents it; and a token of ours for the same text.
pub fn sas_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = SymmetricKey::from_base64("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").expect("a key");
    let keys = SymmetricKeys { primary: key.clone(), secondary: key.clone() };
    if let Ok(token) = SasToken::parse(text) {
        assert!(format!("{token:?}").contains("***"));
        token.is_signed_by(&keys);
        assert!(token.resource().readings().len() <= 3);
        for reading in token.resource().readings() {
            assert!(!reading.host.as_str().contains('%'));
            // What a path names, it also covers.
            let Some(identity) = reading.reach.identity() else { continue };
            assert!(reading.reach.covers(&identity), "{reading}");
            let device = IdentityId::device(identity.device.clone());
            assert!(identity.module.is_none() || !reading.reach.covers(&device), "{reading}");
        }
    }
    let expires_at = Timestamp::from_unix_secs(1_893_456_001);
    if let Ok(own) = SasToken::parse(&SasToken::sign(text, &key, expires_at, None)) {
        assert!(own.is_signed_by(&keys));
        assert_eq!((own.expires_at(), own.policy()), (expires_at, None));
    }
}

#[cfg(test)]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpus_of_tokens_holds_the_laws() {
        replay("sas_token", sas_token);
    }
}
