//! Values: written in their widest form, read in any that the hub may choose.

use anyhow::{Context as _, bail};

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Binary(Vec<u8>),
    Bool(bool),
    Described(Box<Self>, Box<Self>),
    Int(i32),
    List(Vec<Self>),
    Long(i64),
    Map(Vec<(Self, Self)>),
    Null,
    /// Read and of no interest: floats, arrays and the like.
    Other,
    String(String),
    Symbol(String),
    Timestamp(i64),
    Ubyte(u8),
    Uint(u32),
    Ulong(u64),
    Ushort(u16),
    Uuid([u8; 16]),
}

impl Value {
    pub(crate) fn string(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    pub(crate) fn symbol(text: &str) -> Self {
        Self::Symbol(text.to_owned())
    }

    pub(crate) fn described(code: u64, value: Self) -> Self {
        Self::Described(Box::new(Self::Ulong(code)), Box::new(value))
    }

    /// Any number that is not negative.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Ubyte(number) => Some(u64::from(*number)),
            Self::Ushort(number) => Some(u64::from(*number)),
            Self::Uint(number) => Some(u64::from(*number)),
            Self::Ulong(number) => Some(*number),
            Self::Int(number) => u64::try_from(*number).ok(),
            Self::Long(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// What a map has under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The number before a described value, and the value.
    pub(crate) fn split(&self) -> Option<(u64, &Self)> {
        let Self::Described(descriptor, value) = self else { return None };
        Some((descriptor.number()?, value))
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Binary(bytes) => sized(out, 0xb0, bytes),
            Self::Bool(value) => out.push(if *value { 0x41 } else { 0x42 }),
            Self::Described(descriptor, value) => {
                out.push(0x00);
                match **descriptor {
                    Self::Ulong(code @ 0..=0xff) => out.extend([0x53, code as u8]),
                    ref other => other.put(out),
                }
                value.put(out);
            }
            Self::Int(number) => fixed(out, 0x71, &number.to_be_bytes()),
            Self::List(items) => compound(out, 0xd0, items.iter()),
            Self::Long(number) => fixed(out, 0x81, &number.to_be_bytes()),
            Self::Map(pairs) => compound(out, 0xd1, pairs.iter().flat_map(|(key, value)| [key, value])),
            Self::Null | Self::Other => out.push(0x40),
            Self::String(text) => sized(out, 0xb1, text.as_bytes()),
            Self::Symbol(text) => sized(out, 0xb3, text.as_bytes()),
            Self::Timestamp(millis) => fixed(out, 0x83, &millis.to_be_bytes()),
            Self::Ubyte(number) => fixed(out, 0x50, &[*number]),
            Self::Uint(number) => fixed(out, 0x70, &number.to_be_bytes()),
            Self::Ulong(number) => fixed(out, 0x80, &number.to_be_bytes()),
            Self::Ushort(number) => fixed(out, 0x60, &number.to_be_bytes()),
            Self::Uuid(bytes) => fixed(out, 0x98, bytes),
        }
    }

    /// Takes the first value off.
    pub(crate) fn take(bytes: &mut &[u8]) -> anyhow::Result<Self> {
        let constructor = take::<1>(bytes)?[0];
        Ok(match constructor {
            0x00 => Self::Described(Box::new(Self::take(bytes)?), Box::new(Self::take(bytes)?)),
            0x40 => Self::Null,
            0x41 => Self::Bool(true),
            0x42 => Self::Bool(false),
            0x43 => Self::Uint(0),
            0x44 => Self::Ulong(0),
            0x45 => Self::List(Vec::new()),
            0x50 => Self::Ubyte(take::<1>(bytes)?[0]),
            0x51 | 0x55 => {
                let number = i8::from_be_bytes(take(bytes)?);
                if constructor == 0x55 { Self::Long(number.into()) } else { Self::Int(number.into()) }
            }
            0x52 => Self::Uint(take::<1>(bytes)?[0].into()),
            0x53 => Self::Ulong(take::<1>(bytes)?[0].into()),
            0x54 => Self::Int(i8::from_be_bytes(take(bytes)?).into()),
            0x56 => Self::Bool(take::<1>(bytes)?[0] == 1),
            0x60 => Self::Ushort(u16::from_be_bytes(take(bytes)?)),
            0x70 => Self::Uint(u32::from_be_bytes(take(bytes)?)),
            0x71 => Self::Int(i32::from_be_bytes(take(bytes)?)),
            0x80 => Self::Ulong(u64::from_be_bytes(take(bytes)?)),
            0x81 => Self::Long(i64::from_be_bytes(take(bytes)?)),
            0x83 => Self::Timestamp(i64::from_be_bytes(take(bytes)?)),
            0x98 => Self::Uuid(take(bytes)?),
            0xa0 | 0xb0 => Self::Binary(body(bytes, constructor)?.to_vec()),
            0xa1 | 0xb1 => Self::String(String::from_utf8(body(bytes, constructor)?.to_vec())?),
            0xa3 | 0xb3 => Self::Symbol(String::from_utf8(body(bytes, constructor)?.to_vec())?),
            0xc0 | 0xd0 => Self::List(items(bytes, constructor)?),
            0xc1 | 0xd1 => {
                let items = items(bytes, constructor)?;
                let pair = |pair: &[Self]| Some((pair.first()?.clone(), pair.get(1)?.clone()));
                Self::Map(items.chunks(2).filter_map(pair).collect())
            }
            0xe0 | 0xf0 => body(bytes, constructor).map(|_| Self::Other)?,
            0x61 => take::<2>(bytes).map(|_| Self::Other)?,
            0x72..=0x74 => take::<4>(bytes).map(|_| Self::Other)?,
            0x82 | 0x84 => take::<8>(bytes).map(|_| Self::Other)?,
            other => bail!("there is no AMQP type {other:#04x}"),
        })
    }
}

fn fixed(out: &mut Vec<u8>, constructor: u8, bytes: &[u8]) {
    out.push(constructor);
    out.extend_from_slice(bytes);
}

fn sized(out: &mut Vec<u8>, constructor: u8, bytes: &[u8]) {
    out.push(constructor);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn compound<'a>(out: &mut Vec<u8>, constructor: u8, items: impl Iterator<Item = &'a Value>) {
    let (mut body, mut count) = (vec![0; 4], 0_u32);
    for item in items {
        item.put(&mut body);
        count += 1;
    }
    body.splice(..4, count.to_be_bytes());
    sized(out, constructor, &body);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> anyhow::Result<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk().context("a value broke off")?;
    *bytes = rest;
    Ok(*taken)
}

/// What follows a size of one byte or four.
fn body<'a>(bytes: &mut &'a [u8], constructor: u8) -> anyhow::Result<&'a [u8]> {
    let size = if constructor & 0x10 == 0 {
        usize::from(take::<1>(bytes)?[0])
    } else {
        u32::from_be_bytes(take(bytes)?) as usize
    };
    let (body, rest) = bytes.split_at_checked(size).context("a value broke off")?;
    *bytes = rest;
    Ok(body)
}

fn items(bytes: &mut &[u8], constructor: u8) -> anyhow::Result<Vec<Value>> {
    let mut body = body(bytes, constructor)?;
    let count = if constructor & 0x10 == 0 {
        usize::from(take::<1>(&mut body)?[0])
    } else {
        u32::from_be_bytes(take(&mut body)?) as usize
    };
    (0..count).map(|_| Value::take(&mut body)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_they_were_written() {
        let value = Value::described(
            0x70,
            Value::List(vec![
                Value::Null,
                Value::Bool(true),
                Value::Ubyte(1),
                Value::Ushort(2),
                Value::Uint(3),
                Value::Ulong(4),
                Value::Int(-5),
                Value::Long(-6),
                Value::Timestamp(7),
                Value::Uuid([8; 16]),
                Value::Binary(vec![9]),
                Value::Map(vec![(Value::symbol("k"), Value::string("v"))]),
            ]),
        );
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(Value::take(&mut rest).unwrap(), value);
        assert!(rest.is_empty());
        assert!(Value::take(&mut &bytes[..bytes.len() - 1]).is_err());
    }
}
