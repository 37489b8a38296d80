//! A twin as the service shows it (contract/rest.md 3.1). Members that can be absent are absent when they have no
//! value; a module's twin has no capabilities.

use axum::response::Response;
use hub::ids::ModuleId;
use hub::time::Timestamp;
use hub::twin::{Twin, TwinOwner};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::names::term;
use crate::registry::render::{
    Capabilities, ThumbprintsJson, WAITING_MESSAGES, authentication_type, connection_state, status,
};
use crate::render;

pub(super) fn twin(twin: &Twin) -> Response {
    render::with_etag(render::json(&TwinJson::from(twin)), &twin.etag)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TwinJson<'a> {
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    etag: &'a str,
    device_etag: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    /// Spelled `statusUpdatedTime` in the identity.
    status_update_time: String,
    connection_state: &'static str,
    last_activity_time: String,
    cloud_to_device_message_count: u32,
    authentication_type: &'static str,
    x509_thumbprint: ThumbprintsJson<'a>,
    model_id: &'a str,
    version: u64,
    tags: &'a RawValue,
    properties: Properties<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
}

#[derive(Serialize)]
struct Properties<'a> {
    desired: &'a RawValue,
    reported: &'a RawValue,
}

impl<'a> From<&'a Twin> for TwinJson<'a> {
    fn from(twin: &'a Twin) -> Self {
        let owner: &TwinOwner = &twin.owner;
        let is_module = twin.identity.is_module();
        Self {
            device_id: twin.identity.device.as_str(),
            module_id: twin.identity.module.as_ref().map(ModuleId::as_str),
            etag: twin.etag.as_str(),
            device_etag: owner.etag.as_str(),
            status: status(owner.status),
            status_reason: owner.status_reason.as_deref(),
            status_update_time: stamp(owner.status_updated),
            connection_state: connection_state(owner.presence.state),
            last_activity_time: stamp(owner.presence.last_activity),
            cloud_to_device_message_count: WAITING_MESSAGES,
            authentication_type: authentication_type(owner.authentication.kind()),
            x509_thumbprint: ThumbprintsJson::from(&owner.authentication),
            model_id: &twin.model_id,
            version: twin.version,
            tags: &twin.tags,
            properties: Properties { desired: &twin.desired, reported: &twin.reported },
            capabilities: (!is_module).then_some(Capabilities { iot_edge: owner.iot_edge }),
        }
    }
}

fn stamp(at: Option<Timestamp>) -> String {
    at.map_or_else(|| term::UNSET_IN_TWIN.to_owned(), |at| at.to_string())
}
