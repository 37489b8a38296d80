//! Device and module identities: contract/rest.md 1.2, 1.4 and 2.
//!
//! [`devices`] and [`modules`] hold the calls, [`body`] reads what callers send, [`render`] writes what they get.
//! Whether a PUT creates or updates is decided by the presence of `If-Match` alone (contract/rest.md 0.5).

mod body;
mod devices;
mod modules;
pub(crate) mod render;

use axum::Router;
use axum::routing::get;

use crate::names::path;
use crate::state::HttpState;

pub(crate) fn routes() -> Router<HttpState> {
    Router::new()
        .route(path::DEVICES, get(devices::list))
        .route(path::DEVICE, get(devices::get).put(devices::put).delete(devices::delete))
        .route(path::MODULES, get(modules::list))
        .route(path::MODULE, get(modules::get).put(modules::put).delete(modules::delete))
}
