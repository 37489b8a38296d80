//! What a head sees of a connection: a byte stream, who is at its other end, and a token that says "leave".
//!
//! The accept loop makes these for TCP and TLS, the HTTP head makes them for WebSockets; the MQTT and AMQP heads
//! cannot tell the difference but by [`Carrier`].

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use auth::PeerCertificates;
use hub::ids::ConnectionId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Anything bytes can be read from and written to.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection's bytes, whatever carries them.
pub struct Io(Box<dyn Stream>);

impl Io {
    /// Wraps a stream.
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Io")
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// What carries a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Plain TCP, on the loopback unless told otherwise.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// Binary messages of a WebSocket over TLS.
    WebSocket,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The connection's number.
    pub connection: ConnectionId,
    /// Where it comes from.
    pub address: SocketAddr,
    /// What carries it.
    pub carrier: Carrier,
    /// The certificates whose key the peer proved to hold; whether they mean anything is for `auth` to say.
    pub certificates: Option<Arc<PeerCertificates>>,
}

/// A head that speaks a protocol over a byte stream.
#[async_trait]
pub trait StreamHead: Send + Sync + fmt::Debug {
    /// Serves one connection to its end. Once `drain` is cancelled the head says goodbye in its protocol's way
    /// and returns.
    async fn serve(&self, io: Io, peer: PeerInfo, drain: CancellationToken);
}
