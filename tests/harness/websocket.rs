//! The WebSocket on the HTTPS port, as a byte stream: one message per write, as SDKs do it.

use futures_util::{SinkExt as _, StreamExt as _};
use net::Io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::harness::watch::in_time;

/// Upgrades `io` with this sub-protocol.
pub(crate) async fn upgrade(io: Io, protocol: &'static str) -> Io {
    let mut request = "wss://localhost/$iothub/websocket".into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    let (socket, answer) = in_time("the upgrade", tokio_tungstenite::client_async(request, io))
        .await
        .expect("the upgrade is granted");
    assert_eq!(
        answer.headers().get("sec-websocket-protocol").map(HeaderValue::as_bytes),
        Some(protocol.as_bytes())
    );
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(carry(socket, theirs));
    Io::new(ours)
}

/// Bytes to messages and messages to bytes, until either side ends.
async fn carry(socket: tokio_tungstenite::WebSocketStream<Io>, bytes: tokio::io::DuplexStream) {
    let (mut messages_out, mut messages_in) = socket.split();
    let (mut bytes_in, mut bytes_out) = tokio::io::split(bytes);
    let send = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = bytes_in.read(&mut buffer).await {
            if messages_out.send(Message::binary(buffer[..length].to_vec())).await.is_err() {
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
