//! Identities as the service shows them (contract/rest.md 2.1, 2.2). Nothing optional is left out that an SDK
//! misses: Java throws without `authentication`.

use axum::response::Response;
use hub::device_session::{ConnectionState, Presence};
use hub::identity::{
    AuthenticationMechanism, AuthenticationType, Device, DeviceStatus, Module, ScopePage, Thumbprint,
    Thumbprints,
};
use hub::ids::ETag;
use hub::time::Timestamp;
use serde::Serialize;

use crate::names::term;
use crate::render;

pub(super) fn device(device: &Device) -> Response {
    with_etag(&DeviceJson::from(device), &device.etag)
}

pub(super) fn devices(devices: &[Device]) -> Response {
    render::json(&devices.iter().map(DeviceJson::from).collect::<Vec<_>>())
}

pub(crate) fn module(module: &Module) -> Response {
    with_etag(&ModuleJson::from(module), &module.etag)
}

pub(crate) fn modules(modules: &[Module]) -> Response {
    render::json(&modules.iter().map(ModuleJson::from).collect::<Vec<_>>())
}

/// What an edge hub may know of; all three members are always there (contract/rest.md 1.15).
pub(crate) fn scope(page: &ScopePage, continuation_link: Option<String>) -> Response {
    render::json(&ScopeJson {
        devices: page.devices.iter().map(DeviceJson::from).collect(),
        modules: page.modules.iter().map(ModuleJson::from).collect(),
        continuation_link,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeJson<'a> {
    devices: Vec<DeviceJson<'a>>,
    modules: Vec<ModuleJson<'a>>,
    continuation_link: Option<String>,
}

fn with_etag(body: &impl Serialize, etag: &ETag) -> Response {
    render::with_etag(render::json(body), etag)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceJson<'a> {
    device_id: &'a str,
    generation_id: String,
    etag: &'a str,
    connection_state: &'static str,
    status: &'static str,
    status_reason: Option<&'a str>,
    connection_state_updated_time: String,
    status_updated_time: String,
    last_activity_time: String,
    cloud_to_device_message_count: usize,
    authentication: AuthenticationJson<'a>,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parent_scopes: Vec<String>,
}

impl<'a> From<&'a Device> for DeviceJson<'a> {
    fn from(device: &'a Device) -> Self {
        let Presence { state, state_updated, last_activity } = device.presence;
        Self {
            device_id: device.id.as_str(),
            generation_id: device.generation_id.to_string(),
            etag: device.etag.as_str(),
            connection_state: connection_state(state),
            status: status(device.status),
            status_reason: device.status_reason.as_deref(),
            connection_state_updated_time: stamp(state_updated),
            status_updated_time: stamp(device.status_updated),
            last_activity_time: stamp(last_activity),
            cloud_to_device_message_count: device.pending_messages,
            authentication: AuthenticationJson::from(&device.authentication),
            capabilities: Capabilities { iot_edge: device.iot_edge },
            device_scope: device.device_scope.as_ref().map(ToString::to_string),
            parent_scopes: device.parent_scopes.iter().map(ToString::to_string).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModuleJson<'a> {
    module_id: &'a str,
    managed_by: Option<&'a str>,
    device_id: &'a str,
    generation_id: String,
    etag: &'a str,
    connection_state: &'static str,
    connection_state_updated_time: String,
    last_activity_time: String,
    cloud_to_device_message_count: usize,
    authentication: AuthenticationJson<'a>,
}

impl<'a> From<&'a Module> for ModuleJson<'a> {
    fn from(module: &'a Module) -> Self {
        let Presence { state, state_updated, last_activity } = module.presence;
        Self {
            module_id: module.id.as_str(),
            managed_by: module.managed_by.as_deref(),
            device_id: module.device.as_str(),
            generation_id: module.generation_id.to_string(),
            etag: module.etag.as_str(),
            connection_state: connection_state(state),
            connection_state_updated_time: stamp(state_updated),
            last_activity_time: stamp(last_activity),
            cloud_to_device_message_count: 0,
            authentication: AuthenticationJson::from(&module.authentication),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capabilities {
    pub(crate) iot_edge: bool,
}

/// How an identity proves who it is; secrets of another type than its own read as null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationJson<'a> {
    symmetric_key: KeysJson,
    x509_thumbprint: ThumbprintsJson<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> From<&'a AuthenticationMechanism> for AuthenticationJson<'a> {
    fn from(mechanism: &'a AuthenticationMechanism) -> Self {
        let keys = match mechanism {
            AuthenticationMechanism::Sas(keys) => {
                (Some(keys.primary.to_base64()), Some(keys.secondary.to_base64()))
            }
            AuthenticationMechanism::CertificateAuthority
            | AuthenticationMechanism::None
            | AuthenticationMechanism::SelfSigned(_) => (None, None),
        };
        Self {
            symmetric_key: KeysJson { primary_key: keys.0, secondary_key: keys.1 },
            x509_thumbprint: ThumbprintsJson::from(mechanism),
            kind: authentication_type(mechanism.kind()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeysJson {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ThumbprintsJson<'a> {
    primary_thumbprint: Option<&'a str>,
    secondary_thumbprint: Option<&'a str>,
}

impl<'a> From<Option<&'a Thumbprints>> for ThumbprintsJson<'a> {
    fn from(thumbprints: Option<&'a Thumbprints>) -> Self {
        let primary = thumbprints.and_then(|it| it.primary.as_ref());
        let secondary = thumbprints.and_then(|it| it.secondary.as_ref());
        Self {
            primary_thumbprint: primary.map(Thumbprint::as_str),
            secondary_thumbprint: secondary.map(Thumbprint::as_str),
        }
    }
}

impl<'a> From<&'a AuthenticationMechanism> for ThumbprintsJson<'a> {
    fn from(mechanism: &'a AuthenticationMechanism) -> Self {
        match mechanism {
            AuthenticationMechanism::SelfSigned(thumbprints) => Some(thumbprints).into(),
            AuthenticationMechanism::CertificateAuthority
            | AuthenticationMechanism::None
            | AuthenticationMechanism::Sas(_) => None.into(),
        }
    }
}

pub(crate) const fn connection_state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Connected => term::CONNECTED,
        ConnectionState::Disconnected => term::DISCONNECTED,
    }
}

pub(crate) const fn status(status: DeviceStatus) -> &'static str {
    match status {
        DeviceStatus::Disabled => term::DISABLED,
        DeviceStatus::Enabled => term::ENABLED,
    }
}

pub(crate) const fn authentication_type(kind: AuthenticationType) -> &'static str {
    match kind {
        AuthenticationType::CertificateAuthority => term::CERTIFICATE_AUTHORITY,
        AuthenticationType::None => term::NONE,
        AuthenticationType::Sas => term::SAS,
        AuthenticationType::SelfSigned => term::SELF_SIGNED,
    }
}

fn stamp(at: Option<Timestamp>) -> String {
    at.map_or_else(|| term::UNSET_IN_IDENTITY.to_owned(), |at| at.to_string())
}
