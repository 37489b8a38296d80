//! `POST /devices`: rows that create, update and delete identities, each for itself (contract/rest.md 1.3).
//!
//! A row that cannot be read fails like one that cannot be done; only what is no array of objects fails the request.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hub::Hub;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::BulkRegistry;
use hub::identity::{BulkChange, BulkResult, BulkRow, ImportMode, RowError, RowId};
use hub::json::kind;
use hub::twin::{Arrays, TwinPatch};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Answer;
use crate::extract::{Caller, JsonBody};
use crate::json::{self, Members};
use crate::layers::body::BULK_BODY_BYTES;
use crate::names::{self, member, term};
use crate::registry::body;
use crate::render;

pub(super) async fn change(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    JsonBody(bytes): JsonBody<BULK_BODY_BYTES>,
) -> Answer {
    let by = caller.admit::<BulkRegistry>(&hub, ()).await?;
    let rows = rows(&bytes, Arrays::from(Some(caller.version)))?;
    Ok(result(&hub.bulk_registry(by, rows)?))
}

fn rows(body: &[u8], arrays: Arrays) -> Result<Vec<BulkRow>, HubError> {
    let rows = json::array(body)?.into_iter().enumerate();
    rows.map(|(index, row)| match row {
        Value::Object(members) => Ok(BulkRow { id: row_id(&members), change: change_of(members, arrays) }),
        other => Err(json::invalid(format!("Row {index} must be an object, it is {}.", kind(&other)))),
    })
    .collect()
}

/// The ids as the row's error will repeat them.
fn row_id(row: &Map<String, Value>) -> RowId {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(Into::into);
    RowId { device: text(member::ID).unwrap_or_default(), module: text(member::MODULE_ID) }
}

fn change_of(mut row: Map<String, Value>, arrays: Arrays) -> Result<BulkChange, HubError> {
    let twin = twin(&mut row, arrays)?;
    let row = Members::of(&row);
    if row.text(member::ID)?.is_none() {
        return Err(HubError::new(ErrorCode::ArgumentNull, "The row has no id."));
    }
    row.text(member::MODULE_ID)?;
    let etag = row.text(member::ETAG)?.or(row.text(member::ETAG_OF_NODE)?);
    Ok(BulkChange {
        mode: row.term(member::IMPORT_MODE, MODES)?.unwrap_or_default(),
        etag: etag.map(Into::into),
        spec: body::device_spec(row)?,
        managed_by: row.text(member::MANAGED_BY)?.map(Into::into),
        twin_etag: row.text(member::TWIN_ETAG)?.map(Into::into),
        twin,
    })
}

/// What the row says of the twin. Here null says nothing: C# writes it for what it was not given.
fn twin(row: &mut Map<String, Value>, arrays: Arrays) -> Result<Option<TwinPatch>, HubError> {
    let sections = [member::TAGS, member::PROPERTIES].into_iter();
    let given: Map<String, Value> = sections
        .filter_map(|name| Some((name.to_owned(), row.remove(name).filter(|section| !section.is_null())?)))
        .collect();
    (!given.is_empty()).then(|| TwinPatch::parse(Value::Object(given), arrays)).transpose()
}

/// Compared without regard to case: Node, Go and C# write them differently.
const MODES: &[(&str, ImportMode)] = &[
    (term::CREATE, ImportMode::Create),
    (term::CREATE_OR_UPDATE, ImportMode::CreateOrUpdate),
    (term::CREATE_OR_UPDATE_IF_MATCH, ImportMode::CreateOrUpdateIfMatchETag),
    (term::DELETE, ImportMode::Delete),
    (term::DELETE_IF_MATCH, ImportMode::DeleteIfMatchETag),
    (term::UPDATE, ImportMode::Update),
    (term::UPDATE_IF_MATCH, ImportMode::UpdateIfMatchETag),
    (term::UPDATE_TWIN, ImportMode::UpdateTwin),
    (term::UPDATE_TWIN_IF_MATCH, ImportMode::UpdateTwinIfMatchETag),
];

const fn operation(mode: ImportMode) -> &'static str {
    match mode {
        ImportMode::Create => term::CREATE,
        ImportMode::CreateOrUpdate => term::CREATE_OR_UPDATE,
        ImportMode::CreateOrUpdateIfMatchETag => term::CREATE_OR_UPDATE_IF_MATCH,
        ImportMode::Delete => term::DELETE,
        ImportMode::DeleteIfMatchETag => term::DELETE_IF_MATCH,
        ImportMode::Update => term::UPDATE,
        ImportMode::UpdateIfMatchETag => term::UPDATE_IF_MATCH,
        ImportMode::UpdateTwin => term::UPDATE_TWIN,
        ImportMode::UpdateTwinIfMatchETag => term::UPDATE_TWIN_IF_MATCH,
    }
}

/// 200, or 400 with the same body and the headers that tell it from an error's.
fn result(result: &BulkResult) -> Response {
    let errors = result.errors.iter().map(RowErrorJson::from).collect();
    let mut response =
        render::json(&ResultJson { is_successful: result.is_successful(), errors, warnings: [] });
    if !result.is_successful() {
        const NAME: HeaderValue = HeaderValue::from_static(ErrorCode::BulkRegistryOperationFailure.name());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(names::header::ERROR_CODE, NAME);
        response.headers_mut().insert(names::header::BULK_ERROR_CODE, NAME);
    }
    response
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultJson<'a> {
    is_successful: bool,
    errors: Vec<RowErrorJson<'a>>,
    /// A device is never registered without its twin here, the one thing the service warns of.
    warnings: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RowErrorJson<'a> {
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    /// Go and C# read a number only.
    error_code: u32,
    error_status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
}

impl<'a> From<&'a RowError> for RowErrorJson<'a> {
    fn from(RowError { id, mode, error }: &'a RowError) -> Self {
        Self {
            device_id: &id.device,
            module_id: id.module.as_deref(),
            error_code: error.code().number(),
            error_status: error.message(),
            operation: mode.map(operation),
        }
    }
}
