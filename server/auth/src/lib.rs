//! Who is it, and until when: turns what a client presents into a [`hub::access::Grant`].
//!
//! In reading order:
//! - [`sas_token`] and [`resource`]: shared access signatures, and what their `sr` reaches; `recent_tokens` spares
//!   reading the same one again and again.
//! - [`certificate`] and [`chain`]: what TLS saw, thumbprints, and the way from a leaf to a registered authority.
//! - [`authorities`]: the certificate authorities registered with the hub, with proof of possession.
//! - [`authenticator`]: the one path every head takes, with one log line and one journal row per refusal.
pub mod authenticator;
pub mod authorities;
pub mod certificate;
pub mod chain;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod recent_tokens;
pub mod resource;
pub mod sas_token;

pub use authenticator::{Authenticator, Credential, Presented};
pub use authorities::{CertificateAuthorities, CertificateAuthority};
pub use certificate::PeerCertificates;
pub use resource::Resource;
pub use sas_token::SasToken;
