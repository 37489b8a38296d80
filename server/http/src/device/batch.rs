//! The body of a batch -> messages: an array of `{body, base64Encoded, properties}` (contract/rest.md 1.16). A batch
//! with one unreadable row is refused as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hub::error::{ErrorCode, HubError};
use hub::json::kind;
use hub::telemetry::{DeviceMessage, MessageProperties};
use serde_json::Value;

use crate::json::{self, Members};
use crate::names::member;
use crate::properties;

pub(super) fn messages(body: &[u8]) -> Result<Vec<DeviceMessage>, HubError> {
    json::array(body)?.iter().enumerate().map(|(index, row)| message(index, row)).collect()
}

fn message(index: usize, row: &Value) -> Result<DeviceMessage, HubError> {
    let Value::Object(members) = row else {
        return Err(json::invalid(format!("Row {index} must be an object, it is {}.", kind(row))));
    };
    let row = Members::of(members);
    let body = row.text(member::BODY)?.ok_or_else(|| {
        HubError::new(ErrorCode::ArgumentNull, format!("Row {index} has no '{}'.", member::BODY))
    })?;
    // C sends text as it is and says so; all others send base64.
    let body = if row.boolean(member::BASE64_ENCODED)?.unwrap_or(true) {
        let decoded = BASE64.decode(body);
        decoded
            .map_err(|_| {
                json::invalid(format!("The '{}' of row {index} is not valid base64.", member::BODY))
            })?
            .into()
    } else {
        Bytes::copy_from_slice(body.as_bytes())
    };
    Ok(DeviceMessage { properties: message_properties(index, members.get(member::PROPERTIES))?, body })
}

fn message_properties(index: usize, given: Option<&Value>) -> Result<MessageProperties, HubError> {
    let members = match given {
        None | Some(Value::Null) => return Ok(MessageProperties::default()),
        Some(Value::Object(members)) => members,
        Some(other) => {
            return Err(json::invalid(format!(
                "The '{}' of row {index} must be an object, they are {}.",
                member::PROPERTIES,
                kind(other)
            )));
        }
    };
    let named = members.iter().map(|(name, value)| match value {
        Value::Null => Ok((name.as_str(), None)),
        Value::String(text) => Ok((name.as_str(), Some(text.clone()))),
        other => {
            Err(json::invalid(format!("A property of row {index} must be a string, it is {}.", kind(other))))
        }
    });
    let named: Vec<_> = named.collect::<Result<_, _>>()?;
    Ok(properties::of_telemetry(named.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(batch: &str) -> Vec<Bytes> {
        messages(batch.as_bytes()).unwrap().into_iter().map(|message| message.body).collect()
    }

    #[test]
    fn bodies_are_base64_unless_the_row_says_otherwise() {
        let batch = r#"[{"body":"aGk="},{"body":"aGk=","base64Encoded":true},
                        {"body":"aGk=","base64Encoded":false},{"body":"","base64Encoded":null}]"#;
        assert_eq!(bodies(batch), ["hi", "hi", "aGk=", ""].map(Bytes::from));
        assert!(bodies("[]").is_empty());
    }

    #[test]
    fn properties_of_a_row_are_read_by_the_names_of_headers() {
        let batch = r#"[{"body":"","properties":{"iothub-app-Key":"v","iothub-messageid":"m","dt-subject":"c",
                         "iothub-app-none":null,"else":"ignored"}}]"#;
        let properties = messages(batch.as_bytes()).unwrap().remove(0).properties;
        assert_eq!(properties.message_id.as_deref(), Some("m"));
        assert_eq!(properties.subject.as_deref(), Some("c"));
        assert_eq!(
            properties.application,
            [("Key".to_owned(), Some("v".to_owned())), ("none".to_owned(), None)]
        );
    }

    #[test]
    fn one_unreadable_row_refuses_the_batch() {
        for (batch, code) in [
            ("{}", ErrorCode::ArgumentInvalid),
            ("[", ErrorCode::IotHubFormatError),
            ("[1]", ErrorCode::ArgumentInvalid),
            (r#"[{"body":""},{}]"#, ErrorCode::ArgumentNull),
            (r#"[{"body":""},{"body":7}]"#, ErrorCode::ArgumentInvalid),
            (r#"[{"body":""},{"body":"no base64!"}]"#, ErrorCode::ArgumentInvalid),
            (r#"[{"body":"","base64Encoded":"false"}]"#, ErrorCode::ArgumentInvalid),
            (r#"[{"body":"","properties":[]}]"#, ErrorCode::ArgumentInvalid),
            (r#"[{"body":"","properties":{"iothub-app-k":1}}]"#, ErrorCode::ArgumentInvalid),
        ] {
            assert_eq!(messages(batch.as_bytes()).unwrap_err().code(), code, "{batch}");
        }
    }
}
