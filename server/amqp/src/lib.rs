//! The AMQP 1.0 head: devices, modules and services over TCP, TLS and WebSocket (contract/amqp.md).
//!
//! A client opens a connection, proves who it is by putting tokens on `$cbs` or by its TLS certificate, and
//! attaches links to nodes; an attach is authorized by the claims of its connection. In reading order:
//! - `names`, `error`: every literal of the wire; what a core error looks like there.
//! - `engine`: the protocol without I/O, and the only place that knows the AMQP crates.
//! - `address`: which node a link is for.
//! - `sasl`, `cbs`: credentials and claims.
//! - `device`: the nodes of devices and modules.
//! - `service`: the nodes of the service side.
//! - `eventhubs`: the nodes of event hubs.
//! - `links`: from the engine's events to nodes and back.
//! - `connection`: bytes, time limits, and the loop that drives all of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth::Authenticator;
use hub::Hub;
use net::{Io, PeerInfo, StreamHead};
use tokio_util::sync::CancellationToken;

mod address;
mod cbs;
mod connection;
mod device;
mod engine;
mod error;
mod eventhubs;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod links;
mod names;
mod sasl;
mod service;

pub use eventhubs::redirect::EventEndpoint;

/// Limits on how long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct AmqpOptions {
    /// From the first byte expected to the open.
    pub open_timeout: Duration,
    /// From the open to the first accepted credential.
    pub authentication_timeout: Duration,
}

/// Ours: generous for a slow client, short for one that only holds a socket.
impl Default for AmqpOptions {
    fn default() -> Self {
        Self { open_timeout: Duration::from_secs(20), authentication_timeout: Duration::from_secs(60) }
    }
}

/// Serves AMQP connections for one hub.
#[derive(Debug)]
pub struct AmqpHead {
    hub: Arc<Hub>,
    authenticator: Arc<Authenticator>,
    options: AmqpOptions,
    event_endpoint: EventEndpoint,
}

impl AmqpHead {
    /// A head for `hub`, whose events are read at `event_endpoint`.
    pub const fn new(
        hub: Arc<Hub>,
        authenticator: Arc<Authenticator>,
        options: AmqpOptions,
        event_endpoint: EventEndpoint,
    ) -> Self {
        Self { hub, authenticator, options, event_endpoint }
    }
}

#[async_trait]
impl StreamHead for AmqpHead {
    async fn serve(&self, io: Io, peer: PeerInfo, drain: CancellationToken) {
        connection::Connection::new(self, io, peer).run(&drain).await;
    }
}
