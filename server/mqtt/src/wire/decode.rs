//! What a client sends, as packets.
//!
//! A frame is judged by its first bytes, before the rest of it is waited for: packet type, reserved bits and the
//! length limit of that type. So nobody makes us buffer what we would refuse.
#![warn(clippy::indexing_slicing)]

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    CONNECT, DISCONNECT, Expecting, MAX_LENGTH_BYTES, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE,
    WireError,
};
use crate::names::connect;
use crate::packet::{Connect, FilterRequest, Packet, Publish};

/// Remaining length of CONNECT in bytes: a Will's body (at most 65535) and as much again for topic, username and
/// token, which are a few KB in every SDK.
pub(super) const MAX_CONNECT_BYTES: usize = 128 * 1024;
/// Remaining length of PUBLISH in bytes: a message of 256 KiB with a topic of 64 KiB, `contract/mqtt.md 5.3`.
pub(super) const MAX_PUBLISH_BYTES: usize = (256 + 64) * 1024;
/// Remaining length of SUBSCRIBE and UNSUBSCRIBE in bytes: the longest accepted filter is under 400 bytes and
/// clients name at most five.
pub(super) const MAX_SUBSCRIBE_BYTES: usize = 16 * 1024;
/// Remaining length of a packet that is only a packet id.
const PACKET_ID_BYTES: usize = 2;

/// Takes the next packet off `buffer`, or nothing as long as it is incomplete.
pub(crate) fn decode(buffer: &mut BytesMut, expecting: Expecting) -> Result<Option<Packet>, WireError> {
    let Some(frame) = Frame::peek(buffer, expecting)? else { return Ok(None) };
    if buffer.len() < frame.header_bytes + frame.remaining_bytes {
        return Ok(None);
    }
    buffer.advance(frame.header_bytes);
    let mut body = Body(buffer.split_to(frame.remaining_bytes).freeze());
    let packet = match frame.kind {
        CONNECT => Packet::Connect(Box::new(read_connect(&mut body)?)),
        PUBLISH => Packet::Publish(read_publish(frame.flags, &mut body)?),
        PUBACK => Packet::PubAck { packet_id: body.packet_id()? },
        SUBSCRIBE => Packet::Subscribe { packet_id: body.packet_id()?, filters: body.all(read_filter)? },
        UNSUBSCRIBE => Packet::Unsubscribe { packet_id: body.packet_id()?, filters: body.all(Body::text)? },
        PINGREQ => Packet::PingReq,
        DISCONNECT => Packet::Disconnect,
        other => return Err(WireError::UnexpectedType(other)),
    };
    if body.0.is_empty() { Ok(Some(packet)) } else { Err(WireError::Malformed("bytes after the last field")) }
}

/// The fixed header of the packet at the front of the buffer.
struct Frame {
    kind: u8,
    flags: u8,
    header_bytes: usize,
    remaining_bytes: usize,
}

impl Frame {
    fn peek(buffer: &[u8], expecting: Expecting) -> Result<Option<Self>, WireError> {
        let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
        let (kind, flags) = (first >> 4, first & 0x0f);
        if expecting == Expecting::Connect && kind != CONNECT {
            return Err(WireError::NotConnect);
        }
        let limit = match kind {
            CONNECT => MAX_CONNECT_BYTES,
            PUBLISH => MAX_PUBLISH_BYTES,
            PUBACK => PACKET_ID_BYTES,
            SUBSCRIBE | UNSUBSCRIBE => MAX_SUBSCRIBE_BYTES,
            PINGREQ | DISCONNECT => 0,
            other => return Err(WireError::UnexpectedType(other)),
        };
        let reserved_are_right = match kind {
            PUBLISH => true,
            SUBSCRIBE | UNSUBSCRIBE => flags == 0b0010,
            _ => flags == 0,
        };
        if !reserved_are_right {
            return Err(WireError::ReservedBits(kind));
        }
        let Some((length_bytes, remaining_bytes)) = remaining_length(rest)? else { return Ok(None) };
        if remaining_bytes > limit {
            return Err(WireError::TooLong { kind, bytes: remaining_bytes, limit });
        }
        Ok(Some(Self { kind, flags, header_bytes: 1 + length_bytes, remaining_bytes }))
    }
}

/// How many bytes the remaining length takes, and its value; nothing while its end has not arrived.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((index + 1, value)));
        }
    }
    if bytes.len() >= MAX_LENGTH_BYTES {
        return Err(WireError::Malformed("remaining length longer than four bytes"));
    }
    Ok(None)
}

/// What of a packet has not been read yet.
struct Body(Bytes);

impl Body {
    fn byte(&mut self) -> Result<u8, WireError> {
        self.0.try_get_u8().map_err(|_| WireError::Malformed("it ends before its last field"))
    }

    fn number(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// A packet id that can be answered: zero is none.
    fn packet_id(&mut self) -> Result<u16, WireError> {
        match self.number()? {
            0 => Err(WireError::Malformed("packet id 0")),
            packet_id => Ok(packet_id),
        }
    }

    /// Bytes behind their length.
    fn bytes(&mut self) -> Result<Bytes, WireError> {
        let length = usize::from(self.number()?);
        if length > self.0.len() {
            return Err(WireError::Malformed("it ends within a field"));
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, WireError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireError::Malformed("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// The rest of the packet, which is a list of at least one.
    fn all<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let mut list = vec![read(self)?];
        while !self.0.is_empty() {
            list.push(read(self)?);
        }
        Ok(list)
    }
}

fn read_connect(body: &mut Body) -> Result<Connect, WireError> {
    let (name, level) = (body.bytes()?, body.byte()?);
    if name != connect::PROTOCOL.as_bytes() || level != connect::LEVEL {
        return Err(WireError::UnsupportedProtocol);
    }
    let flags = body.byte()?;
    let has = |bit: u8| flags & bit != 0;
    let (has_username, has_password, has_will) = (has(0x80), has(0x40), has(0x04));
    if has(0x01) || (has_password && !has_username) || (!has_will && has(0x38)) {
        return Err(WireError::ReservedBits(CONNECT));
    }
    match (flags >> 3) & 0b11 {
        0 | 1 => {}
        2 => return Err(WireError::WillQosTwo),
        _ => return Err(WireError::Malformed("Will with QoS 3")),
    }
    let keep_alive_secs = body.number()?;
    let client_id = body.text()?;
    let will = if has_will { Some(read_will(has(0x20), body)?) } else { None };
    let username = if has_username { body.text()? } else { String::new() };
    let password = if has_password { body.text()? } else { String::new() };
    Ok(Connect { clean_session: has(0x02), client_id, keep_alive_secs, password, username, will })
}

/// Copied, as it outlives the CONNECT by the whole session and should not keep a password in memory that long.
fn read_will(retain: bool, body: &mut Body) -> Result<Publish, WireError> {
    let (topic, payload) = (body.bytes()?, body.bytes()?);
    let (topic, payload) = (Bytes::copy_from_slice(&topic), Bytes::copy_from_slice(&payload));
    Ok(Publish { dup: false, packet_id: None, payload, retain, topic })
}

fn read_publish(flags: u8, body: &mut Body) -> Result<Publish, WireError> {
    let (dup, qos, retain) = (flags & 0b1000 != 0, (flags >> 1) & 0b11, flags & 1 != 0);
    match qos {
        0 if dup => return Err(WireError::Malformed("DUP on a QoS 0 publish")),
        0 | 1 => {}
        2 => return Err(WireError::QosTwo),
        _ => return Err(WireError::Malformed("QoS 3")),
    }
    let topic = body.bytes()?;
    let packet_id = if qos == 1 { Some(body.packet_id()?) } else { None };
    Ok(Publish { dup, packet_id, payload: std::mem::take(&mut body.0), retain, topic })
}

fn read_filter(body: &mut Body) -> Result<FilterRequest, WireError> {
    let filter = body.text()?;
    match body.byte()? {
        qos @ 0..=2 => Ok(FilterRequest { filter, qos }),
        3 => Err(WireError::Malformed("QoS 3")),
        _ => Err(WireError::ReservedBits(SUBSCRIBE)),
    }
}
