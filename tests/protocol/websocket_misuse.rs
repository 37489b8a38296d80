//! The WebSocket on the HTTPS port in the hands of clients that break its rules (contract/mqtt.md 1, contract/amqp.md
//! 1, RFC 6455).

use net::Io;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::http::{self, Answer};
use crate::harness::mqtt::Login;
use crate::harness::watch::{in_time, read_to_the_end};
use crate::harness::{Emulator, Mqtt, Neighbours, Port, websocket};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Upgrades by hand and returns what comes after.
async fn upgraded(emulator: &Emulator, protocol: &str) -> Io {
    let mut io = emulator.io(Port::Https).await;
    let request = format!(
        "GET /$iothub/websocket?iothub-no-client-cert=true HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await.expect("the hub reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time("the answer", io.read_u8()).await.expect("the hub answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    io
}

/// A masked frame with any first byte and any length, true or not.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn an_upgrade_without_a_protocol_anybody_speaks_is_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let upgrade = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)];
    for protocol in ["", "http", "mqttt", "amqp2, soap"] {
        let headers =
            [&upgrade[..], &[("Connection", "Upgrade"), ("Sec-WebSocket-Protocol", protocol)]].concat();
        let answer = emulator.https("GET /$iothub/websocket", &headers, "").await;
        answer.refused(400, "GenericBadRequest");
    }
    emulator.https("GET /$iothub/websocket", &[], "").await.refused(400, "GenericBadRequest");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn frames_that_break_the_websocket_protocol_end_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let cases = [
        ("a length of 2^63", frame(0x82, 1 << 63, b"")),
        ("a length of 2^62", frame(0x82, 1 << 62, b"")),
        ("a message of 1 GiB", frame(0x82, 1 << 30, b"")),
        ("an unmasked frame", vec![0x82, 1, 0x10]),
        ("reserved bits", frame(0xf2, 1, b"x")),
        ("an unknown opcode", frame(0x87, 1, b"x")),
        ("a continuation of nothing", frame(0x80, 1, b"x")),
        ("a ping of 200 bytes", frame(0x89, 200, &[b'x'; 200])),
        ("text, which nobody here speaks", frame(0x81, 5, b"hello")),
        ("text that is not UTF-8", frame(0x81, 2, &[0xff, 0xfe])),
    ];
    for protocol in ["mqtt", "AMQPWSB10"] {
        for (what, bytes) in &cases {
            let mut io = upgraded(&emulator, protocol).await;
            io.write_all(bytes).await.expect("the hub reads");
            io.flush().await.expect("the hub reads");
            let said = read_to_the_end(&mut io).await;
            // A close frame at most.
            assert!(said.is_empty() || said[0] == 0x88, "{protocol}, {what}: {said:02x?}");
        }
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn a_message_in_pieces_without_end_is_cut_off() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut io = upgraded(&emulator, "mqtt").await;
    let _ = io.write_all(&frame(0x02, 65_535, &[0; 65_535])).await;
    let mut pieces = 0;
    // 64 MiB at most.
    while pieces < 1024
        && io.write_all(&frame(0x00, 65_535, &[0; 65_535])).await.is_ok()
        && io.flush().await.is_ok()
    {
        pieces += 1;
    }
    assert!(pieces < 1024, "the hub swallowed 64 MiB of one message");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn empty_messages_and_pings_do_no_harm() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let token = emulator.token("d1", 3600).await;
    let mut io = upgraded(&emulator, "MQTT").await;
    for _ in 0..100 {
        io.write_all(&frame(0x82, 0, b"")).await.expect("the hub reads");
    }
    io.write_all(&frame(0x89, 4, b"ping")).await.expect("the hub reads");
    let connect = Login::new("d1", &token).packet();
    io.write_all(&frame(0x82, connect.len() as u64, &connect)).await.expect("the hub reads");
    io.flush().await.expect("the hub reads");
    let mut said = [0; 6 + 2 + 4];
    in_time("a pong and a CONNACK", io.read_exact(&mut said)).await.expect("the hub answers");
    assert_eq!(said, *b"\x8a\x04ping\x82\x04\x20\x02\x00\x00");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn bad_packets_inside_good_messages_end_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut mqtt = Mqtt::new(websocket::upgrade(emulator.io(Port::Https).await, "mqtt").await);
    mqtt.try_send(&[0x10, 0xff, 0xff, 0xff, 0x7f]).await;
    mqtt.is_closed().await;
    let mut amqp = websocket::upgrade(emulator.io(Port::Https).await, "AMQPWSB10").await;
    amqp.write_all(b"GET / HT").await.expect("the hub reads");
    assert_eq!(read_to_the_end(&mut amqp).await, b"AMQP\x00\x01\x00\x00");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_request_smuggled_behind_an_upgrade_is_not_answered() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let token = emulator.policy_token("iothubowner");
    let mut io = upgraded(&emulator, "mqtt").await;
    let smuggled = http::request(
        "PUT /devices/smuggled?api-version=2021-04-12",
        &[("Authorization", &token)],
        r#"{"deviceId":"smuggled"}"#,
    );
    let _ = io.write_all(smuggled.as_bytes()).await;
    let said = read_to_the_end(&mut io).await;
    assert!(!said.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&said));
    let answer: Answer = emulator.owner("GET /devices/smuggled", &[], &Value::Null).await;
    answer.refused(404, "DeviceNotFound");
    neighbours.are_untouched().await;
}
