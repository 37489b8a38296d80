//! What callers send to change a twin, shape-checked (contract/rest.md 1.7, contract/mqtt.md 7.2).

use serde_json::{Map, Value};

use crate::error::{ErrorCode, HubError};
use crate::twin::validate::check_members;

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
    pub fn parse(body: Value) -> Result<Self, HubError> {
        let Value::Object(mut body) = body else {
            return Err(HubError::new(ErrorCode::ArgumentInvalid, "A twin is a JSON object."));
        };
        let desired = match body.remove("properties") {
            None | Some(Value::Null) => None,
            Some(Value::Object(mut properties)) => properties.remove("desired"),
            Some(_) => return Err(not_an_object("properties")),
        };
        Ok(Self {
            tags: SectionPatch::parse("tags", body.remove("tags"))?,
            desired: SectionPatch::parse("desired", desired.map(without_system_members))?,
        })
    }
}

impl SectionPatch {
    fn parse(name: &str, value: Option<Value>) -> Result<Option<Self>, HubError> {
        match value {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(Self::Clear)),
            Some(Value::Object(members)) => {
                check_members(name, &members)?;
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
    /// `IotHubFormatError` when it is no JSON object, `ArgumentInvalid` when it breaks a rule for keys and values.
    pub fn parse(body: &[u8]) -> Result<Self, HubError> {
        let members: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
            HubError::new(
                ErrorCode::IotHubFormatError,
                format!("Reported properties are a JSON object: {error}."),
            )
        })?;
        check_members("reported", &members)?;
        Ok(Self(members))
    }
}

/// SDKs send `$version` and `$metadata` of the twin they read back with their changes.
fn without_system_members(section: Value) -> Value {
    match section {
        Value::Object(mut members) => {
            members.retain(|key, _| !key.starts_with('$'));
            Value::Object(members)
        }
        other => other,
    }
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

    #[test]
    fn whole_twins_sent_back_are_read_for_tags_and_desired_only() {
        let body = json!({"deviceId": null, "etag": "x", "version": 4, "properties": {
            "desired": {"a": 1, "$version": 7, "$metadata": {"$lastUpdated": "x"}}, "reported": {"b": 2}}});
        let patch = TwinPatch::parse(body).unwrap();
        assert_eq!(patch.tags, None);
        assert_eq!(patch.desired, Some(SectionPatch::Members(json!({"a": 1}).as_object().unwrap().clone())));
    }

    #[test]
    fn a_null_section_clears_and_an_absent_one_is_left_alone() {
        let patch = TwinPatch::parse(json!({"tags": null, "properties": {"desired": null}})).unwrap();
        assert_eq!(patch, TwinPatch { tags: Some(SectionPatch::Clear), desired: Some(SectionPatch::Clear) });
        assert_eq!(TwinPatch::parse(json!({})).unwrap(), TwinPatch { tags: None, desired: None });
    }

    #[test]
    fn sections_that_are_no_objects_are_refused() {
        for bad in [
            json!([]),
            json!({"tags": 1}),
            json!({"properties": []}),
            json!({"properties": {"desired": "x"}}),
        ] {
            assert_eq!(
                TwinPatch::parse(bad.clone()).unwrap_err().code(),
                ErrorCode::ArgumentInvalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_reported_patch_is_a_json_object_and_nothing_else() {
        assert!(ReportedPatch::parse(br#"{"a": null}"#).is_ok());
        for bad in [&b"[]"[..], b"", b"{", b"\xff", b"null"] {
            assert_eq!(ReportedPatch::parse(bad).unwrap_err().code(), ErrorCode::IotHubFormatError);
        }
        assert_eq!(ReportedPatch::parse(br#"{"$v": 1}"#).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }
}
