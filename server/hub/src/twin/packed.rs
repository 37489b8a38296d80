//! A section at rest: one compact run of bytes. Stamps are shared through a table, since most nodes of a twin were
//! written together; scalars and arrays are kept as the JSON text they are shown as, so showing a twin copies
//! bytes and builds no tree (ARCHITECTURE section 3).
//!
//! ```text
//! section := version stamp_count stamp* members      every number a LEB128 varint
//! stamp   := ticks(8 bytes LE) version+1|0           0: the node has no $lastUpdatedVersion
//! members := stamp_index count (key_len key node)*   the section's own object
//! node    := kind+stamp_index*2 ...                  kind 0: leaf  := len JSON-text
//!                                                    kind 1: object := count (key_len key node)*
//! ```

use std::io::Write as _;
use std::ops::Range;

use indexmap::IndexSet;
use serde_json::Value;

use crate::time::Timestamp;
use crate::twin::section::{Content, Leaf, Members, Node, Section, Stamp};

const OBJECT: u64 = 1;
/// An object's members when it has none.
const NO_MEMBERS: &[u8] = &[0];

/// Appends a section to `out`.
pub(crate) fn pack(section: &Section<'_>, out: &mut Vec<u8>) {
    let mut stamps = StampTable::of(section.stamp);
    collect_stamps(&section.members, &mut stamps);
    put_number(section.version, out);
    put_number(stamps.table.len() as u64, out);
    for stamp in &stamps.table {
        out.extend_from_slice(&stamp.at.ticks().to_le_bytes());
        put_number(stamp.version.map_or(0, |version| version + 1), out);
    }
    put_number(stamps.place_of(section.stamp), out);
    put_members(&section.members, &mut stamps, &mut Vec::new(), out);
}

/// The stamps of a section, each once. Most nodes have that of the node before them.
struct StampTable {
    table: IndexSet<Stamp>,
    last: (Stamp, usize),
}

impl StampTable {
    fn of(first: Stamp) -> Self {
        Self { table: IndexSet::from([first]), last: (first, 0) }
    }

    fn place_of(&mut self, stamp: Stamp) -> u64 {
        if self.last.0 != stamp {
            let (place, _) = self.table.insert_full(stamp);
            self.last = (stamp, place);
        }
        self.last.1 as u64
    }
}

fn collect_stamps(members: &Members<'_>, stamps: &mut StampTable) {
    for node in members.values() {
        stamps.place_of(node.stamp);
        if let Content::Object(members) = &node.content {
            collect_stamps(members, stamps);
        }
    }
}

/// `text` is where a leaf's text is made, for its length comes before it.
fn put_members(members: &Members<'_>, stamps: &mut StampTable, text: &mut Vec<u8>, out: &mut Vec<u8>) {
    put_number(members.len() as u64, out);
    for (key, node) in members {
        put_bytes(key.as_bytes(), out);
        let stamp = stamps.place_of(node.stamp) << 1;
        match &node.content {
            Content::Leaf(Leaf::Stored(text)) => {
                put_number(stamp, out);
                put_bytes(text, out);
            }
            Content::Leaf(Leaf::Written(value)) => {
                put_number(stamp, out);
                text.clear();
                serde_json::to_writer(&mut *text, value).expect("values are JSON, and memory takes them");
                put_bytes(text, out);
            }
            Content::Object(members) => {
                put_number(stamp | OBJECT, out);
                put_members(members, stamps, text, out);
            }
        }
    }
}

/// A length, and as many bytes.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// What [`put_bytes`] takes.
pub(crate) const fn packed_len(bytes: &[u8]) -> usize {
    let significant_bits = usize::BITS - (bytes.len() | 1).leading_zeros();
    significant_bits.div_ceil(7) as usize + bytes.len()
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads one packed section. The bytes are our own, so a mismatch is a broken invariant, not bad input.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

/// One packed section, its head read.
#[derive(Clone, Debug)]
pub(crate) struct PackedSection<'a> {
    pub(crate) version: u64,
    stamps: Vec<Stamp>,
    /// The section's own stamp, by its place in the table.
    stamp: usize,
    members: Reader<'a>,
}

enum PackedNode<'a> {
    Leaf(&'a [u8]),
    Object,
}

impl<'a> PackedSection<'a> {
    /// Reads the head of a section; no bytes at all are a section that was never written since it was `born`.
    pub(crate) fn read(bytes: &'a [u8], born: Timestamp) -> Self {
        if bytes.is_empty() {
            let Section { version, stamp, .. } = Section::new(born);
            return Self { version, stamps: vec![stamp], stamp: 0, members: Reader::of(NO_MEMBERS) };
        }
        let mut reader = Reader::of(bytes);
        let version = reader.number();
        let count = reader.number();
        let stamps: Vec<_> = (0..count).map(|_| reader.stamp()).collect();
        let stamp = reader.index();
        Self { version, stamps, stamp, members: reader }
    }

    /// Unpacks for a change.
    pub(crate) fn unpack(&self) -> Section<'a> {
        let members = self.unpack_members(&mut self.members.clone());
        Section { version: self.version, stamp: self.stamps[self.stamp], members }
    }

    /// Unpacks for a replacement of all members.
    pub(crate) fn emptied(&self) -> Section<'a> {
        Section { version: self.version, stamp: self.stamps[self.stamp], members: Members::new() }
    }

    fn unpack_members(&self, reader: &mut Reader<'a>) -> Members<'a> {
        let count = reader.number();
        let member = |_| {
            let key = reader.text();
            let (stamp, node) = self.node(reader);
            let content = match node {
                PackedNode::Leaf(text) => Content::Leaf(Leaf::Stored(text)),
                PackedNode::Object => Content::Object(self.unpack_members(reader)),
            };
            (key, Node { stamp: self.stamps[stamp], content })
        };
        (0..count).map(member).collect()
    }

    /// A node and the place of its stamp in the table.
    fn node(&self, reader: &mut Reader<'a>) -> (usize, PackedNode<'a>) {
        let head = reader.number();
        let stamp = usize::try_from(head >> 1).expect("a stamp index fits the table");
        let node = if head & OBJECT == 0 { PackedNode::Leaf(reader.bytes()) } else { PackedNode::Object };
        (stamp, node)
    }

    /// The names of the section's own members.
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        let mut reader = self.members.clone();
        let count = reader.number();
        let key = |_| {
            let key = reader.text();
            self.skip_node(&mut reader);
            key
        };
        (0..count).map(key).collect()
    }

    /// The JSON text of the scalar or array at a path of keys; `None` where nothing is, or an object.
    pub(crate) fn leaf(&self, path: &[Box<str>]) -> Option<&'a [u8]> {
        let (last, parents) = path.split_last()?;
        let mut reader = self.members.clone();
        for key in parents {
            let PackedNode::Object = self.find(key, &mut reader)? else { return None };
        }
        match self.find(last, &mut reader)? {
            PackedNode::Leaf(text) => Some(text),
            PackedNode::Object => None,
        }
    }

    /// Reads an object up to one of its members and that member's node.
    fn find(&self, key: &str, reader: &mut Reader<'a>) -> Option<PackedNode<'a>> {
        for _ in 0..reader.number() {
            if reader.bytes() == key.as_bytes() {
                return Some(self.node(reader).1);
            }
            self.skip_node(reader);
        }
        None
    }

    fn skip_node(&self, reader: &mut Reader<'a>) {
        if let (_, PackedNode::Object) = self.node(reader) {
            for _ in 0..reader.number() {
                reader.bytes();
                self.skip_node(reader);
            }
        }
    }

    /// Writes `{..values.., "$version":n}`, what devices see.
    pub(crate) fn write_for_device(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut reader = self.members.clone();
        if self.write_values(&mut reader, out) {
            out.push(b',');
        }
        write_version(self.version, out);
        out.push(b'}');
    }

    /// Writes `{..values.., "$metadata":{..}, "$version":n}`, what services see.
    pub(crate) fn write_for_service(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.write_values(&mut self.members.clone(), out) {
            out.push(b',');
        }
        out.extend_from_slice(b"\"$metadata\":{");
        let mut stamps = StampTexts { stamps: &self.stamps, written: vec![None; self.stamps.len()] };
        self.write_metadata(self.stamp, &mut self.members.clone(), &mut stamps, out);
        out.extend_from_slice(b"},");
        write_version(self.version, out);
        out.push(b'}');
    }

    fn write_values(&self, reader: &mut Reader<'a>, out: &mut Vec<u8>) -> bool {
        let count = reader.number();
        for n in 0..count {
            if n > 0 {
                out.push(b',');
            }
            write_key(reader.bytes(), out);
            match self.node(reader).1 {
                PackedNode::Leaf(text) => out.extend_from_slice(text),
                PackedNode::Object => {
                    out.push(b'{');
                    self.write_values(reader, out);
                    out.push(b'}');
                }
            }
        }
        count > 0
    }

    fn write_metadata(
        &self,
        stamp: usize,
        reader: &mut Reader<'a>,
        stamps: &mut StampTexts<'_>,
        out: &mut Vec<u8>,
    ) {
        stamps.write(stamp, out);
        for _ in 0..reader.number() {
            out.push(b',');
            write_key(reader.bytes(), out);
            out.push(b'{');
            match self.node(reader) {
                (stamp, PackedNode::Leaf(_)) => stamps.write(stamp, out),
                (stamp, PackedNode::Object) => self.write_metadata(stamp, reader, stamps, out),
            }
            out.push(b'}');
        }
    }
}

/// The stamps of a section as text: many nodes share one, and only its first text is made.
struct StampTexts<'s> {
    stamps: &'s [Stamp],
    /// Where in the output each stands already; `None` where it does not.
    written: Vec<Option<Range<usize>>>,
}

impl StampTexts<'_> {
    fn write(&mut self, stamp: usize, out: &mut Vec<u8>) {
        match &self.written[stamp] {
            Some(text) => out.extend_from_within(text.clone()),
            None => {
                let start = out.len();
                write_stamp(self.stamps[stamp], out);
                self.written[stamp] = Some(start..out.len());
            }
        }
    }
}

/// Writes `"key":`. Most keys are shown as they are; control characters no key has.
pub(crate) fn write_key(key: &[u8], out: &mut Vec<u8>) {
    if key.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(Value::from(String::from_utf8_lossy(key)).to_string().as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(key);
        out.push(b'"');
    }
    out.push(b':');
}

/// Writes `"$version":n`.
pub(crate) fn write_version(version: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"$version\":");
    write_number(version, out);
}

fn write_stamp(stamp: Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"$lastUpdated\":\"");
    out.extend_from_slice(&stamp.at.text());
    out.push(b'"');
    if let Some(version) = stamp.version {
        out.extend_from_slice(b",\"$lastUpdatedVersion\":");
        write_number(version, out);
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    write!(out, "{number}").expect("memory takes whatever is written");
}

impl<'a> Reader<'a> {
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn index(&mut self) -> usize {
        usize::try_from(self.number()).expect("packed lengths and indexes fit memory")
    }

    /// A length, and as many bytes.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = self.index();
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).expect("packed texts are the UTF-8 we wrote")
    }

    fn stamp(&mut self) -> Stamp {
        let ticks: [u8; 8] = self.take(8).try_into().expect("eight bytes were taken");
        let at = Timestamp::from_ticks(i64::from_le_bytes(ticks));
        Stamp { at, version: self.number().checked_sub(1) }
    }
}

#[cfg(test)]
mod tests;
