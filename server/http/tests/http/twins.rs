//! Twins over REST: contract/rest.md 1.7, 3.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::Harness;

async fn twin(harness: &Harness, path: &str) -> Value {
    harness.owner(&format!("GET {path}"), &[], "").await.expect(StatusCode::OK)
}

#[tokio::test]
async fn a_fresh_device_twin_has_exactly_the_documented_members() {
    let harness = Harness::new();
    let device = harness.create_device("d1").await;
    let answer = harness.owner("GET /twins/d1", &[], "").await;
    assert_eq!(answer.header("etag"), Some("\"AAAAAAAAAAE=\""));
    let expected = json!({
        "deviceId": "d1", "etag": "AAAAAAAAAAE=", "deviceEtag": device["etag"], "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z", "connectionState": "Disconnected",
        "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0, "authenticationType": "sas",
        "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}, "modelId": "", "version": 2,
        "tags": {},
        "properties": {
            "desired": {"$metadata": {"$lastUpdated": "2026-01-01T00:00:00.0000000Z"}, "$version": 1},
            "reported": {"$metadata": {"$lastUpdated": "2026-01-01T00:00:00.0000000Z"}, "$version": 1},
        },
        "capabilities": {"iotEdge": false},
    });
    assert_eq!(answer.expect(StatusCode::OK).to_string(), expected.to_string(), "names, values and order");
}

#[tokio::test]
async fn a_module_twin_names_its_module_and_has_no_capabilities() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    let module = twin(&harness, "/twins/d1/modules/m1").await;
    assert_eq!((&module["deviceId"], &module["moduleId"]), (&json!("d1"), &json!("m1")));
    assert!(module.get("capabilities").is_none());
    assert!(twin(&harness, "/twins/d1").await.get("moduleId").is_none());
}

#[tokio::test]
async fn a_patch_merges_nulls_delete_and_versions_move() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let first =
        r#"{"tags":{"floor":1,"room":"a"},"properties":{"desired":{"t":{"a":1,"b":2}},"reported":{"x":1}}}"#;
    harness.owner("PATCH /twins/d1", &[], first).await.expect(StatusCode::OK);
    let second = r#"{"tags":{"room":null},"properties":{"desired":{"t":{"a":null,"c":[1,2]}}}}"#;
    let answer = harness.owner("PATCH /twins/d1", &[], second).await;
    let patched = answer.expect(StatusCode::OK);
    assert_eq!(patched["tags"], json!({"floor": 1}));
    assert_eq!(patched["properties"]["desired"]["t"], json!({"b": 2, "c": [1, 2]}));
    assert_eq!(patched["properties"]["desired"]["$version"], 3);
    assert!(patched["properties"]["reported"].get("x").is_none(), "back ends never write reported");
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", patched["etag"].as_str().unwrap()).as_str()));
    assert_eq!(twin(&harness, "/twins/d1").await, patched);
}

#[tokio::test]
async fn a_put_replaces_the_sections_that_are_present() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    for path in ["/twins/d1", "/twins/d1/modules/m1"] {
        let first = r#"{"tags":{"a":1},"properties":{"desired":{"x":1,"y":2}}}"#;
        harness.owner(&format!("PATCH {path}"), &[], first).await.expect(StatusCode::OK);
        let put = harness.owner(&format!("PUT {path}"), &[], r#"{"properties":{"desired":{"z":3}}}"#).await;
        let replaced = put.expect(StatusCode::OK);
        let desired = replaced["properties"]["desired"].as_object().unwrap();
        assert_eq!(desired.keys().filter(|key| !key.starts_with('$')).collect::<Vec<_>>(), ["z"]);
        assert_eq!(replaced["tags"], json!({"a": 1}), "an absent section stays");
    }
}

#[tokio::test]
async fn a_null_section_is_cleared() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.owner("PATCH /twins/d1", &[], r#"{"tags":{"a":1},"properties":{"desired":{"x":1}}}"#).await;
    let cleared =
        harness.owner("PATCH /twins/d1", &[], r#"{"tags":null,"properties":{"desired":null}}"#).await;
    let cleared = cleared.expect(StatusCode::OK);
    assert_eq!(cleared["tags"], json!({}));
    assert!(cleared["properties"]["desired"].get("x").is_none());
}

#[tokio::test]
async fn if_match_guards_a_twin_and_its_absence_does_not() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let body = r#"{"tags":{"a":1}}"#;
    for verb in ["PATCH", "PUT"] {
        let line = format!("{verb} /twins/d1");
        let etag = twin(&harness, "/twins/d1").await["etag"].as_str().unwrap().to_owned();
        let quoted = format!("\"{etag}\"");
        harness.owner(&line, &[("if-match", &quoted)], body).await.expect(StatusCode::OK);
        let stale = harness.owner(&line, &[("if-match", &quoted)], r#"{"tags":{"a":2}}"#).await;
        stale.refused(412, "PreconditionFailed");
        assert_eq!(twin(&harness, "/twins/d1").await["tags"], json!({"a": 1}));
        for unconditional in [&[("if-match", "\"*\"")][..], &[("if-match", "*")], &[]] {
            harness.owner(&line, unconditional, body).await.expect(StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_missing_device_and_a_missing_module_have_their_own_codes() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    for verb in ["GET", "PATCH", "PUT"] {
        harness.owner(&format!("{verb} /twins/d2"), &[], "{}").await.refused(404, "DeviceNotFound");
        harness.owner(&format!("{verb} /twins/d1/modules/m"), &[], "{}").await.refused(404, "ModuleNotFound");
        let both = harness.owner(&format!("{verb} /twins/d2/modules/m"), &[], "{}").await;
        both.refused(404, "DeviceNotFound");
    }
}

#[tokio::test]
async fn what_sdks_send_back_of_a_twin_is_ignored() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let mut whole = twin(&harness, "/twins/d1").await;
    whole["deviceId"] = Value::Null;
    whole["tags"] = json!({"a": 1});
    whole["properties"]["desired"]["b"] = json!(2);
    let patched = harness.owner("PATCH /twins/d1", &[("if-match", "*")], &whole.to_string()).await;
    let patched = patched.expect(StatusCode::OK);
    assert_eq!((&patched["tags"]["a"], &patched["properties"]["desired"]["b"]), (&json!(1), &json!(2)));
    assert_eq!(patched["deviceId"], "d1");
}

#[tokio::test]
async fn bad_shapes_and_values_past_the_limits_are_400_and_change_nothing() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let before = twin(&harness, "/twins/d1").await;
    let long = "x".repeat(4097);
    for body in [
        json!({"tags": 1}),
        json!({"properties": {"desired": []}}),
        json!({"tags": {"a.b": 1}}),
        json!({"tags": {"$a": 1}}),
        json!({"properties": {"desired": {"a b": 1}}}),
        json!({"properties": {"desired": {"a": long}}}),
        json!({"properties": {"desired": {"a": 4_503_599_627_370_496_i64}}}),
        json!({"properties": {"desired": {"a": [null]}}}),
    ] {
        let refused = harness.owner("PATCH /twins/d1", &[], &body.to_string()).await;
        refused.refused(400, "ArgumentInvalid");
    }
    assert_eq!(twin(&harness, "/twins/d1").await, before);
}

#[tokio::test]
async fn arrays_need_an_api_version_from_2019_10_01_on() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let token = harness.policy_token("service");
    let headers = [("authorization", token.as_str())];
    let array = r#"{"properties":{"desired":{"a":{"b":[1]}}}}"#;
    let old = harness.raw("PATCH /twins/d1?api-version=2018-06-30", &headers, array).await;
    assert_eq!(
        old.refused(400, "ArgumentInvalid"),
        "Provided json is not a valid 'tags' or 'properties' object: arrays are not supported."
    );
    harness.raw("PATCH /twins/d1?api-version=2019-10-01", &headers, array).await.expect(StatusCode::OK);
    let reported = r#"{"tags":{"a":1},"properties":{"reported":{"b":[1]}}}"#;
    harness.raw("PATCH /twins/d1?api-version=2018-06-30", &headers, reported).await.expect(StatusCode::OK);
}
