//! The HTTP head: the service's REST API, the WebSocket entrance for MQTT and AMQP, and the admin API.
//!
//! In reading order:
//! - `state`: what the assembly hands in; [`hub_api`] and [`admin_api`]: what it gets.
//! - `layers`: what every request passes, in order, before a handler sees it.
//! - `registry`, `twins`, `methods` and `c2d`: the service's API, one part per resource; a handler extracts, asks the
//!   gate, calls the core, renders.
//! - `device`: the HTTPS protocol of devices; `edge`: what edge hubs ask for.
//! - `websocket`: an upgraded socket as a byte stream for another head.
//! - `admin`: the emulator's own API, on a listener of its own.
//! - `extract`, `json`, `query`: requests into core types; `render`, `error`: core types into answers; `properties`:
//!   those of messages as headers, both ways.
//! - `routes`: a router that knows its calls; `openapi`: the documents that describe them.
//! - `names`: every literal of the wire.
//!
//! ```text
//! request -> layers -> route -> handler -> gate.admit -> hub -> render -> layers -> answer
//! ```

mod admin;
mod api;
mod c2d;
mod device;
mod edge;
mod error;
mod extract;
mod json;
mod layers;
mod methods;
mod names;
mod openapi;
mod properties;
mod query;
mod registry;
mod render;
mod routes;
mod state;
mod twins;
mod websocket;

use std::sync::Arc;

use axum::extract::{FromRef, Request};
use hub::Hub;

pub use crate::admin::admin_api;
pub use crate::api::Api;
use crate::error::Failure;
use crate::layers::{method_override, path};
use crate::routes::Routes;
pub use crate::state::{
    AdminState, Connection, ConnectionPermit, HttpState, Listener, ListenerState, Readiness,
};

/// Everything the HTTPS port answers: REST for services, WebSockets for devices (contract/rest.md 1).
pub fn hub_api(state: HttpState) -> Api {
    let hub = Arc::clone(&state.hub);
    let routes = calls()
        .merge(identity_calls())
        .router
        .merge(websocket::routes())
        .method_not_allowed_fallback(wrong_verb)
        .fallback(unknown_route)
        .with_state(state);
    Api::new(hub, routes, |request| path::canonicalize(method_override::apply(request)))
}

/// Every call of the service's REST API.
fn calls() -> Routes<HttpState> {
    registry::routes().merge(twins::routes()).merge(methods::routes()).merge(c2d::routes())
}

/// Every call that the device or module its path names makes for itself.
fn identity_calls() -> Routes<HttpState> {
    device::routes().merge(edge::routes())
}

async fn unknown_route() -> Failure {
    error::unknown_route().into()
}

/// Queries have the path of a device called `query`; until they exist they are unknown, not wrong.
async fn wrong_verb(request: Request) -> Failure {
    let is_query = request.method() == axum::http::Method::POST && request.uri().path() == names::path::QUERY;
    if is_query { error::unknown_route().into() } else { error::wrong_verb().into() }
}

impl FromRef<HttpState> for Arc<Hub> {
    fn from_ref(state: &HttpState) -> Self {
        Self::clone(&state.hub)
    }
}
