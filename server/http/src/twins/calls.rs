//! Reading, patching and replacing a twin (contract/rest.md 1.7).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use hub::Hub;
use hub::gate::operations::{GetTwin, PatchTwin, ReplaceTwin};
use hub::twin::TwinPatch;

use crate::error::Answer;
use crate::extract::{Caller, Condition, JsonBody, TwinPath};
use crate::layers::api_version::ApiVersion;
use crate::twins::{body, render};

pub(super) async fn get(State(hub): State<Arc<Hub>>, caller: Caller, TwinPath(id): TwinPath) -> Answer {
    let by = caller.admit::<GetTwin>(&hub, id).await?;
    Ok(render::twin(&hub.twin(by)?))
}

pub(super) async fn patch(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Extension(version): Extension<ApiVersion>,
    TwinPath(id): TwinPath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<PatchTwin>(&hub, id).await?;
    let patch = TwinPatch::parse(body::document(&bytes, version)?)?;
    Ok(render::twin(&hub.patch_twin(by, &patch, &if_match)?))
}

pub(super) async fn put(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Extension(version): Extension<ApiVersion>,
    TwinPath(id): TwinPath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ReplaceTwin>(&hub, id).await?;
    let patch = TwinPatch::parse(body::document(&bytes, version)?)?;
    Ok(render::twin(&hub.replace_twin(by, &patch, &if_match)?))
}
