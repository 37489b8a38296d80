//! The emulator's own API, plain HTTP on a listener of its own (PRODUCT section 5).
//!
//! [`health`]: is it alive, is it ready. [`credentials`]: what a client needs to get in. [`certificates`]: the
//! registered certificate authorities. [`observation`]: what is connected, what arrived, what was done.
//! [`openapi`]: the document that describes all of it, held against [`routes`] by a test.
//! Errors have the shape of the service's errors, so one parser reads both.

mod certificates;
mod credentials;
mod health;
mod observation;
mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, on};
use hub::Hub;

use crate::error::{self, Failure};
use crate::layers::{answer, rest_of_body, same_site};
use crate::names::admin as path;
use crate::state::AdminState;

/// Everything the admin port answers.
pub fn admin_router(state: AdminState) -> Router {
    let (hub, own_name) = (Arc::clone(&state.hub), Arc::clone(&state.host_name));
    routes()
        .router
        .method_not_allowed_fallback(async || Failure(error::wrong_verb()))
        .fallback(async || Failure(error::unknown_route()))
        .with_state(state)
        .layer(from_fn_with_state(own_name, same_site::check))
        .layer(from_fn(rest_of_body::forget))
        .layer(from_fn_with_state(hub, answer::complete))
}

/// A router that knows what it routes.
struct Routes {
    router: Router<AdminState>,
    /// Held against the OpenAPI document by a test.
    listed: Vec<(Method, &'static str)>,
}

impl Routes {
    fn with<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, AdminState>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("the methods below are standard ones");
        self.router = self.router.route(path, on(filter, handler));
        self.listed.push((method, path));
        self
    }
}

fn routes() -> Routes {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    Routes { router: Router::new(), listed: Vec::new() }
        .with(get.clone(), path::HEALTH, health::health)
        .with(get.clone(), path::READY, health::ready)
        .with(get.clone(), path::CA_PEM, credentials::root_certificate)
        .with(get.clone(), path::CONNECTION_STRINGS, credentials::connection_strings)
        .with(get.clone(), path::CERTIFICATES, certificates::list)
        .with(post.clone(), path::CERTIFICATES, certificates::add)
        .with(get.clone(), path::CERTIFICATE, certificates::get)
        .with(delete, path::CERTIFICATE, certificates::remove)
        .with(post.clone(), path::VERIFICATION_CODE, certificates::verification_code)
        .with(post, path::VERIFY, certificates::verify)
        .with(get.clone(), path::CONNECTIONS, observation::connections)
        .with(get.clone(), path::EVENTS, observation::events)
        .with(get.clone(), path::JOURNAL, observation::journal)
        .with(get, path::OPENAPI, openapi::document)
}

impl FromRef<AdminState> for Arc<Hub> {
    fn from_ref(state: &AdminState) -> Self {
        Self::clone(&state.hub)
    }
}
