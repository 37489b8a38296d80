//! Request bodies as JSON: strict text -> value, and value -> typed members with errors that name them
//! (contract/rest.md 0.3, 1.7, 4.4).
//!
//! Text that is not JSON is `IotHubFormatError` with its position; JSON of the wrong shape is `ArgumentInvalid`
//! with the member's name. A member that occurs twice is refused: which of the two counts would be a guess.
//! Nesting ends at the parser's 128 levels, far beyond the 10 a twin may have.

use std::fmt;

use axum::http::{HeaderMap, header};
use hub::error::{ErrorCode, HubError};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::names;

/// Characters of a member's name an error repeats.
const SHOWN_CHARS: usize = 64;

/// Refuses a body declared to be something else than JSON in UTF-8. No declaration is fine: none but
/// `Authorization` may be required (contract/rest.md 0.3).
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), HubError> {
    let Some(declared) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    if declared.to_str().is_ok_and(is_json_in_utf8) {
        return Ok(());
    }
    Err(HubError::new(
        ErrorCode::GenericUnsupportedMediaType,
        format!(
            "The body must be {} in {}, the Content-Type header says otherwise.",
            names::value::JSON_ESSENCE,
            names::value::UTF_8
        ),
    ))
}

fn is_json_in_utf8(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == names::value::JSON_ESSENCE || essence.ends_with(names::value::JSON_SUFFIX);
    is_json
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case(names::value::CHARSET)
                || value.trim().trim_matches('"').eq_ignore_ascii_case(names::value::UTF_8)
        })
}

/// Reads a body that must be one JSON object.
///
/// # Errors
/// `ArgumentNull` for nothing or `null`, `IotHubFormatError` for what is not JSON, `ArgumentInvalid` for another
/// kind of value.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, HubError> {
    match parse(body)? {
        Some(Value::Object(members)) => Ok(members),
        None | Some(Value::Null) => Err(HubError::new(ErrorCode::ArgumentNull, "The request has no body.")),
        Some(other) => Err(invalid(format!("The body must be a JSON object, it is {}.", kind(&other)))),
    }
}

/// Reads one JSON value; `None` when there is only white space.
fn parse(body: &[u8]) -> Result<Option<Value>, HubError> {
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

pub(crate) fn invalid(message: impl Into<String>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn shown(name: &str) -> String {
    if name.chars().count() <= SHOWN_CHARS {
        return name.to_owned();
    }
    name.chars().take(SHOWN_CHARS).chain("...".chars()).collect()
}

/// Members of an object, read by name. A member that is `null` counts as absent; members nobody asks for are
/// ignored (every SDK sends some).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    pub(crate) const fn of(members: &'a Map<String, Value>) -> Self {
        Self(members)
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, HubError> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn boolean(self, name: &str) -> Result<Option<bool>, HubError> {
        self.typed(name, "a boolean", Value::as_bool)
    }

    pub(crate) fn object(self, name: &str) -> Result<Option<Self>, HubError> {
        Ok(self.typed(name, "an object", Value::as_object)?.map(Self))
    }

    /// One of a fixed set of words, compared without regard to case as .NET's enum reader does.
    pub(crate) fn term<T: Copy>(self, name: &str, terms: &[(&str, T)]) -> Result<Option<T>, HubError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match terms.iter().find(|(term, _)| term.eq_ignore_ascii_case(text)) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let allowed = terms.iter().map(|(term, _)| *term).collect::<Vec<_>>().join(", ");
                Err(invalid(format!("The member '{name}' is '{}', allowed are {allowed}.", shown(text))))
            }
        }
    }

    fn typed<T>(
        self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, HubError> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(invalid(format!("The member '{name}' must be {wanted}, it is {}.", kind(value)))),
        }
    }
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

    #[test]
    fn json_content_types_and_none_pass_and_others_do_not() {
        let verdict = |content_type: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(text) = content_type {
                headers.insert(header::CONTENT_TYPE, axum::http::HeaderValue::from_static(text));
            }
            check_content_type(&headers).map_err(|error| error.code())
        };
        for good in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=\"UTF-8\""),
            Some("application/merge-patch+json"),
        ] {
            assert_eq!(verdict(good), Ok(()), "{good:?}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""]
        {
            assert_eq!(verdict(Some(bad)), Err(ErrorCode::GenericUnsupportedMediaType), "{bad:?}");
        }
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named_and_null_counts_as_absent() {
        let members = object(br#"{"status":5,"reason":null}"#).unwrap();
        let members = Members::of(&members);
        let error = members.text("status").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ArgumentInvalid);
        assert_eq!(error.message(), "The member 'status' must be a string, it is a number.");
        assert_eq!(members.text("reason").unwrap(), None);
    }
}
