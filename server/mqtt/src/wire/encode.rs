//! What the hub sends, as bytes.

use bytes::{BufMut as _, BytesMut};

use super::{CONNACK, MAX_LENGTH_BYTES, PINGRESP, PUBACK, PUBLISH, SUBACK, UNSUBACK, WireError};
use crate::packet::{ConnAck, Outgoing, QosOne, SubscribeCode};

/// Return code of an accepted CONNECT.
const ACCEPTED: u8 = 0;
/// Return code of every refused one.
const NOT_AUTHORIZED: u8 = 5;
/// SUBACK's code for a filter that is refused.
const REFUSED: u8 = 0x80;

/// Appends a packet to what is to be written next; fails if it is longer than MQTT can carry.
pub(crate) fn encode(packet: Outgoing, buffer: &mut BytesMut) -> Result<(), WireError> {
    match packet {
        Outgoing::ConnAck(ConnAck::Accepted { session_present }) => {
            buffer.put_slice(&[CONNACK << 4, 2, u8::from(session_present), ACCEPTED]);
        }
        Outgoing::ConnAck(ConnAck::NotAuthorized) => {
            buffer.put_slice(&[CONNACK << 4, 2, 0, NOT_AUTHORIZED]);
        }
        Outgoing::PingResp => buffer.put_slice(&[PINGRESP << 4, 0]),
        Outgoing::PubAck { packet_id } => acknowledgement(PUBACK, packet_id, buffer),
        Outgoing::Publish { topic, payload, delivery } => {
            return publish(topic.as_bytes(), &payload, delivery, buffer);
        }
        Outgoing::SubAck { packet_id, codes } => {
            header(SUBACK << 4, 2 + codes.len(), buffer)?;
            buffer.put_u16(packet_id);
            buffer.extend(codes.into_iter().map(|code| match code {
                SubscribeCode::Granted(qos) => qos.number(),
                SubscribeCode::Refused => REFUSED,
            }));
        }
        Outgoing::UnsubAck { packet_id } => acknowledgement(UNSUBACK, packet_id, buffer),
    }
    Ok(())
}

fn acknowledgement(kind: u8, packet_id: u16, buffer: &mut BytesMut) {
    buffer.put_slice(&[kind << 4, 2]);
    buffer.put_u16(packet_id);
}

fn publish(
    topic: &[u8],
    payload: &[u8],
    delivery: Option<QosOne>,
    buffer: &mut BytesMut,
) -> Result<(), WireError> {
    let topic_bytes =
        u16::try_from(topic.len()).map_err(|_| WireError::Malformed("a topic longer than MQTT can carry"))?;
    let (flags, packet_id_bytes) = match delivery {
        Some(QosOne { dup: true, .. }) => (0b1010, 2),
        Some(QosOne { dup: false, .. }) => (0b0010, 2),
        None => (0, 0),
    };
    header(PUBLISH << 4 | flags, 2 + topic.len() + packet_id_bytes + payload.len(), buffer)?;
    buffer.put_u16(topic_bytes);
    buffer.put_slice(topic);
    if let Some(QosOne { packet_id, .. }) = delivery {
        buffer.put_u16(packet_id);
    }
    buffer.put_slice(payload);
    Ok(())
}

fn header(first: u8, remaining_bytes: usize, buffer: &mut BytesMut) -> Result<(), WireError> {
    buffer.reserve(1 + MAX_LENGTH_BYTES + remaining_bytes);
    buffer.put_u8(first);
    let mut rest = remaining_bytes;
    for _ in 0..MAX_LENGTH_BYTES {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            buffer.put_u8(low);
            return Ok(());
        }
        buffer.put_u8(low | 0x80);
    }
    Err(WireError::Malformed("a packet longer than MQTT can carry"))
}
