//! Keeps web pages of other sites from using the admin API of whoever looks at them: a browser would send their
//! requests to the loopback, and nobody logs in there.
//!
//! Browsers say in `Sec-Fetch-Site` where a request comes from and no page can change that; other clients send no
//! such header. Answers are not readable across sites anyway, as none allows it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hub::error::{ErrorCode, HubError};

use crate::error::Failure;
use crate::names;

/// Lets requests through that no foreign page made.
pub(crate) async fn check(request: Request, next: Next) -> Result<Response, Failure> {
    let site = request.headers().get(names::header::FETCH_SITE).map(|value| value.as_bytes());
    match site {
        None | Some(b"same-origin" | b"none") => Ok(next.run(request).await),
        Some(_) => {
            let message = "The admin API does not answer to web pages of other sites.";
            Err(HubError::new(ErrorCode::GenericForbidden, message).into())
        }
    }
}
