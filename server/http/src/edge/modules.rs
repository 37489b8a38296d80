//! The modules of a nested edge device, managed through its parents: bodies name the chain of them and the module.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hub::Hub;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::ManageOnBehalf;
use hub::identity::AuthChain;
use hub::ids::ModuleId;

use crate::edge::{chain, required};
use crate::error::Answer;
use crate::extract::{Condition, IdentityCaller, JsonBody, ModulePath};
use crate::json::{self, Members};
use crate::names::member;
use crate::registry::{body, render};

pub(super) async fn put(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    Condition(if_match): Condition,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ManageOnBehalf>(&hub, (device, module)).await?;
    let body = json::object(&bytes)?;
    let body = Members::of(&body);
    let chain = chain(body)?;
    let module = body.object(member::MODULE)?.ok_or_else(|| {
        HubError::new(ErrorCode::ArgumentNull, format!("The member '{}' is missing.", member::MODULE))
    })?;
    let (id, spec) = body::module_of(chain.target(), module)?;
    Ok(render::module(&hub.put_module_on_behalf(by, &chain, &id, &spec, &if_match)?))
}

pub(super) async fn get(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ManageOnBehalf>(&hub, (device, module)).await?;
    let (chain, id) = module_below(&bytes, member::TARGET_MODULE)?;
    Ok(render::module(&hub.module_on_behalf(by, &chain, &id)?))
}

pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ManageOnBehalf>(&hub, (device, module)).await?;
    let chain = chain(Members::of(&json::object(&bytes)?))?;
    Ok(render::modules(&hub.modules_on_behalf(by, &chain)?))
}

pub(super) async fn delete(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ManageOnBehalf>(&hub, (device, module)).await?;
    let (chain, id) = module_below(&bytes, member::MODULE_ID)?;
    hub.delete_module_on_behalf(by, &chain, &id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The chain and the module that a body names.
fn module_below(bytes: &Bytes, name: &str) -> Result<(AuthChain, ModuleId), HubError> {
    let body = json::object(bytes)?;
    let body = Members::of(&body);
    Ok((chain(body)?, ModuleId::parse(required(body, name)?)?))
}
