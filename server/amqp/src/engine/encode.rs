//! Writing frames and messages (contract/amqp.md 1.3 rules 1, 2 and 3).
//!
//! Performatives always go out with every field they have, as `list8` or `list32` behind a `smallulong`
//! descriptor: Python's client indexes fields by position, and the serde encoder trims trailing nulls and
//! defaults. So the few frames a server sends are written field by field; nothing is trimmed by construction.

use std::fmt::{Display, Write as _};

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

/// Frame header: size, data offset, type, channel.
pub(crate) const FRAME_HEADER_BYTES: usize = 8;
/// An AMQP frame's type octet.
pub(crate) const FRAME_AMQP: u8 = 0;
/// A SASL frame's type octet.
pub(crate) const FRAME_SASL: u8 = 1;
/// Constructor, size and count of a `list32`; [`Writer::compound`] reserves it.
const LIST32_HEADER_BYTES: usize = 9;
/// The same of a `list8`.
const LIST8_HEADER_BYTES: usize = 3;

/// Appends encoded values to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut BytesMut);

impl Writer<'_> {
    /// A whole frame: the header is completed once `body` has written what follows it.
    pub(crate) fn frame(&mut self, kind: u8, channel: u16, body: impl FnOnce(&mut Writer<'_>)) {
        let start = self.0.len();
        self.0.put_u32(0);
        self.0.put_u8(2);
        self.0.put_u8(kind);
        self.0.put_u16(channel);
        body(&mut Writer(self.0));
        let size = (self.0.len() - start) as u32;
        if let Some(place) = self.0.get_mut(start..start + 4) {
            place.copy_from_slice(&size.to_be_bytes());
        }
    }

    /// A described list of exactly `count` fields.
    pub(crate) fn composite(&mut self, code: u8, count: usize, fields: impl FnOnce(&mut Writer<'_>)) {
        self.descriptor(code);
        self.compound(0xC0, 0xD0, |w| {
            fields(w);
            count
        });
    }

    /// A described map of `pairs` keys and values.
    pub(crate) fn described_map(&mut self, code: u8, pairs: usize, entries: impl FnOnce(&mut Writer<'_>)) {
        self.descriptor(code);
        self.map(pairs, entries);
    }

    /// A map without a descriptor.
    pub(crate) fn map(&mut self, pairs: usize, entries: impl FnOnce(&mut Writer<'_>)) {
        self.compound(0xC1, 0xD1, |w| {
            entries(w);
            2 * pairs
        });
    }

    /// A described map whose entries are counted as they are written.
    pub(crate) fn counted_map(&mut self, code: u8, entries: impl FnOnce(&mut Entries<'_>)) {
        self.descriptor(code);
        self.compound(0xC1, 0xD1, |w| {
            let mut counted = Entries { writer: Writer(w.0), pairs: 0 };
            entries(&mut counted);
            2 * counted.pairs
        });
    }

    /// Writes the long form and closes the gap when the short one does. `entries` tells how many it wrote.
    fn compound(&mut self, short: u8, long: u8, entries: impl FnOnce(&mut Writer<'_>) -> usize) {
        let start = self.0.len();
        self.0.put_bytes(0, LIST32_HEADER_BYTES);
        let count = entries(&mut Writer(self.0));
        let body = self.0.len() - start - LIST32_HEADER_BYTES;
        if let (0..=254, Ok(count)) = (body, u8::try_from(count)) {
            let spare = LIST32_HEADER_BYTES - LIST8_HEADER_BYTES;
            self.0.copy_within(start + LIST32_HEADER_BYTES.., start + LIST8_HEADER_BYTES);
            self.0.truncate(self.0.len() - spare);
            self.patch(start, &[short, body as u8 + 1, count]);
        } else {
            self.patch(start, &[long]);
            self.patch(start + 1, &(body as u32 + 4).to_be_bytes());
            self.patch(start + 5, &(count as u32).to_be_bytes());
        }
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// `00 53 code`, the only form old clients read.
    pub(crate) fn descriptor(&mut self, code: u8) {
        self.0.put_slice(&[0x00, 0x53, code]);
    }

    pub(crate) fn null(&mut self) {
        self.0.put_u8(0x40);
    }

    pub(crate) fn nulls(&mut self, count: usize) {
        self.0.put_bytes(0x40, count);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.put_u8(if value { 0x41 } else { 0x42 });
    }

    pub(crate) fn ubyte(&mut self, value: u8) {
        self.0.put_slice(&[0x50, value]);
    }

    pub(crate) fn ushort(&mut self, value: u16) {
        self.0.put_u8(0x60);
        self.0.put_u16(value);
    }

    pub(crate) fn uint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.0.put_u8(0x43),
            Ok(small) => self.0.put_slice(&[0x52, small]),
            Err(_) => {
                self.0.put_u8(0x70);
                self.0.put_u32(value);
            }
        }
    }

    pub(crate) fn optional_uint(&mut self, value: Option<u32>) {
        match value {
            Some(value) => self.uint(value),
            None => self.null(),
        }
    }

    pub(crate) fn ulong(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(0) => self.0.put_u8(0x44),
            Ok(small) => self.0.put_slice(&[0x53, small]),
            Err(_) => {
                self.0.put_u8(0x80);
                self.0.put_u64(value);
            }
        }
    }

    /// Always four bytes: C demands the INT type and Java an `Integer` (contract/amqp.md 2, 4.5).
    pub(crate) fn int(&mut self, value: i32) {
        self.0.put_u8(0x71);
        self.0.put_i32(value);
    }

    /// Always eight bytes (contract/amqp.md 4.5: C demands LONG).
    pub(crate) fn long(&mut self, value: i64) {
        self.0.put_u8(0x81);
        self.0.put_i64(value);
    }

    /// Milliseconds since 1970.
    pub(crate) fn timestamp(&mut self, millis: i64) {
        self.0.put_u8(0x83);
        self.0.put_i64(millis);
    }

    pub(crate) fn symbol(&mut self, text: &str) {
        self.variable(0xA3, 0xB3, text.as_bytes());
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.variable(0xA1, 0xB1, text.as_bytes());
    }

    pub(crate) fn optional_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.null(),
        }
    }

    pub(crate) fn optional_symbol(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.symbol(text),
            None => self.null(),
        }
    }

    /// A string of at most 255 bytes: a number, usually.
    pub(crate) fn short_string(&mut self, value: impl Display) {
        let start = self.0.len();
        self.0.put_slice(&[0xA1, 0]);
        write!(self.0, "{value}").expect("a buffer grows");
        let length = u8::try_from(self.0.len() - start - 2).expect("a short string is short");
        self.patch(start + 1, &[length]);
    }

    /// A string of several parts.
    pub(crate) fn joined_string(&mut self, parts: &[&str]) {
        self.variable_head(0xA1, 0xB1, parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.0.put_slice(part.as_bytes()));
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.variable(0xA0, 0xB0, bytes);
    }

    /// What stands before the bytes of a binary.
    pub(crate) fn binary_head(&mut self, length: usize) {
        self.variable_head(0xA0, 0xB0, length);
    }

    /// An array of symbols, an array even with one item (contract/amqp.md 1.1).
    pub(crate) fn symbols(&mut self, symbols: &[&str]) {
        self.array(0xA3, symbols);
    }

    /// An array of strings of at most 255 bytes each (contract/eventhubs.md 3: a list fails in Go).
    pub(crate) fn strings(&mut self, strings: &[&str]) {
        self.array(0xA1, strings);
    }

    fn array(&mut self, constructor: u8, texts: &[&str]) {
        let body: usize = texts.iter().map(|text| text.len() + 1).sum();
        self.0.put_u8(0xF0);
        self.0.put_u32(body as u32 + 5);
        self.0.put_u32(texts.len() as u32);
        self.0.put_u8(constructor);
        for text in texts {
            self.0.put_u8(text.len() as u8);
            self.0.put_slice(text.as_bytes());
        }
    }

    /// A value that is encoded already, or null.
    pub(crate) fn encoded(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => self.0.put_slice(bytes),
            None => self.null(),
        }
    }

    fn variable(&mut self, short: u8, long: u8, bytes: &[u8]) {
        self.variable_head(short, long, bytes.len());
        self.0.put_slice(bytes);
    }

    fn variable_head(&mut self, short: u8, long: u8, length: usize) {
        match u8::try_from(length) {
            Ok(size) => self.0.put_slice(&[short, size]),
            Err(_) => {
                self.0.put_u8(long);
                self.0.put_u32(length as u32);
            }
        }
    }
}

/// Entries of a map under way; see [`Writer::counted_map`].
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    writer: Writer<'a>,
    pairs: usize,
}

impl<'a> Entries<'a> {
    /// Begins an entry whose key is a symbol; exactly one value is to be written to what this returns.
    pub(crate) fn symbol(&mut self, key: &str) -> &mut Writer<'a> {
        self.writer.symbol(key);
        self.value()
    }

    /// The same with a string for a key.
    pub(crate) fn string(&mut self, key: &str) -> &mut Writer<'a> {
        self.writer.string(key);
        self.value()
    }

    const fn value(&mut self) -> &mut Writer<'a> {
        self.pairs += 1;
        &mut self.writer
    }
}

/// An encoded uuid, as an id that echoes through the other end.
pub(crate) fn uuid(id: Uuid) -> [u8; 17] {
    let mut encoded = [0x98; 17];
    if let Some((_, bytes)) = encoded.split_first_mut() {
        bytes.copy_from_slice(id.as_bytes());
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = BytesMut::new();
        write(&mut Writer(&mut buffer));
        buffer.to_vec()
    }

    #[test]
    fn an_empty_close_has_its_one_field() {
        assert_eq!(
            written(|w| w.composite(0x18, 1, |w| w.null())),
            [0x00, 0x53, 0x18, 0xC0, 0x02, 0x01, 0x40]
        );
    }

    #[test]
    fn a_list_of_254_bytes_is_short_and_one_of_255_is_long() {
        let text = |length: usize| "x".repeat(length);
        let short = written(|w| w.composite(0x10, 1, |w| w.string(&text(252))));
        assert_eq!(&short[..6], [0x00, 0x53, 0x10, 0xC0, 255, 1]);
        assert_eq!(short.len(), 3 + 2 + 255);
        let long = written(|w| w.composite(0x10, 1, |w| w.string(&text(253))));
        assert_eq!(&long[..12], [0x00, 0x53, 0x10, 0xD0, 0, 0, 1, 3, 0, 0, 0, 1]);
        assert_eq!(super::super::value::encoded_len(&long), Ok(long.len()));
    }

    #[test]
    fn a_frame_states_its_own_length_and_channel() {
        let frame = written(|w| w.frame(FRAME_AMQP, 3, |w| w.composite(0x17, 1, |w| w.null())));
        assert_eq!(frame, [0, 0, 0, 15, 2, 0, 0, 3, 0x00, 0x53, 0x17, 0xC0, 0x02, 0x01, 0x40]);
    }

    #[test]
    fn mechanisms_are_an_array_even_when_there_is_one() {
        assert_eq!(written(|w| w.symbols(&["A"])), [0xF0, 0, 0, 0, 7, 0, 0, 0, 1, 0xA3, 1, b'A']);
    }
}
