//! What keys and values a twin may hold, and how its size is counted (contract/rest.md 3.4, 3.5).

use serde_json::{Map, Number, Value};

use crate::error::{ErrorCode, HubError};
use crate::limits;
use crate::twin::patch::Arrays;

/// Checks the members of a section as a caller sent them; `section` names it in the message.
///
/// # Errors
/// `ArgumentInvalid` naming the offending path and the rule.
pub(crate) fn check_members(
    section: &str,
    members: &Map<String, Value>,
    arrays: Arrays,
) -> Result<(), HubError> {
    Checker { path: section.to_owned(), arrays, is_in_array: false }.object(members, 0)
}

/// Walks down a section as it was sent.
struct Checker {
    path: String,
    arrays: Arrays,
    is_in_array: bool,
}

impl Checker {
    fn object(&mut self, members: &Map<String, Value>, level: usize) -> Result<(), HubError> {
        self.check_level(level)?;
        let parent = self.path.len();
        for (key, value) in members {
            check_key(&self.path, key)?;
            self.path.push('.');
            self.path.push_str(key);
            self.value(value, level + 1)?;
            self.path.truncate(parent);
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, level: usize) -> Result<(), HubError> {
        match value {
            // Arrays are replaced whole, so a null in one could delete nothing.
            Value::Null if self.is_in_array => Err(invalid(&self.path, "is null within an array")),
            Value::Null | Value::Bool(_) => Ok(()),
            Value::Number(number) => self.number(number),
            Value::String(text) if text.len() > limits::TWIN_STRING_BYTES => {
                let rule = format!("is a string longer than {} bytes", limits::TWIN_STRING_BYTES);
                Err(invalid(&self.path, &rule))
            }
            Value::String(_) => Ok(()),
            Value::Array(_) if self.arrays == Arrays::Refused => Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                "Provided json is not a valid 'tags' or 'properties' object: arrays are not supported.",
            )),
            Value::Array(items) => {
                self.check_level(level)?;
                let was_in_array = std::mem::replace(&mut self.is_in_array, true);
                items.iter().try_for_each(|item| self.value(item, level + 1))?;
                self.is_in_array = was_in_array;
                Ok(())
            }
            Value::Object(members) => self.object(members, level),
        }
    }

    fn number(&self, number: &Number) -> Result<(), HubError> {
        let range = limits::TWIN_INTEGER_MIN..=limits::TWIN_INTEGER_MAX;
        if number.as_i64().map_or_else(|| number.is_f64(), |integer| range.contains(&integer)) {
            return Ok(());
        }
        let rule = format!("is an integer outside {} to {}", range.start(), range.end());
        Err(invalid(&self.path, &rule))
    }

    fn check_level(&self, level: usize) -> Result<(), HubError> {
        if level <= limits::TWIN_DEPTH {
            return Ok(());
        }
        Err(invalid(&self.path, &format!("is nested deeper than {} levels", limits::TWIN_DEPTH)))
    }
}

fn check_key(path: &str, key: &str) -> Result<(), HubError> {
    if key.is_empty() {
        return Err(invalid(path, "has an empty key"));
    }
    if key.len() > limits::TWIN_KEY_BYTES {
        return Err(invalid(path, &format!("has a key longer than {} bytes", limits::TWIN_KEY_BYTES)));
    }
    match key.chars().find(|c| matches!(c, '.' | '$' | ' ') || c.is_control()) {
        Some(c) => Err(invalid(
            path,
            &format!("has a key with {c:?}; '.', '$', space and control characters are not allowed"),
        )),
        None => Ok(()),
    }
}

fn invalid(path: &str, rule: &str) -> HubError {
    // A path may be as long as its keys allow; the message stays readable.
    let shown: String = path.chars().take(256).collect();
    HubError::new(ErrorCode::ArgumentInvalid, format!("'{shown}' {rule}."))
}

/// Refuses a section that grew past its limit.
///
/// # Errors
/// `ArgumentInvalid` with size and limit.
pub(crate) fn check_size(section: &str, size_bytes: usize, limit_bytes: usize) -> Result<(), HubError> {
    if size_bytes <= limit_bytes {
        return Ok(());
    }
    Err(HubError::new(
        ErrorCode::ArgumentInvalid,
        format!("'{section}' would take {size_bytes} bytes; the limit is {limit_bytes}."),
    ))
}

/// The counted size of an object: keys plus values, text without control characters.
pub(crate) fn object_size(members: &Map<String, Value>) -> usize {
    members.iter().map(|(key, value)| text_size(key) + value_size(value)).sum()
}

/// The counted size of a value.
pub(crate) fn value_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => limits::TWIN_BOOLEAN_BYTES,
        Value::Number(_) => limits::TWIN_NUMBER_BYTES,
        Value::String(text) => text_size(text),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(members) => object_size(members),
    }
}

/// The UTF-8 bytes of a text that are no C0 or C1 control characters.
pub(crate) fn text_size(text: &str) -> usize {
    text.chars().filter(|c| !c.is_control()).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: &Value) -> Result<(), HubError> {
        check_members("desired", value.as_object().unwrap(), Arrays::Allowed)
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!({"property": 1}), |inner, _| json!({"level": inner}))
    }

    #[test]
    fn ten_levels_below_the_section_are_allowed_and_eleven_are_not() {
        assert!(check(&nested(10)).is_ok());
        assert_eq!(check(&nested(11)).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }

    #[test]
    fn keys_obey_their_alphabet_and_length() {
        for bad in ["a.b", "a$b", "$a", "a b", "a\u{1}", "a\u{85}", ""] {
            assert!(check(&json!({ bad: 1 })).is_err(), "{bad:?}");
            assert!(check(&json!({"outer": { bad: 1 }})).is_err(), "{bad:?}");
        }
        assert!(check(&json!({ "k".repeat(1024): 1 })).is_ok());
        assert!(check(&json!({ "k".repeat(1025): 1 })).is_err());
    }

    #[test]
    fn strings_and_integers_have_their_limits() {
        assert!(check(&json!({"s": "x".repeat(4096)})).is_ok());
        assert!(check(&json!({"s": "x".repeat(4097)})).is_err());
        for (integer, accepted) in [
            (4_503_599_627_370_495_i64, true),
            (4_503_599_627_370_496, false),
            (-4_503_599_627_370_496, true),
            (-4_503_599_627_370_497, false),
        ] {
            assert_eq!(check(&json!({ "i": integer })).is_ok(), accepted, "{integer}");
        }
        assert!(check(&json!({"i": u64::MAX})).is_err());
        assert!(check(&json!({"f": 1e300})).is_ok());
    }

    #[test]
    fn arrays_hold_no_null_and_count_for_depth() {
        assert!(check(&json!({"a": [1, {"b": "c"}, [true]]})).is_ok());
        assert!(check(&json!({"a": [1, null]})).is_err());
        assert!(check(&json!({"a": [{"b": null}]})).is_err());
        assert!(check(&json!({"a": [{"b": {"c": null}}]})).is_err());
        assert!(
            check(&json!({"a": [1], "b": null, "c": {"d": null}})).is_ok(),
            "outside an array null deletes"
        );
        let deep = (0..10).fold(json!([1]), |inner, _| json!([inner]));
        assert!(check(&json!({ "a": deep })).is_err());
    }

    #[test]
    fn the_message_names_the_path() {
        assert!(check(&json!({"a": {"b": {"c d": 1}}})).unwrap_err().message().contains("'desired.a.b'"));
    }

    #[test]
    fn size_counts_keys_and_values_by_the_documented_formula() {
        for (value, size) in [
            (json!({"abc": "de"}), 5),
            (json!({"a": 1, "b": true}), 1 + 8 + 1 + 4),
            (json!({"a": {"b": "ü\u{7}"}}), 1 + 1 + 2),
            (json!({"a": [1, "x"]}), 1 + 8 + 1),
        ] {
            assert_eq!(object_size(value.as_object().unwrap()), size, "{value}");
        }
    }
}
