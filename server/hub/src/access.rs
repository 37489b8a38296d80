//! Who may do what: shared access policies, permissions, symmetric keys, and the grant a proven credential
//! earns (contract/rest.md 5.2, 2.5).

mod events_path;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub use self::events_path::EventsPath;
use crate::error::{ErrorCode, HubError};
use crate::identity::AuthenticationRevision;
use crate::ids::{DeviceId, IdentityId};
use crate::limits;
use crate::time::Timestamp;

/// A set of the service's four rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// Read identities.
    pub const REGISTRY_READ: Self = Self(1);
    /// Create, update and delete identities.
    pub const REGISTRY_WRITE: Self = Self(2);
    /// Twins and everything else a back end does.
    pub const SERVICE_CONNECT: Self = Self(4);
    /// Act as a device or module.
    pub const DEVICE_CONNECT: Self = Self(8);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether some right of `other` is in this set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every right of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// `RegistryRead, ServiceConnect`: the rights by their names.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::REGISTRY_READ, "RegistryRead"),
            (Self::REGISTRY_WRITE, "RegistryWrite"),
            (Self::SERVICE_CONNECT, "ServiceConnect"),
            (Self::DEVICE_CONNECT, "DeviceConnect"),
        ];
        let held: Vec<_> =
            names.iter().filter(|(right, _)| self.contains(*right)).map(|(_, name)| *name).collect();
        f.write_str(&held.join(", "))
    }
}

/// A shared key of 16 to 64 bytes. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SymmetricKey(Box<[u8]>);

impl SymmetricKey {
    /// Reads base64 text.
    ///
    /// # Errors
    /// `ArgumentInvalid` when it is no base64 or not 16 to 64 bytes (contract/rest.md 2.5).
    pub fn from_base64(text: &str) -> Result<Self, HubError> {
        let bytes = BASE64
            .decode(text)
            .map_err(|_| HubError::new(ErrorCode::ArgumentInvalid, "A symmetric key is not valid base64."))?;
        if !(limits::KEY_BYTES_MIN..=limits::KEY_BYTES_MAX).contains(&bytes.len()) {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                format!(
                    "A symmetric key of {} bytes; {} to {} are allowed.",
                    bytes.len(),
                    limits::KEY_BYTES_MIN,
                    limits::KEY_BYTES_MAX
                ),
            ));
        }
        Ok(Self(bytes.into()))
    }

    /// A key of the length the hub makes.
    pub(crate) fn of(bytes: [u8; limits::KEY_BYTES_GENERATED]) -> Self {
        Self(Box::new(bytes))
    }

    /// The key as base64 text, for connection strings and the registry's answers.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A primary and a secondary key, either of which signs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SymmetricKeys {
    /// Tried first.
    pub primary: SymmetricKey,
    /// Tried second, so that keys can be rolled.
    pub secondary: SymmetricKey,
}

/// The name of a shared access policy: letters, digits, `_ - @ .`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyName(Arc<str>);

impl PolicyName {
    /// Accepts what the service accepts.
    ///
    /// # Errors
    /// `ArgumentInvalid` for other characters or none.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@' | '.');
        if !text.is_empty() && text.len() <= 64 && text.chars().all(legal) {
            return Ok(Self(text.into()));
        }
        Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("'{text}' is no policy name: 1 to 64 letters, digits and _ - @ ."),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A named pair of keys of the hub and the rights they give.
#[derive(Clone, Debug)]
pub struct SharedAccessPolicy {
    /// The `skn` of tokens signed with its keys.
    pub name: PolicyName,
    /// What such a token may do.
    pub permissions: Permissions,
    /// The keys.
    pub keys: SymmetricKeys,
}

/// The five policies every hub is born with, with keys that are public on purpose: the base64 of a sentence
/// that says so, the same on every machine, so that connection strings can be copied from the README.
pub fn development_policies() -> Vec<SharedAccessPolicy> {
    use Permissions as P;
    let registry_read_write = P::REGISTRY_READ.union(P::REGISTRY_WRITE);
    [
        ("iothubowner", registry_read_write.union(P::SERVICE_CONNECT).union(P::DEVICE_CONNECT)),
        ("service", P::SERVICE_CONNECT),
        ("device", P::DEVICE_CONNECT),
        ("registryRead", P::REGISTRY_READ),
        ("registryReadWrite", registry_read_write),
    ]
    .into_iter()
    .map(|(name, permissions)| {
        let key = |slot| {
            let text = format!("public-development-key/{name}/{slot}");
            SymmetricKey(text.into_bytes().into())
        };
        SharedAccessPolicy {
            name: PolicyName(name.into()),
            permissions,
            keys: SymmetricKeys { primary: key("primary"), secondary: key("secondary") },
        }
    })
    .collect()
}

/// What a proven credential may do, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose credential it was.
    pub subject: Subject,
    /// What it reaches.
    pub scope: Scope,
    /// The rights it gives there.
    pub permissions: Permissions,
    /// When it stops being good; `None` for certificates.
    pub expires_at: Option<Timestamp>,
    /// What was presented.
    pub credential: CredentialKind,
    /// What the identity was registered with when this was earned; `None` when it rests on no identity's own
    /// credential.
    pub revision: Option<AuthenticationRevision>,
}

impl Grant {
    /// Whether this is the own credential of `device`.
    pub fn is_of_device(&self, device: &DeviceId) -> bool {
        matches!(&self.subject, Subject::Identity(own) if own.module.is_none() && own.device == *device)
    }

    /// Whether this is the own credential of a module of `device`.
    pub fn is_of_module_on(&self, device: &DeviceId) -> bool {
        matches!(&self.subject, Subject::Identity(own) if own.module.is_some() && own.device == *device)
    }

    /// Whether `identity` lies within what this grant reaches.
    pub fn covers(&self, identity: &IdentityId) -> bool {
        match (&self.subject, &self.scope) {
            (_, Scope::Hub) => true,
            (_, Scope::Events(_)) => false,
            (Subject::Identity(_), Scope::Identity(scope)) => scope == identity,
            (Subject::Policy(_), Scope::Identity(scope)) => {
                scope.device == identity.device && (scope.module.is_none() || scope.module == identity.module)
            }
        }
    }

    /// Whether a place below the event hubs lies within what this grant reaches.
    pub fn covers_events(&self, path: &EventsPath) -> bool {
        match &self.scope {
            Scope::Events(scope) => scope.covers(path),
            Scope::Hub => true,
            Scope::Identity(_) => false,
        }
    }
}

/// Whose credential a grant was earned with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A device's or module's own key or certificate.
    Identity(IdentityId),
    /// A key of one of the hub's policies.
    Policy(PolicyName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => identity.fmt(f),
            Self::Policy(name) => write!(f, "policy {name}"),
        }
    }
}

/// The part of the hub a grant reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// An event hub, or a part of one.
    Events(EventsPath),
    /// All of it.
    Hub,
    /// One device or module. For a policy's token a device includes its modules; for a device's own it does not.
    Identity(IdentityId),
}

/// The kinds of credential the hub knows, as the journal names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// The key of a shared access policy itself, as a password.
    PolicyKey,
    /// A token signed with a device's key.
    SasDeviceKey,
    /// A token signed with a module's key.
    SasModuleKey,
    /// A token signed with a shared access policy's key.
    SasPolicy,
    /// A certificate that leads to a registered certificate authority.
    X509CertificateAuthority,
    /// A certificate known by its thumbprint.
    X509SelfSigned,
}

impl CredentialKind {
    /// The name in the journal, the connection list and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyKey => "policy-key",
            Self::SasDeviceKey => "sas-device-key",
            Self::SasModuleKey => "sas-module-key",
            Self::SasPolicy => "sas-policy",
            Self::X509CertificateAuthority => "x509-ca",
            Self::X509SelfSigned => "x509-self-signed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_16_and_64_bytes_are_accepted_and_one_off_refused() {
        for (bytes, accepted) in [(15, false), (16, true), (64, true), (65, false)] {
            let text = BASE64.encode(vec![7; bytes]);
            assert_eq!(SymmetricKey::from_base64(&text).is_ok(), accepted, "{bytes} bytes");
        }
        assert!(SymmetricKey::from_base64("not base64!").is_err());
    }

    #[test]
    fn a_key_never_prints() {
        let key = SymmetricKey::from_base64(&BASE64.encode([7; 32])).unwrap();
        assert_eq!(format!("{key:?}"), "***");
    }

    #[test]
    fn development_keys_are_legal_keys_and_all_different() {
        let policies = development_policies();
        let mut texts: Vec<_> = policies
            .iter()
            .flat_map(|p| [p.keys.primary.to_base64(), p.keys.secondary.to_base64()])
            .collect();
        assert!(texts.iter().all(|text| SymmetricKey::from_base64(text).is_ok()));
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 10);
    }

    #[test]
    fn a_policy_token_for_a_device_reaches_its_modules_and_a_device_token_does_not() {
        let device = IdentityId::parse("d", None).unwrap();
        let module = IdentityId::parse("d", Some("m")).unwrap();
        let mut grant = Grant {
            subject: Subject::Policy(PolicyName::parse("device").unwrap()),
            scope: Scope::Identity(device.clone()),
            permissions: Permissions::DEVICE_CONNECT,
            expires_at: None,
            credential: CredentialKind::SasPolicy,
            revision: None,
        };
        assert!(grant.covers(&device) && grant.covers(&module));
        assert!(!grant.covers(&IdentityId::parse("e", None).unwrap()));
        grant.subject = Subject::Identity(device.clone());
        assert!(grant.covers(&device) && !grant.covers(&module));
    }
}
