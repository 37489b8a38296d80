//! `/messages/serviceBound/feedback`: what became of messages, a batch of records at a time under a lock.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hub::Hub;
use hub::c2d::{FeedbackBatch, Settlement};
use hub::gate::operations::{ReceiveFeedback, SettleFeedback};

use crate::error::Answer;
use crate::extract::{Caller, LockPath};
use crate::names::value;
use crate::render;

pub(super) async fn receive(State(hub): State<Arc<Hub>>, caller: Caller) -> Answer {
    let by = caller.admit::<ReceiveFeedback>(&hub, ()).await?;
    match hub.lock_next_feedback(by)? {
        Some(batch) => Ok(records(&batch)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

pub(super) async fn complete(state: State<Arc<Hub>>, caller: Caller, lock: LockPath) -> Answer {
    settle(state, caller, lock, Settlement::Complete).await
}

pub(super) async fn abandon(state: State<Arc<Hub>>, caller: Caller, lock: LockPath) -> Answer {
    settle(state, caller, lock, Settlement::Abandon).await
}

async fn settle(State(hub): State<Arc<Hub>>, caller: Caller, lock: LockPath, how: Settlement) -> Answer {
    let by = caller.admit::<SettleFeedback>(&hub, ()).await?;
    hub.settle_feedback(by, lock.token()?, how)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn records(batch: &FeedbackBatch) -> Response {
    render::with_etag(render::text(batch.to_json(), value::FEEDBACK), batch.token)
}
