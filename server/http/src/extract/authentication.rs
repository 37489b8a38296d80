//! Who calls -> [`Grant`] (contract/rest.md 4.3, 5.1): a shared access signature in `Authorization`, judged as it
//! stands, or without that header the client certificate of the connection.
//!
//! Failing to prove who calls is 401 whatever the reason. The authenticator logs and journals each refusal.

use std::sync::Arc;

use auth::{Credential, Presented};
use axum::http::header;
use axum::http::request::Parts;
use hub::access::Grant;
use hub::error::{ErrorCode, HubError};
use hub::gate::Details;
use hub::ids::IdentityId;

use crate::state::{Connection, HttpState};

/// The grant of whoever a request proves to come from. A `claimed` identity is who the path says is calling.
///
/// # Errors
/// As the authenticator's; `IotHubUnauthorizedAccess` in place of an unknown identity.
pub(crate) fn grant(
    state: &HttpState,
    request: &Parts,
    claimed: Option<&IdentityId>,
    details: Details,
) -> Result<Arc<Grant>, HubError> {
    let host = request.uri.host().or_else(|| request.headers.get(header::HOST)?.to_str().ok());
    let connection = request.extensions.get::<Arc<Connection>>();
    let certificates = connection.and_then(|connection| connection.peer.certificates.as_deref());
    let granted = match (request.headers.get(header::AUTHORIZATION), certificates) {
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
