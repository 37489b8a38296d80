//! Device and module identities: contract/rest.md 0.5, 1.2, 1.4, 2.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

fn etag(answer: &Answer) -> String {
    let quoted = answer.header("etag").unwrap();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap().to_owned()
}

#[tokio::test]
async fn a_created_device_has_exactly_the_documented_members() {
    let harness = Harness::new();
    let answer = harness.owner("PUT /devices/d1", &[], r#"{"deviceId":"d1"}"#).await;
    let mut device = answer.expect(StatusCode::OK);
    assert_eq!(device["etag"], etag(&answer).as_str(), "the header repeats the body's etag in quotes");
    for slot in ["primaryKey", "secondaryKey"] {
        let key = device["authentication"]["symmetricKey"][slot].take();
        assert_eq!(key.as_str().unwrap().len(), 44, "base64 of 32 bytes");
    }
    let generation = device["generationId"].take();
    assert_eq!(generation.as_str().unwrap().len(), 18);
    assert!(!device["etag"].take().as_str().unwrap().contains('"'));
    let expected = r#"{"deviceId":"d1","generationId":null,"etag":null,"connectionState":"Disconnected",
        "status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00",
        "statusUpdatedTime":"0001-01-01T00:00:00","lastActivityTime":"0001-01-01T00:00:00",
        "cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":null,"secondaryKey":null},
        "x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},
        "capabilities":{"iotEdge":false}}"#;
    let expected: Value = serde_json::from_str(expected).unwrap();
    assert_eq!(device.to_string(), expected.to_string(), "names, values and order");
}

#[tokio::test]
async fn a_created_module_has_exactly_the_documented_members() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let body = r#"{"deviceId":"d1","moduleId":"m1","managedBy":"iotEdge"}"#;
    let answer = harness.owner("PUT /devices/d1/modules/m1", &[], body).await;
    let module = answer.expect(StatusCode::OK);
    let names: Vec<_> = module.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "moduleId",
            "managedBy",
            "deviceId",
            "generationId",
            "etag",
            "connectionState",
            "connectionStateUpdatedTime",
            "lastActivityTime",
            "cloudToDeviceMessageCount",
            "authentication",
        ]
    );
    assert_eq!(module["managedBy"], "iotEdge");
    assert_eq!(module["authentication"]["type"], "sas");
    assert_eq!(module["etag"], etag(&answer).as_str());
}

#[tokio::test]
async fn what_was_created_is_read_back_the_same() {
    let harness = Harness::new();
    let device = harness.create_device("d1").await;
    let module = harness.create_module("d1", "m1").await;
    assert_eq!(harness.owner("GET /devices/d1", &[], "").await.expect(StatusCode::OK), device);
    assert_eq!(harness.owner("GET /devices/d1/modules/m1", &[], "").await.expect(StatusCode::OK), module);
    assert_eq!(
        harness.owner("GET /devices/d1/modules", &[], "").await.expect(StatusCode::OK),
        json!([module])
    );
}

#[tokio::test]
async fn creating_without_if_match_never_overwrites() {
    let harness = Harness::new();
    let device = harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    harness.owner("PUT /devices/d1", &[], r#"{"deviceId":"d1"}"#).await.refused(409, "DeviceAlreadyExists");
    let again =
        harness.owner("PUT /devices/d1/modules/m1", &[], r#"{"deviceId":"d1","moduleId":"m1"}"#).await;
    again.refused(409, "ModuleAlreadyExistsOnDevice");
    assert_eq!(harness.owner("GET /devices/d1", &[], "").await.json(), device);
}

#[tokio::test]
async fn every_spelling_of_if_match_updates_and_answers_200_with_a_new_etag() {
    let harness = Harness::new();
    let mut current = harness.create_device("d1").await;
    for spelling in ["*", "\"*\"", "\"<etag>\"", "<etag>", "W/\"<etag>\"", "\"other\", \"<etag>\""] {
        let before = current["etag"].as_str().unwrap().to_owned();
        let if_match = spelling.replace("<etag>", &before);
        let answer = harness.owner("PUT /devices/d1", &[("if-match", &if_match)], &current.to_string()).await;
        current = answer.expect(StatusCode::OK);
        assert_ne!(current["etag"], before.as_str(), "{spelling}");
        assert_eq!(current["etag"], etag(&answer).as_str(), "{spelling}");
    }
}

#[tokio::test]
async fn a_stale_if_match_is_412_and_changes_nothing() {
    let harness = Harness::new();
    let device = harness.create_device("d1").await;
    let module = harness.create_module("d1", "m1").await;
    for stale in ["\"c3RhbGU=\"", "c3RhbGU=", "\"a\",\"b\"", "\"\""] {
        let headers = [("if-match", stale)];
        let update = r#"{"deviceId":"d1","moduleId":"m1","status":"disabled"}"#;
        for path in ["/devices/d1", "/devices/d1/modules/m1"] {
            harness.owner(&format!("PUT {path}"), &headers, update).await.refused(412, "PreconditionFailed");
            harness.owner(&format!("DELETE {path}"), &headers, "").await.refused(412, "PreconditionFailed");
        }
    }
    assert_eq!(harness.owner("GET /devices/d1", &[], "").await.json(), device);
    assert_eq!(harness.owner("GET /devices/d1/modules/m1", &[], "").await.json(), module);
}

#[tokio::test]
async fn updating_what_does_not_exist_is_404_forced_or_not() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    for if_match in ["*", "\"MTI=\""] {
        let headers = [("if-match", if_match)];
        let device = harness.owner("PUT /devices/d2", &headers, r#"{"deviceId":"d2"}"#).await;
        device.refused(404, "DeviceNotFound");
        let body = r#"{"deviceId":"d1","moduleId":"m1"}"#;
        harness.owner("PUT /devices/d1/modules/m1", &headers, body).await.refused(404, "ModuleNotFound");
    }
}

#[tokio::test]
async fn an_update_replaces_the_writable_fields_and_ignores_the_others() {
    let harness = Harness::new();
    let mut device = harness.create_device("d1").await;
    device["status"] = "disabled".into();
    device["statusReason"] = "stolen".into();
    device["generationId"] = "1".into();
    device["connectionState"] = "Connected".into();
    device["lastActivityTime"] = "2020-01-01T00:00:00".into();
    let forced = [("if-match", "*")];
    let updated = harness.owner("PUT /devices/d1", &forced, &device.to_string()).await.expect(StatusCode::OK);
    assert_eq!(updated["status"], "disabled");
    assert_eq!(updated["statusReason"], "stolen");
    assert_eq!(updated["statusUpdatedTime"], "2026-01-01T00:00:00.0000000Z");
    assert_ne!(updated["generationId"], "1");
    assert_eq!(updated["connectionState"], "Disconnected");
    assert_eq!(updated["lastActivityTime"], "0001-01-01T00:00:00");
    assert_eq!(updated["authentication"], device["authentication"]);
    let bare = harness.owner("PUT /devices/d1", &forced, r#"{"deviceId":"d1"}"#).await.expect(StatusCode::OK);
    assert_eq!(bare["status"], "enabled", "absent status means enabled");
    assert_eq!(bare["statusReason"], Value::Null);
    assert_eq!(bare["authentication"], device["authentication"], "absent authentication is kept");
}

#[tokio::test]
async fn given_keys_are_kept_empty_ones_generated_and_bad_ones_refused() {
    let harness = Harness::new();
    let with_keys = |id: &str, primary: &str, secondary: &str| {
        json!({"deviceId": id, "authentication":
            {"type": "sas", "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary}}})
        .to_string()
    };
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let kept = harness.owner("PUT /devices/a", &[], &with_keys("a", key, key)).await.expect(StatusCode::OK);
    assert_eq!(kept["authentication"]["symmetricKey"], json!({"primaryKey": key, "secondaryKey": key}));
    let generated =
        harness.owner("PUT /devices/b", &[], &with_keys("b", "", "")).await.expect(StatusCode::OK);
    let keys = &generated["authentication"]["symmetricKey"];
    assert!(keys["primaryKey"].as_str().unwrap().len() > 20 && keys["primaryKey"] != keys["secondaryKey"]);
    for (primary, secondary) in [(key, ""), ("AAECAwQFBgcICQoLDA0O", key), ("not base64", key)] {
        let bad = harness.owner("PUT /devices/c", &[], &with_keys("c", primary, secondary)).await;
        bad.refused(400, "ArgumentInvalid");
    }
    harness.owner("GET /devices/c", &[], "").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn thumbprints_are_shown_with_their_type_and_without_keys() {
    let harness = Harness::new();
    let thumbprint = "ab".repeat(20);
    let body =
        json!({"deviceId": "d1", "authentication": {"x509Thumbprint": {"primaryThumbprint": thumbprint}}});
    let device = harness.owner("PUT /devices/d1", &[], &body.to_string()).await.expect(StatusCode::OK);
    assert_eq!(
        device["authentication"],
        json!({"symmetricKey": {"primaryKey": null, "secondaryKey": null},
               "x509Thumbprint": {"primaryThumbprint": "AB".repeat(20), "secondaryThumbprint": null},
               "type": "selfSigned"})
    );
    let colons = json!({"deviceId": "d2", "authentication": {"x509Thumbprint": {"primaryThumbprint": "ab:".repeat(20)}}});
    harness.owner("PUT /devices/d2", &[], &colons.to_string()).await.refused(400, "ArgumentInvalid");
}

#[tokio::test]
async fn certificate_authority_clears_the_keys() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let body = r#"{"deviceId":"d1","authentication":{"type":"certificateAuthority"}}"#;
    let device = harness.owner("PUT /devices/d1", &[("if-match", "*")], body).await.expect(StatusCode::OK);
    assert_eq!(device["authentication"]["type"], "certificateAuthority");
    assert_eq!(device["authentication"]["symmetricKey"], json!({"primaryKey": null, "secondaryKey": null}));
}

#[tokio::test]
async fn a_body_for_another_identity_than_its_path_is_400() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.owner("PUT /devices/d2", &[], r#"{"deviceId":"d1"}"#).await.refused(400, "ArgumentInvalid");
    for body in [r#"{"deviceId":"d1","moduleId":"x"}"#, r#"{"deviceId":"x","moduleId":"m1"}"#] {
        harness.owner("PUT /devices/d1/modules/m1", &[], body).await.refused(400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn deleting_a_device_answers_204_without_a_body_and_takes_its_modules_and_twins() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    let deleted = harness.owner("DELETE /devices/d1", &[("if-match", "*")], "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for path in
        ["/devices/d1", "/devices/d1/modules", "/devices/d1/modules/m1", "/twins/d1", "/twins/d1/modules/m1"]
    {
        harness.owner(&format!("GET {path}"), &[], "").await.refused(404, "DeviceNotFound");
    }
    harness.owner("DELETE /devices/d1", &[("if-match", "*")], "").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn a_delete_without_if_match_is_unconditional() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    let module = harness.create_module("d1", "m1").await;
    let etag = format!("\"{}\"", module["etag"].as_str().unwrap());
    let by_etag = harness.owner("DELETE /devices/d1/modules/m1", &[("if-match", &etag)], "").await;
    assert_eq!(by_etag.status, StatusCode::NO_CONTENT);
    harness.owner("GET /devices/d1/modules/m1", &[], "").await.refused(404, "ModuleNotFound");
    assert_eq!(harness.owner("DELETE /devices/d1", &[], "").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_module_needs_its_device_and_system_modules_are_not_made_by_hand() {
    let harness = Harness::new();
    let orphan =
        harness.owner("PUT /devices/d1/modules/m1", &[], r#"{"deviceId":"d1","moduleId":"m1"}"#).await;
    orphan.refused(404, "DeviceNotFound");
    harness.owner("GET /devices/d1/modules", &[], "").await.refused(404, "DeviceNotFound");
    harness.create_device("d1").await;
    assert_eq!(harness.owner("GET /devices/d1/modules", &[], "").await.expect(StatusCode::OK), json!([]));
    let body = r#"{"deviceId":"d1","moduleId":"$edgeHub"}"#;
    let system = harness.owner("PUT /devices/d1/modules/$edgeHub", &[], body).await;
    system.refused(401, "SystemModuleModifyUnauthorizedAccess");
}

#[tokio::test]
async fn the_list_is_in_order_of_the_ids_and_cut_at_top() {
    let harness = Harness::new();
    for id in ["c", "a", "b"] {
        harness.create_device(id).await;
    }
    let ids = async |query: &str| -> Vec<String> {
        let list = harness.owner(&format!("GET /devices{query}"), &[], "").await.expect(StatusCode::OK);
        list.as_array()
            .unwrap()
            .iter()
            .map(|device| device["deviceId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("/?top=2").await, ["a", "b"]);
    for all in ["", "/", "?top=0", "?top=-1", "?top=1001", "?top=many", "?top="] {
        assert_eq!(ids(all).await, ["a", "b", "c"], "{all}");
    }
}
