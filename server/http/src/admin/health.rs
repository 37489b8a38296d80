//! `/health`: the process answers. `/ready`: every listener accepts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::render;
use crate::state::{AdminState, Listener};

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) async fn health() -> Response {
    render::json(&Health { status: "alive" })
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    listeners: &'a [Listener],
}

/// 200 or 503, with the same body either way.
pub(super) async fn ready(State(state): State<AdminState>) -> Response {
    let readiness = state.readiness.borrow().clone();
    let ready = readiness.is_ready();
    let mut response = render::json(&Ready { ready, listeners: &readiness.listeners });
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
