//! `/admin/connections`, `/admin/events`, `/admin/journal`: what is connected, what an event hub holds, what was asked
//! of the hub and how it ended. Newest first where there is an order in time.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hub::Hub;
use hub::access::{CredentialKind, Subject};
use hub::device_session::ConnectionView;
use hub::error::{ErrorCode, HubError};
use hub::events::{self, EventPosition};
use hub::gate::{JournalEntry, Outcome, Target};
use hub::ids::{DeviceId, IdentityId, ModuleId};
use hub::routing::BUILT_IN_ENDPOINT;
use hub::telemetry::MessageProperties;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::admin::consumer_groups;
use crate::admin::credentials::identity;
use crate::error::Answer;
use crate::names::value;
use crate::{json, names, query, render};

/// Rows of one answer unless the caller says otherwise; ours.
const ROWS_DEFAULT: usize = 100;
/// Rows of one answer at most; ours.
const ROWS_MAX: usize = 1000;
/// Bytes of event bodies in one answer; ours. The newest event is always there.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) async fn connections(State(hub): State<Arc<Hub>>) -> Response {
    let sessions = hub.connections();
    render::json(&sessions.iter().map(Connection::from).collect::<Vec<_>>())
}

pub(super) async fn events(State(hub): State<Arc<Hub>>, uri: Uri) -> Answer {
    let device = query::parameter(&uri, names::query::DEVICE).map(|id| DeviceId::parse(&id)).transpose()?;
    let event_hub = query::parameter(&uri, names::query::EVENT_HUB);
    let event_hub = consumer_groups::event_hub(&hub, event_hub.as_deref().unwrap_or(BUILT_IN_ENDPOINT))?;
    let newest = event_hub.newest(limit(&uri)?, device.as_ref());
    let mut bytes = 0;
    let fitting = newest.iter().take_while(|(_, event)| {
        let fits = bytes == 0 || bytes + event.data.body.len() <= BODY_BYTES_MAX;
        bytes += event.data.body.len();
        fits
    });
    Ok(render::json(&fitting.map(|(partition, event)| Event::new(*partition, event)).collect::<Vec<_>>()))
}

pub(super) async fn journal(State(hub): State<Arc<Hub>>, uri: Uri) -> Answer {
    let entries = hub.journal().recent(limit(&uri)?, identity(&uri)?.as_ref());
    Ok(render::json(&entries.iter().map(Entry::from).collect::<Vec<_>>()))
}

fn limit(uri: &Uri) -> Result<usize, HubError> {
    let Some(text) = query::parameter(uri, names::query::LIMIT) else { return Ok(ROWS_DEFAULT) };
    match text.parse() {
        Ok(limit @ 1..=ROWS_MAX) => Ok(limit),
        _ => Err(json::invalid(format!("The query parameter 'limit' is a number from 1 to {ROWS_MAX}."))),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    connection: u64,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    protocol: &'static str,
    peer: String,
    credential: &'static str,
    connected_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_info: Option<&'a str>,
}

impl<'a> From<&'a ConnectionView> for Connection<'a> {
    fn from(view: &'a ConnectionView) -> Self {
        Self {
            connection: view.connection.0,
            device_id: view.identity.device.as_str(),
            module_id: module_id(&view.identity),
            protocol: view.protocol.0,
            peer: view.peer.to_string(),
            credential: view.credential.as_str(),
            connected_at: view.connected_at.to_string(),
            credential_expires_at: text(view.expires_at),
            product_info: view.product_info.as_deref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    partition: u8,
    sequence_number: i64,
    offset: u64,
    enqueued_time_utc: String,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    system_properties: SystemProperties<'a>,
    properties: Map<String, Value>,
    body: String,
    body_encoding: &'static str,
}

impl<'a> Event<'a> {
    fn new(partition: u8, event: &'a events::Event) -> Self {
        let EventPosition { sequence_number, offset, enqueued_at } = event.position;
        let data = &*event.data;
        let (body, body_encoding) = match std::str::from_utf8(&data.body) {
            Ok(text) => (text.to_owned(), value::UTF_8),
            Err(_) => (BASE64.encode(&data.body), "base64"),
        };
        let sender = data.sender.as_ref();
        let application = event.application_properties();
        Self {
            partition,
            sequence_number,
            offset,
            enqueued_time_utc: enqueued_at.to_string(),
            device_id: data.identity.device.as_str(),
            module_id: module_id(&data.identity),
            source: data.source.as_str(),
            auth_method: sender.map(|sender| sender.auth_method),
            generation_id: text(sender.map(|sender| sender.generation_id)),
            model_id: sender.and_then(|sender| sender.model_id.as_deref()),
            system_properties: SystemProperties::from(&data.properties),
            properties: application.map(|(name, value)| (name.to_owned(), value.into())).collect(),
            body,
            body_encoding,
        }
    }
}

/// What the sender set, under the names AMQP gives it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SystemProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time_utc: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absolute_expiry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_name: Option<&'a str>,
}

impl<'a> From<&'a MessageProperties> for SystemProperties<'a> {
    fn from(set: &'a MessageProperties) -> Self {
        Self {
            message_id: set.message_id.as_deref(),
            correlation_id: set.correlation_id.as_deref(),
            user_id: set.user_id.as_deref(),
            to: set.to.as_deref(),
            content_type: set.content_type.as_deref(),
            content_encoding: set.content_encoding.as_deref(),
            creation_time_utc: set.creation_time_utc.as_deref(),
            absolute_expiry: set.absolute_expiry.as_deref(),
            subject: set.subject.as_deref(),
            interface_id: set.interface_id.as_deref(),
            schema: set.schema.as_deref(),
            output_name: set.output_name.as_deref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    at: String,
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    /// The policy whose key signed, or the identity whose own credential it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'static str>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl<'a> From<&'a JournalEntry> for Entry<'a> {
    fn from(entry: &'a JournalEntry) -> Self {
        let target = match &entry.target {
            Target::Events(_) | Target::Hub => None,
            Target::Identity(identity) => Some(identity),
        };
        let (policy, identity) = match &entry.subject {
            None => (None, None),
            Some(Subject::Policy(name)) => (Some(name.as_str()), None),
            Some(Subject::Identity(identity)) => (None, Some(identity.to_string())),
        };
        let (outcome, error) = outcome(entry.outcome);
        Self {
            at: entry.at.to_string(),
            operation: entry.operation,
            device_id: target.map(|identity| identity.device.as_str()),
            module_id: target.and_then(module_id),
            policy,
            identity,
            credential: entry.credential.map(CredentialKind::as_str),
            protocol: entry.protocol.0,
            connection: entry.connection.map(|connection| connection.0),
            outcome,
            error_code: error.map(ErrorCode::number),
            error: error.map(ErrorCode::name),
        }
    }
}

const fn outcome(outcome: Outcome) -> (&'static str, Option<ErrorCode>) {
    match outcome {
        Outcome::Abandoned => ("abandoned", None),
        Outcome::Failed(code) => ("failed", Some(code)),
        Outcome::Refused(code) => ("refused", Some(code)),
        Outcome::Succeeded => ("succeeded", None),
    }
}

fn module_id(identity: &IdentityId) -> Option<&str> {
    identity.module.as_ref().map(ModuleId::as_str)
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}
