//! Throttles and the daily quota, switched on: what is delayed, what is refused, and how each protocol says so
//! (contract/rest.md 7, contract/mqtt.md 2.11 and 7.4, contract/amqp.md 5). Switched off, nothing is.

use std::io::Write as _;
use std::time::Duration;

use iothub_emulator::config::Options;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::harness::emulator::{resource, telemetry_topic};
use crate::harness::mqtt::{Login, Packet, publish_packet};
use crate::harness::watch::in_time;
use crate::harness::{Amqp, Emulator, Mqtt, Port};
use crate::tiers::twin_status;

/// An emulator with this configuration file, and a device.
async fn emulator(configuration: &str) -> Emulator {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(configuration.as_bytes()).expect("the file is ours");
    let options = Options { config: Some(file.path().to_owned()), ..Options::default() };
    let emulator = Emulator::start_with_clock(options).await;
    emulator.create_device("d1").await;
    emulator
}

/// An emulator that keeps one throttle to `rate` and all others to the documented ones.
async fn throttled(throttle: &str, rate: &str) -> Emulator {
    emulator(&format!("throttling = true\n[throttles]\n{throttle} = '{rate}'\n")).await
}

/// Waits until somebody waits for a turn that comes `wait` from now.
async fn somebody_waits(emulator: &Emulator, wait: Duration) {
    let due = emulator.app.hub.clock().now().plus(wait);
    let waiting = async {
        while emulator.app.hub.next_deadline() != Some(due) {
            tokio::task::yield_now().await;
        }
    };
    in_time("somebody waits for a turn", waiting).await;
}

#[tokio::test]
async fn calls_past_the_rate_are_429_with_the_time_to_wait_until_it_has_passed() {
    // The device of the test is the first of the two.
    let emulator = throttled("identity-registry", "2/min").await;
    let get = || async { emulator.owner("GET /devices/d1", &[], &Value::Null).await };
    get().await.ok();
    let refused = get().await;
    refused.refused(429, "ThrottlingException");
    assert_eq!(refused.header("retry-after"), Some("30"));
    emulator.advance(Duration::from_secs(24));
    assert_eq!(get().await.header("retry-after"), Some("6"));
    emulator.advance(Duration::from_secs(6));
    get().await.ok();
    let row = &emulator.journal("d1").await[1];
    assert_eq!((&row["outcome"], &row["errorCode"]), (&json!("refused"), &json!(429_001)), "{row}");
}

#[tokio::test]
async fn devices_that_ask_for_messages_over_https_have_a_rate_of_their_own() {
    let emulator = throttled("cloud-to-device-receives", "2/min").await;
    let token = emulator.token("d1", 3600).await;
    let call = async |line: &str| {
        let line = format!("{line}?api-version=2020-09-30");
        emulator.https(&line, &[("Authorization", &token)], "").await
    };
    for _ in 0..2 {
        assert_eq!(call("GET /devices/d1/messages/deviceBound").await.status, 204);
    }
    call("GET /devices/d1/messages/deviceBound").await.refused(429, "ThrottlingException");
    assert_eq!(call("POST /devices/d1/messages/events").await.status, 204);
}

#[tokio::test]
async fn a_call_just_past_the_rate_is_delayed_and_then_answered() {
    let emulator = throttled("twin-reads", "12/min").await;
    let get = || async { emulator.owner("GET /twins/d1", &[], &Value::Null).await };
    for _ in 0..12 {
        get().await.ok();
    }
    let (delayed, ()) = tokio::join!(get(), async {
        somebody_waits(&emulator, Duration::from_secs(5)).await;
        get().await.refused(429, "ThrottlingException");
        emulator.advance(Duration::from_secs(5));
    });
    delayed.ok();
}

#[tokio::test]
async fn method_calls_past_the_rate_are_429_too() {
    let emulator = throttled("direct-methods", "1/min").await;
    let invoke =
        || async { emulator.owner("POST /twins/d1/methods", &[], &json!({ "methodName": "m" })).await };
    assert_eq!(invoke().await.header("iothub-errorcode"), Some("DeviceNotOnline"));
    let refused = invoke().await;
    refused.refused(429, "ThrottlingException");
    assert_eq!(refused.header("retry-after"), Some("60"));
}

#[tokio::test]
async fn other_operations_do_not_wait_for_a_throttle_that_is_not_theirs() {
    let emulator = throttled("twin-reads", "1/min").await;
    emulator.owner("GET /twins/d1", &[], &Value::Null).await.ok();
    emulator.owner("GET /twins/d1", &[], &Value::Null).await.refused(429, "ThrottlingException");
    emulator.owner("PATCH /twins/d1", &[], &json!({ "tags": { "a": 1 } })).await.ok();
}

#[tokio::test]
async fn a_hub_that_stops_lets_nobody_wait_for_a_turn() {
    let emulator = throttled("twin-reads", "12/min").await;
    for _ in 0..12 {
        emulator.owner("GET /twins/d1", &[], &Value::Null).await.ok();
    }
    let (answer, ()) = tokio::join!(emulator.owner("GET /twins/d1", &[], &Value::Null), async {
        somebody_waits(&emulator, Duration::from_secs(5)).await;
        emulator.app.hub.stop();
    });
    answer.refused(503, "ServiceUnavailable");
}

#[tokio::test]
async fn mqtt_telemetry_past_the_rate_waits_and_holds_up_only_its_own_connection() {
    let emulator = throttled("device-to-cloud-sends", "12/min").await;
    emulator.create_device("d2").await;
    let (mut mqtt, mut other) = (emulator.mqtt("d1").await, emulator.mqtt("d2").await);
    for _ in 0..12 {
        mqtt.publish(&telemetry_topic("d1"), b"x").await;
    }
    mqtt.send(&publish_packet(0x32, &telemetry_topic("d1"), Some(99), b"x")).await;
    somebody_waits(&emulator, Duration::from_secs(5)).await;
    other.ping().await;
    emulator.advance(Duration::from_secs(5));
    assert_eq!(mqtt.next().await, Some(Packet::PubAck(99)));
}

#[tokio::test]
async fn mqtt_telemetry_far_past_the_rate_ends_the_connection_and_amqp_is_told_why() {
    let emulator = throttled("device-to-cloud-sends", "1/min").await;
    let mut mqtt = emulator.mqtt("d1").await;
    mqtt.publish(&telemetry_topic("d1"), b"x").await;
    mqtt.send(&publish_packet(0x32, &telemetry_topic("d1"), Some(99), b"x")).await;
    mqtt.is_closed().await;

    let (mut amqp, link) = emulator.amqp("d1").await;
    let refused = amqp.deliver(link, b"x").await.unwrap_err();
    assert_eq!(refused.condition, "com.microsoft:device-container-throttled");
    emulator.advance(Duration::from_secs(60));
    assert_eq!(amqp.deliver(link, b"x").await, Ok(()));
}

#[tokio::test]
async fn a_throttled_twin_request_has_status_429_and_the_connection_stays() {
    let emulator = throttled("twin-reads", "1/min").await;
    let mut mqtt = emulator.mqtt("d1").await;
    assert!(twin_status(&mut mqtt).await.starts_with("$iothub/twin/res/200/"));
    assert!(twin_status(&mut mqtt).await.starts_with("$iothub/twin/res/429/"));
    mqtt.ping().await;
}

#[tokio::test]
async fn a_connection_past_the_rate_is_refused() {
    let emulator = throttled("connections", "1/min").await;
    let token = emulator.token("d1", 3600).await;
    let _connected = emulator.mqtt("d1").await;
    let mut mqtt = Mqtt::new(emulator.io(Port::Mqtts).await);
    assert_eq!(mqtt.log_in(&Login::new("d1", &token)).await, (false, 5));

    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    assert_eq!(amqp.put_token(&resource("d1"), &token).await, 200);
    let refused = amqp.sender("/devices/d1/messages/events").await.unwrap_err();
    assert_eq!(refused.condition, "com.microsoft:device-container-throttled");
}

#[tokio::test]
async fn a_used_up_day_refuses_messages_in_every_protocol_until_the_next_one_begins() {
    let emulator = emulator("daily-quota = true\nmessages-per-day = 2\n").await;
    let (mut amqp, link) = emulator.amqp("d1").await;
    assert_eq!(amqp.deliver(link, &[0; 4097]).await, Ok(()), "two messages of 4 KB");
    let refused = amqp.deliver(link, b"x").await.unwrap_err();
    assert_eq!(refused.condition, "amqp:resource-limit-exceeded");
    emulator.owner("GET /twins/d1", &[], &Value::Null).await.refused(403, "IotHubQuotaExceeded");
    emulator.owner("GET /devices/d1", &[], &Value::Null).await.ok();

    let mut mqtt = emulator.mqtt("d1").await;
    mqtt.send(&publish_packet(0x32, &telemetry_topic("d1"), Some(1), b"x")).await;
    mqtt.is_closed().await;

    emulator.advance(Duration::from_secs(24 * 60 * 60));
    emulator.owner("GET /twins/d1", &[], &Value::Null).await.ok();
    emulator.mqtt("d1").await.publish(&telemetry_topic("d1"), b"x").await;
}

#[tokio::test]
async fn nothing_is_throttled_by_default() {
    let emulator = emulator("").await;
    // The documented rates of S1 let 100 calls pass at once.
    for _ in 0..110 {
        emulator.owner("GET /devices/d1", &[], &Value::Null).await.ok();
    }
    assert_eq!(emulator.app.hub.next_deadline(), None);
}

#[tokio::test]
async fn the_documented_rates_hold_once_throttling_is_on() {
    let emulator = emulator("throttling = true").await;
    for _ in 1..100 {
        emulator.owner("GET /devices/d1", &[], &Value::Null).await.ok();
    }
    // Turns come every 0.6 s now; the first is waited for.
    let (delayed, ()) = tokio::join!(emulator.owner("GET /devices/d1", &[], &Value::Null), async {
        somebody_waits(&emulator, Duration::from_millis(600)).await;
        emulator.advance(Duration::from_millis(600));
    });
    delayed.ok();
}
