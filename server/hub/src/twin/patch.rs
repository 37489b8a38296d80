//! What callers send to change a twin, shape-checked (contract/rest.md 1.7, contract/mqtt.md 7.2).

use serde_json::{Map, Value};

use crate::api_version::ApiVersion;
use crate::error::{ErrorCode, HubError};
use crate::json;
use crate::twin::validate::check_members;

/// Whether a caller may write arrays: callers of an old api-version may not (contract/rest.md 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrays {
    /// They are values like others.
    Allowed,
    /// They break the rules.
    Refused,
}

/// A connection that names no version, or none the hub knows, speaks the newest.
impl From<Option<ApiVersion>> for Arrays {
    fn from(version: Option<ApiVersion>) -> Self {
        match version {
            Some(version) if version < ApiVersion::WITH_TWIN_ARRAYS => Self::Refused,
            _ => Self::Allowed,
        }
    }
}

/// A service's change: the sections it touches, validated. Whether it merges or replaces is the operation's.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinPatch {
    pub(crate) tags: Option<SectionPatch>,
    pub(crate) desired: Option<SectionPatch>,
}

/// What happens to one section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SectionPatch {
    /// The caller sent null: everything goes.
    Clear,
    /// The caller sent these members.
    Members(Map<String, Value>),
}

impl TwinPatch {
    /// Reads the body of a PATCH or PUT of `/twins`; members other than `tags` and `properties.desired` are
    /// ignored, as SDKs send whole twins back.
    ///
    /// # Errors
    /// `ArgumentInvalid` when a section is no object or breaks a rule for keys and values.
    pub fn parse(body: Value, arrays: Arrays) -> Result<Self, HubError> {
        let Value::Object(mut body) = body else {
            return Err(HubError::new(ErrorCode::ArgumentInvalid, "A twin is a JSON object."));
        };
        let desired = match body.remove("properties") {
            None | Some(Value::Null) => None,
            Some(Value::Object(mut properties)) => properties.remove("desired"),
            Some(_) => return Err(not_an_object("properties")),
        };
        Ok(Self {
            tags: SectionPatch::parse("tags", body.remove("tags"), arrays)?,
            desired: SectionPatch::parse("desired", desired.map(without_system_members), arrays)?,
        })
    }
}

impl TwinPatch {
    /// What counts against the day's messages.
    pub(crate) fn size_bytes(&self) -> usize {
        [&self.tags, &self.desired].into_iter().flatten().map(SectionPatch::size_bytes).sum()
    }
}

impl SectionPatch {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::Members(members) => json_bytes(members),
        }
    }

    fn parse(name: &str, value: Option<Value>, arrays: Arrays) -> Result<Option<Self>, HubError> {
        match value {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(Self::Clear)),
            Some(Value::Object(members)) => {
                check_members(name, &members, arrays)?;
                Ok(Some(Self::Members(members)))
            }
            Some(_) => Err(not_an_object(name)),
        }
    }
}

/// A device's or module's change of its reported properties, validated. It always merges.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedPatch(pub(crate) Map<String, Value>);

impl ReportedPatch {
    /// Reads the body of a reported-properties patch.
    ///
    /// # Errors
    /// As [`json::object`]; `ArgumentInvalid` when it breaks a rule for keys and values.
    pub fn parse(body: &[u8], arrays: Arrays) -> Result<Self, HubError> {
        let members = json::object(body)?;
        check_members("reported", &members, arrays)?;
        Ok(Self(members))
    }

    /// What counts against the day's messages.
    pub(crate) fn size_bytes(&self) -> usize {
        json_bytes(&self.0)
    }
}

/// SDKs send `$version` and `$metadata` of the twin they read back with their changes. The contract ignores such
/// members wherever in the desired properties they are; the parser's limit on nesting bounds the recursion.
fn without_system_members(mut section: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|key, _| !key.starts_with('$'));
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    strip(&mut section);
    section
}

/// Bytes of an object's JSON text.
fn json_bytes(members: &Map<String, Value>) -> usize {
    // What was read as JSON can be written as such.
    serde_json::to_vec(members).map_or(0, |text| text.len())
}

fn not_an_object(name: &str) -> HubError {
    HubError::new(
        ErrorCode::ArgumentInvalid,
        format!("Provided json is not a valid 'tags' or 'properties' object: '{name}' is not a JSON object."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn twin_patch(body: Value) -> Result<TwinPatch, HubError> {
        TwinPatch::parse(body, Arrays::Allowed)
    }

    fn reported_patch(body: &[u8]) -> Result<ReportedPatch, HubError> {
        ReportedPatch::parse(body, Arrays::Allowed)
    }

    #[test]
    fn whole_twins_sent_back_are_read_for_tags_and_desired_only() {
        let body = json!({"deviceId": null, "etag": "x", "version": 4, "properties": {
            "desired": {"a": {"b": 1, "$metadata": 2}, "$version": 7, "$metadata": {"$lastUpdated": "x"}},
            "reported": {"b": 2}}});
        let patch = twin_patch(body).unwrap();
        assert_eq!(patch.tags, None);
        let expected = json!({"a": {"b": 1}}).as_object().unwrap().clone();
        assert_eq!(patch.desired, Some(SectionPatch::Members(expected)));
    }

    #[test]
    fn a_null_section_clears_and_an_absent_one_is_left_alone() {
        let patch = twin_patch(json!({"tags": null, "properties": {"desired": null}})).unwrap();
        assert_eq!(patch, TwinPatch { tags: Some(SectionPatch::Clear), desired: Some(SectionPatch::Clear) });
        assert_eq!(twin_patch(json!({})).unwrap(), TwinPatch { tags: None, desired: None });
        assert_eq!(twin_patch(json!({"properties": null})).unwrap(), TwinPatch { tags: None, desired: None });
    }

    #[test]
    fn sections_that_are_no_objects_are_refused() {
        for bad in [
            json!([]),
            json!({"tags": 1}),
            json!({"properties": []}),
            json!({"properties": {"desired": "x"}}),
        ] {
            assert_eq!(twin_patch(bad.clone()).unwrap_err().code(), ErrorCode::ArgumentInvalid, "{bad}");
        }
    }

    #[test]
    fn arrays_are_refused_of_callers_with_a_version_before_2019_10_01() {
        let arrays = |version| Arrays::from(ApiVersion::parse(version));
        assert_eq!(arrays("2018-06-30"), Arrays::Refused);
        assert_eq!(arrays("2019-10-01"), Arrays::Allowed);
        assert_eq!(arrays("x"), Arrays::Allowed, "no version the hub knows");
        let refused = |result: Result<(), HubError>| {
            let error = result.unwrap_err();
            assert_eq!(
                (error.code(), error.message()),
                (
                    ErrorCode::ArgumentInvalid,
                    "Provided json is not a valid 'tags' or 'properties' object: arrays are not supported."
                )
            );
        };
        for body in [json!({"tags": {"a": {"b": []}}}), json!({"properties": {"desired": {"a": [1]}}})] {
            assert!(TwinPatch::parse(body.clone(), Arrays::Allowed).is_ok());
            refused(TwinPatch::parse(body, Arrays::Refused).map(drop));
        }
        refused(ReportedPatch::parse(br#"{"a": [1]}"#, Arrays::Refused).map(drop));
        let unwritten = json!({"properties": {"desired": {"$metadata": [1]}, "reported": {"a": [1]}}});
        assert!(TwinPatch::parse(unwritten, Arrays::Refused).is_ok(), "only what is written counts");
    }

    #[test]
    fn a_reported_patch_is_a_json_object_and_nothing_else() {
        assert!(reported_patch(br#"{"a": null}"#).is_ok());
        for (bad, code) in [
            (&b"{"[..], ErrorCode::IotHubFormatError),
            (b"\xff", ErrorCode::IotHubFormatError),
            (br#"{"a": 1, "a": 2}"#, ErrorCode::IotHubFormatError),
            (b"", ErrorCode::ArgumentNull),
            (b"null", ErrorCode::ArgumentNull),
            (b"[]", ErrorCode::ArgumentInvalid),
            (br#"{"$v": 1}"#, ErrorCode::ArgumentInvalid),
            (br#"{"a": {"$v": 1}}"#, ErrorCode::ArgumentInvalid),
        ] {
            let text = String::from_utf8_lossy(bad);
            assert_eq!(reported_patch(bad).unwrap_err().code(), code, "{text}");
        }
    }
}
