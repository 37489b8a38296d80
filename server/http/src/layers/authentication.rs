//! `Authorization` -> grant (contract/rest.md 4.3, 5.1): a shared access signature, judged as it stands.
//!
//! Failing to prove who calls is 401 whatever the reason. What the authenticator refuses it logs and journals; a
//! request without the header never reaches it and is logged and journalled here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use hub::access::Grant;
use hub::error::{ErrorCode, HubError};
use hub::gate::{Details, JournalEntry, Outcome, Target};

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
        return Err(refuse_missing(state, details));
    };
    // A value that is not ASCII is no token either; the authenticator says so in its own words.
    let text = header.to_str().unwrap_or_default().trim();
    let host = request.uri().host().or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    state.authenticator.authenticate_token_text(text, None, host, details).map_err(as_unauthorized)
}

/// HTTPS tells an unknown identity 401, not 404 (contract/rest.md 4.3).
fn as_unauthorized(error: HubError) -> HubError {
    match error.code() {
        ErrorCode::DeviceNotFound | ErrorCode::ModuleNotFound => {
            HubError::new(ErrorCode::IotHubUnauthorizedAccess, error.message())
        }
        _ => error,
    }
}

fn refuse_missing(state: &HttpState, details: Details) -> HubError {
    let code = ErrorCode::IotHubUnauthorizedAccess;
    tracing::warn!(
        code = code.number(),
        "refused: the request has no Authorization header; sign it with the key of a policy"
    );
    state.hub.journal().record(JournalEntry {
        at: state.hub.clock().now(),
        operation: "Authenticate",
        target: Target::Hub,
        subject: None,
        credential: None,
        protocol: details.protocol,
        connection: details.connection,
        outcome: Outcome::Refused(code),
    });
    HubError::new(code, "Authorization header missing")
}
