//! JSON as callers send it: strict text -> value, the same for every head (contract/rest.md 1.7, 4.4).
//!
//! Text that is not JSON is `IotHubFormatError` with its position. A member that occurs twice is refused: which of
//! the two counts would be a guess. Nesting ends at the parser's 128 levels, far beyond the 10 a twin may have.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{ErrorCode, HubError};

/// Characters of a caller's text that an error repeats.
const SHOWN_CHARS: usize = 64;

/// Reads a body that must be one JSON object.
///
/// # Errors
/// `ArgumentNull` for nothing or `null`, `IotHubFormatError` for what is not JSON, `ArgumentInvalid` for another
/// kind of value.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, HubError> {
    match parse(body)? {
        Some(Value::Object(members)) => Ok(members),
        None | Some(Value::Null) => Err(HubError::new(ErrorCode::ArgumentNull, "The request has no body.")),
        Some(other) => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("The body must be a JSON object, it is {}.", kind(&other)),
        )),
    }
}

/// Reads one JSON value; `None` when there is only white space.
///
/// # Errors
/// `IotHubFormatError` with the position of what is not JSON.
pub fn parse(body: &[u8]) -> Result<Option<Value>, HubError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(&format!("it is not UTF-8 from byte {} on", error.valid_up_to())))?;
    // .NET writers put a byte order mark before text; RFC 8259 lets a reader skip it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(|Document(value)| Some(value)).map_err(|error| malformed(&error))
}

fn malformed(why: &dyn fmt::Display) -> HubError {
    HubError::new(ErrorCode::IotHubFormatError, format!("The body is not valid JSON: {why}."))
}

/// What a value is, for an error's text.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The beginning of a caller's text, for an error's.
pub fn shown(name: &str) -> String {
    if name.chars().count() <= SHOWN_CHARS {
        return name.to_owned();
    }
    name.chars().take(SHOWN_CHARS).chain("...".chars()).collect()
}

/// A JSON value in which no object has a member twice.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Document, E> {
        Number::from_f64(value)
            .map(|number| Document(number.into()))
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(Document(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Document, A::Error> {
        let mut array = Vec::new();
        while let Some(Document(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Document(array.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member '{}' occurs twice", shown(&name))));
            }
            let Document(value) = entries.next_value()?;
            members.insert(name, value);
        }
        Ok(Document(members.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8]) -> (ErrorCode, String) {
        let error = object(body).unwrap_err();
        (error.code(), error.message().to_owned())
    }

    #[test]
    fn an_object_is_read_with_its_members_in_order() {
        let members = object(b" {\"b\":1,\"a\":[null,{\"x\":-0.5}]} ").unwrap();
        assert_eq!(Value::Object(members).to_string(), r#"{"b":1,"a":[null,{"x":-0.5}]}"#);
    }

    #[test]
    fn malformed_json_is_refused_with_its_position() {
        for (body, position) in [
            (&b"{\"a\":1,\n  \"b\":}"[..], "line 2 column 7"),
            (b"{\"a\":1", "line 1 column 6"),
            (b"{} {}", "line 1 column 4"),
            (b"{\"a\":1e999}", "line 1"),
        ] {
            let (code, message) = refusal(body);
            assert_eq!(code, ErrorCode::IotHubFormatError, "{message}");
            assert!(message.contains(position), "{message}");
        }
    }

    #[test]
    fn a_member_that_occurs_twice_is_refused_by_name_and_position() {
        let (code, message) = refusal(br#"{"a":{"b":1,"b":2}}"#);
        assert_eq!(code, ErrorCode::IotHubFormatError);
        assert!(message.contains("'b' occurs twice at line 1 column"), "{message}");
        assert!(object(br#"{"a":{"b":1},"b":2}"#).is_ok());
    }

    #[test]
    fn an_endless_member_name_is_not_repeated_to_the_client() {
        let name = "k".repeat(100_000);
        let (_, message) = refusal(format!("{{\"{name}\":1,\"{name}\":2}}").as_bytes());
        assert!(message.len() < 300, "{} bytes", message.len());
    }

    #[test]
    fn bottomless_nesting_is_refused_and_does_not_overflow_the_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let (code, message) = refusal(deep.as_bytes());
        assert_eq!(code, ErrorCode::IotHubFormatError);
        assert!(message.contains("recursion limit"), "{message}");
        let shallow = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert!(object(shallow.as_bytes()).is_ok());
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_with_their_place() {
        let (code, message) = refusal(b"{\"a\":\"\xff\"}");
        assert_eq!(code, ErrorCode::IotHubFormatError);
        assert!(message.contains("byte 6"), "{message}");
        assert!(object("{\"a\":\"\u{e9}\"}".as_bytes()).is_ok());
    }

    #[test]
    fn a_byte_order_mark_before_the_text_is_skipped() {
        assert!(object("\u{feff}{}".as_bytes()).is_ok());
    }

    #[test]
    fn nothing_and_null_are_a_missing_body_and_other_kinds_are_invalid() {
        assert_eq!(refusal(b" ").0, ErrorCode::ArgumentNull);
        assert_eq!(refusal(b"null").0, ErrorCode::ArgumentNull);
        for (body, kind) in [(&b"[]"[..], "an array"), (b"\"{}\"", "a string"), (b"1", "a number")] {
            let (code, message) = refusal(body);
            assert_eq!(code, ErrorCode::ArgumentInvalid);
            assert!(message.contains(kind), "{message}");
        }
    }
}
