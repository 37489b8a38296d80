//! MQTT in WebSocket frames: which sub-protocol is agreed on, and that frames are a byte stream (contract/mqtt.md 0,
//! rule 12, and 1).

use futures_util::{SinkExt as _, StreamExt as _};
use net::Io;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::harness::mqtt::{Login, packet, text};
use crate::harness::watch::in_time;
use crate::harness::{Emulator, Port};

/// Upgrades with these offers; the WebSocket and the offer that was chosen.
async fn upgrade(emulator: &Emulator, query: &str, offers: &'static str) -> (WebSocketStream<Io>, String) {
    let address = format!("wss://localhost/$iothub/websocket{query}");
    let mut request = address.into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(offers));
    let io = emulator.io(Port::Https).await;
    let (socket, answer) =
        in_time("the upgrade", tokio_tungstenite::client_async(request, io)).await.expect("it is granted");
    let chosen = answer.headers().get("sec-websocket-protocol").expect("a protocol is chosen");
    (socket, chosen.to_str().expect("it is text").to_owned())
}

/// The bytes of the next `count` bytes' worth of binary messages.
async fn read(socket: &mut WebSocketStream<Io>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match in_time("an answer", socket.next()).await.expect("the hub goes on").expect("in whole frames") {
            Message::Binary(more) => bytes.extend_from_slice(&more),
            other => panic!("instead of bytes: {other}"),
        }
    }
    bytes
}

async fn send(socket: &mut WebSocketStream<Io>, bytes: &[u8]) {
    in_time("sending", socket.send(Message::binary(bytes.to_vec()))).await.expect("the hub reads");
}

async fn connect(emulator: &Emulator) -> Vec<u8> {
    emulator.create_device("d1").await;
    Login::new("d1", &emulator.token("d1", 3600).await).packet()
}

#[tokio::test]
async fn rule_12_the_sub_protocol_is_echoed_as_it_was_offered_whatever_its_case_and_the_query() {
    let emulator = Emulator::start().await;
    let connect = connect(&emulator).await;
    for (query, offers, chosen) in [
        ("", "mqtt", "mqtt"),
        ("", "MQTT", "MQTT"),
        ("?iothub-no-client-cert=true", "mqtt", "mqtt"),
        ("?iothub-no-client-cert=true", "MQTT", "MQTT"),
        ("", "nobody, Mqtt", "Mqtt"),
    ] {
        let (mut socket, spelling) = upgrade(&emulator, query, offers).await;
        assert_eq!(spelling, chosen, "of {offers:?}");
        send(&mut socket, &connect).await;
        assert_eq!(read(&mut socket, 4).await, b"\x20\x02\0\0", "{query} {offers}");
    }
}

#[tokio::test]
async fn a_packet_in_many_frames_and_many_packets_in_one_frame_are_one_stream_of_bytes() {
    let emulator = Emulator::start().await;
    let (mut socket, _) = upgrade(&emulator, "", "mqtt").await;
    for byte in connect(&emulator).await {
        send(&mut socket, &[byte]).await;
    }
    assert_eq!(read(&mut socket, 4).await, b"\x20\x02\0\0");

    let subscribe = packet(0x82, &[&[0, 7][..], &text("$iothub/twin/res/#"), &[1]].concat());
    let publish = packet(0x32, &[&text("devices/d1/messages/events/")[..], &[0, 8], b"body"].concat());
    let (first_half, second_half) = publish.split_at(publish.len() / 2);
    send(&mut socket, &[&subscribe, &[0xc0, 0][..], first_half].concat()).await;
    send(&mut socket, &[second_half, &[0xc0, 0]].concat()).await;
    assert_eq!(read(&mut socket, 13).await, b"\x90\x03\0\x07\x01\xd0\0\x40\x02\0\x08\xd0\0");
}
