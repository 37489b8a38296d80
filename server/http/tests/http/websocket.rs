//! The WebSocket entrance over a real socket: contract/rest.md 1.1 row 45, contract/mqtt.md 2, contract/amqp.md 1.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use auth::PeerCertificates;
use axum::extract::Request;
use axum::middleware::map_request;
use futures_util::{SinkExt as _, StreamExt as _};
use http_head::{Connection, ConnectionPermit};
use hub::ids::ConnectionId;
use net::{Carrier, Io, PeerInfo, StreamHead};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::harness::Harness;

/// Says who it serves and writes back whatever it reads, in writes of its own size, until the end or the drain.
#[derive(Debug)]
struct Echo {
    name: &'static str,
    served: mpsc::UnboundedSender<(&'static str, PeerInfo)>,
}

#[async_trait]
impl StreamHead for Echo {
    async fn serve(&self, mut io: Io, peer: PeerInfo, drain: CancellationToken) {
        self.served.send((self.name, peer)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = tokio::select! {
                read = io.read(&mut buffer) => read.unwrap_or(0),
                () = drain.cancelled() => 0,
            };
            if count == 0 {
                let _gone = io.shutdown().await;
                return;
            }
            io.write_all(&buffer[..count]).await.unwrap();
            io.flush().await.unwrap();
        }
    }
}

struct Server {
    harness: Harness,
    address: SocketAddr,
    served: mpsc::UnboundedReceiver<(&'static str, PeerInfo)>,
    drain: CancellationToken,
    /// Lends one token to each connection, as an accept loop's connection limit would.
    slots: TaskTracker,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let (sender, served) = mpsc::unbounded_channel();
        let head = |name| Arc::new(Echo { name, served: sender.clone() }) as Arc<dyn StreamHead>;
        let heads = [("AMQPWSB10", head("amqp")), ("amqp", head("amqp")), ("mqtt", head("mqtt"))];
        let harness = Harness::with_heads(HashMap::from(heads));
        let (drain, slots) = (CancellationToken::new(), TaskTracker::new());
        let peer = PeerInfo {
            connection: ConnectionId(7),
            address: ([127, 0, 0, 1], 4711).into(),
            carrier: Carrier::Tls,
            certificates: Some(Arc::new(PeerCertificates::new(vec![vec![1, 2, 3]]))),
        };
        let lender = slots.clone();
        let watched = drain.clone();
        let lend = map_request(move |mut request: Request| {
            let (peer, drain) = (peer.clone(), watched.clone());
            let permit = Some(ConnectionPermit::new(lender.token()));
            request.extensions_mut().insert(Arc::new(Connection { peer, drain, permit }));
            std::future::ready(request)
        });
        let router = harness.router().layer(lend);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task =
            AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
        Self { harness, address, served, drain, slots, _task: task }
    }

    async fn open(
        &self,
        path: &str,
        offer: Option<&str>,
    ) -> Result<(WebSocketStream<TcpStream>, Option<String>), u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        if let Some(offer) = offer {
            request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, response)) => {
                let echoed = response.headers().get("sec-websocket-protocol");
                Ok((socket, echoed.map(|value| value.to_str().unwrap().to_owned())))
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            // The client library checks the echo itself, before we can.
            Err(other) => panic!("{other}"),
        }
    }
}

const PATH: &str = "/$iothub/websocket";

#[tokio::test]
async fn the_first_offer_anybody_speaks_is_chosen_and_echoed_in_the_clients_spelling() {
    let mut server = Server::start().await;
    for (offer, echoed, head) in [
        ("AMQPWSB10", "AMQPWSB10", "amqp"),
        ("amqp", "amqp", "amqp"),
        ("mqtt", "mqtt", "mqtt"),
        ("MQTT", "MQTT", "mqtt"),
        ("unheard-of, Mqtt, AMQPWSB10", "Mqtt", "mqtt"),
    ] {
        let (_socket, protocol) = server.open(PATH, Some(offer)).await.unwrap();
        assert_eq!(protocol.as_deref(), Some(echoed), "{offer}");
        assert_eq!(server.served.recv().await.unwrap().0, head, "{offer}");
    }
}

#[tokio::test]
async fn the_path_may_have_a_trailing_slash_any_case_and_a_query() {
    let server = Server::start().await;
    for path in ["/$iothub/websocket/", "/$IoTHub/WebSocket", "/$iothub/websocket?iothub-no-client-cert=true"]
    {
        assert!(server.open(path, Some("mqtt")).await.is_ok(), "{path}");
    }
    assert_eq!(server.open("/$iothub/socket", Some("mqtt")).await.unwrap_err(), 404);
}

#[tokio::test]
async fn event_hubs_clients_find_amqp_at_a_path_of_their_own() {
    let mut server = Server::start().await;
    for path in ["/$servicebus/websocket", "/$servicebus/websocket/"] {
        let (_socket, protocol) = server.open(path, Some("AMQPWSB10")).await.unwrap();
        assert_eq!(protocol.as_deref(), Some("AMQPWSB10"), "{path}");
        assert_eq!(server.served.recv().await.unwrap().0, "amqp", "{path}");
    }
}

#[tokio::test]
async fn without_an_offer_anybody_speaks_the_upgrade_is_refused() {
    let server = Server::start().await;
    assert_eq!(server.open(PATH, Some("chat")).await.unwrap_err(), 400);
    assert_eq!(server.open(PATH, None).await.unwrap_err(), 400);
}

#[tokio::test]
async fn a_plain_get_is_told_that_it_is_no_upgrade() {
    let server = Server::start().await;
    let text = server.harness.raw(&format!("GET {PATH}"), &[], "").await;
    let text = text.refused(400, "GenericBadRequest");
    assert!(text.contains("no WebSocket upgrade"), "{text}");
}

#[tokio::test]
async fn the_head_sees_the_peer_with_its_certificates_and_a_websocket_as_carrier() {
    let mut server = Server::start().await;
    let _open = server.open(PATH, Some("mqtt")).await.unwrap();
    let (_, peer) = server.served.recv().await.unwrap();
    assert_eq!((peer.connection, peer.carrier), (ConnectionId(7), Carrier::WebSocket));
    assert_eq!(peer.certificates.unwrap().leaf(), [1, 2, 3]);
}

#[tokio::test]
async fn bytes_flow_both_ways_and_a_write_is_one_binary_message() {
    let server = Server::start().await;
    let (mut socket, _) = server.open(PATH, Some("mqtt")).await.unwrap();
    let whole = vec![7; 50_000];
    socket.send(Message::Binary(whole.clone().into())).await.unwrap();
    let mut received = Vec::new();
    while received.len() < whole.len() {
        let Message::Binary(part) = socket.next().await.unwrap().unwrap() else { panic!("not binary") };
        received.extend_from_slice(&part);
    }
    assert_eq!(received, whole);
}

#[tokio::test]
async fn a_ping_is_answered_while_the_connection_idles() {
    let server = Server::start().await;
    let (mut socket, _) = server.open(PATH, Some("mqtt")).await.unwrap();
    socket.send(Message::Ping("still there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("still there".into()));
}

#[tokio::test]
async fn a_text_message_is_refused_with_close_code_1003() {
    let server = Server::start().await;
    let (mut socket, _) = server.open(PATH, Some("mqtt")).await.unwrap();
    socket.send(Message::Text("hello".into())).await.unwrap();
    let Message::Close(Some(CloseFrame { code, .. })) = socket.next().await.unwrap().unwrap() else {
        panic!("no close")
    };
    assert_eq!(u16::from(code), 1003);
}

#[tokio::test]
async fn a_message_past_the_limit_ends_the_connection() {
    let server = Server::start().await;
    let (mut socket, _) = server.open(PATH, Some("mqtt")).await.unwrap();
    // The far end may be gone before all of it is sent.
    let _broken = socket.send(Message::Binary(vec![0; 1024 * 1024 + 1].into())).await;
    let after = socket.next().await;
    assert!(!matches!(after, Some(Ok(Message::Binary(_)))), "{after:?}");
}

#[tokio::test]
async fn drain_reaches_the_head_and_the_tracker_and_permit_see_the_connection_end() {
    let mut server = Server::start().await;
    let (mut socket, _) = server.open(PATH, Some("mqtt")).await.unwrap();
    server.served.recv().await.unwrap();
    assert_eq!((server.harness.upgraded.len(), server.slots.len()), (1, 1));
    server.drain.cancel();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    for tracker in [&server.harness.upgraded, &server.slots] {
        tracker.close();
        tracker.wait().await;
    }
}
