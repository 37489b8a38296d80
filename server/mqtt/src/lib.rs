//! The MQTT 3.1.1 head: a byte stream on one side, the core on the other (`contract/mqtt.md`
//! sections 0 to 10).
//!
//! ```text
//! bytes -> wire -> Packet -> session -> Actions -> client -> gate, hub
//! bytes <- wire <- Outgoing <- session <- Reply, Delivery <- client <- hub
//! ```
//!
//! In reading order:
//! - `names`: every literal of the wire, under the contract's sections.
//! - `packet` and `wire`: what a packet is, and how bytes become one.
//! - `username`, `topic`, `properties`, `device_bound`, `subscriptions`: the texts inside packets.
//! - `unacknowledged`: which messages the client still has to acknowledge.
//! - `login`: what a CONNECT asks for.
//! - `session`: the conversation as a state machine without I/O.
//! - `client`: what the session asks, put to the core.
//! - `connection`: drives both with a socket and wire time.
//! - `error`: what becomes of each error code, and the ways a connection ends.

mod client;
mod connection;
mod device_bound;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod login;
mod names;
mod packet;
mod properties;
mod session;
mod subscriptions;
mod topic;
mod unacknowledged;
mod username;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth::Authenticator;
use hub::Hub;
use net::{Io, PeerInfo, StreamHead};
use tokio_util::sync::CancellationToken;

/// What can be set about the MQTT head.
#[derive(Clone, Copy, Debug)]
pub struct MqttOptions {
    /// How long a connection outlives its SAS token, in hub time. `contract/mqtt.md 2.10`.
    pub token_expiry_grace: Duration,
    /// How long a client may take to send its CONNECT. `contract/mqtt.md 2.1`.
    pub connect_timeout: Duration,
}

impl Default for MqttOptions {
    /// What the real hub is documented or known to do: 10 minutes of grace, one minute to connect.
    fn default() -> Self {
        Self { token_expiry_grace: Duration::from_secs(600), connect_timeout: Duration::from_secs(60) }
    }
}

/// Speaks MQTT 3.1.1 to devices and modules, whatever carries the bytes.
#[derive(Debug)]
pub struct MqttHead {
    hub: Arc<Hub>,
    authenticator: Arc<Authenticator>,
    options: MqttOptions,
}

impl MqttHead {
    /// A head in front of `hub`.
    pub const fn new(hub: Arc<Hub>, authenticator: Arc<Authenticator>, options: MqttOptions) -> Self {
        Self { hub, authenticator, options }
    }
}

#[async_trait]
impl StreamHead for MqttHead {
    async fn serve(&self, io: Io, peer: PeerInfo, drain: CancellationToken) {
        connection::serve(self, io, peer, drain).await;
    }
}
