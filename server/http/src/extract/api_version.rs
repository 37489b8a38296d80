//! `api-version` is required of every call (contract/rest.md 0.2).

use axum::http::Uri;
use hub::api_version::ApiVersion;
use hub::error::{ErrorCode, HubError};

use crate::{names, query};

/// The version a request names.
///
/// # Errors
/// `InvalidProtocolVersion` when there is none, or none the hub knows.
pub(crate) fn required(uri: &Uri) -> Result<ApiVersion, HubError> {
    let given = query::parameter(uri, names::query::API_VERSION);
    given.as_deref().and_then(ApiVersion::parse).ok_or_else(|| refusal(given.is_some()))
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
