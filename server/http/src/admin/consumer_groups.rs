//! `/admin/event-hubs/{hub}/consumer-groups/{group}`: who may read an event hub. The built-in event hub is found under
//! the hub's name and, as in the service's own path, under `events`.

use std::sync::Arc;

use axum::extract::{RawPathParams, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hub::Hub;
use hub::error::{ErrorCode, HubError};
use hub::events::{ConsumerGroupName, EventHub};
use hub::json::shown;
use hub::routing::BUILT_IN_ENDPOINT;
use serde::Serialize;

use crate::error::Answer;
use crate::names::admin as name;
use crate::render;

pub(super) async fn get(State(hub): State<Arc<Hub>>, path: RawPathParams) -> Answer {
    let event_hub = event_hub(&hub, parameter(&path, name::EVENT_HUB))?;
    let group = parameter(&path, name::GROUP);
    let found = event_hub.consumer_group(group).ok_or_else(|| {
        not_found(format!("The event hub '{}' has no consumer group '{}'.", event_hub.name(), shown(group)))
    })?;
    Ok(render(&event_hub, &found))
}

/// Makes it if it does not exist: 201 then, 200 otherwise.
pub(super) async fn put(State(hub): State<Arc<Hub>>, path: RawPathParams) -> Answer {
    let event_hub = event_hub(&hub, parameter(&path, name::EVENT_HUB))?;
    let group = ConsumerGroupName::parse(parameter(&path, name::GROUP))?;
    let is_new = event_hub.create_consumer_group(group.clone())?;
    if is_new {
        tracing::info!(event_hub = %event_hub.name(), group = %group, "consumer group made");
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, render(&event_hub, &group)).into_response())
}

pub(super) async fn remove(State(hub): State<Arc<Hub>>, path: RawPathParams) -> Answer {
    let event_hub = event_hub(&hub, parameter(&path, name::EVENT_HUB))?;
    let group = parameter(&path, name::GROUP);
    event_hub.delete_consumer_group(group)?;
    tracing::info!(event_hub = %event_hub.name(), group, "consumer group removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An event hub by its name; the built-in one without a name, too.
pub(super) fn event_hub(hub: &Hub, name: &str) -> Result<Arc<EventHub>, HubError> {
    if name.eq_ignore_ascii_case(BUILT_IN_ENDPOINT) {
        return Ok(Arc::clone(hub.event_hubs().built_in()));
    }
    hub.event_hubs().get(name).ok_or_else(|| not_found(format!("There is no event hub '{}'.", shown(name))))
}

fn not_found(message: String) -> HubError {
    HubError::new(ErrorCode::GenericNotFound, message)
}

fn parameter<'a>(path: &'a RawPathParams, wanted: &str) -> &'a str {
    path.iter().find_map(|(name, value)| (name == wanted).then_some(value)).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    event_hub: &'a str,
    name: &'a str,
}

fn render(event_hub: &EventHub, group: &ConsumerGroupName) -> Response {
    render::json(&Group { event_hub: event_hub.name().as_str(), name: group.as_str() })
}
