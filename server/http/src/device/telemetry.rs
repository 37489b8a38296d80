//! `POST /devices/{id}/messages/events`: one message whose properties are headers, or a batch of them.
//!
//! Java builds the path for modules too; the service documents no HTTPS for them, and takes it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use hub::Hub;
use hub::gate::operations::SendTelemetry;
use hub::limits;
use hub::telemetry::DeviceMessage;

use crate::device::batch;
use crate::error::Answer;
use crate::extract::{IdentityCaller, IdentityPath, MessageBody};
use crate::names::value;
use crate::properties;

pub(super) async fn send(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    IdentityPath(id): IdentityPath,
    headers: HeaderMap,
    MessageBody(body): MessageBody<{ limits::TELEMETRY_BYTES }>,
) -> Answer {
    let by = caller.admit::<SendTelemetry>(&hub, id).await?;
    if is_batch(&headers) {
        hub.send_telemetry_batch(by, batch::messages(&body)?)?;
    } else {
        let properties = properties::of_telemetry(properties::named(&headers));
        hub.send_telemetry(by, DeviceMessage { properties, body })?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn is_batch(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|declared| declared.to_str().ok());
    let essence = declared.and_then(|declared| declared.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(value::BATCH))
}
