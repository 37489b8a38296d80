//! `api-version` is required of every call (contract/rest.md 0.2). The parsed version goes along as a request
//! extension.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hub::api_version::ApiVersion;
use hub::error::{ErrorCode, HubError};

use crate::error::Failure;
use crate::{names, query};

/// Lets requests with a usable version through.
pub(crate) async fn check(mut request: Request, next: Next) -> Result<Response, Failure> {
    let given = query::parameter(request.uri(), names::query::API_VERSION);
    let version = given.as_deref().and_then(ApiVersion::parse);
    match version {
        Some(version) => {
            request.extensions_mut().insert(version);
            Ok(next.run(request).await)
        }
        None => Err(refusal(given.is_some()).into()),
    }
}

fn refusal(was_given: bool) -> HubError {
    let what = if was_given { "is not a version this hub knows" } else { "is missing" };
    HubError::new(
        ErrorCode::InvalidProtocolVersion,
        format!(
            "The query parameter '{}' {what}, for example {}=2021-04-12 is expected.",
            names::query::API_VERSION,
            names::query::API_VERSION
        ),
    )
}
