//! A session ends with its token: over MQTT after the grace, over AMQP at once, unless it was renewed. Hub time is
//! moved by the test; one test each lets real time pass (contract/mqtt.md 2.10, contract/amqp.md 2.1).

use std::time::Duration;

use iothub_emulator::app::Surroundings;
use iothub_emulator::config::Options;
use serde_json::json;

use crate::harness::emulator::{resource, telemetry_address, telemetry_topic};
use crate::harness::mqtt::Login;
use crate::harness::{Amqp, Emulator, Mqtt, Port};

const SECOND: Duration = Duration::from_secs(1);

async fn emulator(mqtt_grace_secs: Option<u32>) -> Emulator {
    let options = Options { mqtt_expiry_grace_secs: mqtt_grace_secs, ..Options::default() };
    let emulator = Emulator::start_with_clock(options).await;
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", json!({})).await;
    emulator
}

async fn mqtt_for(emulator: &Emulator, identity: &str, secs: i64) -> Mqtt {
    let token = emulator.token(identity, secs).await;
    Mqtt::connect(emulator.io(Port::Mqtts).await, &Login::new(identity, &token)).await
}

#[tokio::test]
async fn mqtt_outlives_its_token_by_600_seconds_and_no_longer() {
    for identity in ["d1", "d1/m1"] {
        let emulator = emulator(None).await;
        let mut mqtt = mqtt_for(&emulator, identity, 100).await;
        emulator.advance(100 * SECOND);
        mqtt.publish(&telemetry_topic(identity), b"past the token's end").await;
        emulator.advance(599 * SECOND);
        mqtt.publish(&telemetry_topic(identity), b"in the last second of the grace").await;
        emulator.advance(SECOND);
        mqtt.is_closed().await;
    }
}

#[tokio::test]
async fn the_grace_can_be_set() {
    let emulator = emulator(Some(5)).await;
    let mut mqtt = mqtt_for(&emulator, "d1", 100).await;
    emulator.advance(104 * SECOND);
    mqtt.ping().await;
    emulator.advance(SECOND);
    mqtt.is_closed().await;
}

#[tokio::test]
async fn an_expired_token_does_not_connect_grace_or_not() {
    let emulator = emulator(None).await;
    for secs in [0, -1] {
        let token = emulator.token("d1", secs).await;
        let mut mqtt = Mqtt::new(emulator.io(Port::Mqtts).await);
        assert_eq!(mqtt.log_in(&Login::new("d1", &token)).await, (false, 5));
        let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
        assert_eq!(amqp.put_token(&resource("d1"), &token).await, 401);
    }
    mqtt_for(&emulator, "d1", 1).await.ping().await;
}

#[tokio::test]
async fn amqp_ends_with_its_token() {
    for identity in ["d1", "d1/m1"] {
        let emulator = emulator(None).await;
        let token = emulator.token(identity, 100).await;
        let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
        assert_eq!(amqp.put_token(&resource(identity), &token).await, 200);
        let link = amqp.sender(&telemetry_address(identity)).await.expect("the token is good");
        emulator.advance(99 * SECOND);
        assert_eq!(amqp.deliver(link, b"x").await, Ok(()));
        emulator.advance(SECOND);
        assert_eq!(amqp.detached(link).await.condition, "amqp:unauthorized-access");
        // It was the only identity of the connection.
        let reason = amqp.closed().await.expect("a close before the end");
        assert_eq!(reason.condition, "amqp:unauthorized-access");
    }
}

#[tokio::test]
async fn a_renewal_by_cbs_moves_the_end_and_keeps_the_links() {
    let emulator = emulator(None).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    let requests = amqp.sender("$cbs").await.expect("everybody may attach to $cbs");
    amqp.receiver("$cbs").await.expect("everybody may attach to $cbs");
    let audience = resource("d1");
    let first = emulator.token("d1", 100).await;
    assert_eq!(amqp.put_token_on(requests, &audience, &first).await, 200);
    let link = amqp.sender(&telemetry_address("d1")).await.expect("the token is good");
    for _ in 0..3 {
        emulator.advance(90 * SECOND);
        let next = emulator.token("d1", 100).await;
        assert_eq!(amqp.put_token_on(requests, &audience, &next).await, 200);
        assert_eq!(amqp.deliver(link, b"x").await, Ok(()));
    }
    // A renewal that proves nothing moves nothing.
    emulator.advance(50 * SECOND);
    let expired = emulator.token("d1", -1).await;
    assert_eq!(amqp.put_token_on(requests, &audience, &expired).await, 401);
    assert_eq!(amqp.deliver(link, b"x").await, Ok(()));
    emulator.advance(50 * SECOND);
    assert_eq!(amqp.detached(link).await.condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn an_identity_whose_token_ends_leaves_the_others_of_its_connection_alone() {
    let emulator = emulator(None).await;
    let (mut amqp, device) = emulator.amqp("d1").await;
    let token = emulator.token("d1/m1", 100).await;
    assert_eq!(amqp.put_token(&resource("d1/m1"), &token).await, 200);
    let module = amqp.sender(&telemetry_address("d1/m1")).await.expect("a token of its own");
    emulator.advance(100 * SECOND);
    assert_eq!(amqp.detached(module).await.condition, "amqp:unauthorized-access");
    assert_eq!(amqp.deliver(device, b"x").await, Ok(()));
    let refused = amqp.sender(&telemetry_address("d1/m1")).await.expect_err("the token is over");
    assert_eq!(refused.condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_new_mqtt_connection_with_a_new_token_is_not_ended_by_the_old_ones_end() {
    let emulator = emulator(Some(0)).await;
    let mut old = mqtt_for(&emulator, "d1", 100).await;
    emulator.advance(90 * SECOND);
    let mut new = mqtt_for(&emulator, "d1", 1000).await;
    old.is_closed().await;
    emulator.advance(500 * SECOND);
    new.ping().await;
    emulator.advance(500 * SECOND);
    new.is_closed().await;
}

#[tokio::test]
async fn the_process_itself_notices_when_a_token_ends() {
    let options = Options { mqtt_expiry_grace_secs: Some(0), ..Options::default() };
    let emulator = Emulator::start_with(options, Surroundings::default()).await;
    emulator.create_device("d1").await;
    emulator.create_device("d2").await;
    // Long enough to connect on a busy machine; then nobody does anything but wait.
    let mut mqtt = mqtt_for(&emulator, "d1", 4).await;
    let token = emulator.token("d2", 4).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    assert_eq!(amqp.put_token(&resource("d2"), &token).await, 200);
    amqp.sender(&telemetry_address("d2")).await.expect("the token is good");
    mqtt.is_closed().await;
    let reason = amqp.closed().await.expect("a close before the end");
    assert_eq!(reason.condition, "amqp:unauthorized-access");
}
