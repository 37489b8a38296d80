//! What handlers ask a request for: who calls, on which identity, with which body and condition.
//!
//! Each extractor yields a core type or a [`Failure`], never axum's own rejection text.

mod api_version;
mod authentication;

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use hub::Hub;
use hub::access::Grant;
use hub::api_version::ApiVersion;
use hub::c2d::LockToken;
use hub::error::{ErrorCode, HubError};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::ids::{DeviceId, IdentityId, IfMatch, ModuleId};

use crate::error::Failure;
use crate::layers::body;
use crate::state::{Connection, HttpState};
use crate::{json, names};

/// Whoever sends a call, proven, and the version they speak. Nothing can be done without one.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) version: ApiVersion,
    grant: Arc<Grant>,
    details: Details,
}

impl Caller {
    /// Asks the gate.
    pub(crate) async fn admit<O: Operation>(
        &self,
        hub: &Hub,
        target: O::Target,
    ) -> Result<Admitted<O>, HubError> {
        hub.gate().admit(&self.grant, target, self.details).await
    }
}

impl FromRequestParts<HttpState> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Failure> {
        let version = api_version::required(&parts.uri)?;
        let details = details(parts.extensions.get());
        // The token says who calls. An edge device with a certificate makes some of these calls too, on its own
        // modules; the path says which it is (contract/rest.md 1.15).
        let claimed = match parts.headers.get(header::AUTHORIZATION) {
            Some(_) => None,
            None => DevicePath::from_request_parts(parts, state).await.ok(),
        };
        let claimed = claimed.map(|DevicePath(device)| IdentityId::device(device));
        let grant = authentication::grant(state, parts, claimed.as_ref(), details)?;
        Ok(Self { version, grant, details })
    }
}

/// The device or module that the path names, if it is who sends the call. Such a call has no session, so its
/// connection is none that the core knows (contract/rest.md 2.1).
#[derive(Debug)]
pub(crate) struct IdentityCaller(pub(crate) Caller);

impl FromRequestParts<HttpState> for IdentityCaller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Failure> {
        let version = api_version::required(&parts.uri)?;
        let IdentityPath(identity) = IdentityPath::from_request_parts(parts, state).await?;
        let details = details(parts.extensions.get());
        let grant = authentication::grant(state, parts, Some(&identity), details)?;
        Ok(Self(Caller { version, grant, details: Details { connection: None, ..details } }))
    }
}

/// How REST calls appear in the journal.
pub(crate) fn details(connection: Option<&Arc<Connection>>) -> Details {
    let connection = connection.map(|connection| connection.peer.connection);
    Details { protocol: ProtocolLabel("https"), connection }
}

/// The device a path names.
#[derive(Debug)]
pub(crate) struct DevicePath(pub(crate) DeviceId);

/// The module a path names.
#[derive(Debug)]
pub(crate) struct ModulePath(pub(crate) DeviceId, pub(crate) ModuleId);

/// The device or module a path names.
#[derive(Debug)]
pub(crate) struct IdentityPath(pub(crate) IdentityId);

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Ok(Self(IdentityPath::from_request_parts(parts, state).await?.0.device))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ModulePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let IdentityPath(IdentityId { device, module }) =
            IdentityPath::from_request_parts(parts, state).await?;
        let module = module.ok_or_else(|| {
            HubError::new(ErrorCode::ServerError, "The path names no module.")
                .with_reason("a module handler is registered on a path without a module")
        })?;
        Ok(Self(device, module))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdentityPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let ids = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| json::invalid("An id in the path is not UTF-8 once it is percent-decoded."))?;
        let id = |name| ids.iter().find_map(|(param, value)| (param == name).then_some(value));
        Ok(Self(IdentityId::parse(
            id(names::path::DEVICE_ID).unwrap_or_default(),
            id(names::path::MODULE_ID),
        )?))
    }
}

/// The lock token a path names; `None` for text that is none, which holds no message.
#[derive(Debug)]
pub(crate) struct LockPath(pub(crate) Option<LockToken>);

impl<S: Send + Sync> FromRequestParts<S> for LockPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let parameters = RawPathParams::from_request_parts(parts, state).await.ok();
        let given = parameters.iter().flatten().find(|(name, _)| *name == names::path::LOCK);
        Ok(Self(given.and_then(|(_, text)| LockToken::parse(text))))
    }
}

impl LockPath {
    /// The token.
    ///
    /// # Errors
    /// `DeviceMessageLockLost`: what is no token holds no message.
    pub(crate) fn token(self) -> Result<LockToken, HubError> {
        self.0.ok_or_else(|| {
            HubError::new(ErrorCode::DeviceMessageLockLost, "The path ends in no lock token of this hub.")
        })
    }
}

/// The body of a message: any bytes, and past the limit it is the message that is too large.
#[derive(Debug)]
pub(crate) struct MessageBody<const LIMIT_BYTES: usize>(pub(crate) Bytes);

impl<S: Sync, const LIMIT_BYTES: usize> FromRequest<S> for MessageBody<LIMIT_BYTES> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let read = body::read(&parts.headers, body, LIMIT_BYTES).await;
        let read = read.map_err(|error| match error.code() {
            ErrorCode::GenericRequestEntityTooLarge => {
                HubError::new(ErrorCode::MessageTooLarge, error.message())
            }
            _ => error,
        });
        Ok(Self(read?))
    }
}

/// `If-Match`, in all spellings; several header lines count as one list.
#[derive(Debug)]
pub(crate) struct Condition(pub(crate) IfMatch);

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let lines = parts.headers.get_all(header::IF_MATCH).iter();
        // An etag of ours is ASCII: a line that is not cannot match, but it is there.
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
        let joined = (!lines.is_empty()).then(|| lines.join(","));
        Ok(Self(IfMatch::parse(joined.as_deref())))
    }
}

/// A body declared to be JSON or nothing, whole but not yet read as JSON: parsing waits for admission.
#[derive(Debug)]
pub(crate) struct JsonBody<const LIMIT_BYTES: usize = { body::BODY_BYTES }>(pub(crate) Bytes);

impl<S: Sync, const LIMIT_BYTES: usize> FromRequest<S> for JsonBody<LIMIT_BYTES> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        json::check_content_type(&parts.headers)?;
        Ok(Self(body::read(&parts.headers, body, LIMIT_BYTES).await?))
    }
}
