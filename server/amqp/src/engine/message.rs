//! Received messages and their sections (contract/amqp.md 1.3.3, 4).
//!
//! Reading slices the received bytes; bodies are not copied. The message-id is kept as it was encoded, because a
//! reply must echo it with its type (contract/amqp.md 2 and 4.5).

#![warn(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::primitives::Value;
use uuid::Uuid;

use super::value::{Items, Malformed, decode, described, items, octets, split_value};
use crate::names::descriptors;

/// Sections of one message and entries of one map at most; far above what any client sends, so that a message
/// cannot cost many times its own size in memory.
const PARTS_MAX: usize = 4096;

/// A value of the types clients put into properties and annotations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Binary(Vec<u8>),
    /// Lists, maps, decimals: nothing IoT Hub gives a meaning.
    Compound,
    Float(f64),
    Int(i64),
    Null,
    Text(String),
    /// Milliseconds since 1970.
    Time(i64),
    Uint(u64),
    Uuid(Uuid),
}

impl Scalar {
    /// Text of a string or symbol.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// How the value reads in a property bag; `None` for null and compounds.
    pub(crate) fn into_display(self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Binary(bytes) => String::from_utf8(bytes).ok(),
            Self::Compound | Self::Null => None,
            Self::Float(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Text(text) => Some(text),
            Self::Time(millis) => Some(millis.to_string()),
            Self::Uint(value) => Some(value.to_string()),
            Self::Uuid(uuid) => Some(uuid.to_string()),
        }
    }

    fn read(encoded: &[u8]) -> Result<Self, Malformed> {
        // Compounds are not decoded at all: each of their bytes could cost fifty in memory.
        if matches!(encoded.first(), Some(0x00 | 0x45 | 0xC0..=0xFF)) {
            return Ok(Self::Compound);
        }
        Ok(match decode::<Value>(encoded)? {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Ubyte(value) => Self::Uint(value.into()),
            Value::Ushort(value) => Self::Uint(value.into()),
            Value::Uint(value) => Self::Uint(value.into()),
            Value::Ulong(value) => Self::Uint(value),
            Value::Byte(value) => Self::Int(value.into()),
            Value::Short(value) => Self::Int(value.into()),
            Value::Int(value) => Self::Int(value.into()),
            Value::Long(value) => Self::Int(value),
            Value::Float(value) => Self::Float(value.0.into()),
            Value::Double(value) => Self::Float(value.0),
            Value::Char(value) => Self::Text(value.into()),
            Value::Timestamp(value) => Self::Time(value.milliseconds()),
            Value::Uuid(value) => Self::Uuid(Uuid::from_bytes(value.into_inner())),
            Value::Binary(value) => Self::Binary(value.into_vec()),
            Value::String(value) => Self::Text(value),
            Value::Symbol(value) => Self::Text(value.0),
            Value::Described(_)
            | Value::Decimal32(_)
            | Value::Decimal64(_)
            | Value::Decimal128(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Array(_) => Self::Compound,
        })
    }
}

/// The properties section, each field as encoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    pub(crate) message_id: Option<Bytes>,
    pub(crate) user_id: Option<Bytes>,
    pub(crate) to: Option<Bytes>,
    pub(crate) reply_to: Option<Bytes>,
    pub(crate) correlation_id: Option<Bytes>,
    pub(crate) content_type: Option<Bytes>,
    pub(crate) content_encoding: Option<Bytes>,
    pub(crate) absolute_expiry_time: Option<Bytes>,
    pub(crate) creation_time: Option<Bytes>,
}

impl Properties {
    /// A field as a value.
    pub(crate) fn scalar(field: Option<&Bytes>) -> Result<Scalar, Malformed> {
        field.map_or(Ok(Scalar::Null), |encoded| Scalar::read(encoded))
    }
}

/// A received message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) properties: Properties,
    pub(crate) annotations: Vec<(String, Scalar)>,
    pub(crate) application: Vec<(String, Scalar)>,
    /// The contents of the data sections.
    pub(crate) data: Vec<Bytes>,
    /// The value of an amqp-value section.
    pub(crate) value: Option<Scalar>,
}

impl Message {
    /// Reads the sections of one encoded message.
    pub(crate) fn parse(encoded: &Bytes) -> Result<Self, Malformed> {
        let mut message = Self::default();
        let mut rest: &[u8] = encoded;
        let mut sections = 0;
        while !rest.is_empty() {
            sections += 1;
            if sections > PARTS_MAX {
                return Err(Malformed::new(format!("a message of more than {PARTS_MAX} sections")));
            }
            let (section, behind) = split_value(rest)?;
            rest = behind;
            let (code, value) = described(section, descriptors::SECTIONS)?;
            match code {
                0x72 => message.annotations = entries(value)?,
                0x73 => message.properties = properties(encoded, value)?,
                0x74 => message.application = entries(value)?,
                0x75 => message.data.push(
                    octets(encoded, value)
                        .ok_or_else(|| Malformed::new("a data section that is not binary"))?,
                ),
                0x77 => message.value = Some(Scalar::read(value)?),
                0x70 | 0x71 | 0x76 | 0x78 => {}
                other => return Err(Malformed::new(format!("unknown message section {other:#x}"))),
            }
        }
        Ok(message)
    }

    /// The annotation of that name.
    pub(crate) fn annotation(&self, name: &str) -> Option<&Scalar> {
        self.annotations.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The application property of that name.
    pub(crate) fn application_property(&self, name: &str) -> Option<&Scalar> {
        self.application.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body as bytes: data sections joined, or the text or binary of a value (contract/amqp.md 4.1).
    pub(crate) fn into_body(self) -> Bytes {
        let mut data = self.data.into_iter();
        match (data.next(), data.len(), self.value) {
            (Some(only), 0, _) => only,
            (Some(first), _, _) => {
                let mut joined = BytesMut::from(first);
                data.for_each(|part| joined.extend_from_slice(&part));
                joined.freeze()
            }
            (None, _, Some(Scalar::Text(text))) => Bytes::from(text),
            (None, _, Some(Scalar::Binary(bytes))) => Bytes::from(bytes),
            (None, ..) => Bytes::new(),
        }
    }
}

fn entries(encoded: &[u8]) -> Result<Vec<(String, Scalar)>, Malformed> {
    let mut source = items(encoded)?;
    let mut entries = Vec::new();
    while let Some(key) = source.next_item()? {
        let value = source.next_item()?.ok_or_else(|| Malformed::new("a map key without a value"))?;
        if entries.len() == PARTS_MAX {
            return Err(Malformed::new(format!("a map of more than {PARTS_MAX} entries")));
        }
        match Scalar::read(key)? {
            Scalar::Text(key) => entries.push((key, Scalar::read(value)?)),
            // Reserved ulong keys: nobody uses them, and they mean nothing here.
            _ => continue,
        }
    }
    Ok(entries)
}

fn properties(whole: &Bytes, encoded: &[u8]) -> Result<Properties, Malformed> {
    let mut fields = items(encoded)?;
    let mut next = || field(whole, &mut fields);
    let (message_id, user_id, to) = (next()?, next()?, next()?);
    let _subject = next()?;
    Ok(Properties {
        message_id,
        user_id,
        to,
        reply_to: next()?,
        correlation_id: next()?,
        content_type: next()?,
        content_encoding: next()?,
        absolute_expiry_time: next()?,
        creation_time: next()?,
    })
}

fn field(whole: &Bytes, fields: &mut Items<'_>) -> Result<Option<Bytes>, Malformed> {
    Ok(fields.next_present()?.map(|item| whole.slice_ref(item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_data_sections_are_one_body() {
        let sections =
            Bytes::from_static(&[0, 0x53, 0x75, 0xA0, 1, b'a', 0, 0x53, 0x75, 0xA0, 2, b'b', b'c']);
        assert_eq!(Message::parse(&sections).unwrap().into_body(), "abc");
    }

    #[test]
    fn a_text_value_is_a_body_too() {
        let sections = Bytes::from_static(&[0, 0x53, 0x77, 0xA1, 2, b'h', b'i']);
        assert_eq!(Message::parse(&sections).unwrap().into_body(), "hi");
    }

    #[test]
    fn an_unknown_section_and_a_cut_one_are_refused() {
        assert!(Message::parse(&Bytes::from_static(&[0, 0x53, 0x99, 0x40])).is_err());
        assert!(Message::parse(&Bytes::from_static(&[0, 0x53, 0x75, 0xA0, 9, b'a'])).is_err());
        assert!(Message::parse(&Bytes::from_static(b"hello")).is_err());
    }
}
