//! `GET /devices/{id}/messages/deviceBound` and what devices do with what they got: complete, reject, abandon.
//!
//! The answer is immediate, SDKs poll. The lock token of the path decides; `If-Match` is not asked for, since SDKs
//! disagree on how to spell it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use hub::Hub;
use hub::c2d::{LockedMessage, Settlement};
use hub::error::HubError;
use hub::gate::operations::{PollCloudToDevice, SettleCloudToDevice};
use hub::ids::DeviceId;
use hub::json::shown;

use crate::error::Answer;
use crate::extract::{Caller, DevicePath, IdentityCaller, LockPath};
use crate::names::query::{LOCK_TIMEOUT, REJECT, REJECT_OF_JAVA};
use crate::{json, properties, query, render};

pub(super) async fn receive(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    DevicePath(device): DevicePath,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let by = caller.admit::<PollCloudToDevice>(&hub, device.clone()).await?;
    match hub.poll_next_message(by, lock_timeout(&uri, &headers)?)? {
        Some(locked) => Ok(message(&locked, &device)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

pub(super) async fn complete_or_reject(
    state: State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    device: DevicePath,
    lock: LockPath,
    uri: Uri,
) -> Answer {
    let is_rejected = [REJECT, REJECT_OF_JAVA].iter().any(|name| query::parameter(&uri, name).is_some());
    let how = if is_rejected { Settlement::Reject } else { Settlement::Complete };
    settle(state, caller, device, lock, how).await
}

pub(super) async fn abandon(
    state: State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    device: DevicePath,
    lock: LockPath,
) -> Answer {
    settle(state, caller, device, lock, Settlement::Abandon).await
}

async fn settle(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    DevicePath(device): DevicePath,
    lock: LockPath,
    how: Settlement,
) -> Answer {
    let by = caller.admit::<SettleCloudToDevice>(&hub, device).await?;
    hub.settle_message(by, lock.token()?, how)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How long the device wants the message locked, in seconds: C# says so in the query, Java among the headers.
fn lock_timeout(uri: &Uri, headers: &HeaderMap) -> Result<Option<Duration>, HubError> {
    let in_query = query::parameter(uri, LOCK_TIMEOUT);
    let in_header = || headers.get(LOCK_TIMEOUT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let Some(given) = in_query.or_else(in_header) else { return Ok(None) };
    match given.trim().parse() {
        Ok(secs) => Ok(Some(Duration::from_secs(secs))),
        Err(_) => {
            Err(json::invalid(format!("{LOCK_TIMEOUT} is '{}', not a number of seconds.", shown(&given))))
        }
    }
}

fn message(locked: &LockedMessage, device: &DeviceId) -> Response {
    let mut response = Response::new(Body::from(locked.message.body.clone()));
    properties::to_headers(locked, device.as_str(), response.headers_mut());
    render::with_etag(response, locked.token)
}
