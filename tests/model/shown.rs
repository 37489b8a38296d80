//! The core's answers and the model's state in one plain form, so that a difference prints as one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hub::device_session::{ConnectionState, Presence};
use hub::identity::{AuthenticationMechanism, Device, DeviceScope, DeviceStatus, Module};
use hub::ids::IdentityId;
use hub::time::Timestamp;
use hub::twin::Twin;
use serde_json::{Value, json};

use crate::naive::{NaiveAuthentication, NaiveIdentity, NaiveKind};

/// The mechanism with its secrets, as the model keeps it.
pub(crate) fn authentication(mechanism: &AuthenticationMechanism) -> NaiveAuthentication {
    match mechanism {
        AuthenticationMechanism::CertificateAuthority => NaiveAuthentication::CertificateAuthority,
        AuthenticationMechanism::None => NaiveAuthentication::None,
        AuthenticationMechanism::Sas(keys) => NaiveAuthentication::Sas {
            primary: Some(keys.primary.to_base64()),
            secondary: Some(keys.secondary.to_base64()),
        },
        AuthenticationMechanism::SelfSigned(prints) => {
            let text =
                |print: &Option<hub::identity::Thumbprint>| print.as_ref().map(|p| p.as_str().to_owned());
            NaiveAuthentication::SelfSigned {
                primary: text(&prints.primary),
                secondary: text(&prints.secondary),
            }
        }
    }
}

/// base64 of an 8-byte big-endian counter.
pub(crate) fn twin_etag(counter: u64) -> String {
    BASE64.encode(counter.to_be_bytes())
}

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(at.to_string()))
}

fn text(scope: Option<&DeviceScope>) -> Option<String> {
    scope.map(ToString::to_string)
}

fn presence(presence: &Presence) -> Value {
    json!({
        "connected": presence.state == ConnectionState::Connected,
        "since": time(presence.state_updated),
        "active": time(presence.last_activity),
    })
}

pub(crate) fn device(device: &Device) -> Value {
    json!({
        "id": device.id.as_str(),
        "generation": device.generation_id.to_string(),
        "etag": device.etag.as_str(),
        "enabled": device.status == DeviceStatus::Enabled,
        "reason": device.status_reason,
        "status since": time(device.status_updated),
        "authentication": format!("{:?}", authentication(&device.authentication)),
        "edge": device.iot_edge,
        "scope": text(device.device_scope.as_ref()),
        "parents": device.parent_scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "pending": device.pending_messages,
        "presence": presence(&device.presence),
    })
}

pub(crate) fn module(module: &Module) -> Value {
    json!({
        "id": format!("{}/{}", module.device, module.id),
        "generation": module.generation_id.to_string(),
        "etag": module.etag.as_str(),
        "managed by": module.managed_by,
        "authentication": format!("{:?}", authentication(&module.authentication)),
        "presence": presence(&module.presence),
    })
}

/// The documents as the hub writes them.
pub(crate) fn written(twin: &Twin) -> Vec<u8> {
    let mut text = b"[".to_vec();
    twin.write_tags(&mut text);
    text.push(b',');
    twin.write_desired(&mut text);
    text.push(b',');
    twin.write_reported(&mut text);
    text.push(b']');
    text
}

/// All of a twin.
pub(crate) fn twin(twin: &Twin) -> Value {
    let mut shown = twin_head(twin);
    shown["documents"] = serde_json::from_slice(&written(twin)).expect("the core writes JSON");
    shown
}

/// A twin without its documents.
pub(crate) fn twin_head(twin: &Twin) -> Value {
    json!({
        "id": twin.identity.to_string(),
        "etag": twin.etag.as_str(),
        "version": twin.version,
        "model": twin.model_id.as_deref().unwrap_or_default(),
        "owner etag": twin.owner.etag.as_str(),
        "enabled": twin.owner.status == DeviceStatus::Enabled,
        "reason": twin.owner.status_reason,
        "status since": time(twin.owner.status_updated),
        "authentication": format!("{:?}", authentication(&twin.owner.authentication)),
        "edge": twin.owner.iot_edge,
        "scope": text(twin.owner.device_scope.as_ref()),
        "parents": twin.owner.parent_scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "pending": twin.owner.pending_messages,
        "presence": presence(&twin.owner.presence),
    })
}

impl NaiveIdentity {
    fn presence(&self) -> Value {
        json!({
            "connected": self.is_connected,
            "since": time(self.state_updated),
            "active": time(self.last_activity),
        })
    }

    /// The identity as the registry should show it.
    pub(crate) fn shown(&self, id: &IdentityId) -> Value {
        let mut shown = json!({
            "id": id.to_string(),
            "generation": self.generation_id,
            "etag": self.etag,
            "authentication": format!("{:?}", self.authentication),
            "presence": self.presence(),
        });
        match &self.kind {
            NaiveKind::Device { is_enabled, status_reason, status_updated, iot_edge, parent } => {
                shown["enabled"] = json!(is_enabled);
                shown["reason"] = json!(status_reason);
                shown["status since"] = time(*status_updated);
                shown["edge"] = json!(iot_edge);
                shown["scope"] = if *iot_edge { json!(self.scope(&id.device)) } else { json!(parent) };
                shown["parents"] = parent.iter().cloned().collect();
                shown["pending"] = json!(self.messages.len());
            }
            NaiveKind::Module { managed_by } => shown["managed by"] = json!(managed_by),
        }
        shown
    }

    /// The twin as services should see it; `device` is the identity's device.
    pub(crate) fn twin_shown(&self, id: &IdentityId, device: &Self) -> Value {
        let (desired, reported) = (self.twin.desired.for_service(), self.twin.reported.for_service());
        let mut shown = self.twin_head_shown(id, device);
        shown["documents"] = json!([self.twin.tags, desired, reported]);
        shown
    }

    /// The same without its documents.
    pub(crate) fn twin_head_shown(&self, id: &IdentityId, device: &Self) -> Value {
        let device = device.shown(&IdentityId::device(id.device.clone()));
        let (scope, parents) = match id.is_module() {
            true => (Value::Null, json!([])),
            false => (device["scope"].clone(), device["parents"].clone()),
        };
        json!({
            "id": id.to_string(),
            "etag": twin_etag(self.twin.etag),
            "version": self.twin.version,
            "model": self.twin.model_id,
            "owner etag": self.etag,
            "enabled": device["enabled"],
            "reason": device["reason"],
            "status since": device["status since"],
            "authentication": format!("{:?}", self.authentication),
            "edge": device["edge"],
            "scope": scope,
            "parents": parents,
            "pending": self.messages.len(),
            "presence": self.presence(),
        })
    }
}
