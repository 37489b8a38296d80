//! `/ca.pem` and `/connection-strings`: what a client needs to get in (contract/rest.md 5.3).
//!
//! The keys of the hub's policies are development keys, public on purpose; the listener is loopback only unless
//! its owner says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use hub::access::SymmetricKey;
use hub::identity::AuthenticationMechanism;
use hub::ids::IdentityId;
use serde::Serialize;

use crate::error::Answer;
use crate::state::AdminState;
use crate::{json, names, query, render};

pub(super) async fn root_certificate(State(state): State<AdminState>) -> Response {
    render::text(state.root_certificate.to_string(), names::value::PEM)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPolicies<'a> {
    host_name: &'a str,
    policies: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfIdentity<'a> {
    host_name: &'a str,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    connection_string: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary_connection_string: Option<String>,
}

/// Those of the policies, or with `?device=` and `&module=` those of one identity.
pub(super) async fn connection_strings(State(state): State<AdminState>, uri: Uri) -> Answer {
    let Some(identity) = identity(&uri)? else { return Ok(of_policies(&state)) };
    let host = &state.host_name;
    let with = |credential: String| connection_string(host, &identity, &credential);
    let with_key = |key: &SymmetricKey| with(format!("SharedAccessKey={}", key.to_base64()));
    let (first, second) = match state.hub.authentication(&identity)?.mechanism {
        AuthenticationMechanism::Sas(keys) => (with_key(&keys.primary), Some(with_key(&keys.secondary))),
        AuthenticationMechanism::CertificateAuthority | AuthenticationMechanism::SelfSigned(_) => {
            (with("x509=true".to_owned()), None)
        }
        AuthenticationMechanism::None => {
            return Err(json::invalid(format!("'{identity}' accepts no credential yet.")).into());
        }
    };
    Ok(render::json(&OfIdentity {
        host_name: host,
        device_id: identity.device.as_str(),
        module_id: identity.module.as_ref().map(hub::ids::ModuleId::as_str),
        connection_string: first,
        secondary_connection_string: second,
    }))
}

fn of_policies(state: &AdminState) -> Response {
    let host: &Arc<str> = &state.host_name;
    let policies = state.hub.policies().iter().map(|policy| {
        let key = policy.keys.primary.to_base64();
        let text = format!("HostName={host};SharedAccessKeyName={};SharedAccessKey={key}", policy.name);
        (policy.name.as_str(), text)
    });
    render::json(&OfPolicies { host_name: host, policies: policies.collect() })
}

fn connection_string(host: &str, identity: &IdentityId, credential: &str) -> String {
    let module = identity.module.as_ref().map(|module| format!("ModuleId={module};")).unwrap_or_default();
    format!("HostName={host};DeviceId={};{module}{credential}", identity.device)
}

/// The identity a request is about; `None` when it names none.
pub(super) fn identity(uri: &Uri) -> Result<Option<IdentityId>, hub::error::HubError> {
    let device = query::parameter(uri, names::query::DEVICE);
    let module = query::parameter(uri, names::query::MODULE);
    match device {
        Some(device) => IdentityId::parse(&device, module.as_deref()).map(Some),
        None if module.is_some() => Err(json::invalid("A module is named without its device.")),
        None => Ok(None),
    }
}
