//! Twins of devices and modules as back ends see them: `GET PATCH PUT /twins/...` (contract/rest.md 1.7, 3).
//!
//! [`calls`] holds the three calls, the same for both kinds of identity; [`render`] writes the whole twin.

mod calls;
mod render;

use axum::Router;
use axum::routing::get;

use crate::names::path;
use crate::state::HttpState;

pub(crate) fn routes() -> Router<HttpState> {
    let twin = get(calls::get).patch(calls::patch).put(calls::put);
    Router::new().route(path::DEVICE_TWIN, twin.clone()).route(path::MODULE_TWIN, twin)
}
