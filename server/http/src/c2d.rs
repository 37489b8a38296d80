//! Cloud-to-device messages as back ends handle them over REST: contract/rest.md 1.14, rows 29 to 33. The official
//! SDKs send over AMQP; the explorer sends here.

mod feedback;
mod messages;

use axum::http::Method;

use crate::names::path;
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new()
        .with(Method::DELETE, path::COMMANDS, messages::purge)
        .with(Method::POST, path::DEVICE_BOUND, messages::send)
        .with(Method::GET, path::FEEDBACK, feedback::receive)
        .with(Method::DELETE, path::FEEDBACK_LOCK, feedback::complete)
        .with(Method::POST, path::FEEDBACK_ABANDON, feedback::abandon)
}
