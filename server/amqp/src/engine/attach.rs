//! A client's attach (contract/amqp.md 1.4, 3; contract/eventhubs.md 4): read field by field, because its source and
//! target are echoed exactly as they came.

#![warn(clippy::indexing_slicing)]

use bytes::Bytes;
use fe2o3_amqp_types::primitives::Value;

use super::value::{Items, Malformed, decode, described, items};
use crate::names::{descriptors, selector};

/// A client's attach.
#[derive(Clone, Debug)]
pub(crate) struct Attach {
    /// The encoded name, echoed and forgotten: links are told apart by session and handle (contract/amqp.md 1.4).
    pub(crate) name: Bytes,
    pub(crate) handle: u32,
    /// Whether the client is the receiver of the link.
    pub(crate) client_receives: bool,
    /// 0 unsettled, 1 settled, 2 mixed; absent is mixed.
    pub(crate) snd_settle_mode: Option<u8>,
    /// 0 first, 1 second; absent is first.
    pub(crate) rcv_settle_mode: Option<u8>,
    pub(crate) source: Option<Bytes>,
    pub(crate) target: Option<Bytes>,
    pub(crate) properties: Option<Bytes>,
    pub(crate) desired_capabilities: Option<Bytes>,
}

impl Attach {
    /// Reads the fields of a performative that is `whole`.
    pub(super) fn parse(whole: &Bytes, fields: &[u8]) -> Result<Self, Malformed> {
        let mut fields = items(fields)?;
        let missing = |field: &str| Malformed::new(format!("an attach without {field}"));
        let name = fields.next_present()?.ok_or_else(|| missing("name"))?;
        decode::<String>(name)?;
        let handle = optional(&mut fields)?.ok_or_else(|| missing("handle"))?;
        let client_receives = optional(&mut fields)?.ok_or_else(|| missing("role"))?;
        let snd_settle_mode = optional(&mut fields)?;
        let rcv_settle_mode = optional(&mut fields)?;
        let mut raw = || Ok::<_, Malformed>(fields.next_present()?.map(|item| whole.slice_ref(item)));
        let (source, target) = (raw()?, raw()?);
        let (_unsettled, _incomplete_unsettled, _initial_delivery_count) = (raw()?, raw()?, raw()?);
        let (_max_message_size, _offered) = (raw()?, raw()?);
        let (desired_capabilities, properties) = (raw()?, raw()?);
        let name = whole.slice_ref(name);
        Ok(Self {
            name,
            handle,
            client_receives,
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            properties,
            desired_capabilities,
        })
    }

    /// The address of the hub's end: the target when the client sends, the source when it receives.
    pub(crate) fn address(&self) -> Result<Option<String>, Malformed> {
        address_of(if self.client_receives { &self.source } else { &self.target })
    }

    /// The address of the client's own end.
    pub(crate) fn own_address(&self) -> Result<Option<String>, Malformed> {
        address_of(if self.client_receives { &self.target } else { &self.source })
    }

    /// The selector among the filters of the source (contract/eventhubs.md 4.1).
    pub(crate) fn selector(&self) -> Result<Option<String>, Malformed> {
        let Some(source) = &self.source else { return Ok(None) };
        let (_, fields) = described(source, descriptors::TERMINI)?;
        let mut fields = items(fields)?;
        for _ in 0..FILTER_PLACE {
            fields.next_item()?;
        }
        let Some(filters) = fields.next_present()? else { return Ok(None) };
        let Some(value) = entry(filters, selector::FILTER)? else { return Ok(None) };
        let value = match value.first() {
            Some(0x00) => {
                let (code, value) = described(value, selector::DESCRIPTOR_NAMES)?;
                if !selector::DESCRIPTOR_CODES.contains(&code) {
                    return Err(Malformed::new(format!("{code:#x} is no descriptor of a selector")));
                }
                value
            }
            _ => value,
        };
        match decode::<Value>(value)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            Value::Symbol(symbol) => Ok(Some(symbol.0)),
            _ => Err(Malformed::new("a selector must be a string")),
        }
    }

    /// Whether the client asks for a capability; several stand in an array, one may stand alone.
    pub(crate) fn desires(&self, capability: &str) -> bool {
        let Some(desired) = &self.desired_capabilities else { return false };
        match decode::<Value>(desired) {
            Ok(Value::Symbol(only)) => only.as_str() == capability,
            Ok(Value::Array(several)) => several
                .iter()
                .any(|one| matches!(one, Value::Symbol(symbol) if symbol.as_str() == capability)),
            _ => false,
        }
    }

    /// A link property that is text, by name.
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        match self.property_value(name)? {
            Value::String(text) => Some(text),
            Value::Symbol(symbol) => Some(symbol.0),
            _ => None,
        }
    }

    /// A link property that is a whole number; an error when it is something else.
    pub(crate) fn integer_property(&self, name: &str) -> Result<Option<i64>, Malformed> {
        let Some(value) = self.property_value(name) else { return Ok(None) };
        let number = match value {
            Value::Null => return Ok(None),
            Value::Byte(number) => Some(number.into()),
            Value::Short(number) => Some(number.into()),
            Value::Int(number) => Some(number.into()),
            Value::Long(number) => Some(number),
            Value::Ubyte(number) => Some(number.into()),
            Value::Ushort(number) => Some(number.into()),
            Value::Uint(number) => Some(number.into()),
            Value::Ulong(number) => i64::try_from(number).ok(),
            _ => None,
        };
        number
            .map(Some)
            .ok_or_else(|| Malformed::new(format!("the link property '{name}' must be a whole number")))
    }

    fn property_value(&self, name: &str) -> Option<Value> {
        decode(entry(self.properties.as_ref()?, name).ok()??).ok()
    }
}

/// Where the filters stand among the fields of a source.
const FILTER_PLACE: usize = 7;

fn optional<T: serde_amqp::serde::de::DeserializeOwned>(
    fields: &mut Items<'_>,
) -> Result<Option<T>, Malformed> {
    fields.next_present()?.map(decode).transpose()
}

fn address_of(terminus: &Option<Bytes>) -> Result<Option<String>, Malformed> {
    let Some(terminus) = terminus else { return Ok(None) };
    let (_, fields) = described(terminus, descriptors::TERMINI)?;
    let Some(address) = items(fields)?.next_present()? else { return Ok(None) };
    match decode::<Value>(address)? {
        Value::String(text) => Ok(Some(text)),
        Value::Symbol(symbol) => Ok(Some(symbol.0)),
        _ => Err(Malformed::new("a link address must be a string")),
    }
}

/// The encoded value of a key of a map; keys are symbols, and with some clients strings.
fn entry<'a>(map: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut entries = items(map)?;
    while let (Some(key), Some(value)) = (entries.next_item()?, entries.next_item()?) {
        let is_it = match decode::<Value>(key)? {
            Value::Symbol(key) => key.as_str() == name,
            Value::String(key) => key == name,
            _ => false,
        };
        if is_it {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
