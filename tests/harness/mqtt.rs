//! MQTT 3.1.1 by hand: the packets a device sends, and any bytes at all.

use net::Io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::watch::in_time;

/// A connection on which MQTT is spoken, or ought to be.
#[derive(Debug)]
pub(crate) struct Mqtt {
    pub(crate) io: Io,
    packet_id: u16,
}

/// What the hub sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    ConnAck {
        session_present: bool,
        code: u8,
    },
    PingResp,
    PubAck(u16),
    Publish {
        topic: String,
        payload: Vec<u8>,
    },
    /// A PUBLISH with QoS 1, which is to be acknowledged.
    Message {
        packet_id: u16,
        dup: bool,
        topic: String,
        payload: Vec<u8>,
    },
    SubAck(Vec<u8>),
}

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) clean_session: bool,
}

impl Login {
    /// As an SDK writes it for `d` or `d/m`; an empty password goes with a certificate.
    pub(crate) fn new(identity: &str, password: &str) -> Self {
        Self {
            client_id: identity.to_owned(),
            username: format!("localhost/{identity}/?api-version=2021-04-12"),
            password: password.to_owned(),
            clean_session: true,
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let has_password = !self.password.is_empty();
        let mut body = text("MQTT");
        body.extend([4, 0x80 | u8::from(has_password) << 6 | u8::from(self.clean_session) << 1, 0, 60]);
        body.extend(text(&self.client_id));
        body.extend(text(&self.username));
        if has_password {
            body.extend(text(&self.password));
        }
        packet(0x10, &body)
    }
}

impl Mqtt {
    pub(crate) const fn new(io: Io) -> Self {
        Self { io, packet_id: 0 }
    }

    /// Connects and expects to be accepted.
    pub(crate) async fn connect(io: Io, login: &Login) -> Self {
        let mut mqtt = Self::new(io);
        let (_, code) = mqtt.log_in(login).await;
        assert_eq!(code, 0, "CONNACK of {}", login.client_id);
        mqtt
    }

    /// Sends a CONNECT; whether a session was present, and the return code.
    pub(crate) async fn log_in(&mut self, login: &Login) -> (bool, u8) {
        self.send(&login.packet()).await;
        match self.next().await {
            Some(Packet::ConnAck { session_present, code }) => (session_present, code),
            other => panic!("instead of CONNACK: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        in_time("sending", self.io.write_all(bytes)).await.expect("the connection takes bytes");
        self.io.flush().await.expect("the connection takes bytes");
    }

    /// Sends to somebody who may be gone already.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = in_time("sending", self.io.write_all(bytes)).await;
        let _ = self.io.flush().await;
    }

    /// The next packet; `None` once the connection is over, whichever way.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        in_time("a packet or the end", self.read()).await
    }

    async fn read(&mut self) -> Option<Packet> {
        let kind = self.io.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.io.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await.ok()?;
        Some(Packet::parse(kind, &body))
    }

    /// Publishes with QoS 1 and expects the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let id = self.next_packet_id();
        self.send(&publish_packet(0x32, topic, Some(id), payload)).await;
        assert_eq!(self.next().await, Some(Packet::PubAck(id)));
    }

    /// Subscribes with QoS 0; the granted codes.
    pub(crate) async fn subscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        self.subscribe_with(0, filters).await
    }

    /// Subscribes with this QoS; the granted codes.
    pub(crate) async fn subscribe_with(&mut self, qos: u8, filters: &[&str]) -> Vec<u8> {
        let mut body = self.next_packet_id().to_be_bytes().to_vec();
        for filter in filters {
            body.extend(text(filter));
            body.push(qos);
        }
        self.send(&packet(0x82, &body)).await;
        match self.next().await {
            Some(Packet::SubAck(codes)) => codes,
            other => panic!("instead of SUBACK: {other:?}"),
        }
    }

    /// Acknowledges a [`Packet::Message`].
    pub(crate) async fn acknowledge(&mut self, packet_id: u16) {
        self.send(&packet(0x40, &packet_id.to_be_bytes())).await;
    }

    /// The connection answers.
    pub(crate) async fn ping(&mut self) {
        self.send(&packet(0xc0, &[])).await;
        assert_eq!(self.next().await, Some(Packet::PingResp));
    }

    /// The hub ends the connection, and says nothing before that.
    pub(crate) async fn is_closed(&mut self) {
        assert_eq!(self.next().await, None, "the connection should be over");
    }

    const fn next_packet_id(&mut self) -> u16 {
        self.packet_id += 1;
        self.packet_id
    }
}

impl Packet {
    fn parse(kind: u8, body: &[u8]) -> Self {
        match (kind, body) {
            (0x20, [flags, code]) => Self::ConnAck { session_present: flags & 1 == 1, code: *code },
            (0x40, [high, low]) => Self::PubAck(u16::from_be_bytes([*high, *low])),
            (0x90, [_, _, codes @ ..]) => Self::SubAck(codes.to_vec()),
            (0xd0, []) => Self::PingResp,
            (0x30, [high, low, rest @ ..]) => {
                let (topic, payload) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                let topic = String::from_utf8(topic.to_vec()).expect("topics are UTF-8");
                Self::Publish { topic, payload: payload.to_vec() }
            }
            (0x32 | 0x3a, [high, low, rest @ ..]) => {
                let (topic, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                let topic = String::from_utf8(topic.to_vec()).expect("topics are UTF-8");
                let (packet_id, payload) = rest.split_first_chunk().expect("a packet id");
                let packet_id = u16::from_be_bytes(*packet_id);
                Self::Message { packet_id, dup: kind == 0x3a, topic, payload: payload.to_vec() }
            }
            _ => panic!("the hub sent {kind:#04x} {body:02x?}"),
        }
    }
}

/// A packet with any first byte.
pub(crate) fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut length = body.len();
    loop {
        let more = u8::from(length > 0x7f) << 7;
        bytes.push((length & 0x7f) as u8 | more);
        length >>= 7;
        if more == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A PUBLISH with any flags; a packet id belongs to QoS 1 and 2.
pub(crate) fn publish_packet(kind: u8, topic: &str, packet_id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(packet_id.map(u16::to_be_bytes).into_iter().flatten());
    body.extend(payload);
    packet(kind, &body)
}

/// An MQTT string; no text of a test is longer than the format can say.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("MQTT strings have at most 65535 bytes");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
