//! SAS tokens, signed after contract/rest.md 5.1 and not by the code under test.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A token for `resource` with a base64 key, good until `expiry` (Unix seconds).
pub(crate) fn token(resource: &str, key: &str, expiry: i64, policy: Option<&str>) -> String {
    let resource = encode(resource);
    let key = BASE64.decode(key).expect("test keys are base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(format!("{resource}\n{expiry}").as_bytes());
    let signature = encode(&BASE64.encode(mac.finalize().into_bytes()));
    let mut token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}");
    if let Some(policy) = policy {
        write!(token, "&skn={policy}").expect("writing to a String succeeds");
    }
    token
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
