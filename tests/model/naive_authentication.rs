//! How a naive identity's credential comes from what a caller sent (contract/rest.md 2.3, 2.5).

use hub::error::ErrorCode;
use hub::identity::{AuthenticationSpec, AuthenticationType};

use crate::naive::NaiveAuthentication;

/// Absent as a whole or in its part keeps what is stored, or has keys generated; empty keys are always generated.
pub(crate) fn resolve(
    spec: Option<&AuthenticationSpec>,
    stored: Option<&NaiveAuthentication>,
) -> Result<NaiveAuthentication, ErrorCode> {
    let nothing = AuthenticationSpec::default();
    let spec = spec.unwrap_or(&nothing);
    if *spec == nothing {
        return Ok(stored.cloned().unwrap_or(NaiveAuthentication::GENERATED));
    }
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (primary, secondary) = (filled(&spec.primary_thumbprint), filled(&spec.secondary_thumbprint));
    let prints: Vec<_> = [&primary, &secondary].into_iter().flatten().collect();
    let otherwise = if prints.is_empty() { AuthenticationType::Sas } else { AuthenticationType::SelfSigned };
    match spec.kind.unwrap_or(otherwise) {
        AuthenticationType::CertificateAuthority => Ok(NaiveAuthentication::CertificateAuthority),
        AuthenticationType::None => Ok(NaiveAuthentication::None),
        AuthenticationType::Sas => {
            let is_left_out = (&spec.primary_key, &spec.secondary_key) == (&None, &None);
            match (filled(&spec.primary_key), filled(&spec.secondary_key), stored) {
                (None, None, Some(stored @ NaiveAuthentication::Sas { .. })) if is_left_out => {
                    Ok(stored.clone())
                }
                (None, None, _) => Ok(NaiveAuthentication::GENERATED),
                (Some(primary), Some(secondary), _) if is_key(&primary) && is_key(&secondary) => {
                    Ok(NaiveAuthentication::Sas { primary: Some(primary), secondary: Some(secondary) })
                }
                _ => Err(ErrorCode::ArgumentInvalid),
            }
        }
        AuthenticationType::SelfSigned => {
            let is_left_out = (&spec.primary_thumbprint, &spec.secondary_thumbprint) == (&None, &None);
            match stored {
                Some(stored @ NaiveAuthentication::SelfSigned { .. }) if is_left_out => Ok(stored.clone()),
                _ if prints.is_empty() || !prints.iter().all(|print| is_thumbprint(print)) => {
                    Err(ErrorCode::ArgumentInvalid)
                }
                _ => {
                    let upper = |print: Option<String>| print.map(|print| print.to_uppercase());
                    Ok(NaiveAuthentication::SelfSigned {
                        primary: upper(primary),
                        secondary: upper(secondary),
                    })
                }
            }
        }
    }
}

/// Padded base64 of 16 to 64 bytes. The steps pad rightly or use no base64 at all.
fn is_key(text: &str) -> bool {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    let bytes = text.len() / 4 * 3 - padding;
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) && (16..=64).contains(&bytes)
}

fn is_thumbprint(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
}
