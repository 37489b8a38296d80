//! MQTT packets as the session sees them: only what IoT Hub uses of 3.1.1, already checked for form. `wire.rs`
//! makes [`Packet`] from bytes and bytes from [`Outgoing`].

use std::fmt;

use bytes::Bytes;

/// A packet from the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect(Box<Connect>),
    Disconnect,
    PingReq,
    /// Answers a QoS 1 publish of ours.
    PubAck {
        packet_id: u16,
    },
    Publish(Publish),
    Subscribe {
        packet_id: u16,
        filters: Vec<FilterRequest>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
}

/// The first packet of every connection, `contract/mqtt.md 2`. Prints without its password.
#[derive(PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) clean_session: bool,
    pub(crate) client_id: String,
    pub(crate) keep_alive_secs: u16,
    pub(crate) password: String,
    pub(crate) username: String,
    pub(crate) will: Option<Publish>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &"***")
            .field("clean_session", &self.clean_session)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("will", &self.will)
            .finish()
    }
}

/// A message from the client, or the Will it leaves with its CONNECT. Prints without its body.
#[derive(PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) dup: bool,
    /// None for QoS 0; for QoS 1 what PUBACK has to name.
    pub(crate) packet_id: Option<u16>,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
    /// Not yet known to be UTF-8: whoever parses it checks.
    pub(crate) topic: Bytes,
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("dup", &self.dup)
            .field("retain", &self.retain)
            .field("bytes", &self.payload.len())
            .finish()
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FilterRequest {
    pub(crate) filter: String,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
}

/// A packet to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    ConnAck(ConnAck),
    PingResp,
    PubAck {
        packet_id: u16,
    },
    Publish {
        topic: String,
        payload: Bytes,
        /// None for QoS 0, which is all that twins and methods get: `contract/mqtt.md 0`, rule 7.
        delivery: Option<QosOne>,
    },
    SubAck {
        packet_id: u16,
        codes: Vec<SubscribeCode>,
    },
    UnsubAck {
        packet_id: u16,
    },
}

/// What a publish of ours with QoS 1 has more than one with QoS 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QosOne {
    /// Whether the client may have seen the message before.
    pub(crate) dup: bool,
    /// What its PUBACK names.
    pub(crate) packet_id: u16,
}

/// The two answers the hub gives to CONNECT, `contract/mqtt.md 2.6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnAck {
    Accepted {
        session_present: bool,
    },
    /// Return code 5, whatever the reason was.
    NotAuthorized,
}

/// What one filter of a SUBSCRIBE was granted, `contract/mqtt.md 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeCode {
    Granted(GrantedQos),
    /// 0x80
    Refused,
}

/// The hub grants no QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrantedQos {
    AtMostOnce,
    AtLeastOnce,
}

impl GrantedQos {
    /// The best we can grant of what was asked for.
    pub(crate) fn of_requested(qos: u8) -> Self {
        if qos == 0 { Self::AtMostOnce } else { Self::AtLeastOnce }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
        }
    }
}
