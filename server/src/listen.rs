//! Accepts connections: one loop per socket, a limit per listener, TLS, one span per connection, then the head.
//!
//! An error of `accept` never ends a loop. What a connection costs before its head knows it is bounded: a slot, a
//! TLS handshake with a time limit.

pub mod bind;
mod http;
mod write_limit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::PeerCertificates;
use http_head::{Api, ConnectionPermit};
use hub::ids::ConnectionId;
use net::{Carrier, Io, PeerInfo, StreamHead};
use rustls::AlertDescription;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Which phase of its life the process is in, as tokens every task watches.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Cancelled: no new connections.
    pub closing: CancellationToken,
    /// Cancelled: connections say goodbye.
    pub drain: CancellationToken,
    /// Cancelled: whoever is still there is cut off.
    pub cut: CancellationToken,
    /// Every accept loop and every connection, WebSockets among them.
    pub tasks: TaskTracker,
    connections: Arc<AtomicU64>,
}

impl Lifecycle {
    fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What answers on a listener.
#[derive(Clone, Debug)]
pub enum Service {
    /// Requests.
    Http(Api),
    /// A protocol over bytes.
    Stream(Arc<dyn StreamHead>),
}

/// How long a client may take where no head watches it.
#[derive(Clone, Copy, Debug)]
pub struct AcceptLimits {
    /// From the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From there to the end of the first request's head, where requests are served.
    pub first_request: Duration,
    /// Without taking anything of what is written to it, where requests are served.
    pub unread: Duration,
}

impl Default for AcceptLimits {
    /// Ours: slow boards on slow networks take seconds. Whoever stops reading has as long as with the other heads.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(15),
            first_request: Duration::from_secs(15),
            unread: Duration::from_secs(30),
        }
    }
}

/// One listener, all its sockets.
#[derive(Clone, Debug)]
pub struct Listener {
    name: &'static str,
    tls: Option<Arc<ServerConfig>>,
    service: Service,
    slots: Arc<Semaphore>,
    limits: AcceptLimits,
    lifecycle: Lifecycle,
}

impl Listener {
    /// A listener that serves at most `max_connections` at once; more wait in the system's queue.
    pub fn new(
        name: &'static str,
        tls: Option<Arc<ServerConfig>>,
        service: Service,
        max_connections: usize,
        limits: AcceptLimits,
        lifecycle: Lifecycle,
    ) -> Self {
        Self { name, tls, service, slots: Arc::new(Semaphore::new(max_connections)), limits, lifecycle }
    }

    /// Starts accepting on `socket`.
    pub fn serve(&self, socket: TcpListener) {
        self.lifecycle.tasks.spawn(self.clone().accept(socket));
    }

    async fn accept(self, socket: TcpListener) {
        let closing = self.lifecycle.closing.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.next(&socket) => accepted,
                () = closing.cancelled() => return,
            };
            let (stream, peer, slot) = accepted;
            let conn = self.lifecycle.next_connection();
            let span = tracing::info_span!("connection", conn = conn.0, %peer, listener = self.name);
            let (listener, cut) = (self.clone(), self.lifecycle.cut.clone());
            self.lifecycle.tasks.spawn(
                async move {
                    tokio::select! {
                        () = listener.connection(stream, peer, conn, slot) => {}
                        () = cut.cancelled() => tracing::debug!("cut off"),
                    }
                }
                .instrument(span),
            );
        }
    }

    /// The next connection and its slot. It is accepted before it has one, so that sockets of one listener do not
    /// hold slots while they wait.
    async fn next(&self, socket: &TcpListener) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => return (stream, peer, self.slot().await),
                Err(error) => {
                    // A connection that died in the queue costs nothing; running out of files passes only with time.
                    tracing::warn!(listener = self.name, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return slot;
        }
        tracing::warn!(
            listener = self.name,
            "at its limit of connections (--max-connections); more have to wait"
        );
        Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes this semaphore")
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        conn: ConnectionId,
        slot: OwnedSemaphorePermit,
    ) {
        tracing::debug!("accepted");
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch Nagle's algorithm off");
        }
        let drain = self.lifecycle.drain.clone();
        let secured = tokio::select! {
            // The handshake takes much room and is soon over: a connection that waits should not keep it.
            secured = Box::pin(self.secure(stream)) => secured,
            () = drain.cancelled() => None,
        };
        let Some((io, carrier, certificates)) = secured else { return };
        let peer = PeerInfo { connection: conn, address: peer, carrier, certificates };
        match self.service {
            Service::Http(api) => {
                Box::pin(http::serve(io, api, peer, ConnectionPermit::new(slot), self.limits, drain)).await;
            }
            Service::Stream(head) => {
                head.serve(io, peer, drain).await;
                drop(slot);
            }
        }
        tracing::debug!("closed");
    }

    /// The connection's bytes: TLS where the listener has it, with the certificates the client proved to own.
    async fn secure(&self, stream: TcpStream) -> Option<(Io, Carrier, Option<Arc<PeerCertificates>>)> {
        let Some(config) = &self.tls else { return Some((Io::new(stream), Carrier::Tcp, None)) };
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let stream = match tokio::time::timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                log_failed_handshake(&error);
                return None;
            }
            Err(_elapsed) => {
                tracing::debug!("no TLS handshake in time");
                return None;
            }
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certificates = chain
            .map(|chain| Arc::new(PeerCertificates::new(chain.iter().map(|der| der.to_vec()).collect())));
        Some((Io::new(stream), Carrier::Tls, certificates))
    }
}

/// The one handshake failure every user meets is a client that does not know our root yet.
fn log_failed_handshake(error: &std::io::Error) {
    use AlertDescription::{BadCertificate, CertificateUnknown, UnknownCA};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(UnknownCA | BadCertificate | CertificateUnknown)) => {
            tracing::warn!(
                "the client does not trust this hub's certificate; give it the root certificate \
                 (iothub-emulator cert export) and check the name it connects to"
            );
        }
        _ => tracing::debug!(%error, "TLS handshake failed"),
    }
}

/// Ours: how long to leave a socket alone that cannot accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
