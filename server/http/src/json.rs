//! Request bodies as JSON: what they are declared to be, and values -> typed members with errors that name them
//! (contract/rest.md 0.3, 4.4). The text itself is read by [`hub::json`]; JSON of the wrong shape is
//! `ArgumentInvalid` with the member's name.

use axum::http::{HeaderMap, header};
use hub::error::{ErrorCode, HubError};
use hub::json::{kind, shown};
use serde_json::{Map, Value};

use crate::names;

pub(crate) use hub::json::{array, object, object_with_raw};

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
    let essence = parts.next().unwrap_or_default();
    let suffix = essence.len().checked_sub(names::value::JSON_SUFFIX.len()).and_then(|at| essence.get(at..));
    let is_json = essence.eq_ignore_ascii_case(names::value::JSON_ESSENCE)
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(names::value::JSON_SUFFIX));
    is_json
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case(names::value::CHARSET)
                || value.trim().trim_matches('"').eq_ignore_ascii_case(names::value::UTF_8)
        })
}

pub(crate) fn invalid(message: impl Into<String>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
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

    pub(crate) fn whole_number(self, name: &str) -> Result<Option<u64>, HubError> {
        self.typed(name, "a whole number from 0 on", Value::as_u64)
    }

    pub(crate) fn array(self, name: &str) -> Result<Option<&'a [Value]>, HubError> {
        self.typed(name, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// Whether the member is there and null, where that is not the same as absent.
    pub(crate) fn is_null(self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_null)
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

#[cfg(test)]
mod tests {
    use super::*;

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
