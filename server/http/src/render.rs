//! Answers with a body.

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use hub::error::{ErrorCode, HubError};
use serde::Serialize;

use crate::error::Failure;
use crate::names;

/// 200 with the value as JSON, under the content type every SDK looks for (contract/rest.md 0.4).
pub(crate) fn json(value: &impl Serialize) -> Response {
    json_text(serde_json::to_vec(value))
}

/// The same with the JSON text itself.
pub(crate) fn json_text(written: serde_json::Result<Vec<u8>>) -> Response {
    match written {
        Ok(body) => text(body, names::value::JSON),
        Err(error) => Failure::from(
            HubError::new(ErrorCode::ServerError, "The answer could not be written.")
                .with_reason(format!("an answer does not serialize: {error}")),
        )
        .into_response(),
    }
}

/// 200 with a body of another kind.
pub(crate) fn text(body: impl Into<Body>, content_type: HeaderValue) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Adds `ETag`, quoted as C# and C need it (contract/rest.md 0.4, 1.16).
pub(crate) fn with_etag(mut response: Response, etag: impl fmt::Display) -> Response {
    // An etag is base64 text, a lock token a GUID; anything else would be a failed answer, which carries none.
    if let Ok(value) = HeaderValue::try_from(format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}
