//! `GET PUT DELETE /devices/{id}/modules/{mid}` and `GET /devices/{id}/modules` (contract/rest.md 1.4).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use hub::Hub;
use hub::gate::operations::{CreateModule, DeleteModule, GetModule, ListModules, UpdateModule};
use hub::ids::IfMatch;

use crate::error::Answer;
use crate::extract::{Caller, Condition, DevicePath, JsonBody, ModulePath};
use crate::registry::{body, render};

pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    DevicePath(device): DevicePath,
) -> Answer {
    let by = caller.admit::<ListModules>(&hub, device).await?;
    Ok(render::modules(&hub.modules(by)?))
}

pub(super) async fn get(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    ModulePath(device, module): ModulePath,
) -> Answer {
    let by = caller.admit::<GetModule>(&hub, (device, module)).await?;
    Ok(render::module(&hub.module(by)?))
}

pub(super) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    ModulePath(device, id): ModulePath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let target = (device.clone(), id.clone());
    let module = match if_match {
        IfMatch::Absent => {
            let by = caller.admit::<CreateModule>(&hub, target).await?;
            hub.create_module(by, &body::module(&device, &id, &bytes)?)?
        }
        IfMatch::Any | IfMatch::OneOf(_) => {
            let by = caller.admit::<UpdateModule>(&hub, target).await?;
            hub.update_module(by, &body::module(&device, &id, &bytes)?, &if_match)?
        }
    };
    Ok(render::module(&module))
}

pub(super) async fn delete(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    ModulePath(device, module): ModulePath,
    Condition(if_match): Condition,
) -> Answer {
    let by = caller.admit::<DeleteModule>(&hub, (device, module)).await?;
    hub.delete_module(by, &if_match)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
