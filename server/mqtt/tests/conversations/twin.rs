//! Twin requests; `contract/mqtt.md 7`.

use serde_json::{Value, json};

use crate::harness::*;

async fn subscribed(bench: &Bench, id: &str) -> Client {
    let mut client = bench.online(id).await;
    client.send(&Subscribe(1, &[("$iothub/twin/res/#", 1)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [1]");
    client
}

const REPORTED: &str = "$iothub/twin/PATCH/properties/reported/";

#[tokio::test]
async fn a_module_reads_its_twin_and_reports_to_it() {
    let bench = Bench::new().await;
    bench.patch_desired("d/m", json!({ "interval": 5 })).await;
    let mut client = subscribed(&bench, "d/m").await;

    client.send(&Publish(2, "$iothub/twin/GET/?$rid=0fB5-%2e", " ")).await;
    assert_eq!(client.next().await, "PUBACK 2");
    assert_eq!(
        client.next().await,
        r#"PUBLISH $iothub/twin/res/200/?$rid=0fB5-%2e {"desired":{"interval":5,"$version":2},"reported":{"$version":1}}"#
    );
    client.send(&Publish(0, &format!("{REPORTED}?$rid=a"), r#"{"interval":5}"#)).await;
    assert_eq!(client.next().await, "PUBLISH $iothub/twin/res/204/?$rid=a&$version=2");
    assert_eq!(bench.reported("d/m").await["interval"], 5);
    assert_eq!(bench.reported("d").await["interval"], Value::Null);
}

#[tokio::test]
async fn a_bad_patch_is_answered_with_an_error_as_json_and_changes_nothing() {
    let bench = Bench::new().await;
    let mut client = subscribed(&bench, "d").await;
    for (name, body) in [("no JSON", "{"), ("no object", "[]"), ("a key with a dot", r#"{"a.b":1}"#)] {
        client.send(&Publish(0, &format!("{REPORTED}?$rid=1"), body)).await;
        let answer = client.next().await;
        let body = answer.strip_prefix("PUBLISH $iothub/twin/res/400/?$rid=1 ").expect(name);
        let error: Value = serde_json::from_str(body).expect(name);
        assert!(error["errorCode"].as_u64().is_some_and(|code| code / 1000 == 400), "{name}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {error}");
        assert!(error["trackingId"].is_string() && error["timestampUtc"].is_string(), "{name}: {error}");
    }
    assert_eq!(bench.reported("d").await["$version"], 1);
}

#[tokio::test]
async fn arrays_are_reported_with_an_api_version_from_2019_10_01_on() {
    let bench = Bench::new().await;
    for (version, answer) in [
        ("2018-06-30", "PUBLISH $iothub/twin/res/400/?$rid=r {"),
        ("2019-10-01", "PUBLISH $iothub/twin/res/204/?$rid=r&$version=2"),
    ] {
        let username = format!("localhost/d/?api-version={version}");
        let mut client = bench.accept();
        client.send(&Connect { username, clean_session: true, ..bench.connect("d") }).await;
        assert!(client.next().await.starts_with("CONNACK 0"), "{version}");
        client.send(&Subscribe(1, &[("$iothub/twin/res/#", 0)])).await;
        assert_eq!(client.next().await, "SUBACK 1 [0]");
        client.send(&Publish(0, &format!("{REPORTED}?$rid=r"), r#"{"a":[1]}"#)).await;
        let got = client.next().await;
        assert!(got.starts_with(answer), "{version}: {got}");
    }
    assert_eq!(bench.reported("d").await["a"], json!([1]));
}

#[tokio::test]
async fn a_patch_for_a_version_is_applied_to_that_version_only() {
    let bench = Bench::new().await;
    let mut client = subscribed(&bench, "d").await;
    let rows = [
        ("1", "204/?$rid=r&$version=2"),
        ("1", "412/?$rid=r {"),
        ("x", "400/?$rid=r {"),
        ("2", "204/?$rid=r&$version=3"),
    ];
    for (version, expected) in rows {
        client.send(&Publish(0, &format!("{REPORTED}?$rid=r&$version={version}"), r#"{"a":1}"#)).await;
        let answer = client.next().await;
        assert!(answer.starts_with(&format!("PUBLISH $iothub/twin/res/{expected}")), "{version}: {answer}");
    }
}

#[tokio::test]
async fn without_a_subscription_or_a_rid_a_patch_is_applied_and_not_answered() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.send(&Publish(4, &format!("{REPORTED}?$rid=1"), r#"{"a":1}"#)).await;
    assert_eq!(client.next().await, "PUBACK 4");
    client.leave().await;

    let mut client = subscribed(&bench, "d").await;
    client.send(&Publish(5, REPORTED, r#"{"b":2}"#)).await;
    assert_eq!(client.next().await, "PUBACK 5");
    client.send(&PINGREQ).await;
    assert_eq!(client.next().await, "PINGRESP");
    let reported = bench.reported("d").await;
    assert_eq!((&reported["a"], &reported["b"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_get_without_a_rid_closes() {
    let bench = Bench::new().await;
    let mut client = subscribed(&bench, "d").await;
    client.send(&Publish(0, "$iothub/twin/GET/", "")).await;
    client.assert_closed().await;
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered_in_order() {
    let bench = Bench::new().await;
    let filler = "x".repeat(4000);
    bench.patch_desired("d", json!({ "a": filler, "b": filler, "c": filler })).await;
    let mut client = subscribed(&bench, "d").await;
    let requests: Vec<u8> =
        (0..200).flat_map(|n| Publish(0, &format!("$iothub/twin/GET/?$rid={n}"), "").bytes()).collect();
    client.send(&Raw(&requests)).await;
    for n in 0..200 {
        let answer = client.next().await;
        assert!(answer.starts_with(&format!("PUBLISH $iothub/twin/res/200/?$rid={n} ")), "{n}");
    }
}
