//! SUBSCRIBE, and sessions that outlive their connection; `contract/mqtt.md 2.9` and `3`.

use serde_json::json;

use crate::harness::*;

const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
const TWIN_RESPONSES: &str = "$iothub/twin/res/#";

#[tokio::test]
async fn filters_are_granted_in_order_at_most_with_qos_1() {
    let bench = Bench::new().await;
    let mut client = bench.online("d/m").await;
    let filters = [
        (TWIN_RESPONSES, 0),
        (DESIRED, 1),
        ("$iothub/methods/POST/#", 2),
        ("devices/d/modules/m/#", 1),
        ("devices/other/messages/devicebound/#", 1),
    ];
    client.send(&Subscribe(7, &filters)).await;
    assert_eq!(client.next().await, "SUBACK 7 [0, 1, 1, 1, 128]");
    client.send(&Unsubscribe(8, "never/subscribed")).await;
    assert_eq!(client.next().await, "UNSUBACK 8");
}

#[tokio::test]
async fn desired_changes_reach_the_subscribed_client_only_and_only_from_then_on() {
    let bench = Bench::new().await;
    let mut client = bench.online("d/m").await;
    bench.patch_desired("d/m", json!({ "before": 1 })).await;
    client.send(&Subscribe(1, &[(DESIRED, 1)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [1]");
    bench.patch_desired("d/m", json!({ "colour": "red", "before": null })).await;
    assert_eq!(
        client.next().await,
        r#"PUBLISH $iothub/twin/PATCH/properties/desired/?$version=3 {"colour":"red","before":null,"$version":3}"#
    );
    client.send(&Unsubscribe(2, DESIRED)).await;
    assert_eq!(client.next().await, "UNSUBACK 2");
    bench.patch_desired("d/m", json!({ "colour": "blue" })).await;
    client.send(&PINGREQ).await;
    assert_eq!(client.next().await, "PINGRESP");
}

#[tokio::test]
async fn a_kept_session_is_notified_after_a_reconnect_without_subscribing_again() {
    let bench = Bench::new().await;
    let mut client = bench.online("d/m").await;
    client.send(&Subscribe(1, &[(DESIRED, 0), (TWIN_RESPONSES, 0)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [0, 0]");
    client.vanish().await;

    bench.patch_desired("d/m", json!({ "missed": true })).await;
    let mut client = bench.accept();
    client.send(&bench.connect("d/m")).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 1");
    bench.patch_desired("d/m", json!({ "colour": "red" })).await;
    assert_eq!(
        client.next().await,
        r#"PUBLISH $iothub/twin/PATCH/properties/desired/?$version=3 {"colour":"red","$version":3}"#
    );
    client.send(&Publish(0, "$iothub/twin/GET/?$rid=1", "")).await;
    let answer = client.next().await;
    assert!(answer.starts_with("PUBLISH $iothub/twin/res/200/?$rid=1 {"), "{answer}");
}

#[tokio::test]
async fn a_clean_session_forgets_what_was_kept() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.send(&Subscribe(1, &[(DESIRED, 0)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [0]");
    client.leave().await;

    let mut clean = bench.accept();
    clean.send(&Connect { clean_session: true, ..bench.connect("d") }).await;
    assert_eq!(clean.next().await, "CONNACK 0 session present 0");
    bench.patch_desired("d", json!({ "colour": "red" })).await;
    clean.send(&PINGREQ).await;
    assert_eq!(clean.next().await, "PINGRESP");
    clean.leave().await;

    let mut client = bench.accept();
    client.send(&bench.connect("d")).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 0");
}

#[tokio::test]
async fn an_unsubscribed_filter_stays_away_after_a_reconnect() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.send(&Subscribe(1, &[(DESIRED, 0)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [0]");
    client.send(&Unsubscribe(2, DESIRED)).await;
    assert_eq!(client.next().await, "UNSUBACK 2");
    client.vanish().await;

    let mut client = bench.accept();
    client.send(&bench.connect("d")).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 1");
    bench.patch_desired("d", json!({ "colour": "red" })).await;
    client.send(&PINGREQ).await;
    assert_eq!(client.next().await, "PINGRESP");
}
