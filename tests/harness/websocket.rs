//! The WebSocket on the HTTPS port.

use net::Io;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::harness::byte_stream;
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
    Io::new(byte_stream::of(socket))
}
