//! Bytes to [`Packet`] and [`Outgoing`] to bytes, `contract/mqtt.md 2.1`, `2.11` and `5.3`. The only file that
//! names the codec crate (rumqttd's `protocol`, v4 = MQTT 3.1.1).
//!
//! A frame is judged by its first bytes, before the rest of it is waited for: packet type, reserved bits and the
//! length limit of that type. So nobody makes us buffer what we would refuse. What the codec does not check or
//! keeps private (DUP, QoS and packet id of PUBLISH, reserved bits of CONNECT and SUBSCRIBE, trailing bytes) is
//! read here from the same frame.
#![warn(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::{self, Protocol, QoS};

use crate::names::connect;
use crate::packet::{ConnAck, Connect, FilterRequest, GrantedQos, Outgoing, Packet, Publish, SubscribeCode};

/// Remaining length of CONNECT in bytes: a Will's body (at most 65535) and as much again for topic, username and
/// token, which are a few KB in every SDK.
const MAX_CONNECT_BYTES: usize = 128 * 1024;
/// Remaining length of PUBLISH in bytes: a message of 256 KiB with a topic of 64 KiB, `contract/mqtt.md 5.3`.
const MAX_PUBLISH_BYTES: usize = (256 + 64) * 1024;
/// Remaining length of SUBSCRIBE and UNSUBSCRIBE in bytes: the longest accepted filter is under 400 bytes and
/// clients name at most five.
const MAX_SUBSCRIBE_BYTES: usize = 16 * 1024;
/// Remaining length of a packet that is only a packet id.
const PACKET_ID_BYTES: usize = 2;
/// Longest text MQTT can carry, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = u16::MAX as usize;

/// Why a client's bytes are not a packet we take. All of them end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    #[error("malformed packet: {0}")]
    Codec(protocol::Error),
    #[error("the first packet is not CONNECT")]
    NotConnect,
    #[error("PUBLISH with QoS 2, which the hub does not offer")]
    QosTwo,
    #[error("reserved bits of packet type {0} are wrong")]
    ReservedBits(u8),
    #[error("packet type {kind} of {bytes} bytes, at most {limit} are taken")]
    TooLong { kind: u8, bytes: usize, limit: usize },
    #[error("packet type {0} is not one that a client of this hub sends")]
    UnexpectedType(u8),
    #[error("protocol is not MQTT 3.1.1 (name \"MQTT\", level 4)")]
    UnsupportedProtocol,
    #[error("Will with QoS 2, which the hub does not offer")]
    WillQosTwo,
}

impl From<protocol::Error> for WireError {
    fn from(error: protocol::Error) -> Self {
        match error {
            protocol::Error::InvalidProtocol | protocol::Error::InvalidProtocolLevel(_) => {
                Self::UnsupportedProtocol
            }
            other => Self::Codec(other),
        }
    }
}

/// How far the conversation is: before CONNECT nothing else is even buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expecting {
    Connect,
    Anything,
}

/// Takes the next packet off `buffer`, or nothing as long as it is incomplete.
pub(crate) fn decode(buffer: &mut BytesMut, expecting: Expecting) -> Result<Option<Packet>, WireError> {
    let Some(frame) = Frame::peek(buffer, expecting)? else { return Ok(None) };
    let Some(body) = buffer.get(frame.header_bytes..frame.header_bytes + frame.remaining_bytes) else {
        return Ok(None);
    };
    // Read before the codec takes the bytes away.
    let private = Private::read(&frame, body)?;
    let packet = V4.read_mut(buffer, frame.remaining_bytes)?;
    convert(packet, private, &frame).map(Some)
}

/// Appends a packet to what is to be written next.
pub(crate) fn encode(packet: Outgoing, buffer: &mut BytesMut) -> Result<(), WireError> {
    V4.write(to_codec(packet), buffer)?;
    Ok(())
}

/// The fixed header of the packet at the front of the buffer.
struct Frame {
    kind: u8,
    flags: u8,
    header_bytes: usize,
    remaining_bytes: usize,
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

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
    const MAX_LENGTH_BYTES: usize = 4;
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

/// What the codec reads but does not show.
enum Private {
    ConnectFlags(u8),
    Nothing,
    PacketId(Option<u16>),
}

impl Private {
    fn read(frame: &Frame, body: &[u8]) -> Result<Self, WireError> {
        match frame.kind {
            CONNECT => connect_flags(body).map(Self::ConnectFlags),
            PUBLISH => publish_packet_id(frame.flags, body).map(Self::PacketId),
            SUBSCRIBE => {
                check_subscribe_options(body)?;
                Ok(Self::Nothing)
            }
            _ => Ok(Self::Nothing),
        }
    }
}

fn connect_flags(body: &[u8]) -> Result<u8, WireError> {
    let (name, rest) = text(body).ok_or(WireError::Malformed("CONNECT ends within the protocol name"))?;
    let [level, flags, ..] = *rest else {
        return Err(WireError::Malformed("CONNECT ends before its flags"));
    };
    if name != connect::PROTOCOL.as_bytes() || level != connect::LEVEL {
        return Err(WireError::UnsupportedProtocol);
    }
    let (has_username, has_password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    if flags & 0x01 != 0 || (has_password && !has_username) {
        return Err(WireError::ReservedBits(CONNECT));
    }
    Ok(flags)
}

fn publish_packet_id(flags: u8, body: &[u8]) -> Result<Option<u16>, WireError> {
    let dup = flags & 0b1000 != 0;
    match (flags >> 1) & 0b11 {
        0 if dup => Err(WireError::Malformed("DUP on a QoS 0 publish")),
        0 => Ok(None),
        1 => {
            let (_, rest) = text(body).ok_or(WireError::Malformed("PUBLISH ends within its topic"))?;
            let [high, low, ..] = *rest else {
                return Err(WireError::Malformed("PUBLISH ends before its packet id"));
            };
            Ok(Some(u16::from_be_bytes([high, low])))
        }
        2 => Err(WireError::QosTwo),
        _ => Err(WireError::Malformed("QoS 3")),
    }
}

fn check_subscribe_options(body: &[u8]) -> Result<(), WireError> {
    let mut rest = body.get(PACKET_ID_BYTES..).unwrap_or_default();
    while !rest.is_empty() {
        let (_, after) = text(rest).ok_or(WireError::Malformed("SUBSCRIBE ends within a filter"))?;
        let Some((options, next)) = after.split_first() else {
            return Err(WireError::Malformed("SUBSCRIBE ends before a filter's QoS"));
        };
        if options & 0b1111_1100 != 0 {
            return Err(WireError::ReservedBits(SUBSCRIBE));
        }
        rest = next;
    }
    Ok(())
}

/// Splits off an MQTT string: two bytes of length, then the text.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn convert(packet: protocol::Packet, private: Private, frame: &Frame) -> Result<Packet, WireError> {
    use protocol::Packet as Codec;
    let packet = match (packet, private) {
        (Codec::Connect(connect, _, will, _, login), Private::ConnectFlags(flags)) => {
            Packet::Connect(Box::new(connect_packet(connect, will, login, flags, frame)?))
        }
        (Codec::Publish(publish, _), Private::PacketId(packet_id)) => Packet::Publish(Publish {
            dup: frame.flags & 0b1000 != 0,
            packet_id,
            payload: publish.payload,
            retain: publish.retain,
            topic: publish.topic,
        }),
        (Codec::Subscribe(subscribe, _), _) => Packet::Subscribe {
            packet_id: named(subscribe.pkid)?,
            filters: subscribe
                .filters
                .into_iter()
                .map(|filter| FilterRequest { filter: filter.path, qos: filter.qos as u8 })
                .collect(),
        },
        (Codec::Unsubscribe(unsubscribe, _), _) if unsubscribe.filters.is_empty() => {
            return Err(WireError::Malformed("UNSUBSCRIBE without filters"));
        }
        (Codec::Unsubscribe(unsubscribe, _), _) => {
            Packet::Unsubscribe { packet_id: named(unsubscribe.pkid)?, filters: unsubscribe.filters }
        }
        (Codec::PubAck(puback, _), _) => Packet::PubAck { packet_id: named(puback.pkid)? },
        (Codec::PingReq(_), _) => Packet::PingReq,
        (Codec::Disconnect(..), _) => Packet::Disconnect,
        _ => return Err(WireError::UnexpectedType(frame.kind)),
    };
    Ok(packet)
}

/// A packet id that can be answered: zero is none.
fn named(packet_id: u16) -> Result<u16, WireError> {
    if packet_id == 0 { Err(WireError::Malformed("packet id 0")) } else { Ok(packet_id) }
}

fn connect_packet(
    packet: protocol::Connect,
    will: Option<protocol::LastWill>,
    login: Option<protocol::Login>,
    flags: u8,
    frame: &Frame,
) -> Result<Connect, WireError> {
    let (username, password) = login.map_or_else(Default::default, |login| (login.username, login.password));
    let sized = |present: bool, bytes: usize| if present { 2 + bytes } else { 0 };
    let fixed_bytes = 2 + connect::PROTOCOL.len() + 1 + 1 + 2;
    let will_bytes = will.as_ref().map_or(0, |will| 2 + will.topic.len() + 2 + will.message.len());
    let expected_bytes = fixed_bytes
        + sized(true, packet.client_id.len())
        + will_bytes
        + sized(flags & 0x80 != 0, username.len())
        + sized(flags & 0x40 != 0, password.len());
    if expected_bytes != frame.remaining_bytes {
        return Err(WireError::Malformed("bytes after the end of CONNECT"));
    }
    let will = will.map(will_publish).transpose()?;
    Ok(Connect {
        clean_session: packet.clean_session,
        client_id: packet.client_id,
        keep_alive_secs: packet.keep_alive,
        password,
        username,
        will,
    })
}

fn will_publish(will: protocol::LastWill) -> Result<Publish, WireError> {
    match will.qos {
        QoS::AtMostOnce | QoS::AtLeastOnce => {}
        QoS::ExactlyOnce => return Err(WireError::WillQosTwo),
    }
    // The codec's slices share the CONNECT's bytes; the Will outlives them by the whole session, and should not
    // keep a password in memory that long.
    Ok(Publish {
        dup: false,
        packet_id: None,
        payload: Bytes::copy_from_slice(&will.message),
        retain: will.retain,
        topic: will.topic,
    })
}

fn to_codec(packet: Outgoing) -> protocol::Packet {
    use protocol::Packet as Codec;
    match packet {
        Outgoing::ConnAck(answer) => {
            let (session_present, code) = match answer {
                ConnAck::Accepted { session_present } => {
                    (session_present, protocol::ConnectReturnCode::Success)
                }
                ConnAck::NotAuthorized => (false, protocol::ConnectReturnCode::NotAuthorized),
            };
            Codec::ConnAck(protocol::ConnAck { session_present, code }, None)
        }
        Outgoing::PingResp => Codec::PingResp(protocol::PingResp),
        Outgoing::PubAck { packet_id } => {
            Codec::PubAck(protocol::PubAck { pkid: packet_id, reason: protocol::PubAckReason::Success }, None)
        }
        Outgoing::Publish { topic, payload } => {
            Codec::Publish(protocol::Publish::new(Bytes::from(topic), payload, false), None)
        }
        Outgoing::SubAck { packet_id, codes } => {
            let return_codes = codes.into_iter().map(to_return_code).collect();
            Codec::SubAck(protocol::SubAck { pkid: packet_id, return_codes }, None)
        }
        Outgoing::UnsubAck { packet_id } => {
            Codec::UnsubAck(protocol::UnsubAck { pkid: packet_id, reasons: Vec::new() }, None)
        }
    }
}

fn to_return_code(code: SubscribeCode) -> protocol::SubscribeReasonCode {
    match code {
        SubscribeCode::Granted(GrantedQos::AtMostOnce) => {
            protocol::SubscribeReasonCode::Success(QoS::AtMostOnce)
        }
        SubscribeCode::Granted(GrantedQos::AtLeastOnce) => {
            protocol::SubscribeReasonCode::Success(QoS::AtLeastOnce)
        }
        SubscribeCode::Refused => protocol::SubscribeReasonCode::Failure,
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests;
