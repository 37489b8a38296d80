//! What the hub's own events tell of a twin (contract/mqtt.md 12): all of it, or only what a change touched.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::ids::IdentityId;
use crate::time::Timestamp;
use crate::twin::packed::PackedSection;
use crate::twin::patch::{ReportedPatch, SectionPatch, TwinPatch};
use crate::twin::stored::StoredTwin;

/// `$lastUpdated` of what was never written, as the event of a new identity shows it.
const NEVER_WRITTEN: &[u8] = br#"{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}"#;

impl StoredTwin {
    /// The whole twin of an identity that was just made: sections nobody wrote yet show no date.
    pub(crate) fn told_when_born(&self, identity: &IdentityId) -> Vec<u8> {
        self.told_with(identity, |section, out| match section.version {
            1 => out.extend_from_slice(NEVER_WRITTEN),
            _ => section.write_for_service(out),
        })
    }

    /// The whole twin.
    pub(crate) fn told(&self, identity: &IdentityId) -> Vec<u8> {
        self.told_with(identity, |section, out| section.write_for_service(out))
    }

    fn told_with(&self, identity: &IdentityId, write: impl Fn(&PackedSection<'_>, &mut Vec<u8>)) -> Vec<u8> {
        let section = |section: PackedSection<'_>| -> Value {
            let mut text = Vec::new();
            write(&section, &mut text);
            serde_json::from_slice(&text).expect("a section is shown as JSON")
        };
        let document = self.document();
        let mut told = Map::new();
        told.insert("deviceId".to_owned(), identity.device.as_str().into());
        if let Some(module) = &identity.module {
            told.insert("moduleId".to_owned(), module.as_str().into());
        }
        told.insert("etag".to_owned(), self.etag().as_str().into());
        told.insert("version".to_owned(), self.version().into());
        if let Some(tags) = document.tags() {
            told.insert("tags".to_owned(), stored_tags(tags));
        }
        let properties =
            json!({ "desired": section(document.desired()), "reported": section(document.reported()) });
        told.insert("properties".to_owned(), properties);
        Value::Object(told).to_string().into_bytes()
    }

    /// `patch` with the members that a null section clears written out, as nulls: what the event of a merge tells is
    /// enough to do it again.
    pub(crate) fn spell_out<'a>(&self, patch: &'a TwinPatch) -> Cow<'a, TwinPatch> {
        let is_clear = |section: &Option<SectionPatch>| *section == Some(SectionPatch::Clear);
        if !is_clear(&patch.tags) && !is_clear(&patch.desired) {
            return Cow::Borrowed(patch);
        }
        let nulls = |keys: Vec<String>| {
            SectionPatch::Members(keys.into_iter().map(|key| (key, Value::Null)).collect())
        };
        let mut patch = patch.clone();
        if is_clear(&patch.tags) {
            let tags = self.document().tags().map(stored_tags);
            let keys = tags.as_ref().and_then(Value::as_object).into_iter().flat_map(Map::keys);
            patch.tags = Some(nulls(keys.cloned().collect()));
        }
        if is_clear(&patch.desired) {
            let desired = self.document().desired();
            patch.desired = Some(nulls(desired.keys().into_iter().map(str::to_owned).collect()));
        }
        Cow::Owned(patch)
    }

    /// What a merge of `patch`, spelled out, has changed.
    pub(crate) fn told_of_patch(&self, patch: &TwinPatch, at: Timestamp) -> Vec<u8> {
        let mut told = Map::from_iter([("version".to_owned(), self.version().into())]);
        if let Some(SectionPatch::Members(tags)) = &patch.tags {
            told.insert("tags".to_owned(), Value::Object(tags.clone()));
        }
        if let Some(SectionPatch::Members(desired)) = &patch.desired {
            let version = self.document().desired().version;
            let section = section(desired, version, &Metadata { at, version: Some(version) });
            told.insert("properties".to_owned(), json!({ "desired": section }));
        }
        Value::Object(told).to_string().into_bytes()
    }

    /// What the owner's report has changed.
    pub(crate) fn told_of_report(&self, patch: &ReportedPatch, at: Timestamp) -> Vec<u8> {
        let version = self.document().reported().version;
        let section = section(&patch.0, version, &Metadata { at, version: None });
        json!({ "version": self.version(), "properties": { "reported": section } }).to_string().into_bytes()
    }
}

fn stored_tags(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("stored tags are the JSON we wrote")
}

/// The stamp that every node a change wrote has.
struct Metadata {
    at: Timestamp,
    /// Only in desired properties (contract/rest.md 3.2).
    version: Option<u64>,
}

fn section(patch: &Map<String, Value>, version: u64, metadata: &Metadata) -> Value {
    let mut section = patch.clone();
    section.insert("$metadata".to_owned(), metadata.of(patch));
    section.insert("$version".to_owned(), version.into());
    Value::Object(section)
}

impl Metadata {
    /// Mirrors what was written; of what was deleted there is none any more.
    fn of(&self, written: &Map<String, Value>) -> Value {
        let mut metadata = Map::new();
        metadata.insert("$lastUpdated".to_owned(), self.at.to_string().into());
        if let Some(version) = self.version {
            metadata.insert("$lastUpdatedVersion".to_owned(), version.into());
        }
        for (key, value) in written {
            match value {
                Value::Null => {}
                Value::Object(members) => {
                    metadata.insert(key.clone(), self.of(members));
                }
                _ => {
                    metadata.insert(key.clone(), self.of(&Map::new()));
                }
            }
        }
        Value::Object(metadata)
    }
}
