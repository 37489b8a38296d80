//! Twins of devices and modules as back ends see them: `GET PATCH PUT /twins/...` (contract/rest.md 1.7, 3).
//!
//! [`calls`] holds the three calls, the same for both kinds of identity; [`render`] writes the whole twin.

mod calls;
mod render;

use axum::http::Method;

use crate::names::path;
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new()
        .with(Method::GET, path::DEVICE_TWIN, calls::get)
        .with(Method::PATCH, path::DEVICE_TWIN, calls::patch)
        .with(Method::PUT, path::DEVICE_TWIN, calls::put)
        .with(Method::GET, path::MODULE_TWIN, calls::get)
        .with(Method::PATCH, path::MODULE_TWIN, calls::patch)
        .with(Method::PUT, path::MODULE_TWIN, calls::put)
}
