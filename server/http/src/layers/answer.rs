//! The outermost layer: gives the request its tracking id and span, and every answer its request id; turns a
//! [`Failure`] into the body a client reads and the one line the log gets (contract/rest.md 0.4, 4.1).

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hub::Hub;
use hub::error::{ErrorCode, HubError};
use hub::ids::TrackingId;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::{self, Failure};
use crate::names;

/// Runs the request and completes its answer.
pub(crate) async fn complete<F>(
    hub: &Hub,
    request: Request,
    run: impl FnOnce(Request) -> F + Send,
) -> Response
where
    F: Future<Output = Response> + Send,
{
    let tracking = hub.tracking_id();
    let span = tracing::info_span!(
        "request", method = %request.method(), path = request.uri().path(), tracking_id = %tracking
    );
    let begun = Instant::now();
    let mut response = run(request).instrument(span.clone()).await;
    span.in_scope(|| {
        if let Some(failure) = response.extensions_mut().remove::<Failure>() {
            log(&failure.error);
            let allowed = response.headers_mut().remove(header::ALLOW);
            response = error::render(&failure, &tracking, hub.clock().now());
            // The router knows which verbs a path has; only an answer about verbs says so.
            if let Some(allowed) = allowed.filter(|_| response.status() == StatusCode::METHOD_NOT_ALLOWED) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
        }
        tracing::debug!(status = response.status().as_u16(), elapsed = ?begun.elapsed(), "answered");
    });
    response.headers_mut().insert(names::header::REQUEST_ID, request_id(&tracking));
    response
}

/// What the authenticator and the gate refuse is logged where it is decided, everything else here.
fn log(error: &HubError) {
    let code = error.code();
    let is_logged = matches!(
        code,
        ErrorCode::IotHubQuotaExceeded
            | ErrorCode::IotHubUnauthorizedAccess
            | ErrorCode::OperationNotAvailableInCurrentTier
            | ErrorCode::ThrottlingException
    );
    if OUR_OWN_FAULTS.contains(&(code.number() / 1000)) {
        tracing::error!(code = code.number(), "failed: {}", error.reason());
    } else if !is_logged {
        tracing::warn!(code = code.number(), "refused: {}", error.reason());
    }
}

/// The GUID made of the tracking id's 32 digits, so that either finds the other.
fn request_id(tracking: &TrackingId) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let guid = Uuid::from_u128(tracking.number()).hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(guid).expect("a GUID is ASCII")
}

/// The statuses that say so. 502 and 504 are a device's: it answered rubbish, or not in time.
const OUR_OWN_FAULTS: [u32; 2] = [500, 503];
