//! Why a credential was refused, in the words of the log (PRODUCT section 6).

use std::fmt;

use hub::error::{ErrorCode, HubError};
use hub::identity::{Authentication, AuthenticationMechanism};
use hub::ids::IdentityId;
use hub::time::Timestamp;

use crate::sas_token::SasToken;

/// Why not, and about whom.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: HubError,
    pub(super) identity: Option<IdentityId>,
}

pub(super) fn unauthorized(identity: Option<&IdentityId>, reason: String) -> Refusal {
    // The texts real hubs were seen to send (contract/rest.md 4.1, 4.3).
    let message = match identity {
        Some(_) => "Authentication failed for this device, renew token or certificate and reconnect",
        None => "Unauthorized",
    };
    let error = HubError::new(ErrorCode::IotHubUnauthorizedAccess, message).with_reason(reason);
    Refusal { error, identity: identity.cloned() }
}

pub(super) fn check_expiry(
    token: &SasToken,
    signer: &dyn fmt::Display,
    identity: Option<&IdentityId>,
    at: Timestamp,
) -> Result<(), Refusal> {
    if at < token.expires_at() {
        return Ok(());
    }
    let ago = at.since(token.expires_at()).as_secs();
    Err(unauthorized(
        identity,
        format!("token for {signer} expired {ago} s ago; check the clock of its maker"),
    ))
}

pub(super) fn check_enabled(identity: &IdentityId, found: &Authentication) -> Result<(), Refusal> {
    match (found.device_is_enabled, &identity.module) {
        (true, _) => Ok(()),
        (false, None) => Err(unauthorized(Some(identity), format!("{} is disabled", named(identity)))),
        (false, Some(_)) => Err(unauthorized(
            Some(identity),
            format!("{} is locked out because device '{}' is disabled", named(identity), identity.device),
        )),
    }
}

pub(super) fn named(identity: &IdentityId) -> String {
    let kind = if identity.is_module() { "module" } else { "device" };
    format!("{kind} '{identity}'")
}

pub(super) const fn mechanism_in_words(mechanism: &AuthenticationMechanism) -> &'static str {
    match mechanism {
        AuthenticationMechanism::CertificateAuthority => "a certificate of a registered authority",
        AuthenticationMechanism::None => "no authentication at all",
        AuthenticationMechanism::Sas(_) => "SAS tokens (symmetric keys)",
        AuthenticationMechanism::SelfSigned(_) => "a self-signed certificate (thumbprints)",
    }
}

/// A reason quotes what clients sent, so it could hold line breaks that forge log lines.
pub(super) fn printable(reason: &str) -> String {
    let visible = reason.chars().take(REASON_CHARS_MAX);
    visible.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Characters of a reason in the log; ours.
const REASON_CHARS_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_cannot_forge_a_line_of_the_log() {
        assert_eq!(printable("a\nWARN b\u{1b}[0m"), "a\u{fffd}WARN b\u{fffd}[0m");
        assert_eq!(printable(&"x".repeat(10_000)).len(), REASON_CHARS_MAX);
    }
}
