//! Frames and protocol headers.

use anyhow::{Context as _, ensure};

use crate::amqp::Value;
use crate::wire::Wire;

pub(crate) const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
pub(crate) const SASL_HEADER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

/// Descriptors of performatives.
pub(crate) mod code {
    pub(crate) const OPEN: u64 = 0x10;
    pub(crate) const BEGIN: u64 = 0x11;
    pub(crate) const ATTACH: u64 = 0x12;
    pub(crate) const FLOW: u64 = 0x13;
    pub(crate) const TRANSFER: u64 = 0x14;
    pub(crate) const DISPOSITION: u64 = 0x15;
    pub(crate) const DETACH: u64 = 0x16;
    pub(crate) const END: u64 = 0x17;
    pub(crate) const CLOSE: u64 = 0x18;
    pub(crate) const ACCEPTED: u64 = 0x24;
    pub(crate) const REJECTED: u64 = 0x25;
    pub(crate) const RELEASED: u64 = 0x26;
    pub(crate) const SOURCE: u64 = 0x28;
    pub(crate) const TARGET: u64 = 0x29;
    pub(crate) const SASL_INIT: u64 = 0x41;
    pub(crate) const SASL_OUTCOME: u64 = 0x44;
}

/// A performative with what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) code: u64,
    pub(crate) fields: Vec<Value>,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A field; null where it was left out.
    pub(crate) fn field(&self, n: usize) -> &Value {
        self.fields.get(n).unwrap_or(&Value::Null)
    }

    pub(crate) fn number(&self, n: usize) -> Option<u32> {
        self.field(n).number().and_then(|number| u32::try_from(number).ok())
    }
}

/// Adds a frame of channel 0.
pub(crate) fn put(out: &mut Vec<u8>, code: u64, fields: Vec<Value>, payload: &[u8]) {
    let start = out.len();
    let kind = u8::from(code >= 0x40);
    out.extend([0, 0, 0, 0, 2, kind, 0, 0]);
    Value::described(code, Value::List(fields)).put(out);
    out.extend_from_slice(payload);
    let length = (out.len() - start) as u32;
    out.splice(start..start + 4, length.to_be_bytes());
}

/// Reads a protocol header.
pub(crate) async fn header(wire: &mut Wire, expected: &[u8; 8]) -> anyhow::Result<()> {
    while wire.arrived().len() < 8 {
        ensure!(wire.fill().await?, "the connection ended before a protocol header");
    }
    ensure!(wire.arrived().starts_with(expected), "another protocol header");
    wire.take(8);
    Ok(())
}

/// The next frame that has arrived whole; signs of life are skipped.
pub(crate) fn arrived(wire: &mut Wire) -> anyhow::Result<Option<Frame>> {
    loop {
        let Some((size, _)) = wire.arrived().split_first_chunk() else { return Ok(None) };
        let size = u32::from_be_bytes(*size) as usize;
        let Some(bytes) = wire.arrived().get(..size) else { return Ok(None) };
        let mut body = bytes.get(8..).context("a frame without its head")?;
        if body.is_empty() {
            wire.take(size);
            continue;
        }
        let performative = Value::take(&mut body)?;
        let (code, fields) = performative.split().context("a performative is described")?;
        let Value::List(fields) = fields else { anyhow::bail!("a performative is a list") };
        let frame = Frame { code, fields: fields.clone(), payload: body.to_vec() };
        wire.take(size);
        return Ok(Some(frame));
    }
}

/// The next frame.
pub(crate) async fn next(wire: &mut Wire) -> anyhow::Result<Frame> {
    loop {
        if let Some(frame) = arrived(wire)? {
            return Ok(frame);
        }
        ensure!(wire.fill().await?, "the server closed the connection");
    }
}
