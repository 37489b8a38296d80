//! Device and module identities: contract/rest.md 1.2, 1.4 and 2.
//!
//! [`devices`] and [`modules`] hold the calls, [`body`] reads what callers send, [`render`] writes what they get.
//! Whether a PUT creates or updates is decided by the presence of `If-Match` alone (contract/rest.md 0.5).

mod body;
mod devices;
mod modules;
pub(crate) mod render;

use axum::http::Method;

use crate::names::path;
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new()
        .with(Method::GET, path::DEVICES, devices::list)
        .with(Method::GET, path::DEVICE, devices::get)
        .with(Method::PUT, path::DEVICE, devices::put)
        .with(Method::DELETE, path::DEVICE, devices::delete)
        .with(Method::GET, path::MODULES, modules::list)
        .with(Method::GET, path::MODULE, modules::get)
        .with(Method::PUT, path::MODULE, modules::put)
        .with(Method::DELETE, path::MODULE, modules::delete)
}
