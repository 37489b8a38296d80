//! Who calls -> [`Caller`] (contract/rest.md 4.3, 5.1): a shared access signature in `Authorization`, judged as it
//! stands, or without that header the client certificate of the connection.
//!
//! Failing to prove who calls is 401 whatever the reason. The authenticator logs and journals each refusal.

use std::sync::Arc;

use auth::{Credential, Presented};
use axum::RequestExt as _;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use hub::access::Grant;
use hub::error::{ErrorCode, HubError};
use hub::gate::Details;
use hub::ids::IdentityId;
use net::PeerInfo;

use crate::error::Failure;
use crate::extract::{self, Caller, DevicePath, IdentityPath};
use crate::state::HttpState;

/// For the calls of services: the token says who calls. An edge device with a certificate makes some of them too, on
/// its own modules; the path says which it is (contract/rest.md 1.15).
pub(crate) async fn authenticate(
    State(state): State<HttpState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let details = extract::details(request.extensions().get());
    let claimed = match request.headers().get(header::AUTHORIZATION) {
        Some(_) => None,
        None => request.extract_parts::<DevicePath>().await.ok(),
    };
    let claimed = claimed.map(|DevicePath(device)| IdentityId::device(device));
    let grant = grant(&state, &request, claimed.as_ref(), details)?;
    Ok(pass(grant, details, request, next).await)
}

/// For the calls of a device or module: the path names who calls, the credential has to prove it. Such a call has no
/// session, so its connection is none that the core knows (contract/rest.md 2.1).
pub(crate) async fn authenticate_identity(
    State(state): State<HttpState>,
    IdentityPath(identity): IdentityPath,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let details = extract::details(request.extensions().get());
    let grant = grant(&state, &request, Some(&identity), details)?;
    Ok(pass(grant, Details { connection: None, ..details }, request, next).await)
}

async fn pass(grant: Arc<Grant>, details: Details, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Caller::new(grant, details));
    next.run(request).await
}

fn grant(
    state: &HttpState,
    request: &Request,
    claimed: Option<&IdentityId>,
    details: Details,
) -> Result<Arc<Grant>, HubError> {
    let host = request.uri().host().or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    let peer = request.extensions().get::<PeerInfo>();
    let certificates = peer.and_then(|peer| peer.certificates.as_deref());
    let granted = match (request.headers().get(header::AUTHORIZATION), certificates) {
        (Some(header), _) => {
            // A value that is not ASCII is no token either; the authenticator says so in its own words.
            let text = header.to_str().unwrap_or_default().trim();
            state.authenticator.authenticate_token_text(text, claimed, host, details)
        }
        (None, Some(certificates)) if claimed.is_some() => state.authenticator.authenticate(&Presented {
            credential: Credential::Certificate(certificates),
            identity: claimed,
            host,
            details,
        }),
        (None, _) => {
            let message = "Authorization header missing";
            return Err(state.authenticator.refuse_without_credential(claimed, message, details));
        }
    };
    granted.map_err(|error| as_unauthorized(state, error))
}

/// HTTPS tells an unknown identity 401, not 404 (contract/rest.md 4.3).
fn as_unauthorized(state: &HttpState, error: HubError) -> HubError {
    match error.code() {
        ErrorCode::DeviceNotFound | ErrorCode::ModuleNotFound => HubError::new(
            ErrorCode::IotHubUnauthorizedAccess,
            format!("IotHub '{}' does not contain the specified device", state.hub.name()),
        ),
        _ => error,
    }
}
