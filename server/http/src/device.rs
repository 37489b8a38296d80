//! The HTTPS protocol of devices: contract/rest.md 1.16. No session and no presence comes of it, each request is for
//! itself: a message or a batch of them in, the next message for the device out, and what became of that.

mod batch;
mod messages;
mod telemetry;

use axum::http::Method;

use crate::names::path;
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new()
        .with(Method::POST, path::DEVICE_EVENTS, telemetry::send)
        .with(Method::POST, path::MODULE_EVENTS, telemetry::send)
        .with(Method::GET, path::DEVICE_BOUND, messages::receive)
        .with(Method::DELETE, path::DEVICE_BOUND_LOCK, messages::complete_or_reject)
        .with(Method::POST, path::DEVICE_BOUND_ABANDON, messages::abandon)
}
