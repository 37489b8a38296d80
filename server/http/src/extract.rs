//! What handlers ask a request for: who calls, on which identity, with which body and condition.
//!
//! Each extractor yields a core type or a [`Failure`], never axum's own rejection text.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use hub::Hub;
use hub::access::Grant;
use hub::error::{ErrorCode, HubError};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::ids::{DeviceId, IdentityId, IfMatch, ModuleId};
use net::PeerInfo;

use crate::error::Failure;
use crate::layers::body;
use crate::{json, names};

/// Whoever the authentication layer let in.
#[derive(Debug)]
pub(crate) struct Caller {
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

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let grant = parts.extensions.get::<Arc<Grant>>().map(Arc::clone).ok_or_else(|| {
            HubError::new(ErrorCode::ServerError, "The request was not authenticated.")
                .with_reason("a route is registered outside the authentication layer")
        })?;
        Ok(Self { grant, details: details(parts.extensions.get()) })
    }
}

/// How REST calls appear in the journal.
pub(crate) fn details(peer: Option<&PeerInfo>) -> Details {
    Details { protocol: ProtocolLabel("https"), connection: peer.map(|peer| peer.connection) }
}

/// The device a path names.
#[derive(Debug)]
pub(crate) struct DevicePath(pub(crate) DeviceId);

/// The module a path names.
#[derive(Debug)]
pub(crate) struct ModulePath(pub(crate) DeviceId, pub(crate) ModuleId);

/// The device or module whose twin a path names.
#[derive(Debug)]
pub(crate) struct TwinPath(pub(crate) IdentityId);

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Ok(Self(TwinPath::from_request_parts(parts, state).await?.0.device))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ModulePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let TwinPath(IdentityId { device, module }) = TwinPath::from_request_parts(parts, state).await?;
        let module = module.ok_or_else(|| {
            HubError::new(ErrorCode::ServerError, "The path names no module.")
                .with_reason("a module handler is registered on a path without a module")
        })?;
        Ok(Self(device, module))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TwinPath {
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
