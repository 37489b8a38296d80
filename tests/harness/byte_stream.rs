//! A WebSocket as a stream of bytes, as SDKs use it: one message per write. The benchmarks share this file.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Bytes that may be under way in each direction.
const UNDER_WAY_BYTES: usize = 16 * 1024;
/// Bytes of a message at most.
const MESSAGE_BYTES: usize = 2048;

/// The bytes of `socket`, carried by a task of its own until either side ends.
pub(crate) fn of<S>(socket: WebSocketStream<S>) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (ours, theirs) = tokio::io::duplex(UNDER_WAY_BYTES);
    tokio::spawn(carry(socket, theirs));
    ours
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>, bytes: DuplexStream) {
    let (mut messages_out, mut messages_in) = socket.split();
    let (mut bytes_in, mut bytes_out) = tokio::io::split(bytes);
    let send = async {
        let mut buffer = vec![0; MESSAGE_BYTES];
        while let Ok(length @ 1..) = bytes_in.read(&mut buffer).await {
            let message = buffer.get(..length).unwrap_or_default().to_vec();
            if messages_out.send(Message::binary(message)).await.is_err() {
                return;
            }
        }
    };
    let receive = async {
        while let Some(Ok(message)) = messages_in.next().await {
            let is_lost = match message {
                Message::Binary(bytes) => bytes_out.write_all(&bytes).await.is_err(),
                Message::Close(_) => true,
                Message::Frame(_) | Message::Ping(_) | Message::Pong(_) | Message::Text(_) => false,
            };
            if is_lost {
                return;
            }
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}
