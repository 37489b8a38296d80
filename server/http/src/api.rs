//! All that a listener answers: routes, and around them what every request passes ([`crate::layers`]).

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use hub::Hub;
use tower::Service as _;

use crate::layers::{answer, rest_of_body};

/// An API, ready to be asked.
#[derive(Clone, Debug)]
pub struct Api {
    hub: Arc<Hub>,
    routes: Router,
    meant: fn(Request) -> Request,
}

impl Api {
    /// `meant` corrects a request before the router sees it.
    pub const fn new(hub: Arc<Hub>, routes: Router, meant: fn(Request) -> Request) -> Self {
        Self { hub, routes, meant }
    }

    /// Answers a request, whatever it is. The accept loop puts what it knows of the connection into the extensions.
    pub async fn answer<B>(&self, request: axum::http::Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let routed = async |request| {
            let Ok(response) = self.routes.clone().call((self.meant)(request)).await;
            response
        };
        let request = request.map(Body::new);
        answer::complete(&self.hub, request, |request| rest_of_body::forget(request, routed)).await
    }
}
