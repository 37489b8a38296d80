//! The sections of a twin in one run of bytes, and nothing at all for a twin nobody wrote to: a hub holds a million
//! of them (ARCHITECTURE section 3).

use crate::time::Timestamp;
use crate::twin::packed::{PackedSection, Reader, packed_len, put_bytes};

/// Tags, desired and reported properties at rest.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// What a section that was never written has for its stamp.
    born: Timestamp,
    /// `len tags len desired len reported`, no length where nothing was ever written.
    bytes: Box<[u8]>,
}

/// New contents of sections; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NewSections<'a> {
    /// JSON text, empty when there are no tags.
    pub(crate) tags: Option<&'a [u8]>,
    pub(crate) desired: Option<&'a [u8]>,
    pub(crate) reported: Option<&'a [u8]>,
}

impl Document {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self { born: at, bytes: Box::default() }
    }

    /// JSON text; `None` when there are none.
    pub(crate) fn tags(&self) -> Option<&[u8]> {
        let (tags, ..) = self.sections();
        (!tags.is_empty()).then_some(tags)
    }

    pub(crate) fn desired(&self) -> PackedSection<'_> {
        let (_, desired, _) = self.sections();
        PackedSection::read(desired, self.born)
    }

    pub(crate) fn reported(&self) -> PackedSection<'_> {
        let (.., reported) = self.sections();
        PackedSection::read(reported, self.born)
    }

    /// What the document takes.
    pub(crate) const fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn set(&mut self, new: NewSections<'_>) {
        let (tags, desired, reported) = self.sections();
        let parts =
            [new.tags.unwrap_or(tags), new.desired.unwrap_or(desired), new.reported.unwrap_or(reported)];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| packed_len(part)).sum());
        parts.iter().for_each(|part| put_bytes(part, &mut bytes));
        self.bytes = bytes.into();
    }

    fn sections(&self) -> (&[u8], &[u8], &[u8]) {
        if self.bytes.is_empty() {
            return (&[], &[], &[]);
        }
        let mut reader = Reader::of(&self.bytes);
        (reader.bytes(), reader.bytes(), reader.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::section::{Section, Stamp};

    fn packed(text: &str) -> Vec<u8> {
        let mut section = Section::new(Timestamp::from_unix_secs(1));
        let members = serde_json::from_str(text).unwrap();
        section.merge(&members, Stamp { at: Timestamp::from_unix_secs(2), version: None });
        let mut bytes = Vec::new();
        crate::twin::packed::pack(&section, &mut bytes);
        bytes
    }

    fn shown(section: &PackedSection<'_>) -> String {
        let mut text = Vec::new();
        section.write_for_device(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_document_nobody_wrote_to_takes_no_bytes_and_shows_empty_sections() {
        let document = Document::new(Timestamp::from_unix_secs(1_767_225_600));
        assert_eq!((document.bytes.len(), document.tags()), (0, None));
        let mut text = Vec::new();
        document.desired().write_for_service(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, r#"{"$metadata":{"$lastUpdated":"2026-01-01T00:00:00.0000000Z"},"$version":1}"#);
        assert_eq!(shown(&document.reported()), r#"{"$version":1}"#);
    }

    #[test]
    fn a_section_is_written_without_its_neighbours() {
        let mut document = Document::new(Timestamp::from_unix_secs(1));
        let (one, two) = (packed(r#"{"a":1}"#), packed(r#"{"b":{"c":[2]}}"#));
        document.set(NewSections { reported: Some(&one), ..NewSections::default() });
        document.set(NewSections { desired: Some(&two), ..NewSections::default() });
        document.set(NewSections { tags: Some(br#"{"t":1}"#), ..NewSections::default() });
        assert_eq!(document.tags(), Some(br#"{"t":1}"#.as_slice()));
        assert_eq!(shown(&document.desired()), r#"{"b":{"c":[2]},"$version":2}"#);
        assert_eq!(shown(&document.reported()), r#"{"a":1,"$version":2}"#);
        document.set(NewSections { tags: Some(b""), ..NewSections::default() });
        assert_eq!(document.tags(), None);
    }
}
