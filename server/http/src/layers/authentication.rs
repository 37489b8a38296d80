//! `Authorization` -> grant (contract/rest.md 4.3, 5.1): a shared access signature, judged as it stands.
//!
//! Failing to prove who calls is 401 whatever the reason. The authenticator logs and journals each refusal.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use hub::access::Grant;
use hub::error::{ErrorCode, HubError};

use crate::error::Failure;
use crate::extract;
use crate::state::HttpState;

/// Lets requests through that prove who sends them; the grant goes along as an `Arc<Grant>` extension.
pub(crate) async fn authenticate(
    State(state): State<HttpState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let grant = grant(&state, &request)?;
    request.extensions_mut().insert(grant);
    Ok(next.run(request).await)
}

fn grant(state: &HttpState, request: &Request) -> Result<Arc<Grant>, HubError> {
    let details = extract::details(request.extensions().get());
    let Some(header) = request.headers().get(header::AUTHORIZATION) else {
        return Err(state.authenticator.refuse_without_credential(
            None,
            "Authorization header missing",
            details,
        ));
    };
    // A value that is not ASCII is no token either; the authenticator says so in its own words.
    let text = header.to_str().unwrap_or_default().trim();
    let host = request.uri().host().or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    let granted = state.authenticator.authenticate_token_text(text, None, host, details);
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
