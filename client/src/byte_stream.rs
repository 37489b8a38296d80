//! One ordered byte stream to the hub, whatever carries it: TLS over TCP, binary messages of a WebSocket over TLS
//! (contract/amqp.md 1, contract/mqtt.md 1), or, for an emulator's event hub, TCP alone. MQTT and AMQP above see only
//! bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, future};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::error::{Error, ErrorKind};

/// Largest WebSocket message taken from the hub, in bytes: one twin (two sections of 32 KiB) or one
/// cloud-to-device message (64 KiB) with room for JSON spelling and several frames per message.
const MAX_WEBSOCKET_MESSAGE_BYTES: usize = 1024 * 1024;

/// Where an IoT hub takes WebSockets.
pub(crate) const IOT_HUB_WEBSOCKET: &str = "/$iothub/websocket";

/// Where an event hub does (contract/eventhubs.md 1).
pub(crate) const EVENT_HUB_WEBSOCKET: &str = "/$servicebus/websocket";

/// Where to connect and how to trust it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// None for a carrier that is not encrypted.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// The carrier under MQTT or AMQP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// TCP, inside TLS where the endpoint has it.
    Tcp,
    /// With the path to ask at, and the subprotocol to ask for.
    WebSocket { path: &'static str, subprotocol: &'static str },
}

/// A connected stream.
pub(crate) struct ByteStream(Pin<Box<dyn ReadWrite>>);

trait ReadWrite: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> ReadWrite for T {}

impl Endpoint {
    pub(crate) async fn connect(&self, carrier: Carrier) -> Result<ByteStream, Error> {
        let stream = self.dial().await?;
        match carrier {
            Carrier::Tcp => Ok(stream),
            Carrier::WebSocket { path, subprotocol } => self.upgrade(stream, path, subprotocol).await,
        }
    }

    async fn dial(&self) -> Result<ByteStream, Error> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| {
            self.failed("is the hub running, and is this its name and port?").with_source(error)
        })?;
        tcp.set_nodelay(true).map_err(|error| self.failed("the socket broke").with_source(error))?;
        let Some(tls) = &self.tls else { return Ok(ByteStream(Box::pin(tcp))) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| {
            Error::configuration(format!("{:?} is not a host name", self.host)).with_source(error)
        })?;
        let tls = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let hint = match inner {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    "its certificate is not trusted; the root certificate of an emulator has to be given \
                     (IOTHUB_CA_FILE for the tutorial's apps)"
                }
                _ => "TLS failed; is this the right port?",
            };
            self.failed(hint).with_source(error)
        })?;
        Ok(ByteStream(Box::pin(tls)))
    }

    async fn upgrade(
        &self,
        stream: ByteStream,
        path: &'static str,
        subprotocol: &'static str,
    ) -> Result<ByteStream, Error> {
        let not_upgraded = |error: tungstenite::Error| {
            self.failed("the server there does not speak the hub's WebSocket").with_source(error)
        };
        // An IPv6 address needs brackets before a port.
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{host}:{}{path}", self.port);
        let mut request = url.into_client_request().map_err(not_upgraded)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_WEBSOCKET_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_WEBSOCKET_MESSAGE_BYTES));
        // The handshake checks that the hub chose the subprotocol that was asked for.
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
            .await
            .map_err(not_upgraded)?;
        let (sink, stream) = socket.split();
        let writer = SinkWriter::new(CopyToBytes::new(
            sink.sink_map_err(io::Error::other)
                .with(|bytes: Bytes| future::ok::<_, io::Error>(Message::Binary(bytes))),
        ));
        let reader = StreamReader::new(stream.filter_map(|message| {
            future::ready(match message {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
                // Pings are answered below this; a close frame ends the stream by itself.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => None,
                Ok(Message::Text(_)) => {
                    Some(Err(io::Error::new(io::ErrorKind::InvalidData, "text in a binary WebSocket")))
                }
                Err(error) => closed_or_broken(error).map(Err),
            })
        }));
        Ok(ByteStream(Box::pin(tokio::io::join(reader, writer))))
    }

    fn failed(&self, hint: &str) -> Error {
        Error::new(ErrorKind::Connection, format!("could not connect to {}:{}: {hint}", self.host, self.port))
    }
}

/// A hub that just closes the socket ends the stream as it would without a WebSocket around it.
fn closed_or_broken(error: tungstenite::Error) -> Option<io::Error> {
    match error {
        tungstenite::Error::AlreadyClosed
        | tungstenite::Error::ConnectionClosed
        | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Io(error) => Some(error),
        other => Some(io::Error::other(other)),
    }
}

#[cfg(test)]
impl ByteStream {
    /// A stream whose other end a test holds.
    pub(crate) fn of_test(stream: tokio::io::DuplexStream) -> Self {
        Self(Box::pin(stream))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}:{})", self.host, self.port)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteStream")
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}
