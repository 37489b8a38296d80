//! Twins as the service side sees them, with tags and metadata (contract/rest.md section 3), and the changes it
//! makes to them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::empty_object;
use super::identity::{AuthenticationType, ConnectionState, IfMatch};

/// The twin of a device or module.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Twin {
    /// The device.
    pub device_id: String,
    /// The module, when it is one's twin.
    #[serde(default)]
    pub module_id: Option<String>,
    /// The version of tags and desired properties, for `If-Match`.
    pub etag: String,
    /// Grows by one with each change of any section.
    #[serde(default)]
    pub version: u64,
    /// What the service side notes about it; the device does not see them.
    #[serde(default = "empty_object")]
    pub tags: Value,
    /// Desired and reported properties.
    pub properties: TwinProperties,
    /// Whether it is connected.
    #[serde(default)]
    pub connection_state: ConnectionState,
    /// How it signs in.
    #[serde(default)]
    pub authentication_type: AuthenticationType,
    /// The IoT Plug and Play model it announced.
    #[serde(default)]
    pub model_id: Option<String>,
}

/// The two property sections, each with `$version` and `$metadata`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct TwinProperties {
    /// What the service side wants.
    #[serde(default = "empty_object")]
    pub desired: Value,
    /// What the device says is so.
    #[serde(default = "empty_object")]
    pub reported: Value,
}

/// New content for a twin: merged in by `patch_twin`, put in place by `replace_twin`. `null` deletes a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TwinPatch {
    tags: Option<Value>,
    desired: Option<Value>,
}

impl Twin {
    /// The version read, for a write that must not undo somebody else's.
    #[must_use]
    pub fn if_match(&self) -> IfMatch {
        IfMatch::ETag(self.etag.clone())
    }
}

impl TwinPatch {
    /// Content for the desired properties.
    #[must_use]
    pub const fn desired(desired: Value) -> Self {
        Self { tags: None, desired: Some(desired) }
    }

    /// Content for the tags.
    #[must_use]
    pub const fn tags(tags: Value) -> Self {
        Self { tags: Some(tags), desired: None }
    }

    /// Content for the tags as well.
    #[must_use]
    pub fn and_tags(mut self, tags: Value) -> Self {
        self.tags = Some(tags);
        self
    }
}

impl Serialize for TwinPatch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = empty_object();
        if let Some(tags) = &self.tags {
            document["tags"] = tags.clone();
        }
        if let Some(desired) = &self.desired {
            document["properties"] = json!({ "desired": desired });
        }
        document.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_holds_only_the_sections_given() {
        let patch = TwinPatch::desired(json!({ "a": null }));
        assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"properties":{"desired":{"a":null}}}"#);
        assert_eq!(serde_json::to_string(&TwinPatch::tags(json!({}))).unwrap(), r#"{"tags":{}}"#);
    }

    #[test]
    fn a_module_twin_without_tags_is_read() {
        let twin: Twin = serde_json::from_str(
            r#"{"deviceId":"d","moduleId":"m","etag":"AAAAAAAAAAE=","version":2,"status":"enabled",
               "authenticationType":"sas","connectionState":"Connected",
               "properties":{"desired":{"$version":1},"reported":{"$version":1}}}"#,
        )
        .unwrap();
        assert_eq!(twin.tags, json!({}));
        assert_eq!(twin.if_match(), IfMatch::ETag("AAAAAAAAAAE=".into()));
    }
}
