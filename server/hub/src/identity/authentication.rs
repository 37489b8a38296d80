//! How an identity proves who it is: symmetric keys, thumbprints or a certificate authority
//! (contract/rest.md 2.3, 2.5).

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::access::{SymmetricKey, SymmetricKeys};
use crate::entropy::Entropy;
use crate::error::{ErrorCode, HubError};
use crate::limits;

/// What an identity must present.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthenticationMechanism {
    /// A certificate that leads to a registered CA and carries the identity as its CN.
    CertificateAuthority,
    /// Nothing is accepted.
    None,
    /// A token signed with either key.
    Sas(SymmetricKeys),
    /// A certificate with either thumbprint.
    SelfSigned(Thumbprints),
}

/// Tells keys and thumbprints from those they are changed to. A digest, so that no identity has to count its
/// changes; taken back to what they were, they are as good as before. Prints as `***`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationRevision(u64);

impl fmt::Debug for AuthenticationRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl AuthenticationMechanism {
    /// What a grant earned with this remembers of it.
    pub fn revision(&self) -> AuthenticationRevision {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        AuthenticationRevision(hasher.finish())
    }

    /// The mechanism without its secrets.
    pub const fn kind(&self) -> AuthenticationType {
        match self {
            Self::CertificateAuthority => AuthenticationType::CertificateAuthority,
            Self::None => AuthenticationType::None,
            Self::Sas(_) => AuthenticationType::Sas,
            Self::SelfSigned(_) => AuthenticationType::SelfSigned,
        }
    }

    /// Turns what a caller sent into what is stored. What the caller left out stays as in `current` unless the type
    /// changes; empty keys are generated (contract/rest.md 2.3).
    pub(crate) fn resolve(
        spec: Option<&AuthenticationSpec>,
        current: Option<&Self>,
        entropy: &Entropy,
    ) -> Result<Self, HubError> {
        let generated = || Self::Sas(SymmetricKeys { primary: entropy.key(), secondary: entropy.key() });
        let Some(spec) = spec.filter(|spec| **spec != AuthenticationSpec::default()) else {
            return Ok(current.cloned().unwrap_or_else(generated));
        };
        let kind = spec.kind.unwrap_or_else(|| match spec.thumbprints() {
            (None, None) => AuthenticationType::Sas,
            _ => AuthenticationType::SelfSigned,
        });
        let kept = |is_left_out: bool| current.filter(|it| is_left_out && it.kind() == kind).cloned();
        match kind {
            AuthenticationType::CertificateAuthority => Ok(Self::CertificateAuthority),
            AuthenticationType::None => Ok(Self::None),
            AuthenticationType::Sas => match spec.keys() {
                (None, None) => {
                    let is_left_out = spec.primary_key.is_none() && spec.secondary_key.is_none();
                    Ok(kept(is_left_out).unwrap_or_else(generated))
                }
                (Some(primary), Some(secondary)) => Ok(Self::Sas(SymmetricKeys {
                    primary: SymmetricKey::from_base64(primary)?,
                    secondary: SymmetricKey::from_base64(secondary)?,
                })),
                _ => Err(HubError::new(
                    ErrorCode::ArgumentInvalid,
                    "Give both symmetric keys, or neither to have them generated.",
                )),
            },
            AuthenticationType::SelfSigned => match spec.thumbprints() {
                (None, None) => {
                    let is_left_out =
                        spec.primary_thumbprint.is_none() && spec.secondary_thumbprint.is_none();
                    kept(is_left_out).ok_or_else(|| {
                        HubError::new(
                            ErrorCode::ArgumentInvalid,
                            "Authentication of type selfSigned needs a primary or a secondary thumbprint.",
                        )
                    })
                }
                (primary, secondary) => {
                    let parse = |text: Option<&str>| text.map(Thumbprint::parse).transpose();
                    Ok(Self::SelfSigned(Thumbprints {
                        primary: parse(primary)?,
                        secondary: parse(secondary)?,
                    }))
                }
            },
        }
    }

    /// Only modules may be without any authentication, as those of an edge device are before their first use: SDKs
    /// cannot read a device of type none (contract/rest.md 2.5).
    pub(crate) fn check_for_device(&self) -> Result<(), HubError> {
        if *self == Self::None {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                "The authentication of a device is of type sas, selfSigned or certificateAuthority.",
            ));
        }
        Ok(())
    }
}

/// A mechanism at rest. Nearly every identity has two keys as the hub makes them: those stand in the record itself,
/// all else behind a pointer.
#[derive(PartialEq, Eq)]
pub(crate) enum StoredAuthentication {
    Keys([[u8; limits::KEY_BYTES_GENERATED]; 2]),
    Other(Box<AuthenticationMechanism>),
}

impl StoredAuthentication {
    pub(crate) fn mechanism(&self) -> AuthenticationMechanism {
        match self {
            Self::Keys([primary, secondary]) => AuthenticationMechanism::Sas(SymmetricKeys {
                primary: SymmetricKey::of(*primary),
                secondary: SymmetricKey::of(*secondary),
            }),
            Self::Other(mechanism) => mechanism.as_ref().clone(),
        }
    }
}

impl From<AuthenticationMechanism> for StoredAuthentication {
    fn from(mechanism: AuthenticationMechanism) -> Self {
        if let AuthenticationMechanism::Sas(SymmetricKeys { primary, secondary }) = &mechanism
            && let (Ok(primary), Ok(secondary)) =
                (primary.as_bytes().try_into(), secondary.as_bytes().try_into())
        {
            return Self::Keys([primary, secondary]);
        }
        Self::Other(Box::new(mechanism))
    }
}

impl fmt::Debug for StoredAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mechanism().fmt(f)
    }
}

/// The names of the mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationType {
    /// `certificateAuthority`
    CertificateAuthority,
    /// `none`
    None,
    /// `sas`
    Sas,
    /// `selfSigned`
    SelfSigned,
}

/// The authentication part of a create or update as the caller wrote it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthenticationSpec {
    /// The type, if given; else it follows from the thumbprints.
    pub kind: Option<AuthenticationType>,
    /// Base64; empty means "generate", absent the stored one or, where there is none, "generate".
    pub primary_key: Option<String>,
    /// As the primary.
    pub secondary_key: Option<String>,
    /// Hex.
    pub primary_thumbprint: Option<String>,
    /// Hex.
    pub secondary_thumbprint: Option<String>,
}

impl AuthenticationSpec {
    fn keys(&self) -> (Option<&str>, Option<&str>) {
        (given(&self.primary_key), given(&self.secondary_key))
    }

    fn thumbprints(&self) -> (Option<&str>, Option<&str>) {
        (given(&self.primary_thumbprint), given(&self.secondary_thumbprint))
    }
}

/// Without the keys.
impl fmt::Debug for AuthenticationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationSpec").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Node sends empty text for what its caller did not give.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A SHA-1 or SHA-256 hash of a certificate in upper-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint(Box<str>);

impl Thumbprint {
    /// Accepts 40 or 64 hex digits in either case, no colons.
    ///
    /// # Errors
    /// `ArgumentInvalid` for anything else.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_uppercase().into()));
        }
        Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            "A thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits without separators.",
        ))
    }

    /// Upper-case hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The certificates a self-signed identity is known by; one or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprints {
    /// Compared first.
    pub primary: Option<Thumbprint>,
    /// Compared second, so that certificates can be rolled.
    pub secondary: Option<Thumbprint>,
}

/// What the authenticator needs to know of an identity.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// What must be presented.
    pub mechanism: AuthenticationMechanism,
    /// Whether the device (for a module: its device) is enabled.
    pub device_is_enabled: bool,
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;

    fn resolve(spec: &AuthenticationSpec) -> Result<AuthenticationMechanism, HubError> {
        AuthenticationMechanism::resolve(Some(spec), None, &Entropy::seeded(1))
    }

    #[test]
    fn absent_and_empty_keys_are_generated_and_differ() {
        for empty in [None, Some(String::new())] {
            let spec =
                AuthenticationSpec { primary_key: empty.clone(), secondary_key: empty, ..Default::default() };
            let AuthenticationMechanism::Sas(keys) = resolve(&spec).unwrap() else { panic!("not sas") };
            assert_ne!(keys.primary, keys.secondary);
        }
    }

    #[test]
    fn given_keys_are_kept_and_one_alone_is_refused() {
        let key = "AAECAwQFBgcICQoLDA0ODw==".to_owned();
        let mut spec = AuthenticationSpec {
            primary_key: Some(key.clone()),
            secondary_key: Some(key.clone()),
            ..Default::default()
        };
        let AuthenticationMechanism::Sas(keys) = resolve(&spec).unwrap() else { panic!("not sas") };
        assert_eq!(keys.primary.to_base64(), key);
        spec.secondary_key = None;
        assert_eq!(resolve(&spec).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }

    #[test]
    fn a_thumbprint_without_a_type_means_self_signed() {
        let spec = AuthenticationSpec { primary_thumbprint: Some("ab".repeat(20)), ..Default::default() };
        assert_eq!(resolve(&spec).unwrap().kind(), AuthenticationType::SelfSigned);
    }

    #[test]
    fn thumbprints_of_both_lengths_are_accepted_and_colons_are_not() {
        assert_eq!(Thumbprint::parse(&"ab".repeat(20)).unwrap().as_str(), "AB".repeat(20));
        assert!(Thumbprint::parse(&"0F".repeat(32)).is_ok());
        for bad in ["ab:".repeat(20), "ab".repeat(21), "zz".repeat(20)] {
            assert!(Thumbprint::parse(&bad).is_err(), "{bad}");
        }
    }

    fn update(spec: &AuthenticationSpec, stored: &AuthenticationMechanism) -> AuthenticationMechanism {
        AuthenticationMechanism::resolve(Some(spec), Some(stored), &Entropy::seeded(2)).unwrap()
    }

    fn sas() -> AuthenticationMechanism {
        resolve(&AuthenticationSpec::default()).unwrap()
    }

    fn self_signed() -> AuthenticationMechanism {
        let primary_thumbprint = Some("ab".repeat(20));
        resolve(&AuthenticationSpec { primary_thumbprint, ..Default::default() }).unwrap()
    }

    #[test]
    fn an_update_that_leaves_the_secrets_out_keeps_them_and_empty_keys_are_made_anew() {
        let stored = sas();
        let of_type = |kind| AuthenticationSpec { kind: Some(kind), ..Default::default() };
        assert_eq!(update(&of_type(AuthenticationType::Sas), &stored), stored);
        assert_eq!(update(&AuthenticationSpec::default(), &stored), stored);
        assert_eq!(update(&AuthenticationSpec::default(), &self_signed()), self_signed());
        assert_eq!(update(&of_type(AuthenticationType::SelfSigned), &self_signed()), self_signed());
        let empty = || Some(String::new());
        let emptied =
            AuthenticationSpec { primary_key: empty(), secondary_key: empty(), ..Default::default() };
        let renewed = update(&emptied, &stored);
        assert_eq!(renewed.kind(), AuthenticationType::Sas);
        assert_ne!(renewed, stored);
    }

    #[test]
    fn a_change_of_type_keeps_no_secret_of_the_old_one() {
        let of_type = |kind| AuthenticationSpec { kind: Some(kind), ..Default::default() };
        let authority = update(&of_type(AuthenticationType::CertificateAuthority), &sas());
        assert_eq!(authority, AuthenticationMechanism::CertificateAuthority);
        assert_ne!(update(&of_type(AuthenticationType::Sas), &authority), sas());
        let refused = AuthenticationMechanism::resolve(
            Some(&of_type(AuthenticationType::SelfSigned)),
            Some(&sas()),
            &Entropy::seeded(2),
        );
        assert_eq!(refused.unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }

    #[test]
    fn new_thumbprints_replace_both_old_ones() {
        let spec = AuthenticationSpec { secondary_thumbprint: Some("cd".repeat(32)), ..Default::default() };
        let AuthenticationMechanism::SelfSigned(thumbprints) = update(&spec, &self_signed()) else {
            panic!("not self-signed")
        };
        assert_eq!(thumbprints.primary, None);
        assert_eq!(thumbprints.secondary.unwrap().as_str(), "CD".repeat(32));
    }

    #[test]
    fn a_mechanism_is_stored_without_loss_and_shows_no_secret() {
        let keys = |primary: usize, secondary: usize| {
            let key = |bytes| SymmetricKey::from_base64(&BASE64.encode(vec![7; bytes])).unwrap();
            AuthenticationMechanism::Sas(SymmetricKeys { primary: key(primary), secondary: key(secondary) })
        };
        let rare = [AuthenticationMechanism::None, AuthenticationMechanism::CertificateAuthority];
        let of_keys = [sas(), keys(32, 32), keys(16, 64), keys(32, 64), keys(64, 32)];
        for mechanism in rare.into_iter().chain(of_keys).chain([self_signed()]) {
            assert_eq!(StoredAuthentication::from(mechanism.clone()).mechanism(), mechanism);
        }
        assert!(!format!("{:?}", StoredAuthentication::from(keys(32, 32))).contains('7'));
    }

    #[test]
    fn a_spec_does_not_print_its_keys() {
        let primary_key = Some("c2VjcmV0".to_owned());
        let spec = AuthenticationSpec { primary_key, ..Default::default() };
        assert!(!format!("{spec:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn only_modules_may_be_without_authentication() {
        assert!(AuthenticationMechanism::None.check_for_device().is_err());
        assert!(sas().check_for_device().is_ok());
    }

    #[test]
    fn an_update_without_authentication_keeps_what_is_stored() {
        let stored = AuthenticationMechanism::CertificateAuthority;
        let kept = AuthenticationMechanism::resolve(None, Some(&stored), &Entropy::seeded(1)).unwrap();
        assert_eq!(kept, stored);
    }
}
