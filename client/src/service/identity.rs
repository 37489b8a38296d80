//! Device and module identities as the registry shows them (contract/rest.md section 2). Members this version
//! does not know are ignored, members the hub leaves out read as empty.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::connection_string::{DeviceConnectionString, DeviceCredential};
use crate::error::Error;
use crate::identity_id::IdentityId;
use crate::sas::SharedAccessKey;

/// A device identity. [`Device::new`] makes one to create; the hub fills in the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Device {
    /// Its name.
    pub device_id: String,
    /// Tells a device from an earlier one of the same name. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// The version of this identity. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether it may connect.
    #[serde(default)]
    pub status: DeviceStatus,
    /// Why it has that status, in up to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Whether it is connected. Set by the hub.
    #[serde(default, skip_serializing)]
    pub connection_state: ConnectionState,
    /// When it was last heard of. Set by the hub.
    #[serde(default, skip_serializing)]
    pub last_activity_time: Option<String>,
    /// Cloud-to-device messages waiting for it. Set by the hub.
    #[serde(default, skip_serializing)]
    pub cloud_to_device_message_count: u32,
    /// How it signs in. Left out, the hub makes two keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// What else it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<DeviceCapabilities>,
}

/// A module identity. [`Module::new`] makes one to create; the hub fills in the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Module {
    /// The device it lives on.
    pub device_id: String,
    /// Its name on that device.
    pub module_id: String,
    /// Tells a module from an earlier one of the same name. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// The version of this identity. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Who looks after it, such as `iotEdge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Whether it is connected. Set by the hub.
    #[serde(default, skip_serializing)]
    pub connection_state: ConnectionState,
    /// When it was last heard of. Set by the hub.
    #[serde(default, skip_serializing)]
    pub last_activity_time: Option<String>,
    /// How it signs in. Left out, the hub makes two keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// How a device or module signs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Authentication {
    /// Which of the ways it is.
    #[serde(rename = "type", default)]
    pub kind: AuthenticationType,
    /// Its keys, for `Sas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKey>,
    /// Its certificates' thumbprints, for `SelfSigned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
}

/// The ways to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum AuthenticationType {
    /// A certificate issued by an authority registered with the hub.
    CertificateAuthority,
    /// Not at all; modules of a gateway before first use.
    None,
    /// Tokens signed with a symmetric key.
    #[default]
    Sas,
    /// A certificate whose thumbprint the hub knows.
    SelfSigned,
    /// A way this version does not know.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// Two keys, so that one can be replaced while the other is in use. `Debug` prints `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SymmetricKey {
    /// The first, as Base64.
    pub primary_key: Option<String>,
    /// The second, as Base64.
    pub secondary_key: Option<String>,
}

/// Two thumbprints, SHA-1 or SHA-256 in hex, so that one certificate can be replaced while the other is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct X509Thumbprint {
    /// The first.
    pub primary_thumbprint: Option<String>,
    /// The second.
    pub secondary_thumbprint: Option<String>,
}

/// Whether a device may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum DeviceStatus {
    /// Refused, with all its modules.
    Disabled,
    /// Allowed.
    #[default]
    Enabled,
}

/// Whether an identity is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Yes.
    Connected,
    /// No.
    #[default]
    Disconnected,
}

/// What else a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceCapabilities {
    /// An IoT Edge device.
    pub iot_edge: bool,
}

/// Which version a write expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfMatch {
    /// Whichever is there.
    Any,
    /// Only this one; fails with `PreconditionFailed` when somebody wrote in between.
    ETag(String),
}

impl Device {
    /// A device to create, with keys made by the hub.
    #[must_use]
    pub fn new(id: &IdentityId) -> Self {
        Self {
            device_id: id.device().to_owned(),
            generation_id: None,
            etag: None,
            status: DeviceStatus::Enabled,
            status_reason: None,
            connection_state: ConnectionState::Disconnected,
            last_activity_time: None,
            cloud_to_device_message_count: 0,
            authentication: None,
            capabilities: None,
        }
    }

    /// Signs in this way instead.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// What a device program is started with.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the hub's answer holds neither a key nor a certificate to sign in with.
    pub fn connection_string(&self, host_name: &str) -> Result<DeviceConnectionString, Error> {
        let id = IdentityId::of_device(self.device_id.as_str())?;
        connection_string(host_name, id, self.authentication.as_ref())
    }

    /// The version read, for a write that must not undo somebody else's.
    #[must_use]
    pub fn if_match(&self) -> IfMatch {
        IfMatch::of(self.etag.as_deref())
    }
}

impl Module {
    /// A module to create, with keys made by the hub; none when `id` names a device.
    #[must_use]
    pub fn new(id: &IdentityId) -> Option<Self> {
        Some(Self {
            device_id: id.device().to_owned(),
            module_id: id.module()?.to_owned(),
            generation_id: None,
            etag: None,
            managed_by: None,
            connection_state: ConnectionState::Disconnected,
            last_activity_time: None,
            authentication: None,
        })
    }

    /// Signs in this way instead.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// What a module program is started with.
    ///
    /// # Errors
    /// As [`Device::connection_string`].
    pub fn connection_string(&self, host_name: &str) -> Result<DeviceConnectionString, Error> {
        let id = IdentityId::of_module(self.device_id.as_str(), self.module_id.as_str())?;
        connection_string(host_name, id, self.authentication.as_ref())
    }

    /// The version read, for a write that must not undo somebody else's.
    #[must_use]
    pub fn if_match(&self) -> IfMatch {
        IfMatch::of(self.etag.as_deref())
    }
}

impl Authentication {
    /// Tokens signed with these keys.
    #[must_use]
    pub fn sas(primary: &SharedAccessKey, secondary: &SharedAccessKey) -> Self {
        let symmetric_key = Some(SymmetricKey {
            primary_key: Some(primary.to_base64()),
            secondary_key: Some(secondary.to_base64()),
        });
        Self { kind: AuthenticationType::Sas, symmetric_key, x509_thumbprint: None }
    }

    /// A certificate with one of these thumbprints, SHA-1 or SHA-256 in hex.
    #[must_use]
    pub fn self_signed(primary: impl Into<String>, secondary: Option<String>) -> Self {
        let x509_thumbprint = Some(X509Thumbprint {
            primary_thumbprint: Some(primary.into()),
            secondary_thumbprint: secondary,
        });
        Self { kind: AuthenticationType::SelfSigned, symmetric_key: None, x509_thumbprint }
    }

    /// A certificate with the identity as common name, issued by an authority the hub knows.
    #[must_use]
    pub const fn certificate_authority() -> Self {
        Self { kind: AuthenticationType::CertificateAuthority, symmetric_key: None, x509_thumbprint: None }
    }
}

impl IfMatch {
    pub(super) fn of(etag: Option<&str>) -> Self {
        etag.map_or(Self::Any, |etag| Self::ETag(etag.to_owned()))
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(***)")
    }
}

fn connection_string(
    host_name: &str,
    id: IdentityId,
    authentication: Option<&Authentication>,
) -> Result<DeviceConnectionString, Error> {
    let credential = match authentication {
        Some(Authentication {
            kind: AuthenticationType::SelfSigned | AuthenticationType::CertificateAuthority,
            ..
        }) => DeviceCredential::X509,
        Some(Authentication { symmetric_key: Some(SymmetricKey { primary_key: Some(key), .. }), .. }) => {
            DeviceCredential::Key { key: SharedAccessKey::from_base64(key)?, policy: None }
        }
        _ => {
            return Err(Error::configuration(format!(
                "\"{id}\" has neither a key nor a certificate to sign in with"
            )));
        }
    };
    Ok(DeviceConnectionString::new(host_name, id, credential))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURED: &str = r#"{"deviceId":"d1","generationId":"637541234567890123","etag":"NzQxMTYyNTA3",
        "connectionState":"Disconnected","status":"enabled","statusReason":null,
        "connectionStateUpdatedTime":"0001-01-01T00:00:00","lastActivityTime":"0001-01-01T00:00:00",
        "cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":"MDEy","secondaryKey":"MzQ1"},
        "x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},
        "capabilities":{"iotEdge":false},"somethingNew":1}"#;

    #[test]
    fn a_device_of_the_hub_is_read_and_gives_its_connection_string() {
        let device: Device = serde_json::from_str(CAPTURED).unwrap();
        assert_eq!(device.if_match(), IfMatch::ETag("NzQxMTYyNTA3".into()));
        assert_eq!(
            device.connection_string("h").unwrap().to_string(),
            "HostName=h;DeviceId=d1;SharedAccessKey=MDEy"
        );
        assert!(!format!("{device:?}").contains("MDEy"));
    }

    #[test]
    fn a_new_device_asks_for_nothing_the_hub_should_decide() {
        let device = Device::new(&IdentityId::of_device("d1").unwrap());
        assert_eq!(serde_json::to_string(&device).unwrap(), r#"{"deviceId":"d1","status":"enabled"}"#);
        assert!(device.connection_string("h").is_err());
    }

    #[test]
    fn a_certificate_identity_gives_a_string_without_a_key() {
        let id = IdentityId::of_module("d", "m").unwrap();
        let module = Module::new(&id).unwrap().with_authentication(Authentication::self_signed("AB", None));
        assert_eq!(
            module.connection_string("h").unwrap().to_string(),
            "HostName=h;DeviceId=d;ModuleId=m;x509=true"
        );
        assert!(Module::new(&IdentityId::of_device("d").unwrap()).is_none());
    }

    #[test]
    fn an_authentication_type_of_a_newer_hub_does_not_break_reading() {
        let read: Authentication = serde_json::from_str(r#"{"type":"quantum"}"#).unwrap();
        assert_eq!(read.kind, AuthenticationType::Unknown);
    }
}
