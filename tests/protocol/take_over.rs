//! One live session per identity: the newest connection wins, whatever it and the one before it speak
//! (contract/mqtt.md 2.10, contract/amqp.md 5).

use serde_json::{Value, json};

use crate::harness::amqp::{Link, Reason};
use crate::harness::emulator::{resource, telemetry_address, telemetry_topic};
use crate::harness::mqtt::Login;
use crate::harness::{Amqp, Emulator, Mqtt, Port, websocket};

/// Who is connected as `identity`: the protocols, by the admin API.
async fn connected(emulator: &Emulator, identity: &str) -> Vec<String> {
    let rows = emulator.admin("GET /admin/connections", &Value::Null).await.ok();
    let name = |row: &Value| match row["moduleId"].as_str() {
        Some(module) => format!("{}/{module}", row["deviceId"].as_str().unwrap_or_default()),
        None => row["deviceId"].as_str().unwrap_or_default().to_owned(),
    };
    let rows = rows.as_array().expect("a list").iter().filter(|row| name(row) == identity);
    rows.map(|row| row["protocol"].as_str().expect("a protocol").to_owned()).collect()
}

async fn with_identities() -> Emulator {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", json!({})).await;
    emulator
}

/// The links of an AMQP connection that lost its identity are detached as stolen, or the connection is closed.
async fn lost_its_link(amqp: &mut Amqp, link: Link) {
    let Reason { condition, .. } = amqp.detached(link).await;
    assert_eq!(condition, "amqp:link:stolen");
}

#[tokio::test]
async fn a_second_mqtt_connection_closes_the_first() {
    let emulator = with_identities().await;
    for identity in ["d1", "d1/m1"] {
        let mut first = emulator.mqtt(identity).await;
        let mut second = emulator.mqtt(identity).await;
        // No packet is sent to the old one.
        first.is_closed().await;
        second.publish(&telemetry_topic(identity), b"x").await;
        assert_eq!(connected(&emulator, identity).await, ["mqtt"]);
    }
}

#[tokio::test]
async fn mqtt_over_websocket_and_over_tcp_take_over_from_each_other() {
    let emulator = with_identities().await;
    let token = emulator.token("d1", 3600).await;
    let mut first = emulator.mqtt("d1").await;
    let io = websocket::upgrade(emulator.io(Port::Https).await, "mqtt").await;
    let mut second = Mqtt::connect(io, &Login::new("d1", &token)).await;
    first.is_closed().await;
    assert_eq!(connected(&emulator, "d1").await, ["mqtt-ws"]);
    let mut third = emulator.mqtt("d1").await;
    second.is_closed().await;
    third.ping().await;
}

#[tokio::test]
async fn an_amqp_connection_closes_that_over_mqtt() {
    let emulator = with_identities().await;
    for identity in ["d1", "d1/m1"] {
        let mut first = emulator.mqtt(identity).await;
        let (mut second, link) = emulator.amqp(identity).await;
        first.is_closed().await;
        assert_eq!(second.deliver(link, b"x").await, Ok(()));
        assert_eq!(connected(&emulator, identity).await, ["amqp"]);
    }
}

#[tokio::test]
async fn an_mqtt_connection_detaches_the_links_over_amqp() {
    let emulator = with_identities().await;
    for identity in ["d1", "d1/m1"] {
        let (mut first, link) = emulator.amqp(identity).await;
        let mut second = emulator.mqtt(identity).await;
        lost_its_link(&mut first, link).await;
        second.publish(&telemetry_topic(identity), b"x").await;
        assert_eq!(connected(&emulator, identity).await, ["mqtt"]);
    }
}

#[tokio::test]
async fn a_second_amqp_connection_detaches_the_links_of_the_first() {
    let emulator = with_identities().await;
    for identity in ["d1", "d1/m1"] {
        let (mut first, link) = emulator.amqp(identity).await;
        let (mut second, newer) = emulator.amqp(identity).await;
        lost_its_link(&mut first, link).await;
        assert_eq!(second.deliver(newer, b"x").await, Ok(()));
        assert_eq!(connected(&emulator, identity).await, ["amqp"]);
    }
}

#[tokio::test]
async fn a_second_link_of_the_same_kind_replaces_the_first_of_its_connection() {
    let emulator = with_identities().await;
    let (mut amqp, older) = emulator.amqp("d1").await;
    let (newer, replaced) = amqp.replace_sender(&telemetry_address("d1"), older).await;
    assert_eq!(replaced.condition, "amqp:link:stolen");
    assert_eq!(amqp.deliver(newer, b"x").await, Ok(()));
}

#[tokio::test]
async fn a_device_and_its_module_are_two_identities() {
    let emulator = with_identities().await;
    let (mut device, link) = emulator.amqp("d1").await;
    let mut module = emulator.mqtt("d1/m1").await;
    assert_eq!(device.deliver(link, b"x").await, Ok(()));
    module.ping().await;
}

#[tokio::test]
async fn other_identities_of_the_connection_that_lost_one_stay() {
    let emulator = with_identities().await;
    let (mut amqp, device) = emulator.amqp("d1").await;
    let token = emulator.token("d1/m1", 3600).await;
    assert_eq!(amqp.put_token(&resource("d1/m1"), &token).await, 200);
    let module = amqp.sender(&telemetry_address("d1/m1")).await.expect("a token of its own");
    let mut thief = emulator.mqtt("d1").await;
    lost_its_link(&mut amqp, device).await;
    assert_eq!(amqp.deliver(module, b"x").await, Ok(()));
    thief.ping().await;
}

#[tokio::test]
async fn a_refused_connection_takes_nothing_over() {
    let emulator = with_identities().await;
    let mut live = emulator.mqtt("d1").await;
    let expired = emulator.token("d1", -1).await;
    let mut refused = Mqtt::new(emulator.io(Port::Mqtts).await);
    assert_eq!(refused.log_in(&Login::new("d1", &expired)).await, (false, 5));
    live.ping().await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    assert_eq!(amqp.put_token(&resource("d1"), &expired).await, 401);
    live.ping().await;
}

#[tokio::test]
async fn the_loser_going_away_does_not_disconnect_the_winner() {
    let emulator = with_identities().await;
    let (first, _) = emulator.amqp("d1").await;
    let mut second = emulator.mqtt("d1").await;
    drop(first);
    second.ping().await;
    assert_eq!(emulator.identity("d1").await["connectionState"], "Connected");
    // The twin: the last one going away does.
    second.send(&crate::harness::mqtt::packet(0xe0, &[])).await;
    second.is_closed().await;
    assert_eq!(emulator.identity("d1").await["connectionState"], "Disconnected");
}
