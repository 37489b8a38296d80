//! A twin in the registry: packed, with the etag and version that every change moves (contract/rest.md 3.1).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::device_session::DesiredChange;
use crate::error::{ErrorCode, HubError};
use crate::ids::{ETag, IfMatch};
use crate::limits;
use crate::time::Timestamp;
use crate::twin::document::{Document, NewSections};
use crate::twin::packed::{PackedSection, pack, write_key, write_version};
use crate::twin::patch::{ReportedPatch, SectionPatch, TwinPatch};
use crate::twin::section::{Content, Members, Section, Stamp, merge_document};
use crate::twin::validate::{check_size, object_size, text_size};

/// A twin at rest: two counters and a document.
#[derive(Debug)]
pub(crate) struct StoredTwin {
    etag: u64,
    version: u64,
    document: Document,
    /// Shared with every message of the device.
    model_id: Option<Arc<str>>,
}

/// A service's change of a twin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) patch: &'a TwinPatch,
    pub(crate) mode: Mode,
    pub(crate) if_match: &'a IfMatch,
    pub(crate) at: Timestamp,
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
        Self { etag: 1, version: 2, document: Document::new(at), model_id: None }
    }

    pub(crate) fn etag(&self) -> ETag {
        ETag::of_twin(self.etag)
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) const fn document(&self) -> &Document {
        &self.document
    }

    pub(crate) const fn model_id(&self) -> Option<&Arc<str>> {
        self.model_id.as_ref()
    }

    /// Notes the model a device announced when it connected. No section changes, so the version stays.
    pub(crate) fn set_model_id(&mut self, model_id: &str) {
        if self.model_id.as_deref() != Some(model_id) {
            self.model_id = Some(model_id.into());
        }
    }

    /// Applies a service's change whole or not at all. For an owner that `is_watching`, yields what to tell it if
    /// the desired properties were touched.
    pub(crate) fn apply(
        &mut self,
        change: Change<'_>,
        is_watching: bool,
    ) -> Result<Option<DesiredChange>, HubError> {
        change.if_match.check(self.etag().as_str())?;
        let patch = change.patch;
        let tags = patch.tags.as_ref().map(|patch| self.changed_tags(patch, change.mode)).transpose()?;
        let desired = patch.desired.as_ref().map(|patch| self.changed_desired(patch, change)).transpose()?;
        if tags.is_none() && desired.is_none() {
            return Ok(None);
        }
        let told = match (&patch.desired, &desired) {
            (Some(patch), Some(new)) if is_watching => Some(self.notification(patch, change.mode, new)),
            _ => None,
        };
        self.etag += 1;
        self.version += 1;
        let (tags, desired) = (tags.as_ref().map(String::as_bytes), desired.as_deref());
        self.document.set(NewSections { tags, desired, ..NewSections::default() });
        Ok(told)
    }

    /// Tags as JSON text, empty when there are none left.
    fn changed_tags(&self, patch: &SectionPatch, mode: Mode) -> Result<String, HubError> {
        let mut tags = match (mode, self.document.tags()) {
            (Mode::Merge, Some(text)) => {
                serde_json::from_slice(text).expect("stored tags are the JSON we wrote")
            }
            _ => Map::new(),
        };
        match patch {
            SectionPatch::Clear => tags.clear(),
            SectionPatch::Members(members) => merge_document(&mut tags, members),
        }
        check_size("tags", object_size(&tags), limits::TAGS_BYTES)?;
        if tags.is_empty() {
            return Ok(String::new());
        }
        let text = Value::Object(tags).to_string();
        check_size("tags", text.len(), limits::TWIN_SECTION_STORED_BYTES)?;
        Ok(text)
    }

    /// The desired properties as they are to be, packed.
    fn changed_desired(&self, patch: &SectionPatch, change: Change<'_>) -> Result<Vec<u8>, HubError> {
        let (stored, nothing) = (self.document.desired(), Map::new());
        let stamp = Stamp { at: change.at, version: Some(stored.version + 1) };
        let mut section = match (change.mode, patch) {
            (Mode::Merge, SectionPatch::Members(_)) => stored.unpack(),
            (Mode::Merge | Mode::Replace, _) => stored.emptied(),
        };
        section.merge(if let SectionPatch::Members(members) = patch { members } else { &nothing }, stamp);
        within_limits("desired", &section)
    }

    /// What a watching owner is told: of a patch its members, nulls for deletions, of a replacement the `new` whole
    /// (contract/rest.md 1.7).
    fn notification(&self, patch: &SectionPatch, mode: Mode, new: &[u8]) -> DesiredChange {
        let new = PackedSection::read(new, Timestamp::MAX);
        let mut text = Vec::new();
        if mode == Mode::Replace {
            new.write_for_device(&mut text);
        } else {
            text.push(b'{');
            let mut write = |key: &str, value: &str| {
                write_key(key.as_bytes(), &mut text);
                text.extend_from_slice(value.as_bytes());
                text.push(b',');
            };
            match patch {
                SectionPatch::Clear => {
                    self.document.desired().keys().into_iter().for_each(|key| write(key, "null"));
                }
                SectionPatch::Members(members) => {
                    members.iter().for_each(|(key, value)| write(key, &value.to_string()));
                }
            }
            write_version(new.version, &mut text);
            text.push(b'}');
        }
        DesiredChange { version: new.version, patch: Bytes::from(text) }
    }

    /// Merges what its owner reports, if it is for the stored version; the new `$version` of the reported
    /// properties. The etag stays (contract/rest.md 3.1).
    pub(crate) fn report(
        &mut self,
        patch: &ReportedPatch,
        expected_version: Option<u64>,
        at: Timestamp,
    ) -> Result<u64, HubError> {
        let reported = self.document.reported();
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
        let (reported, version) = (within_limits("reported", &section)?, section.version);
        self.document.set(NewSections { reported: Some(&reported), ..NewSections::default() });
        self.version += 1;
        Ok(version)
    }

    /// `{"desired":{..},"reported":{..}}` without metadata, as the owner reads it (contract/rest.md 3.3).
    pub(crate) fn for_device(&self) -> Bytes {
        let mut text = Vec::with_capacity(self.document.stored_bytes() + 64);
        text.extend_from_slice(b"{\"desired\":");
        self.document.desired().write_for_device(&mut text);
        text.extend_from_slice(b",\"reported\":");
        self.document.reported().write_for_device(&mut text);
        text.push(b'}');
        Bytes::from(text)
    }
}

/// Packs a section that is neither past its documented size nor past what it may take at rest.
fn within_limits(name: &str, section: &Section<'_>) -> Result<Vec<u8>, HubError> {
    let size_bytes = members_size(&section.members);
    check_size(name, size_bytes, limits::PROPERTIES_BYTES)?;
    // Some bytes for every node come on top; a section of usual size is not moved while it is written.
    let mut bytes = Vec::with_capacity(2 * size_bytes + 32);
    pack(section, &mut bytes);
    check_size(name, bytes.len(), limits::TWIN_SECTION_STORED_BYTES)?;
    Ok(bytes)
}

fn members_size(members: &Members<'_>) -> usize {
    let content_size = |content: &Content<'_>| match content {
        Content::Leaf(leaf) => leaf.size_bytes(),
        Content::Object(members) => members_size(members),
    };
    members.iter().map(|(key, node)| text_size(key) + content_size(&node.content)).sum()
}
