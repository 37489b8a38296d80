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
pub(crate) fn decode<'a, T: serde_amqp::serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    Ok(serde_amqp::from_slice(bytes)?)
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
            self.value(depth + 1)?;
            return self.value(depth + 1);
        }
        self.body(constructor, depth)
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
            0xC | 0xE => {
                let size = usize::from(self.byte()?);
                let mut inside = Cursor(self.take(size)?);
                let count = usize::from(inside.byte()?);
                inside.elements(constructor, count, depth)
            }
            0xD | 0xF => {
                let size = self.size32()?;
                let mut inside = Cursor(self.take(size)?);
                let count = inside.size32()?;
                inside.elements(constructor, count, depth)
            }
            _ => Err(Malformed::new(format!("unknown constructor {constructor:#04x}"))),
        }
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
            self.value(depth + 1)?;
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_length_of_every_kind_of_value_is_found() {
        for (bytes, length) in [
            (&[0x40, 0xFF][..], 1),
            (&[0x52, 7, 0xFF], 2),
            (&[0x70, 0, 0, 1, 0, 0xFF], 5),
            (&[0xA1, 2, b'a', b'b', 0xFF], 4),
            (&[0xB0, 0, 0, 0, 1, 9, 0xFF], 6),
            (&[0xC0, 2, 1, 0x40, 0xFF], 4),
            (&[0xD0, 0, 0, 0, 5, 0, 0, 0, 1, 0x41, 0xFF], 10),
            (&[0xE0, 4, 2, 0x50, 1, 2, 0xFF], 6),
            (&[0x00, 0x53, 0x24, 0x45, 0xFF], 4),
            (&[0x45, 0xFF], 1),
        ] {
            assert_eq!(encoded_len(bytes), Ok(length), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_map_has_a_value_for_every_key() {
        for map in [&[0xC1, 3, 2, 0x40, 0x41][..], &[0xD1, 0, 0, 0, 6, 0, 0, 0, 2, 0x40, 0x41]] {
            assert_eq!(encoded_len(map), Ok(map.len()), "{map:02x?}");
        }
        for map in [&[0xC1, 2, 1, 0x40][..], &[0xD1, 0, 0, 0, 5, 0, 0, 0, 1, 0x40]] {
            assert!(encoded_len(map).is_err(), "{map:02x?}");
        }
    }

    #[test]
    fn a_size_beyond_the_received_bytes_is_refused() {
        for bytes in
            [&[0xA1, 9, b'a'][..], &[0xB1, 0xFF, 0xFF, 0xFF, 0xFF], &[0xD0, 0x7F, 0, 0, 0, 0, 0, 0, 1], &[]]
        {
            assert!(encoded_len(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_count_that_does_not_fit_its_size_is_refused() {
        assert!(encoded_len(&[0xC0, 2, 2, 0x40]).is_err());
        assert!(encoded_len(&[0xC0, 3, 1, 0x40, 0x40]).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_and_ordinary_nesting_is_not() {
        let nested = |levels: usize| {
            let mut bytes = vec![0x40];
            for _ in 0..levels {
                let mut outer = vec![0xD0];
                outer.extend((bytes.len() as u32 + 4).to_be_bytes());
                outer.extend(1u32.to_be_bytes());
                outer.append(&mut bytes);
                bytes = outer;
            }
            bytes
        };
        assert!(encoded_len(&nested(NESTING_MAX)).is_ok());
        assert!(encoded_len(&nested(NESTING_MAX + 1)).is_err());
        assert!(encoded_len(&nested(6000)).is_err());
        assert!(encoded_len(&[0x00; 4000]).is_err());
    }

    #[test]
    fn an_array_of_millions_of_nothings_is_refused() {
        let mut bytes = vec![0xF0, 0, 0, 0, 5];
        bytes.extend(2_000_000_000u32.to_be_bytes());
        bytes.push(0x40);
        assert!(encoded_len(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_walk_or_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(length) = encoded_len(&bytes) {
                let _ = decode::<Value>(bytes.get(..length).unwrap());
            }
        }
    }
}
