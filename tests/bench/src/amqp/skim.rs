//! What a reader of many messages looks at: whose transfer it is, and its data. Everything else is stepped over by
//! its size, and nothing is copied.

use anyhow::{Context as _, ensure};

use super::frame::code;

/// The data section.
const DATA: u64 = 0x75;

/// The first whole frame with its length in bytes; `None` if more bytes are needed.
pub(crate) fn frame(bytes: &[u8]) -> anyhow::Result<Option<(Skimmed<'_>, usize)>> {
    let Some((size, _)) = bytes.split_first_chunk() else { return Ok(None) };
    let size = u32::from_be_bytes(*size) as usize;
    let Some(bytes) = bytes.get(..size) else { return Ok(None) };
    let mut rest = bytes.get(8..).context("a frame without its head")?;
    if rest.is_empty() {
        return Ok(Some((Skimmed::Other(0), size)));
    }
    let code = descriptor(&mut rest)?;
    skip(&mut rest)?;
    if code != code::TRANSFER {
        return Ok(Some((Skimmed::Other(code), size)));
    }
    while !rest.is_empty() {
        let section = descriptor(&mut rest)?;
        let value = skip(&mut rest)?;
        if section == DATA {
            return Ok(Some((Skimmed::Event(value), size)));
        }
    }
    anyhow::bail!("a transfer without data")
}

/// A frame, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Skimmed<'a> {
    /// A transfer of a whole message with this body.
    Event(&'a [u8]),
    /// Another performative; 0 for a sign of life.
    Other(u64),
}

/// The code before a described value; its constructor is next.
fn descriptor(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    ensure!(take(bytes, 1)? == [0], "a described value was expected");
    match take(bytes, 1)? {
        [0x53] => Ok(u64::from(*take(bytes, 1)?.first().context("a code")?)),
        [0x80] => Ok(u64::from_be_bytes(take(bytes, 8)?.try_into()?)),
        other => anyhow::bail!("a descriptor of type {other:?}"),
    }
}

/// Steps over a value and returns what is in it.
fn skip<'a>(bytes: &mut &'a [u8]) -> anyhow::Result<&'a [u8]> {
    let constructor = *take(bytes, 1)?.first().context("a constructor")?;
    let size = match constructor >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xc | 0xe => usize::from(*take(bytes, 1)?.first().context("a size")?),
        0xb | 0xd | 0xf => u32::from_be_bytes(take(bytes, 4)?.try_into()?) as usize,
        _ => anyhow::bail!("a value of type {constructor:#04x}"),
    };
    take(bytes, size)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).context("a value broke off")?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::{Message, Value, frame as frames};

    #[test]
    fn the_data_of_a_transfer_is_found_behind_everything_else() {
        let message = Message {
            annotations: Value::Map(vec![(Value::symbol("x-opt-offset"), Value::string("7"))]),
            application: Value::Map(vec![(Value::string("k"), Value::string("v"))]),
            ..Message::data(b"body")
        };
        let mut bytes = Vec::new();
        frames::put(&mut bytes, code::TRANSFER, vec![Value::Uint(1), Value::Uint(2)], &message.bytes());
        frames::put(&mut bytes, code::FLOW, vec![Value::Uint(1)], &[]);
        let (first, length) = frame(&bytes).unwrap().unwrap();
        assert_eq!(first, Skimmed::Event(b"body"));
        assert_eq!(
            frame(&bytes[length..]).unwrap().unwrap(),
            (Skimmed::Other(code::FLOW), bytes.len() - length)
        );
        assert!(frame(&bytes[..length - 1]).unwrap().is_none());
    }
}
