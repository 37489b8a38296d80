//! Cloud-to-device messages through the whole program: a back end sends over REST, the device takes them over MQTT,
//! plain or in a WebSocket, and over HTTPS; one queue for all (contract/mqtt.md 6, contract/rest.md 1.14).

use std::time::Duration;

use iothub_emulator::config::Options;
use serde_json::Value;

use crate::harness::mqtt::{Login, Packet};
use crate::harness::{Emulator, Mqtt, Port, websocket};

const FILTER: &str = "devices/d1/messages/devicebound/#";

async fn send(emulator: &Emulator, body: &str) {
    let headers = [("iothub-ack", "full"), ("iothub-messageid", body)];
    let answer = emulator.call("service", "POST /devices/d1/messages/deviceBound", &headers, body).await;
    assert_eq!(answer.status, 204, "{answer}");
}

/// What became of messages since the last time.
async fn outcomes(emulator: &Emulator) -> Vec<(String, String)> {
    let answer = emulator.call("service", "GET /messages/serviceBound/feedback", &[], "").await;
    if answer.status == 204 {
        return Vec::new();
    }
    let token = answer.header("etag").expect("a lock token").trim_matches('"').to_owned();
    let line = format!("DELETE /messages/serviceBound/feedback/{token}");
    assert_eq!(emulator.call("service", &line, &[], "").await.status, 204);
    let text = |record: &Value, name: &str| record[name].as_str().expect("a text").to_owned();
    let records = answer.json();
    let records = records.as_array().expect("a list").iter();
    records.map(|record| (text(record, "originalMessageId"), text(record, "description"))).collect()
}

/// The device over MQTT, with a kept session.
async fn online(emulator: &Emulator, in_a_websocket: bool) -> Mqtt {
    let token = emulator.token("d1", 3600).await;
    let login = Login { clean_session: false, ..Login::new("d1", &token) };
    let io = if in_a_websocket {
        websocket::upgrade(emulator.io(Port::Https).await, "mqtt").await
    } else {
        emulator.io(Port::Mqtts).await
    };
    Mqtt::connect(io, &login).await
}

#[track_caller]
fn message(packet: Option<Packet>) -> (u16, bool, String) {
    match packet {
        Some(Packet::Message { packet_id, dup, topic, payload }) => {
            let payload = String::from_utf8(payload).expect("the test sends text");
            let to = "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound";
            assert_eq!(topic, format!("{to}&%24.mid={payload}&iothub-ack=full"));
            (packet_id, dup, payload)
        }
        other => panic!("instead of a message: {other:?}"),
    }
}

#[tokio::test]
async fn both_transports_of_mqtt_deliver_and_complete_alike() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    for in_a_websocket in [false, true] {
        let mut device = online(&emulator, in_a_websocket).await;
        assert_eq!(device.subscribe_with(1, &[FILTER]).await, [1]);
        send(&emulator, "a").await;
        let (packet_id, dup, _) = message(device.next().await);
        assert!(!dup);
        device.acknowledge(packet_id).await;
        device.ping().await;
        assert_eq!(outcomes(&emulator).await, [("a".to_owned(), "Success".to_owned())]);
    }
}

#[tokio::test]
async fn what_one_connection_did_not_acknowledge_the_next_gets_as_dup_with_what_came_meanwhile() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    let mut device = online(&emulator, false).await;
    device.subscribe_with(1, &[FILTER]).await;
    send(&emulator, "a").await;
    message(device.next().await);
    // Taken over, and in another transport: the queue is the device's and not the connection's.
    let mut next = online(&emulator, true).await;
    device.is_closed().await;
    send(&emulator, "b").await;
    let received = [message(next.next().await), message(next.next().await)];
    assert_eq!(received, [(1, true, "a".to_owned()), (2, false, "b".to_owned())]);
    for (packet_id, ..) in received {
        next.acknowledge(packet_id).await;
    }
    next.ping().await;
    let completed: Vec<_> = outcomes(&emulator).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(completed, ["a", "b"]);
}

#[tokio::test]
async fn what_is_locked_over_https_does_not_come_over_mqtt_until_that_lock_ends() {
    let emulator = Emulator::start_with_clock(Options::default()).await;
    emulator.create_device("d1").await;
    send(&emulator, "a").await;
    send(&emulator, "b").await;
    let token = emulator.token("d1", 3600).await;
    let line = "GET /devices/d1/messages/deviceBound?api-version=2021-04-12";
    let answer = emulator.https(line, &[("Authorization", &token)], "").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"a"[..]));

    let mut device = online(&emulator, false).await;
    device.subscribe_with(1, &[FILTER]).await;
    assert_eq!(message(device.next().await), (1, false, "b".to_owned()));
    device.acknowledge(1).await;
    device.ping().await;
    emulator.advance(Duration::from_secs(60));
    assert_eq!(message(device.next().await), (2, true, "a".to_owned()));
}

#[tokio::test]
async fn a_purge_ends_what_is_out_and_its_late_acknowledgement_harms_nobody() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    let mut device = online(&emulator, false).await;
    device.subscribe_with(1, &[FILTER]).await;
    send(&emulator, "a").await;
    message(device.next().await);
    let purged = emulator.call("service", "DELETE /devices/d1/commands", &[], "").await.ok();
    assert_eq!(purged["totalMessagesPurged"], 1);
    device.acknowledge(1).await;
    send(&emulator, "b").await;
    assert_eq!(message(device.next().await), (2, false, "b".to_owned()));
    assert_eq!(outcomes(&emulator).await, [("a".to_owned(), "Purged".to_owned())]);
}
