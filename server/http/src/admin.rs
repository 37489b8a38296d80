//! The emulator's own API, plain HTTP on a listener of its own (PRODUCT section 5).
//!
//! [`health`]: is it alive, is it ready. [`credentials`]: what a client needs to get in. [`certificates`]: the
//! registered certificate authorities. [`routing`]: which events go where. [`consumer_groups`]: who may read them.
//! [`observation`]: what is connected, what arrived, what was done.
//! [`crate::openapi`] holds the documents that describe it and the service's API; both are served here.
//! Errors have the shape of the service's errors, so one parser reads both.

mod certificates;
mod consumer_groups;
mod credentials;
mod health;
mod observation;
mod routing;

use std::sync::Arc;

use axum::extract::FromRef;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use hub::Hub;

use crate::api::Api;
use crate::error::{self, Failure};
use crate::layers::same_site;
use crate::names::admin as path;
use crate::openapi;
use crate::routes::Routes;
use crate::state::AdminState;

/// Everything the admin port answers.
pub fn admin_api(state: AdminState) -> Api {
    let (hub, own_name) = (Arc::clone(&state.hub), Arc::clone(&state.host_name));
    let routes = routes()
        .router
        .method_not_allowed_fallback(async || Failure::from(error::wrong_verb()))
        .fallback(async || Failure::from(error::unknown_route()))
        .with_state(state)
        .layer(from_fn_with_state(own_name, same_site::check));
    Api::new(hub, routes, |request| request)
}

pub(crate) fn routes() -> Routes<AdminState> {
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    Routes::new()
        .with(get.clone(), path::HEALTH, health::health)
        .with(get.clone(), path::READY, health::ready)
        .with(get.clone(), path::CA_PEM, credentials::root_certificate)
        .with(get.clone(), path::CONNECTION_STRINGS, credentials::connection_strings)
        .with(get.clone(), path::CERTIFICATES, certificates::list)
        .with(post.clone(), path::CERTIFICATES, certificates::add)
        .with(get.clone(), path::CERTIFICATE, certificates::get)
        .with(delete.clone(), path::CERTIFICATE, certificates::remove)
        .with(post.clone(), path::VERIFICATION_CODE, certificates::verification_code)
        .with(post, path::VERIFY, certificates::verify)
        .with(get.clone(), path::ROUTING, routing::get)
        .with(put.clone(), path::ROUTING, routing::put)
        .with(get.clone(), path::CONSUMER_GROUP, consumer_groups::get)
        .with(put, path::CONSUMER_GROUP, consumer_groups::put)
        .with(delete, path::CONSUMER_GROUP, consumer_groups::remove)
        .with(get.clone(), path::CONNECTIONS, observation::connections)
        .with(get.clone(), path::EVENTS, observation::events)
        .with(get.clone(), path::JOURNAL, observation::journal)
        .with(get.clone(), path::OPENAPI, openapi::of_admin_api)
        .with(get, path::SERVICE_OPENAPI, openapi::of_service_api)
}

impl FromRef<AdminState> for Arc<Hub> {
    fn from_ref(state: &AdminState) -> Self {
        Self::clone(&state.hub)
    }
}
