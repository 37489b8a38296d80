//! The admin API: PRODUCT section 5.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_head::ListenerState::{Accepting, Draining, Starting};
use hub::access::{CredentialKind, Grant, Permissions, Scope, Subject};
use hub::device_session::SessionOptions;
use hub::gate::operations::{Connect, SendTelemetry};
use hub::gate::{Details, ProtocolLabel};
use hub::ids::{ConnectionId, IdentityId};
use hub::telemetry::{DeviceMessage, MessageProperties};
use hub::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, NOW_SECS, request};

#[tokio::test]
async fn health_is_200_from_the_start() {
    let harness = Harness::new();
    assert_eq!(harness.admin("GET /health", "").await.expect(StatusCode::OK), json!({"status": "alive"}));
}

#[tokio::test]
async fn ready_is_200_only_while_every_listener_accepts() {
    let harness = Harness::new();
    let status = async || harness.admin("GET /ready", "").await.status.as_u16();
    assert_eq!(status().await, 503, "no listener yet");
    harness.set_listeners(&[("https", Accepting), ("mqtts", Starting)]);
    assert_eq!(status().await, 503);
    harness.set_listeners(&[("https", Accepting), ("mqtts", Accepting)]);
    let ready = harness.admin("GET /ready", "").await.expect(StatusCode::OK);
    assert_eq!(
        ready,
        json!({"ready": true, "listeners": [
            {"name": "https", "address": "127.0.0.1:8883", "state": "accepting"},
            {"name": "mqtts", "address": "127.0.0.1:8883", "state": "accepting"},
        ]})
    );
    harness.set_listeners(&[("https", Accepting), ("mqtts", Draining)]);
    assert_eq!(status().await, 503);
}

#[tokio::test]
async fn the_root_certificate_is_served_as_pem() {
    let answer = Harness::new().admin("GET /ca.pem", "").await;
    assert_eq!(answer.header("content-type"), Some("application/x-pem-file"));
    assert!(answer.text.starts_with("-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn the_policies_connection_strings_log_in_and_have_exactly_the_documented_parts() {
    let harness = Harness::new();
    let answer = harness.admin("GET /connection-strings", "").await.expect(StatusCode::OK);
    let policies = answer["policies"].as_object().unwrap();
    let names: Vec<_> = policies.keys().collect();
    assert_eq!(names, ["device", "iothubowner", "registryRead", "registryReadWrite", "service"]);
    let owner = policies["iothubowner"].as_str().unwrap();
    let parts: Vec<_> = owner.split(';').map(|part| part.split_once('=').unwrap().0).collect();
    assert_eq!(parts, ["HostName", "SharedAccessKeyName", "SharedAccessKey"]);
    assert!(owner.starts_with("HostName=localhost;SharedAccessKeyName=iothubowner;"));
}

#[tokio::test]
async fn an_identitys_connection_string_follows_its_authentication() {
    let harness = Harness::new();
    let device = harness.create_device("d+1").await;
    harness.create_module("d+1", "m1").await;
    let string = async |query: &str| harness.admin(&format!("GET /connection-strings?{query}"), "").await;
    let of_device = string("device=d+1").await.expect(StatusCode::OK);
    let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    assert_eq!(
        of_device["connectionString"],
        format!("HostName=localhost;DeviceId=d+1;SharedAccessKey={key}")
    );
    assert!(of_device["secondaryConnectionString"].is_string());
    let of_module = string("device=d%2B1&module=m1").await.expect(StatusCode::OK);
    let text = of_module["connectionString"].as_str().unwrap();
    assert!(text.starts_with("HostName=localhost;DeviceId=d+1;ModuleId=m1;SharedAccessKey="), "{text}");
    let body = r#"{"deviceId":"x","authentication":{"type":"certificateAuthority"}}"#;
    harness.owner("PUT /devices/x", &[], body).await.expect(StatusCode::OK);
    let of_x509 = string("device=x").await.expect(StatusCode::OK);
    assert_eq!(of_x509["connectionString"], "HostName=localhost;DeviceId=x;x509=true");
    assert!(of_x509.get("secondaryConnectionString").is_none());
    string("device=ghost").await.refused(404, "DeviceNotFound");
    string("device=x&module=ghost").await.refused(404, "ModuleNotFound");
    string("module=m1").await.refused(400, "ArgumentInvalid");
}

fn sample(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../auth/tests/certificates");
    std::fs::read_to_string(format!("{folder}/{name}.pem")).unwrap()
}

#[tokio::test]
async fn a_certificate_authority_is_added_read_listed_and_removed() {
    let harness = Harness::new();
    let body = json!({"name": "root", "certificate": sample("root-rsa"), "verified": true}).to_string();
    let added = harness.admin("POST /admin/certificates", &body).await.expect(StatusCode::OK);
    assert_eq!((&added["name"], &added["isVerified"]), (&json!("root"), &json!(true)));
    assert_eq!(added["thumbprint"].as_str().unwrap().len(), 40);
    let pem = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(pem(added["certificate"].as_str().unwrap()), pem(&sample("root-rsa")));
    assert_eq!(harness.admin("GET /admin/certificates", "").await.json(), json!([added]));
    assert_eq!(harness.admin("GET /admin/certificates/root", "").await.json(), added);
    let removed = harness.admin("DELETE /admin/certificates/root", "").await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    harness.admin("GET /admin/certificates/root", "").await.refused(404, "CertificateNotFound");
}

#[tokio::test]
async fn an_unverified_authority_gets_a_code_and_a_wrong_proof_is_refused() {
    let harness = Harness::new();
    let body = json!({"name": "root", "certificate": sample("root-rsa")}).to_string();
    let added = harness.admin("POST /admin/certificates", &body).await.expect(StatusCode::OK);
    assert_eq!(added["isVerified"], false);
    let code =
        harness.admin("POST /admin/certificates/root/verification-code", "").await.expect(StatusCode::OK);
    assert!(code["verificationCode"].as_str().unwrap().len() >= 32);
    let proof = json!({"certificate": sample("v1-device")}).to_string();
    let refused = harness.admin("POST /admin/certificates/root/verify", &proof).await;
    let text = refused.refused(400, "ArgumentInvalid");
    assert!(text.contains("verification code"), "{text}");
    harness.admin("POST /admin/certificates/ghost/verify", &proof).await.refused(404, "CertificateNotFound");
}

#[tokio::test]
async fn what_is_no_authority_or_lacks_a_member_is_refused_in_plain_words() {
    let harness = Harness::new();
    for (body, words) in [
        (json!({"name": "x", "certificate": sample("v1-device")}), "no certificate authority"),
        (json!({"name": "x", "certificate": "garbage"}), ""),
        (json!({"certificate": sample("root-rsa")}), "'name' is missing"),
        (json!({"name": "x"}), "'certificate' is missing"),
        (
            json!({"name": "x", "certificate": sample("root-rsa"), "verified": "yes"}),
            "'verified' must be a boolean",
        ),
    ] {
        let text = harness
            .admin("POST /admin/certificates", &body.to_string())
            .await
            .refused(400, "ArgumentInvalid");
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(harness.admin("GET /admin/certificates", "").await.json(), json!([]));
}

#[tokio::test]
async fn the_journal_shows_who_did_what_newest_first_and_by_identity() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    harness.policy("registryRead", "GET /devices/ghost", &[], "").await.refused(404, "DeviceNotFound");
    let all = harness.admin("GET /admin/journal", "").await.expect(StatusCode::OK);
    let operations: Vec<_> = all.as_array().unwrap().iter().map(|entry| entry["operation"].clone()).collect();
    assert_eq!(operations, ["GetDevice", "CreateModule", "CreateDevice"]);
    assert_eq!(
        all[0],
        json!({"at": "2026-01-01T00:00:00.0000000Z", "operation": "GetDevice", "deviceId": "ghost",
               "policy": "registryRead", "credential": "sas-policy", "protocol": "https", "outcome": "failed",
               "errorCode": 404_001, "error": "DeviceNotFound"})
    );
    let of_module = harness.admin("GET /admin/journal?device=d1&module=m1&limit=5", "").await.json();
    assert_eq!(of_module.as_array().unwrap().len(), 1);
    assert_eq!(of_module[0]["outcome"], "succeeded");
    assert_eq!(harness.admin("GET /admin/journal?limit=1", "").await.json().as_array().unwrap().len(), 1);
    for limit in ["0", "1001", "many"] {
        harness.admin(&format!("GET /admin/journal?limit={limit}"), "").await.refused(400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn no_events_and_no_connections_are_empty_lists() {
    let harness = Harness::new();
    for path in ["/admin/events", "/admin/events?device=d1&limit=5", "/admin/connections"] {
        assert_eq!(
            harness.admin(&format!("GET {path}"), "").await.expect(StatusCode::OK),
            json!([]),
            "{path}"
        );
    }
    harness.admin("GET /admin/events?device=a%20b", "").await.refused(400, "ArgumentInvalid");
}

/// A device's own right to connect and to send, as its token would give it.
fn own_grant(identity: &IdentityId) -> Arc<Grant> {
    Arc::new(Grant {
        subject: Subject::Identity(identity.clone()),
        scope: Scope::Identity(identity.clone()),
        permissions: Permissions::DEVICE_CONNECT,
        expires_at: Some(Timestamp::from_unix_secs(NOW_SECS + 60)),
        credential: CredentialKind::SasModuleKey,
        revision: None,
    })
}

#[tokio::test]
async fn a_session_and_its_messages_are_shown_with_everything_known_about_them() {
    let harness = Harness::new();
    harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    let identity = IdentityId::parse("d1", Some("m1")).unwrap();
    let grant = own_grant(&identity);
    let protocol = ProtocolLabel("mqtt-ws");
    let details = Details { protocol, connection: Some(ConnectionId(3)) };
    let by = harness.hub.gate().admit::<Connect>(&grant, identity.clone(), details).await.unwrap();
    let options = SessionOptions {
        connection: ConnectionId(3),
        protocol,
        peer: ([127, 0, 0, 1], 4711).into(),
        credential_grace: Duration::ZERO,
        will: None,
        product_info: Some("sdk/1".into()),
        model_id: None,
        keep_saved: false,
    };
    let session = harness.hub.connect(by, options).unwrap();
    for (body, value) in [(&b"{\"t\":1}"[..], Some("x")), (b"\xff\x00", None)] {
        let by = harness.hub.gate().admit::<SendTelemetry>(&grant, identity.clone(), details).await.unwrap();
        let properties = MessageProperties {
            message_id: Some("1".into()),
            application: vec![("k".into(), value.map(Into::into))],
            ..MessageProperties::default()
        };
        harness.hub.send_telemetry(by, DeviceMessage { properties, body: Bytes::from_static(body) }).unwrap();
    }

    let connections = harness.admin("GET /admin/connections", "").await.expect(StatusCode::OK);
    assert_eq!(
        connections,
        json!([{"connection": 3, "deviceId": "d1", "moduleId": "m1", "protocol": "mqtt-ws",
                "peer": "127.0.0.1:4711", "credential": "sas-module-key",
                "connectedAt": "2026-01-01T00:00:00.0000000Z",
                "credentialExpiresAt": "2026-01-01T00:01:00.0000000Z", "productInfo": "sdk/1"}])
    );
    let events = harness.admin("GET /admin/events?device=d1", "").await.expect(StatusCode::OK);
    assert_eq!((&events[0]["body"], &events[0]["bodyEncoding"]), (&json!("/wA="), &json!("base64")));
    assert_eq!((&events[1]["body"], &events[1]["bodyEncoding"]), (&json!("{\"t\":1}"), &json!("utf-8")));
    assert_eq!((&events[0]["sequenceNumber"], &events[1]["sequenceNumber"]), (&json!(1), &json!(0)));
    assert_eq!(events[1]["systemProperties"], json!({"messageId": "1"}));
    assert_eq!(
        (&events[1]["properties"], &events[0]["properties"]),
        (&json!({"k": "x"}), &json!({"k": null}))
    );
    assert_eq!((&events[0]["deviceId"], &events[0]["moduleId"]), (&json!("d1"), &json!("m1")));
    let newest = harness.admin("GET /admin/events?limit=1", "").await.json();
    assert_eq!(newest, json!([events[0]]));
    assert_eq!(harness.admin("GET /admin/events?device=d2", "").await.json(), json!([]));

    let module = harness.owner("GET /devices/d1/modules/m1", &[], "").await.json();
    assert_eq!(module["connectionState"], "Connected");
    assert_eq!(module["lastActivityTime"], "2026-01-01T00:00:00.0000000Z");
    session.end();
    assert_eq!(harness.admin("GET /admin/connections", "").await.json(), json!([]));
}

#[tokio::test]
async fn the_admin_listener_knows_no_hub_call_and_the_hub_no_admin_call() {
    let harness = Harness::new();
    harness.admin("GET /devices", "").await.refused(404, "GenericNotFound");
    harness.admin("POST /health", "").await.refused(405, "GenericMethodNotAllowed");
    harness.owner("GET /admin/journal", &[], "").await.refused(404, "GenericNotFound");
}

#[tokio::test]
async fn pages_of_other_sites_are_kept_out_and_everything_else_is_not() {
    let harness = Harness::new();
    let site = async |site| {
        let request = request("GET /connection-strings", &[("sec-fetch-site", site)], Body::empty());
        Answer::to(&harness.admin, request).await
    };
    for own in ["same-origin", "none"] {
        site(own).await.expect(StatusCode::OK);
    }
    for foreign in ["cross-site", "same-site"] {
        site(foreign).await.refused(403, "GenericForbidden");
    }
}

#[tokio::test]
async fn the_openapi_documents_are_served() {
    let harness = Harness::new();
    for (path, call) in [("/openapi.json", "/admin/journal"), ("/service/openapi.json", "/twins/{device}")] {
        let document: Value = harness.admin(&format!("GET {path}"), "").await.expect(StatusCode::OK);
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["paths"].get(call).is_some(), "{path}");
    }
}
