//! JSON as callers send it: strict text -> value, the same for every head (contract/rest.md 1.7, 4.4).
//!
//! Text that is not JSON is `IotHubFormatError` with its position. A member that occurs twice is refused: which of
//! the two counts would be a guess. Nesting ends at the parser's 128 levels, far beyond the 10 a twin may have.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
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
        None | Some(Value::Null) => Err(no_body()),
        Some(other) => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("The body must be a JSON object, it is {}.", kind(&other)),
        )),
    }
}

/// Reads a body that must be one JSON array.
///
/// # Errors
/// As of [`object`].
pub fn array(body: &[u8]) -> Result<Vec<Value>, HubError> {
    match parse(body)? {
        Some(Value::Array(elements)) => Ok(elements),
        None | Some(Value::Null) => Err(no_body()),
        Some(other) => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("The body must be a JSON array, it is {}.", kind(&other)),
        )),
    }
}

/// Reads a body that must be one JSON object and leaves the member `raw` as the text it is: only its syntax is
/// checked, and its nesting is not limited.
///
/// # Errors
/// As of [`object`].
pub fn object_with_raw(
    body: &Bytes,
    raw: &'static str,
) -> Result<(Map<String, Value>, Option<Bytes>), HubError> {
    let text = text(body)?;
    if !text.trim_start().starts_with('{') {
        return object(body).map(|members| (members, None));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = WithRaw { raw }.deserialize(&mut deserializer);
    let (members, left) =
        read.and_then(|read| deserializer.end().map(|()| read)).map_err(|e| malformed(&e))?;
    Ok((members, left.map(|left| body.slice_ref(left.get().as_bytes()))))
}

/// Reads one JSON value; `None` when there is only white space.
///
/// # Errors
/// `IotHubFormatError` with the position of what is not JSON.
pub fn parse(body: &[u8]) -> Result<Option<Value>, HubError> {
    let text = text(body)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(|Document(value)| Some(value)).map_err(|error| malformed(&error))
}

fn text(body: &[u8]) -> Result<&str, HubError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(&format!("it is not UTF-8 from byte {} on", error.valid_up_to())))?;
    // .NET writers put a byte order mark before text; RFC 8259 lets a reader skip it.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn no_body() -> HubError {
    HubError::new(ErrorCode::ArgumentNull, "The request has no body.")
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
                return Err(occurs_twice(&name));
            }
            let Document(value) = entries.next_value()?;
            members.insert(name, value);
        }
        Ok(Document(members.into()))
    }
}

fn occurs_twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("the member '{}' occurs twice", shown(name)))
}

/// An object of which one member stays text.
struct WithRaw {
    raw: &'static str,
}

impl<'de> DeserializeSeed<'de> for WithRaw {
    type Value = (Map<String, Value>, Option<&'de RawValue>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WithRaw {
    type Value = (Map<String, Value>, Option<&'de RawValue>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut left) = (Map::new(), None);
        while let Some(name) = entries.next_key::<String>()? {
            let is_raw = name == self.raw;
            if is_raw && left.is_some() || members.contains_key(&name) {
                return Err(occurs_twice(&name));
            }
            if is_raw {
                left = Some(entries.next_value()?);
            } else {
                let Document(value) = entries.next_value()?;
                members.insert(name, value);
            }
        }
        Ok((members, left))
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

    fn with_raw(body: &'static str) -> Result<(Value, Option<Bytes>), HubError> {
        object_with_raw(&Bytes::from_static(body.as_bytes()), "raw")
            .map(|(members, raw)| (Value::Object(members), raw))
    }

    #[test]
    fn a_raw_member_stays_as_it_was_written_and_the_others_are_read() {
        let (members, raw) =
            with_raw("\u{feff}{\"a\":1,\"raw\": {\"x\" : 1.50, \"x\":[ ]} ,\"b\":[]}").unwrap();
        assert_eq!(members.to_string(), r#"{"a":1,"b":[]}"#);
        assert_eq!(raw.unwrap(), r#"{"x" : 1.50, "x":[ ]}"#);
        assert_eq!(with_raw(r#"{"raw":null}"#).unwrap().1.unwrap(), "null");
        assert_eq!(with_raw(r#"{"a":{"raw":1}}"#).unwrap().1, None);
    }

    #[test]
    fn a_raw_member_may_nest_deeply_and_must_still_be_json_and_occur_once() {
        let deep = format!("{{\"raw\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(object_with_raw(&Bytes::from(deep), "raw").is_ok());
        for (body, place) in [
            (r#"{"raw":[1,}"#, "line 1 column 11"),
            (r#"{"raw":1,"raw":2}"#, "'raw' occurs twice"),
            (r#"{"a":1,"a":2,"raw":1}"#, "'a' occurs twice"),
            (r#"{"raw":1} x"#, "line 1 column 11"),
        ] {
            let error = with_raw(body).unwrap_err();
            assert_eq!(error.code(), ErrorCode::IotHubFormatError);
            assert!(error.message().contains(place), "{}", error.message());
        }
        assert_eq!(with_raw(" ").unwrap_err().code(), ErrorCode::ArgumentNull);
        assert_eq!(with_raw("[]").unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }

    #[test]
    fn an_array_is_read_and_nothing_else_in_its_place() {
        assert_eq!(array(b"[1,{}]").unwrap().len(), 2);
        assert_eq!(array(b"null").unwrap_err().code(), ErrorCode::ArgumentNull);
        assert_eq!(array(b"{}").unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }
}
