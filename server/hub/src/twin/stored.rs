//! A twin in the registry: packed, with the etag and version that every change moves (contract/rest.md 3.1).

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::device_session::DesiredChange;
use crate::error::{ErrorCode, HubError};
use crate::ids::{ETag, IfMatch};
use crate::limits;
use crate::time::Timestamp;
use crate::twin::packed::{PackedSection, pack};
use crate::twin::patch::{ReportedPatch, SectionPatch, TwinPatch};
use crate::twin::section::{Content, Members, Section, Stamp, merge_document};
use crate::twin::validate::{check_size, object_size, text_size, value_size};

/// A twin at rest: two counters and three runs of bytes.
#[derive(Debug)]
pub(crate) struct StoredTwin {
    etag: u64,
    version: u64,
    /// JSON text; `None` when there are none.
    tags: Option<Box<str>>,
    desired: Box<[u8]>,
    reported: Box<[u8]>,
    model_id: Option<Box<str>>,
}

/// How a service's patch is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Merge,
    Replace,
}

impl StoredTwin {
    /// As created with its identity: empty, version 2 (the sum of its sections'), first etag.
    pub(crate) fn new(at: Timestamp) -> Self {
        let empty = packed(&Section::new(at));
        Self { etag: 1, version: 2, tags: None, reported: empty.clone(), desired: empty, model_id: None }
    }

    pub(crate) fn etag(&self) -> ETag {
        ETag::of_twin(self.etag)
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn model_id(&self) -> Option<&str> {
        self.model_id.as_deref()
    }

    /// Notes the model a device announced when it connected.
    pub(crate) fn set_model_id(&mut self, model_id: &str) {
        if self.model_id() != Some(model_id) {
            self.model_id = Some(model_id.into());
            self.version += 1;
        }
    }

    /// Applies a service's change whole or not at all; tells what to notify a connected owner of.
    pub(crate) fn apply(
        &mut self,
        patch: &TwinPatch,
        mode: Mode,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<Option<DesiredChange>, HubError> {
        if_match.check(&self.etag())?;
        let tags = patch.tags.as_ref().map(|patch| self.changed_tags(patch, mode)).transpose()?;
        let desired =
            patch.desired.as_ref().map(|patch| self.changed_desired(patch, mode, at)).transpose()?;
        if tags.is_none() && desired.is_none() {
            return Ok(None);
        }
        self.etag += 1;
        self.version += 1;
        if let Some(tags) = tags {
            self.tags = tags;
        }
        Ok(desired.map(|(desired, change)| {
            self.desired = desired;
            change
        }))
    }

    fn changed_tags(&self, patch: &SectionPatch, mode: Mode) -> Result<Option<Box<str>>, HubError> {
        let mut tags = match (mode, &self.tags) {
            (Mode::Merge, Some(text)) => {
                serde_json::from_str(text).expect("stored tags are the JSON we wrote")
            }
            _ => Map::new(),
        };
        match patch {
            SectionPatch::Clear => tags.clear(),
            SectionPatch::Members(members) => merge_document(&mut tags, members),
        }
        check_size("tags", object_size(&tags), limits::TAGS_BYTES)?;
        if tags.is_empty() {
            return Ok(None);
        }
        let text = Value::Object(tags).to_string();
        check_size("tags", text.len(), limits::TWIN_SECTION_STORED_BYTES)?;
        Ok(Some(text.into()))
    }

    fn changed_desired(
        &self,
        patch: &SectionPatch,
        mode: Mode,
        at: Timestamp,
    ) -> Result<(Box<[u8]>, DesiredChange), HubError> {
        let mut section = PackedSection::read(&self.desired).unpack();
        let stamp = Stamp { at, version: Some(section.version + 1) };
        let mut change = Map::new();
        match (patch, mode) {
            (SectionPatch::Members(members), Mode::Merge) => {
                section.merge(members, stamp);
                change.clone_from(members);
            }
            (SectionPatch::Members(members), Mode::Replace) => section.replace(members, stamp),
            (SectionPatch::Clear, Mode::Merge) => {
                change.extend(section.members.keys().map(|key| (key.to_string(), Value::Null)));
                section.replace(&Map::new(), stamp);
            }
            (SectionPatch::Clear, Mode::Replace) => section.replace(&Map::new(), stamp),
        }
        let packed = within_limits("desired", &section)?;
        let version = section.version;
        let patch = match mode {
            Mode::Merge => {
                change.insert("$version".to_owned(), version.into());
                Value::Object(change).to_string()
            }
            Mode::Replace => {
                let mut text = String::new();
                PackedSection::read(&packed).write_for_device(&mut text);
                text
            }
        };
        Ok((packed, DesiredChange { version, patch: Bytes::from(patch) }))
    }

    /// Merges what its owner reports; the new `$version` of the reported properties. The etag stays
    /// (contract/rest.md 3.1).
    pub(crate) fn report(
        &mut self,
        patch: &ReportedPatch,
        expected_version: Option<u64>,
        at: Timestamp,
    ) -> Result<u64, HubError> {
        let reported = PackedSection::read(&self.reported);
        if let Some(expected) = expected_version.filter(|expected| *expected != reported.version) {
            let stored = reported.version;
            return Err(HubError::new(
                ErrorCode::PreconditionFailed,
                format!(
                    "The patch is for version {expected} of the reported properties; {stored} is stored."
                ),
            ));
        }
        let mut section = reported.unpack();
        section.merge(&patch.0, Stamp { at, version: None });
        self.reported = within_limits("reported", &section)?;
        self.version += 1;
        Ok(section.version)
    }

    /// `{"desired":{..},"reported":{..}}` without metadata, as the owner reads it (contract/rest.md 3.3).
    pub(crate) fn for_device(&self) -> Bytes {
        let mut text = String::with_capacity(64 + self.desired.len() + self.reported.len());
        text.push_str("{\"desired\":");
        PackedSection::read(&self.desired).write_for_device(&mut text);
        text.push_str(",\"reported\":");
        PackedSection::read(&self.reported).write_for_device(&mut text);
        text.push('}');
        Bytes::from(text)
    }

    pub(crate) fn tags_json(&self) -> Box<RawValue> {
        raw(self.tags.as_deref().map_or_else(|| json!({}).to_string(), ToOwned::to_owned))
    }

    pub(crate) fn desired_json(&self) -> Box<RawValue> {
        section_json(&self.desired)
    }

    pub(crate) fn reported_json(&self) -> Box<RawValue> {
        section_json(&self.reported)
    }
}

fn section_json(bytes: &[u8]) -> Box<RawValue> {
    let mut text = String::with_capacity(bytes.len() * 4);
    PackedSection::read(bytes).write_for_service(&mut text);
    raw(text)
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("twins are written as JSON")
}

/// Packs a section that is neither past its documented size nor past what it may take at rest.
fn within_limits(name: &str, section: &Section) -> Result<Box<[u8]>, HubError> {
    check_size(name, members_size(&section.members), limits::PROPERTIES_BYTES)?;
    let bytes = packed(section);
    check_size(name, bytes.len(), limits::TWIN_SECTION_STORED_BYTES)?;
    Ok(bytes)
}

fn packed(section: &Section) -> Box<[u8]> {
    let mut bytes = Vec::new();
    pack(section, &mut bytes);
    bytes.into()
}

fn members_size(members: &Members) -> usize {
    let content_size = |content: &Content| match content {
        Content::Leaf(value) => value_size(value),
        Content::Object(members) => members_size(members),
    };
    members.iter().map(|(key, node)| text_size(key) + content_size(&node.content)).sum()
}
