//! A twin as the service shows it (contract/rest.md 3.1). Members that can be absent are absent when they have no
//! value; a module's twin has no capabilities and no scopes.
//!
//! The core writes the sections as JSON text, so the members before and after them are written apart.

use std::borrow::Cow;

use axum::response::Response;
use hub::ids::ModuleId;
use hub::time::Timestamp;
use hub::twin::{Twin, TwinOwner};
use serde::Serialize;

use crate::names::{section, term};
use crate::registry::render::{Capabilities, ThumbprintsJson, authentication_type, connection_state, status};
use crate::render;

/// What most twins are shorter than.
const TEXT_BYTES: usize = 2048;

pub(super) fn twin(twin: &Twin) -> Response {
    render::with_etag(render::json_text(text(twin)), &twin.etag)
}

fn text(twin: &Twin) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(TEXT_BYTES);
    serde_json::to_writer(&mut text, &Before::from(twin))?;
    text.pop();
    text.extend_from_slice(section::TAGS);
    twin.write_tags(&mut text);
    text.extend_from_slice(section::DESIRED);
    twin.write_desired(&mut text);
    text.extend_from_slice(section::REPORTED);
    twin.write_reported(&mut text);
    text.push(b'}');
    if twin.identity.is_module() {
        text.push(b'}');
    } else {
        let joint = text.len();
        serde_json::to_writer(&mut text, &After::from(&twin.owner))?;
        text[joint] = b',';
    }
    Ok(text)
}

/// What stands before the sections.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Before<'a> {
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    etag: &'a str,
    device_etag: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    /// Spelled `statusUpdatedTime` in the identity.
    status_update_time: Cow<'static, str>,
    connection_state: &'static str,
    last_activity_time: Cow<'static, str>,
    cloud_to_device_message_count: usize,
    authentication_type: &'static str,
    x509_thumbprint: ThumbprintsJson<'a>,
    model_id: &'a str,
    version: u64,
}

/// What stands after them in a device's twin.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct After {
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_scope: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parent_scopes: Vec<String>,
}

impl<'a> From<&'a Twin> for Before<'a> {
    fn from(twin: &'a Twin) -> Self {
        let owner = &twin.owner;
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
            cloud_to_device_message_count: owner.pending_messages,
            authentication_type: authentication_type(owner.authentication.kind()),
            x509_thumbprint: ThumbprintsJson::from(&owner.authentication),
            model_id: twin.model_id.as_deref().unwrap_or_default(),
            version: twin.version,
        }
    }
}

impl From<&TwinOwner> for After {
    fn from(owner: &TwinOwner) -> Self {
        Self {
            capabilities: Capabilities { iot_edge: owner.iot_edge },
            device_scope: owner.device_scope.as_ref().map(ToString::to_string),
            parent_scopes: owner.parent_scopes.iter().map(ToString::to_string).collect(),
        }
    }
}

fn stamp(at: Option<Timestamp>) -> Cow<'static, str> {
    at.map_or(Cow::Borrowed(term::UNSET_IN_TWIN), |at| Cow::Owned(at.to_string()))
}
