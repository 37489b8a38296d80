//! Incoming frames: cut from the byte stream, checked, decoded (contract/amqp.md 1.1 to 1.3).
//!
//! A frame's length is judged before a byte is reserved for it. Performatives are decoded by the crate's types, all
//! but the attach.

#![warn(clippy::indexing_slicing)]

use bytes::{Buf, Bytes, BytesMut};
use fe2o3_amqp_types::performatives::{Begin, Close, Detach, Disposition, End, Flow, Open, Transfer};
use fe2o3_amqp_types::sasl::SaslInit;

use super::attach::Attach;
use super::encode::{FRAME_AMQP, FRAME_HEADER_BYTES, FRAME_SASL};
use super::value::{Malformed, decode, described, encoded_len};
use crate::names::descriptors;

/// The largest frame we take and announce; contract/amqp.md 1.2.
pub(crate) const FRAME_BYTES_MAX: u32 = 65_536;

/// A frame of either type.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A frame of a channel.
    Amqp { channel: u16, body: FrameBody },
    /// The one SASL frame a client sends.
    SaslInit(SaslInit),
}

/// What an AMQP frame says.
#[derive(Debug)]
pub(crate) enum FrameBody {
    Attach(Box<Attach>),
    Begin(Begin),
    Close(Close),
    Detach(Detach),
    Disposition(Box<Disposition>),
    /// Only keeps the connection alive.
    Empty,
    End(End),
    Flow(Box<Flow>),
    Open(Box<Open>),
    Transfer(Box<Transfer>, Bytes),
}

/// Takes the next whole frame off `input`; `None` when more bytes are needed.
pub(crate) fn next_frame(input: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
    let Some(header) = input.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
    let [s0, s1, s2, s3, doff, kind, c0, c1] = *header;
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if size > FRAME_BYTES_MAX || (size as usize) < FRAME_HEADER_BYTES {
        return Err(Malformed::new(format!("a frame of {size} bytes; 8 to {FRAME_BYTES_MAX} are allowed")));
    }
    let offset = usize::from(doff) * 4;
    if offset < FRAME_HEADER_BYTES || offset > size as usize {
        return Err(Malformed::new(format!("a data offset of {doff} words in a frame of {size} bytes")));
    }
    if input.len() < size as usize {
        return Ok(None);
    }
    let mut frame = input.split_to(size as usize).freeze();
    frame.advance(offset);
    match kind {
        FRAME_AMQP => {
            let channel = u16::from_be_bytes([c0, c1]);
            Ok(Some(Frame::Amqp { channel, body: frame_body(&frame)? }))
        }
        FRAME_SASL => Ok(Some(Frame::SaslInit(sasl_init(&frame)?))),
        other => Err(Malformed::new(format!("a frame of type {other}"))),
    }
}

fn frame_body(frame: &Bytes) -> Result<FrameBody, Malformed> {
    if frame.is_empty() {
        return Ok(FrameBody::Empty);
    }
    let length = encoded_len(frame)?;
    let performative = frame.slice(..length);
    let (code, fields) = described(&performative, descriptors::PERFORMATIVES)?;
    Ok(match code {
        0x10 => FrameBody::Open(Box::new(decode(&performative)?)),
        0x11 => FrameBody::Begin(decode(&performative)?),
        0x12 => FrameBody::Attach(Box::new(Attach::parse(&performative, fields)?)),
        0x13 => FrameBody::Flow(Box::new(decode(&performative)?)),
        0x14 => FrameBody::Transfer(Box::new(decode(&performative)?), frame.slice(length..)),
        0x15 => FrameBody::Disposition(Box::new(decode(&performative)?)),
        0x16 => FrameBody::Detach(decode(&performative)?),
        0x17 => FrameBody::End(decode(&performative)?),
        0x18 => FrameBody::Close(decode(&performative)?),
        other => return Err(Malformed::new(format!("unknown performative {other:#x}"))),
    })
}

fn sasl_init(frame: &Bytes) -> Result<SaslInit, Malformed> {
    encoded_len(frame)?;
    let (code, _) = described(frame, descriptors::SASL)?;
    if code != 0x41 {
        return Err(Malformed::new(format!("sasl-init was expected, not {code:#x}")));
    }
    decode(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn an_absurd_length_is_refused_from_its_header_alone() {
        let mut bytes = input(&[0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0]);
        assert!(next_frame(&mut bytes).is_err());
        assert!(next_frame(&mut input(&[0, 0, 0, 7, 2, 0, 0, 0])).is_err());
        assert!(next_frame(&mut input(&[0, 1, 0, 1, 2, 0, 0, 0])).is_err());
    }

    #[test]
    fn the_largest_announced_frame_is_waited_for() {
        assert!(matches!(next_frame(&mut input(&[0, 1, 0, 0, 2, 0, 0, 0])), Ok(None)));
    }

    #[test]
    fn a_data_offset_outside_the_frame_is_refused() {
        assert!(next_frame(&mut input(&[0, 0, 0, 8, 1, 0, 0, 0])).is_err());
        assert!(next_frame(&mut input(&[0, 0, 0, 8, 3, 0, 0, 0])).is_err());
    }

    #[test]
    fn an_extended_header_is_skipped() {
        let mut bytes = input(&[0, 0, 0, 12, 3, 0, 0, 0, 9, 9, 9, 9]);
        assert!(matches!(next_frame(&mut bytes), Ok(Some(Frame::Amqp { body: FrameBody::Empty, .. }))));
        assert!(bytes.is_empty());
    }

    #[test]
    fn descriptors_may_be_symbols() {
        let mut bytes = BytesMut::new();
        super::super::encode::Writer(&mut bytes).frame(FRAME_AMQP, 4, |w| {
            w.0.extend_from_slice(&[0x00]);
            w.symbol("amqp:end:list");
            w.0.extend_from_slice(&[0x45]);
        });
        let frame = next_frame(&mut bytes).unwrap().unwrap();
        assert!(matches!(frame, Frame::Amqp { channel: 4, body: FrameBody::End(_) }));
    }
}
