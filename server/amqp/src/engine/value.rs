//! Reading encoded AMQP values without trusting them (contract/amqp.md 1.3, AMQP 1.0 part 1).
//!
//! Every frame and message is walked once before anything is decoded from it: sizes must lie inside the bytes
//! received, counts must match, nesting is bounded. The decoder behind it recurses and allocates by what the
//! wire claims, so it only ever sees values that passed. The walk also yields where a value ends, which is how
//! a frame's payload and a message's sections are found without copying.

#![warn(clippy::indexing_slicing)]

use bytes::Bytes;
use fe2o3_amqp_types::primitives::Value;

/// Levels of lists, maps, arrays and described values inside one another; real clients use five.
const NESTING_MAX: usize = 32;
/// Elements of an array whose elements take no bytes (`null`, `true`, `uint0`); such arrays carry no data, and
/// their count is the one number on the wire that no received byte pays for.
const EMPTY_ELEMENTS_MAX: usize = 64;

/// Bytes that are not what they should be; the text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<serde_amqp::Error> for Malformed {
    fn from(error: serde_amqp::Error) -> Self {
        Self(error.to_string())
    }
}

/// The length of the first encoded value in `bytes`, constructor included, after checking all of it.
pub(crate) fn encoded_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut rest = Cursor(bytes);
    rest.value(0)?;
    Ok(bytes.len() - rest.0.len())
}

/// Decodes exactly one value that was walked before.
pub(crate) fn decode<T: serde_amqp::serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    if !bytes.iter().any(|byte| matches!(byte, 0xE0 | 0xF0)) {
        return Ok(serde_amqp::from_slice(bytes)?);
    }
    let mut simpler = Vec::with_capacity(bytes.len() + 16);
    Cursor(bytes).simplify(&mut simpler)?;
    Ok(serde_amqp::from_slice(&simpler)?)
}

/// A described value split into its descriptor's code and the encoded value behind it.
///
/// Descriptors may be numbers or symbols (contract/amqp.md 1.3.9); `symbols` gives the code of the symbols the
/// caller expects.
pub(crate) fn described<'a>(bytes: &'a [u8], symbols: &[(&str, u64)]) -> Result<(u64, &'a [u8]), Malformed> {
    let Some((0x00, inner)) = bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(Malformed::new("a described value was expected"));
    };
    let (descriptor, value) = split_value(inner)?;
    let code = match decode::<Value>(descriptor)? {
        Value::Ulong(code) => code,
        Value::Symbol(name) => symbols
            .iter()
            .find(|(symbol, _)| *symbol == name.as_str())
            .map(|(_, code)| *code)
            .ok_or_else(|| Malformed::new(format!("unknown descriptor {}", name.as_str())))?,
        _ => return Err(Malformed::new("a descriptor must be a ulong or a symbol")),
    };
    Ok((code, value))
}

/// Splits the first value off.
pub(crate) fn split_value(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let length = encoded_len(bytes)?;
    bytes.split_at_checked(length).ok_or_else(truncated)
}

/// The encoded items of a list, or the keys and values of a map in turn.
pub(crate) fn items(bytes: &[u8]) -> Result<Items<'_>, Malformed> {
    let mut cursor = Cursor(bytes);
    let body = match cursor.byte()? {
        0x45 => &[][..],
        0xC0 | 0xC1 => {
            let size = usize::from(cursor.byte()?);
            cursor.take(size)?.get(1..).ok_or_else(truncated)?
        }
        0xD0 | 0xD1 => {
            let size = cursor.size32()?;
            cursor.take(size)?.get(4..).ok_or_else(truncated)?
        }
        0x40 => &[][..],
        other => {
            return Err(Malformed::new(format!("a list or map was expected, not constructor {other:#04x}")));
        }
    };
    Ok(Items(body))
}

/// The bytes of a `binary`, or the UTF-8 bytes of a `string` or `symbol`, as a part of `whole`.
pub(crate) fn octets(whole: &Bytes, encoded: &[u8]) -> Option<Bytes> {
    let (constructor, rest) = encoded.split_first()?;
    let body = match constructor {
        0xA0 | 0xA1 | 0xA3 => rest.get(1..)?,
        0xB0 | 0xB1 | 0xB3 => rest.get(4..)?,
        _ => return None,
    };
    Some(whole.slice_ref(body))
}

/// See [`items`].
#[derive(Clone, Debug)]
pub(crate) struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The next item, `None` at the end. Absent and null are the same on this wire.
    pub(crate) fn next_present(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        Ok(self.next_item()?.filter(|item| *item != [0x40]))
    }

    /// The next item, `None` at the end.
    pub(crate) fn next_item(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (item, rest) = split_value(self.0)?;
        self.0 = rest;
        Ok(Some(item))
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn size32(&mut self) -> Result<usize, Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<4>().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken) as usize)
    }

    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > NESTING_MAX {
            return Err(Malformed::new(format!("values are nested deeper than {NESTING_MAX} levels")));
        }
        let constructor = self.byte()?;
        if constructor == 0x00 {
            self.descriptor(depth)?;
            return self.value(depth + 1);
        }
        self.body(constructor, depth)
    }

    /// A descriptor; the specification reserves all but numbers and symbols, and the decoder takes no compound.
    fn descriptor(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.0.first() {
            Some(0x00 | 0xC0..) => Err(Malformed::new("a descriptor must be a ulong or a symbol")),
            _ => self.value(depth + 1),
        }
    }

    /// What follows a constructor.
    fn body(&mut self, constructor: u8, depth: usize) -> Result<(), Malformed> {
        match constructor >> 4 {
            0x4..=0x9 => self.take(fixed_width(constructor)).map(drop),
            0xA => {
                let size = usize::from(self.byte()?);
                self.take(size).map(drop)
            }
            0xB => {
                let size = self.size32()?;
                self.take(size).map(drop)
            }
            0xC..=0xF => {
                let (count, mut inside) = self.compound(constructor)?;
                inside.elements(constructor, count, depth)
            }
            _ => Err(Malformed::new(format!("unknown constructor {constructor:#04x}"))),
        }
    }

    /// Takes a list, map or array: how many elements it says it has, and what holds them.
    fn compound(&mut self, constructor: u8) -> Result<(usize, Self), Malformed> {
        if matches!(constructor >> 4, 0xC | 0xE) {
            let size = usize::from(self.byte()?);
            let mut inside = Self(self.take(size)?);
            return Ok((usize::from(inside.byte()?), inside));
        }
        let size = self.size32()?;
        let mut inside = Self(self.take(size)?);
        Ok((inside.size32()?, inside))
    }

    /// The elements of a list, map or array; they must fill it exactly.
    fn elements(&mut self, constructor: u8, count: usize, depth: usize) -> Result<(), Malformed> {
        if matches!(constructor, 0xC1 | 0xD1) && count % 2 == 1 {
            // The decoder takes entries off in pairs, and would count below zero.
            return Err(Malformed::new("a map whose last key has no value"));
        }
        if matches!(constructor >> 4, 0xE | 0xF) {
            self.array(count, depth)?;
        } else {
            for _ in 0..count {
                self.value(depth + 1)?;
            }
        }
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::new("a compound value's size and count differ"))
        }
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<(), Malformed> {
        if count == 0 && self.0.is_empty() {
            return Ok(());
        }
        let mut constructor = self.byte()?;
        if constructor == 0x00 {
            self.descriptor(depth)?;
            constructor = self.byte()?;
        }
        if constructor >> 4 == 0x4 && count > EMPTY_ELEMENTS_MAX {
            return Err(Malformed::new(format!("an array of {count} elements without a byte of their own")));
        }
        for _ in 0..count {
            if depth + 1 > NESTING_MAX {
                return Err(Malformed::new(format!("values are nested deeper than {NESTING_MAX} levels")));
            }
            self.body(constructor, depth + 1)?;
        }
        Ok(())
    }
}

impl Cursor<'_> {
    /// Writes a walked value in a form the decoder keeps in step with. It leaves the constructor of an array without
    /// elements unread, and loses its place in an array of anything but scalars; no field a hub reads holds such an
    /// array, so both are written as the array of nothing.
    fn simplify(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let whole = self.0;
        let constructor = self.byte()?;
        match constructor {
            0x00 => {
                out.push(constructor);
                self.simplify(out)?;
                self.simplify(out)
            }
            0xC0 | 0xC1 | 0xD0 | 0xD1 => {
                let (count, mut inside) = self.compound(constructor)?;
                let mut items = Vec::with_capacity(inside.0.len());
                while !inside.0.is_empty() {
                    inside.simplify(&mut items)?;
                }
                out.push(constructor | 0x10);
                out.extend(length32(items.len() + 4)?);
                out.extend(length32(count)?);
                out.append(&mut items);
                Ok(())
            }
            0xE0 | 0xF0 => {
                let (count, inside) = self.compound(constructor)?;
                let is_plain = count > 0 && matches!(inside.0.first(), Some(0x40..=0xBF));
                let taken = whole.len() - self.0.len();
                let kept = if is_plain { whole.get(..taken).ok_or_else(truncated)? } else { &[0xE0, 1, 0] };
                out.extend_from_slice(kept);
                Ok(())
            }
            _ => {
                self.body(constructor, 0)?;
                let taken = whole.len() - self.0.len();
                out.extend_from_slice(whole.get(..taken).ok_or_else(truncated)?);
                Ok(())
            }
        }
    }
}

fn length32(length: usize) -> Result<[u8; 4], Malformed> {
    u32::try_from(length).map(u32::to_be_bytes).map_err(|_| truncated())
}

fn fixed_width(constructor: u8) -> usize {
    match constructor >> 4 {
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        _ => 0,
    }
}

fn truncated() -> Malformed {
    Malformed::new("a value is longer than the bytes that hold it")
}

#[cfg(test)]
mod tests;
