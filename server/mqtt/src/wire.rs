//! Bytes to packets and packets to bytes, MQTT 3.1.1 (`contract/mqtt.md 2.1`, `2.11`, `5.3`).
//!
//! A codec of our own: published ones keep QoS, DUP and packet id of a PUBLISH to themselves, or check neither
//! reserved bits nor what stands behind a packet's last field, so most of one had to be written here anyway.
//!
//! - `decode`: what a client sends, judged by its first bytes before the rest of it is waited for.
//! - `encode`: what the hub sends.

mod decode;
mod encode;

pub(crate) use decode::decode;
pub(crate) use encode::encode;

/// Longest text MQTT can carry, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = u16::MAX as usize;
/// Bytes the remaining length itself takes at most.
const MAX_LENGTH_BYTES: usize = 4;

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGREQ: u8 = 12;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// Why a client's bytes are not a packet we take. All of them end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
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

/// How far the conversation is: before CONNECT nothing else is even buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expecting {
    Connect,
    Anything,
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests;
