//! The body of a twin PATCH or PUT, up to the rules that depend on HTTP: it is JSON, and a caller of an old
//! api-version sends no arrays (contract/rest.md 1.7, 3.5). Everything else about it is the core's to judge.

use hub::error::HubError;
use serde_json::{Map, Value};

use crate::json;
use crate::layers::api_version::ApiVersion;
use crate::names::member;

pub(super) fn document(bytes: &[u8], version: ApiVersion) -> Result<Value, HubError> {
    let body = json::object(bytes)?;
    if version < ApiVersion::WITH_TWIN_ARRAYS && writes_an_array(&body) {
        return Err(json::invalid(
            "Provided json is not a valid 'tags' or 'properties' object: arrays are not supported.",
        ));
    }
    Ok(Value::Object(body))
}

/// Only what a call writes counts: what an SDK sends back of the reported properties is ignored anyway.
fn writes_an_array(body: &Map<String, Value>) -> bool {
    let desired = body.get(member::PROPERTIES).and_then(|properties| properties.get(member::DESIRED));
    body.get(member::TAGS).is_some_and(has_array) || desired.is_some_and(has_array)
}

/// The parser's limit on nesting bounds the recursion.
fn has_array(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::Object(members) => {
            members.iter().any(|(name, value)| !name.starts_with('$') && has_array(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
