//! Calls on many identities at once, their counts, and edge scopes: contract/rest.md 1.3, 1.5, 1.6, 2.6.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

async fn bulk(harness: &Harness, rows: &Value) -> Answer {
    harness.owner("POST /devices", &[], &rows.to_string()).await
}

/// The result of a bulk call some of whose rows failed.
#[track_caller]
fn partly(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    for header in ["iothub-errorcode", "iothuberrorcode"] {
        assert_eq!(answer.header(header), Some("BulkRegistryOperationFailure"), "{header}");
    }
    let result = answer.json();
    assert_eq!(result["isSuccessful"], false);
    assert_eq!(result["warnings"], json!([]));
    result["errors"].clone()
}

async fn keys(harness: &Harness, body: &Value) -> Answer {
    harness.owner("POST /devices/keys/regenerate", &[], &body.to_string()).await
}

#[tokio::test]
async fn a_bulk_call_whose_rows_were_all_done_is_200_with_empty_lists() {
    let harness = Harness::new();
    let rows = json!([
        { "id": "a", "importMode": "create", "status": "disabled", "statusReason": "new" },
        { "id": "a", "moduleId": "m", "importMode": "create", "managedBy": "iotEdge" },
        { "id": "b", "tags": { "floor": 3 }, "properties": { "desired": { "x": [1] }, "reported": null } },
    ]);
    let done = bulk(&harness, &rows).await;
    assert_eq!(done.expect(StatusCode::OK), json!({ "isSuccessful": true, "errors": [], "warnings": [] }));
    assert_eq!(done.header("iothuberrorcode"), None);
    let device = harness.owner("GET /devices/a", &[], "").await.expect(StatusCode::OK);
    assert_eq!((&device["status"], &device["statusReason"]), (&json!("disabled"), &json!("new")));
    let module = harness.owner("GET /devices/a/modules/m", &[], "").await.expect(StatusCode::OK);
    assert_eq!(module["managedBy"], "iotEdge");
    let twin = harness.owner("GET /twins/b", &[], "").await.expect(StatusCode::OK);
    assert_eq!((&twin["tags"]["floor"], &twin["properties"]["desired"]["x"]), (&json!(3), &json!([1])));
}

#[tokio::test]
async fn rows_that_fail_are_named_with_a_numeric_code_and_undo_no_other() {
    let harness = Harness::new();
    harness.create_device("old").await;
    let rows = json!([
        { "id": "old", "importMode": "create" },
        { "id": "new", "importMode": "create" },
        { "id": "new", "importMode": "delete" },
        { "id": "missing", "importMode": "Update" },
        { "id": "old", "moduleId": "missing", "importMode": "delete" },
        { "id": "bad key", "importMode": "create" },
        { "importMode": "create" },
        { "id": "e", "importMode": "deleteIfMatchEtag" },
        { "id": "f", "importMode": "sideways" },
        { "id": "g", "moduleId": 7 },
        { "id": "h", "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "!", "secondaryKey": "!" } } },
    ]);
    let errors = partly(&bulk(&harness, &rows).await);
    let told: Vec<_> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["deviceId"].as_str().unwrap(), row["errorCode"].as_u64().unwrap(), row["operation"].as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("old", 409_001, Some("create")),
            ("new", 400_011, Some("delete")),
            ("missing", 404_001, Some("update")),
            ("old", 404_010, Some("delete")),
            ("bad key", 400_004, Some("create")),
            ("", 400_005, None),
            ("e", 400_004, Some("deleteIfMatchETag")),
            ("f", 400_004, None),
            ("g", 400_004, None),
            ("h", 400_004, Some("createOrUpdate")),
        ]
    );
    assert_eq!(errors[3]["moduleId"], "missing");
    assert!(errors[0].get("moduleId").is_none());
    assert!(
        errors
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["errorStatus"].as_str().is_some_and(|it| !it.is_empty()))
    );
    harness.owner("GET /devices/new", &[], "").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn every_spelling_of_a_mode_and_an_etag_is_understood() {
    let harness = Harness::new();
    let mut etag = harness.create_device("d").await["etag"].as_str().unwrap().to_owned();
    for (mode, member) in [
        ("updateIfMatchETag", "eTag"),
        ("UpdateIfMatchETag", "etag"),
        ("updateIfMatchEtag", "eTag"),
        ("createOrUpdateIfMatchETag", "eTag"),
    ] {
        for quoted in [etag.clone(), format!("\"{etag}\""), "*".to_owned()] {
            let stale = json!([{ "id": "d", "importMode": mode, member: "c3RhbGU=" }]);
            let refused = partly(&bulk(&harness, &stale).await);
            assert_eq!(refused[0]["errorCode"], 412_001, "{mode}");
            let wanted = if quoted == "*" { quoted } else { quoted.replace(&etag, &current(&harness).await) };
            bulk(&harness, &json!([{ "id": "d", "importMode": mode, member: wanted }]))
                .await
                .expect(StatusCode::OK);
        }
        etag = current(&harness).await;
    }
    let twin = harness.owner("GET /twins/d", &[], "").await.expect(StatusCode::OK);
    let row = |etag: &str| json!([{ "id": "d", "importMode": "updateTwinIfMatchETag", "twinETag": etag, "tags": { "a": 1 } }]);
    assert_eq!(partly(&bulk(&harness, &row("c3RhbGU=")).await)[0]["errorCode"], 412_001);
    bulk(&harness, &row(twin["etag"].as_str().unwrap())).await.expect(StatusCode::OK);
    bulk(&harness, &json!([{ "id": "d", "importMode": "deleteIfMatchEtag", "etag": "*" }]))
        .await
        .expect(StatusCode::OK);
    harness.owner("GET /devices/d", &[], "").await.refused(404, "DeviceNotFound");
}

async fn current(harness: &Harness) -> String {
    let device = harness.owner("GET /devices/d", &[], "").await.expect(StatusCode::OK);
    device["etag"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_hundred_rows_are_taken_and_one_more_is_413() {
    let harness = Harness::new();
    let rows = |count: usize| (0..count).map(|n| json!({ "id": format!("d{n}") })).collect::<Value>();
    bulk(&harness, &rows(101)).await.refused(413, "TooManyDevices");
    let none = harness.owner("GET /devices", &[], "").await.expect(StatusCode::OK);
    assert_eq!(none, json!([]));
    bulk(&harness, &rows(100)).await.expect(StatusCode::OK);
    bulk(&harness, &rows(0)).await.refused(400, "ArgumentInvalid");
    bulk(&harness, &json!([{ "id": "x" }, "y"])).await.refused(400, "ArgumentInvalid");
}

#[tokio::test]
async fn a_bulk_body_has_room_for_a_hundred_whole_twins() {
    let harness = Harness::new();
    let text = "x".repeat(4000);
    let desired: Value =
        (0..8).map(|n| (format!("p{n}"), json!(text))).collect::<serde_json::Map<_, _>>().into();
    let rows: Value =
        (0..100).map(|n| json!({ "id": format!("d{n}"), "properties": { "desired": desired } })).collect();
    assert!(rows.to_string().len() > 3_000_000);
    bulk(&harness, &rows).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn arrays_in_the_twin_of_a_row_are_for_newer_versions_only() {
    let harness = Harness::new();
    let token = harness.policy_token("iothubowner");
    let row = r#"[{"id":"d","tags":{"a":[1]}}]"#;
    let old = harness.raw("POST /devices?api-version=2018-06-30", &[("authorization", &token)], row).await;
    let errors = partly(&old);
    assert!(errors[0]["errorStatus"].as_str().unwrap().contains("arrays are not supported"), "{errors}");
    let new = harness.raw("POST /devices?api-version=2019-10-01", &[("authorization", &token)], row).await;
    new.expect(StatusCode::OK);
}

#[tokio::test]
async fn statistics_count_what_there_is() {
    let harness = Harness::new();
    let counted = |total: u32, enabled: u32| json!({ "totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled });
    let read = async || {
        harness.policy("registryRead", "GET /statistics/devices", &[], "").await.expect(StatusCode::OK)
    };
    assert_eq!(read().await, counted(0, 0));
    bulk(&harness, &json!([{ "id": "a" }, { "id": "b", "status": "disabled" }])).await.expect(StatusCode::OK);
    assert_eq!(read().await, counted(2, 1));
    harness.owner("DELETE /devices/b", &[], "").await;
    assert_eq!(read().await, counted(1, 1));
    for policy in ["registryRead", "service"] {
        let connected =
            harness.policy(policy, "GET /Statistics/Service/", &[], "").await.expect(StatusCode::OK);
        assert_eq!(connected, json!({ "connectedDeviceCount": 0 }));
    }
}

#[tokio::test]
async fn regenerated_keys_are_told_beside_the_rows_that_kept_theirs() {
    let harness = Harness::new();
    let before = harness.create_device("d").await["authentication"]["symmetricKey"].clone();
    harness.create_module("d", "m").await;
    let body = json!({ "policyKey": "primaryKey", "devices": [{ "id": "d" }, { "id": "d", "moduleId": "m" }, { "id": "x" }] });
    let result = keys(&harness, &body).await.expect(StatusCode::OK);
    assert_eq!(result["policyKey"], "primaryKey");
    let rotated = &result["rotatedKeys"];
    assert_eq!((&rotated[0]["id"], rotated[0].get("moduleId")), (&json!("d"), None));
    assert_eq!((&rotated[1]["id"], &rotated[1]["moduleId"]), (&json!("d"), &json!("m")));
    assert_ne!(rotated[0]["primaryKey"], before["primaryKey"]);
    assert_eq!(rotated[0]["secondaryKey"], before["secondaryKey"]);
    let errors = result["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["id"], &errors[0]["errorCode"]), (1, &json!("x"), &json!(404_001)));
    let now = harness.owner("GET /devices/d", &[], "").await.expect(StatusCode::OK);
    assert_eq!(now["authentication"]["symmetricKey"]["primaryKey"], rotated[0]["primaryKey"]);
}

#[tokio::test]
async fn a_policy_key_that_is_none_and_missing_or_wrong_rows_are_400() {
    let harness = Harness::new();
    for policy_key in [json!(null), json!("tertiaryKey")] {
        let body = json!({ "policyKey": policy_key, "devices": [] });
        keys(&harness, &body).await.refused(400, "InvalidPolicyKey");
    }
    for (devices, code) in [
        (json!(null), "ArgumentNull"),
        (json!([{}]), "ArgumentNull"),
        (json!({}), "ArgumentInvalid"),
        (json!(["d"]), "ArgumentInvalid"),
        (json!([{ "id": 1 }]), "ArgumentInvalid"),
        (json!([]), "ArgumentInvalid"),
    ] {
        keys(&harness, &json!({ "policyKey": "both", "devices": devices })).await.refused(400, code);
    }
    let many: Value = (0..101).map(|n| json!({ "id": format!("d{n}") })).collect();
    keys(&harness, &json!({ "policyKey": "BOTH", "devices": many })).await.refused(413, "TooManyDevices");
}

#[tokio::test]
async fn devices_called_like_literal_segments_are_devices() {
    let harness = Harness::new();
    for id in ["keys", "regenerate", "query", "modules", "statistics"] {
        harness.create_device(id).await;
        harness.create_module(id, "regenerate").await;
        let modules =
            harness.owner(&format!("GET /devices/{id}/modules"), &[], "").await.expect(StatusCode::OK);
        assert_eq!(modules[0]["moduleId"], "regenerate");
    }
}

#[tokio::test]
async fn scopes_of_edge_and_leaf_devices_are_shown_in_identity_and_twin_and_left_out_elsewhere() {
    let harness = Harness::new();
    let put = async |id: &str, members: Value, headers: &[(&str, &str)]| {
        let mut body = members;
        body["deviceId"] = id.into();
        harness.owner(&format!("PUT /devices/{id}"), headers, &body.to_string()).await
    };
    let edge = put("edge", json!({ "capabilities": { "iotEdge": true } }), &[]).await.expect(StatusCode::OK);
    let scope = edge["deviceScope"].as_str().unwrap();
    assert!(scope.starts_with("ms-azure-iot-edge://edge-"), "{scope}");
    assert!(edge.get("parentScopes").is_none());
    let leaf = put("leaf", json!({ "deviceScope": scope }), &[]).await.expect(StatusCode::OK);
    assert_eq!((&leaf["deviceScope"], &leaf["parentScopes"]), (&json!(scope), &json!([scope])));
    let twin = harness.owner("GET /twins/leaf", &[], "").await.expect(StatusCode::OK);
    assert_eq!((&twin["deviceScope"], &twin["parentScopes"]), (&json!(scope), &json!([scope])));
    for detached in
        [json!({ "deviceScope": "" }), json!({ "deviceScope": null }), json!({ "parentScopes": [] })]
    {
        put("leaf", json!({ "deviceScope": scope }), &[("if-match", "*")]).await.expect(StatusCode::OK);
        let leaf = put("leaf", detached, &[("if-match", "*")]).await.expect(StatusCode::OK);
        assert_eq!((leaf.get("deviceScope"), leaf.get("parentScopes")), (None, None));
    }
    put("x", json!({ "deviceScope": "7b1d" }), &[]).await.refused(400, "InvalidDeviceScope");
    put("x", json!({ "parentScopes": [1] }), &[]).await.refused(400, "ArgumentInvalid");
}
