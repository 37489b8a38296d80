//! Bytes of one connection: dialled over TLS or a WebSocket within it, an output to fill and flush, an input to take
//! packets from. Buffers are given back when empty, so that thousands of idle connections fit.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::byte_stream;

/// Read at once; an input with more room than a few of these gives it back.
const READ_BYTES: usize = 2048;
const KEPT_BYTES: usize = 8192;

/// Trust in one root. Every connection makes a full handshake: resumption is switched off.
#[derive(Clone)]
pub(crate) struct Dialler(TlsConnector);

/// What a [`Wire`] is made of.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket below; not that of a WebSocket, which a task of its own holds.
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl Bytes for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Bytes for TlsStream<TcpStream> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

impl Bytes for tokio_rustls::server::TlsStream<TcpStream> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

impl Bytes for tokio::io::DuplexStream {}

/// One connection.
pub(crate) struct Wire {
    stream: Box<dyn Bytes>,
    pub(crate) out: Vec<u8>,
    input: Vec<u8>,
    taken: usize,
}

impl Dialler {
    pub(crate) fn new(root: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    async fn tls(&self, address: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(self.0.connect(ServerName::try_from("localhost")?, tcp).await?)
    }

    pub(crate) async fn dial(&self, address: SocketAddr) -> anyhow::Result<Wire> {
        Ok(Wire::new(self.tls(address).await?))
    }

    /// A WebSocket with this sub-protocol.
    pub(crate) async fn dial_websocket(
        &self,
        address: SocketAddr,
        protocol: &'static str,
    ) -> anyhow::Result<Wire> {
        let mut request = "wss://localhost/$iothub/websocket".into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
        let (socket, answer) = tokio_tungstenite::client_async(request, self.tls(address).await?).await?;
        let echoed = answer.headers().get("sec-websocket-protocol").context("no sub-protocol was chosen")?;
        ensure!(echoed == protocol, "the sub-protocol came back as {echoed:?}");
        Ok(Wire::new(byte_stream::of(socket)))
    }
}

impl Wire {
    pub(crate) fn new(stream: impl Bytes + 'static) -> Self {
        Self { stream: Box::new(stream), out: Vec::new(), input: Vec::new(), taken: 0 }
    }

    /// Writes what was put into `out`.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await?;
            self.out.clear();
            if self.out.capacity() > KEPT_BYTES {
                self.out = Vec::new();
            }
        }
        Ok(())
    }

    /// Waits for bytes; `false` at the end of the stream. Cancel-safe.
    pub(crate) async fn fill(&mut self) -> std::io::Result<bool> {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
            self.input = Vec::new();
        }
        self.input.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    /// What has arrived and was not taken.
    pub(crate) fn arrived(&self) -> &[u8] {
        self.input.get(self.taken..).unwrap_or_default()
    }

    pub(crate) const fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Gives the buffers back; for connections that will be idle.
    pub(crate) fn rest(&mut self) {
        if self.arrived().is_empty() {
            (self.input, self.taken) = (Vec::new(), 0);
        }
        self.out = Vec::new();
    }

    /// Says goodbye in TLS's way and waits for nothing.
    pub(crate) async fn shut(mut self) {
        // A peer that has gone already needs no goodbye.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection as a cut network does: without a goodbye, and with a reset if so wished.
    pub(crate) fn cut(self, is_reset: bool) -> std::io::Result<()> {
        match self.stream.socket() {
            Some(socket) if is_reset => socket.set_zero_linger(),
            Some(_) | None => Ok(()),
        }
    }
}
