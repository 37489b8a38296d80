//! What the basic tier lacks, and how each protocol says so (contract/rest.md 7, contract/mqtt.md 2.11,
//! contract/amqp.md 5). The standard tier beside it has all of it.

use iothub_emulator::config::{Options, TierOption};
use serde_json::{Value, json};

use crate::harness::emulator::telemetry_topic;
use crate::harness::mqtt::{Packet, publish_packet};
use crate::harness::{Emulator, Mqtt};

const GET_TWIN: &str = "$iothub/twin/GET/?$rid=1";
const TWIN_RESPONSES: &str = "$iothub/twin/res/#";
const METHOD: &str = r#"{"methodName":"m","responseTimeoutInSeconds":5}"#;

/// A call, its body, and its status where there is neither module `m1` nor a connected device.
const STANDARD_CALLS: [(&str, &str, u16); 9] = [
    ("GET /twins/d1", "", 200),
    ("PATCH /twins/d1", r#"{"tags":{"a":1}}"#, 200),
    ("PUT /twins/d1", r#"{"tags":{"a":1}}"#, 200),
    ("POST /twins/d1/methods", METHOD, 404),
    ("GET /devices/d1/modules", "", 200),
    ("PUT /devices/d1/modules/m1", r#"{"deviceId":"d1","moduleId":"m1"}"#, 200),
    ("GET /devices/d1/modules/m1", "", 200),
    ("GET /twins/d1/modules/m1", "", 200),
    ("PUT /devices/edge", r#"{"deviceId":"edge","capabilities":{"iotEdge":true}}"#, 200),
];

async fn emulator(tier: TierOption) -> Emulator {
    let emulator = Emulator::start_with_clock(Options { tier: Some(tier), ..Options::default() }).await;
    emulator.create_device("d1").await;
    emulator
}

#[tokio::test]
async fn a_basic_hub_refuses_over_rest_what_its_tier_lacks() {
    let emulator = emulator(TierOption::Basic).await;
    for (line, body, _) in STANDARD_CALLS {
        let answer = emulator.call("iothubowner", line, &[], body).await;
        assert_eq!(answer.status, 403, "{line}: {answer}");
        assert_eq!(answer.header("iothub-errorcode"), Some("OperationNotAvailableInCurrentTier"), "{line}");
    }
    emulator.owner("GET /devices/d1", &[], &Value::Null).await.ok();
    emulator.owner("GET /statistics/devices", &[], &Value::Null).await.ok();
    let rows = json!([{ "id": "d2", "importMode": "create" }]);
    emulator.owner("POST /devices", &[], &rows).await.ok();
}

#[tokio::test]
async fn a_free_or_standard_hub_has_all_of_it() {
    for tier in [TierOption::Free, TierOption::Standard] {
        let emulator = emulator(tier).await;
        for (line, body, status) in STANDARD_CALLS {
            let answer = emulator.call("iothubowner", line, &[], body).await;
            assert_eq!(answer.status, status, "{line}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_device_of_a_basic_hub_loses_its_mqtt_connection_over_a_twin_request() {
    let emulator = emulator(TierOption::Basic).await;
    let mut mqtt = emulator.mqtt("d1").await;
    mqtt.publish(&telemetry_topic("d1"), b"x").await;
    mqtt.subscribe(&[TWIN_RESPONSES]).await;
    mqtt.send(&publish_packet(0x30, GET_TWIN, None, b"")).await;
    mqtt.is_closed().await;
}

#[tokio::test]
async fn a_device_of_a_standard_hub_gets_its_twin() {
    let emulator = emulator(TierOption::Standard).await;
    let mut mqtt = emulator.mqtt("d1").await;
    assert!(twin_status(&mut mqtt).await.starts_with("$iothub/twin/res/200/"));
}

/// The topic of the answer to a twin request.
pub(crate) async fn twin_status(mqtt: &mut Mqtt) -> String {
    mqtt.subscribe(&[TWIN_RESPONSES]).await;
    mqtt.send(&publish_packet(0x30, GET_TWIN, None, b"")).await;
    match mqtt.next().await {
        Some(Packet::Publish { topic, .. }) => topic,
        other => panic!("instead of a twin: {other:?}"),
    }
}

#[tokio::test]
async fn a_basic_hub_refuses_amqp_links_for_what_it_lacks_and_keeps_the_others() {
    let emulator = emulator(TierOption::Basic).await;
    let (mut amqp, link) = emulator.amqp("d1").await;
    let refused = amqp.sender("/devices/d1/twin").await.unwrap_err();
    assert_eq!(refused.condition, "amqp:not-allowed");
    assert!(refused.description.contains("basic tier"), "{}", refused.description);
    for receiver in
        ["/devices/d1/twin", "/devices/d1/methods/devicebound", "/devices/d1/messages/devicebound"]
    {
        assert_eq!(amqp.receiver(receiver).await.unwrap_err().condition, "amqp:not-allowed", "{receiver}");
    }
    assert_eq!(amqp.deliver(link, b"x").await, Ok(()));
}

#[tokio::test]
async fn a_standard_hub_grants_these_links() {
    let emulator = emulator(TierOption::Standard).await;
    let (mut amqp, _) = emulator.amqp("d1").await;
    assert!(amqp.sender("/devices/d1/twin").await.is_ok());
    for receiver in
        ["/devices/d1/twin", "/devices/d1/methods/devicebound", "/devices/d1/messages/devicebound"]
    {
        assert!(amqp.receiver(receiver).await.is_ok(), "{receiver}");
    }
}
