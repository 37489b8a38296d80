//! `POST /devices/{id}/messages/deviceBound` sends, `DELETE /devices/{id}/commands` empties the queue.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use hub::Hub;
use hub::c2d::CloudToDeviceMessage;
use hub::gate::operations::{PurgeCloudToDevice, SendCloudToDevice};
use hub::limits;
use serde::Serialize;

use crate::error::Answer;
use crate::extract::{Caller, DevicePath, MessageBody};
use crate::{properties, render};

pub(super) async fn send(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    DevicePath(device): DevicePath,
    headers: HeaderMap,
    MessageBody(body): MessageBody<{ limits::C2D_BYTES }>,
) -> Answer {
    let by = caller.admit::<SendCloudToDevice>(&hub, device).await?;
    let message = CloudToDeviceMessage { body, ..properties::of_cloud_to_device(&headers)? };
    hub.send_cloud_to_device(by, message)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn purge(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    DevicePath(device): DevicePath,
) -> Answer {
    let by = caller.admit::<PurgeCloudToDevice>(&hub, device.clone()).await?;
    let total_messages_purged = hub.purge_messages(by)?;
    Ok(render::json(&PurgeJson { total_messages_purged, device_id: device.as_str(), module_id: None }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PurgeJson<'a> {
    total_messages_purged: usize,
    device_id: &'a str,
    /// Modules have no queue.
    module_id: Option<()>,
}
