//! What the assembly gives the APIs: shared parts of the process, nothing they could make themselves.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use auth::{Authenticator, CertificateAuthorities};
use hub::Hub;
use net::{PeerInfo, StreamHead};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Everything [`crate::hub_api`] needs.
///
/// The accept loop adds to every request, as an axum/http extension, its `Arc<`[`Connection`]`>`; WebSocket upgrades
/// need it, REST does without. TLS and `hyper`'s `with_upgrades()` are the accept loop's.
#[derive(Clone, Debug)]
pub struct HttpState {
    /// The core.
    pub hub: Arc<Hub>,
    /// Turns the `Authorization` header into a grant.
    pub authenticator: Arc<Authenticator>,
    /// WebSocket sub-protocol -> the head that speaks it: `AMQPWSB10` and `amqp`, `mqtt`. Looked up without regard
    /// to case.
    pub heads: Arc<HashMap<&'static str, Arc<dyn StreamHead>>>,
    /// Counts upgraded connections: they outlive hyper's connection future, so drain closes this tracker and waits
    /// on it. To end them the assembly cancels the drain token it put into the request.
    pub upgraded: TaskTracker,
    /// Cancelled: upgraded connections that did not end are cut off.
    pub cut: CancellationToken,
}

/// What the accept loop knows of a connection; its requests share it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client.
    pub peer: PeerInfo,
    /// Cancelled when connections are to say goodbye.
    pub drain: CancellationToken,
    /// The connection's slot, if connections are counted.
    pub permit: Option<ConnectionPermit>,
}

/// Whatever the accept loop wants alive as long as the connection, such as a slot of its connection limit. A
/// WebSocket keeps it beyond the end of hyper's connection future.
#[derive(Clone)]
pub struct ConnectionPermit(Arc<dyn Send + Sync>);

impl ConnectionPermit {
    /// Wraps the value whose drop frees the slot.
    pub fn new(slot: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(slot))
    }
}

impl fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionPermit({})", Arc::strong_count(&self.0))
    }
}

/// Everything [`crate::admin_api`] needs. It is served over plain HTTP on its own listener.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The core.
    pub hub: Arc<Hub>,
    /// The registered certificate authorities.
    pub authorities: Arc<CertificateAuthorities>,
    /// The root certificate clients have to trust, as PEM.
    pub root_certificate: Arc<str>,
    /// The `HostName` of printed connection strings: the first host name the hub answers to.
    pub host_name: Arc<str>,
    /// The listeners' states; the assembly publishes every change.
    pub readiness: watch::Receiver<Readiness>,
}

/// Which listeners accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Every listener the process is going to have, from the start.
    pub listeners: Vec<Listener>,
}

impl Readiness {
    /// Whether every listener accepts. A process that knows no listener yet is not ready.
    pub fn is_ready(&self) -> bool {
        !self.listeners.is_empty()
            && self.listeners.iter().all(|listener| listener.state == ListenerState::Accepting)
    }
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// `https`, `mqtts`, `amqps`, `amqp` or `admin`.
    pub name: &'static str,
    /// Where it listens, once it does.
    pub address: Option<SocketAddr>,
    /// What it is doing.
    pub state: ListenerState,
}

/// What a listener is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerState {
    /// Not bound yet.
    Starting,
    /// Bound and taking connections.
    Accepting,
    /// Takes no new connections any more.
    Draining,
}
