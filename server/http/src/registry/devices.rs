//! `GET PUT DELETE /devices/{id}` and `GET /devices` (contract/rest.md 1.2).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse as _;
use hub::Hub;
use hub::gate::operations::{CreateDevice, DeleteDevice, GetDevice, ListDevices, UpdateDevice};
use hub::ids::IfMatch;
use hub::limits;

use crate::error::Answer;
use crate::extract::{Caller, Condition, DevicePath, JsonBody};
use crate::registry::{body, render};
use crate::{names, query};

pub(super) async fn list(State(hub): State<Arc<Hub>>, caller: Caller, uri: Uri) -> Answer {
    let by = caller.admit::<ListDevices>(&hub, ()).await?;
    // Anything that is no number in range counts as the whole page.
    let top = query::parameter(&uri, names::query::TOP).and_then(|top| top.parse().ok());
    let devices = hub.devices(by, top.unwrap_or(limits::LIST_ROWS))?;
    Ok(render::devices(&devices))
}

pub(super) async fn get(State(hub): State<Arc<Hub>>, caller: Caller, DevicePath(id): DevicePath) -> Answer {
    let by = caller.admit::<GetDevice>(&hub, id).await?;
    Ok(render::device(&hub.device(by)?))
}

pub(super) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    DevicePath(id): DevicePath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let device = match if_match {
        IfMatch::Absent => {
            let by = caller.admit::<CreateDevice>(&hub, id.clone()).await?;
            hub.create_device(by, &body::device(&id, &bytes)?)?
        }
        IfMatch::Any | IfMatch::OneOf(_) => {
            let by = caller.admit::<UpdateDevice>(&hub, id.clone()).await?;
            hub.update_device(by, &body::device(&id, &bytes)?, &if_match)?
        }
    };
    Ok(render::device(&device))
}

pub(super) async fn delete(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    DevicePath(id): DevicePath,
    Condition(if_match): Condition,
) -> Answer {
    let by = caller.admit::<DeleteDevice>(&hub, id).await?;
    hub.delete_device(by, &if_match)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
