//! `POST /devices/keys/regenerate`: new symmetric keys for up to a hundred identities (contract/rest.md 1.6).
//!
//! Rows that keep their keys are listed beside the others under 200, the only status the Azure CLI's client reads.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use hub::Hub;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::RegenerateKeys;
use hub::identity::{KeyRegeneration, PolicyKey, RotatedKeys, RowError, RowId};
use hub::ids::ModuleId;
use hub::json::kind;
use serde::Serialize;
use serde_json::Value;

use crate::error::Answer;
use crate::extract::{Caller, JsonBody};
use crate::json::{self, Members};
use crate::names::{member, term};
use crate::render;

pub(super) async fn regenerate(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<RegenerateKeys>(&hub, ()).await?;
    let (policy_key, rows) = request(&bytes)?;
    Ok(result(policy_key, &hub.regenerate_keys(by, policy_key, rows)?))
}

fn request(body: &[u8]) -> Result<(PolicyKey, Vec<RowId>), HubError> {
    let body = json::object(body)?;
    let body = Members::of(&body);
    let policy_key = body.text(member::POLICY_KEY)?.and_then(policy_key).ok_or_else(|| {
        let allowed = POLICY_KEYS.map(name).join(", ");
        HubError::new(
            ErrorCode::InvalidPolicyKey,
            format!("The member '{}' must be one of {allowed}.", member::POLICY_KEY),
        )
    })?;
    let rows = body.array(member::DEVICES)?.ok_or_else(|| {
        HubError::new(ErrorCode::ArgumentNull, format!("The member '{}' is missing.", member::DEVICES))
    })?;
    Ok((policy_key, rows.iter().map(row).collect::<Result<_, _>>()?))
}

fn row(row: &Value) -> Result<RowId, HubError> {
    let Value::Object(row) = row else {
        return Err(json::invalid(format!(
            "The member '{}' must hold objects, it holds {}.",
            member::DEVICES,
            kind(row)
        )));
    };
    let row = Members::of(row);
    let device =
        row.text(member::ID)?.ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, "A row has no id."))?;
    Ok(RowId { device: device.into(), module: row.text(member::MODULE_ID)?.map(Into::into) })
}

const POLICY_KEYS: [PolicyKey; 3] = [PolicyKey::Primary, PolicyKey::Secondary, PolicyKey::Both];

const fn name(key: PolicyKey) -> &'static str {
    match key {
        PolicyKey::Both => term::BOTH,
        PolicyKey::Primary => member::PRIMARY_KEY,
        PolicyKey::Secondary => member::SECONDARY_KEY,
    }
}

fn policy_key(text: &str) -> Option<PolicyKey> {
    POLICY_KEYS.into_iter().find(|key| name(*key).eq_ignore_ascii_case(text))
}

fn result(policy_key: PolicyKey, regeneration: &KeyRegeneration) -> Response {
    render::json(&ResultJson {
        policy_key: name(policy_key),
        rotated_keys: regeneration.rotated.iter().map(RotatedJson::from).collect(),
        errors: regeneration.errors.iter().map(RowErrorJson::from).collect(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultJson<'a> {
    policy_key: &'static str,
    rotated_keys: Vec<RotatedJson<'a>>,
    errors: Vec<RowErrorJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotatedJson<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    primary_key: String,
    secondary_key: String,
}

impl<'a> From<&'a RotatedKeys> for RotatedJson<'a> {
    fn from(RotatedKeys { identity, keys }: &'a RotatedKeys) -> Self {
        Self {
            id: identity.device.as_str(),
            module_id: identity.module.as_ref().map(ModuleId::as_str),
            primary_key: keys.primary.to_base64(),
            secondary_key: keys.secondary.to_base64(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RowErrorJson<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    error_code: u32,
    error_status: &'a str,
}

impl<'a> From<&'a RowError> for RowErrorJson<'a> {
    fn from(RowError { id, error, .. }: &'a RowError) -> Self {
        Self {
            id: &id.device,
            module_id: id.module.as_deref(),
            error_code: error.code().number(),
            error_status: error.message(),
        }
    }
}
