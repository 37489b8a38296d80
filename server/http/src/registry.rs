//! Device and module identities: contract/rest.md 1.2 to 1.6 and 2.
//!
//! [`devices`] and [`modules`] hold the calls on one of them or a list, [`body`] reads what callers send and
//! [`render`] writes what they get. [`bulk`] and [`keys`] are the calls on many at once, [`statistics`] counts.
//! Whether a PUT creates or updates is decided by the presence of `If-Match` alone (contract/rest.md 0.5).

pub(crate) mod body;
mod bulk;
mod devices;
mod keys;
mod modules;
pub(crate) mod render;
mod statistics;

use axum::http::Method;

use crate::names::path;
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new()
        .with(Method::GET, path::DEVICES, devices::list)
        .with(Method::POST, path::DEVICES, bulk::change)
        .with(Method::POST, path::KEYS, keys::regenerate)
        .with(Method::GET, path::DEVICE, devices::get)
        .with(Method::PUT, path::DEVICE, devices::put)
        .with(Method::DELETE, path::DEVICE, devices::delete)
        .with(Method::GET, path::MODULES, modules::list)
        .with(Method::GET, path::MODULE, modules::get)
        .with(Method::PUT, path::MODULE, modules::put)
        .with(Method::DELETE, path::MODULE, modules::delete)
        .with(Method::GET, path::DEVICE_STATISTICS, statistics::of_devices)
        .with(Method::GET, path::SERVICE_STATISTICS, statistics::of_service)
}
