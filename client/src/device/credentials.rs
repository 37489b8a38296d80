//! What a link signs in with, and when that has to be renewed.

use std::time::Duration;

use crate::identity_id::IdentityId;
use crate::sas::{SasSigner, SasToken, SharedAccessKey};

/// How long a token is valid, as the SDKs have it (contract/rest.md 5.1).
pub(super) const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// The right of a device or module to connect.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// TLS has shown a client certificate already.
    Certificate,
    /// Tokens are signed as needed.
    Key { signer: SasSigner, lifetime: Duration },
    /// A token signed elsewhere, which nobody here can renew.
    Token(SasToken),
}

impl Credentials {
    pub(super) fn signing(
        host_name: &str,
        identity: &IdentityId,
        key: SharedAccessKey,
        policy: Option<String>,
        lifetime: Duration,
    ) -> Self {
        let resource = format!("{host_name}{}", identity.path());
        Self::Key { signer: SasSigner::new(resource, key, policy), lifetime }
    }

    /// The token to show now; none for a certificate.
    pub(crate) fn token(&self) -> Option<SasToken> {
        match self {
            Self::Certificate => None,
            Self::Key { signer, lifetime } => Some(signer.token(*lifetime)),
            Self::Token(token) => Some(token.clone()),
        }
    }

    /// How long after signing in the next token is due: four fifths of a lifetime, as the C SDK does
    /// (contract/amqp.md 2.1). None when there is nothing to renew.
    pub(super) fn renewal_after(&self) -> Option<Duration> {
        match self {
            Self::Key { lifetime, .. } => Some(lifetime.mul_f64(0.8)),
            Self::Certificate | Self::Token(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_signed_again_is_renewed() {
        let key = SharedAccessKey::from_base64("MDEy").unwrap();
        let id = IdentityId::of_module("d", "m").unwrap();
        let credentials = Credentials::signing("h", &id, key.clone(), None, Duration::from_secs(100));
        assert_eq!(credentials.renewal_after(), Some(Duration::from_secs(80)));
        assert!(credentials.token().unwrap().as_str().contains("sr=h%2Fdevices%2Fd%2Fmodules%2Fm&"));
        let token = SasToken::sign("h", &key, Duration::from_secs(1), None);
        assert_eq!(Credentials::Token(token).renewal_after(), None);
        assert!(Credentials::Certificate.token().is_none());
    }
}
