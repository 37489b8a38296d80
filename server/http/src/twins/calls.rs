//! Reading, patching and replacing a twin (contract/rest.md 1.7).

use std::sync::Arc;

use axum::extract::State;
use hub::Hub;
use hub::api_version::ApiVersion;
use hub::error::HubError;
use hub::gate::operations::{GetTwin, PatchTwin, ReplaceTwin};
use hub::twin::{Arrays, TwinPatch};
use serde_json::Value;

use crate::error::Answer;
use crate::extract::{Caller, Condition, IdentityPath, JsonBody};
use crate::json;
use crate::twins::render;

pub(super) async fn get(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    IdentityPath(id): IdentityPath,
) -> Answer {
    let by = caller.admit::<GetTwin>(&hub, id).await?;
    Ok(render::twin(&hub.twin(by)?))
}

pub(super) async fn patch(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    IdentityPath(id): IdentityPath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<PatchTwin>(&hub, id).await?;
    let patch = change(&bytes, caller.version)?;
    Ok(render::twin(&hub.patch_twin(by, &patch, &if_match)?))
}

pub(super) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    IdentityPath(id): IdentityPath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ReplaceTwin>(&hub, id).await?;
    let patch = change(&bytes, caller.version)?;
    Ok(render::twin(&hub.replace_twin(by, &patch, &if_match)?))
}

fn change(body: &[u8], version: ApiVersion) -> Result<TwinPatch, HubError> {
    TwinPatch::parse(Value::Object(json::object(body)?), Arrays::from(Some(version)))
}
