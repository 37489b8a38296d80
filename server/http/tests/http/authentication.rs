//! Who may call: contract/rest.md 4.3, 5.1, 5.2.

use std::time::Duration;

use axum::http::StatusCode;

use crate::harness::{Harness, VERSION};

const CODE: &str = "IotHubUnauthorizedAccess";

fn devices() -> String {
    format!("GET /devices?{VERSION}")
}

#[tokio::test]
async fn a_request_without_authorization_is_401_with_the_documented_text_and_a_challenge() {
    let harness = Harness::new();
    let answer = harness.raw(&devices(), &[], "").await;
    assert_eq!(answer.refused(401, CODE), "Authorization header missing");
    assert_eq!(answer.header("www-authenticate"), Some("SharedAccessSignature"));
}

#[tokio::test]
async fn malformed_expired_foreign_and_tampered_tokens_are_401() {
    let harness = Harness::new();
    let good = harness.policy_token("iothubowner");
    harness.raw(&devices(), &[("authorization", &good)], "").await.expect(StatusCode::OK);
    let tampered = good.replacen("sig=", "sig=A", 1);
    let renamed = good.replacen("skn=iothubowner", "skn=nobody", 1);
    let foreign = good.replacen("sr=localhost", "sr=elsewhere.example", 1);
    for bad in ["", "Bearer x.y.z", "SharedAccessSignature nonsense", &tampered, &renamed, &foreign] {
        harness.raw(&devices(), &[("authorization", bad)], "").await.refused(401, CODE);
    }
    harness.clock.advance(Duration::from_secs(3600));
    harness.raw(&devices(), &[("authorization", &good)], "").await.refused(401, CODE);
}

#[tokio::test]
async fn each_policy_may_do_exactly_what_its_permissions_say() {
    let harness = Harness::new();
    harness.create_device("d").await;
    let write = r#"{"deviceId":"e"}"#;
    //  policy               read   write  twin
    for (policy, read, put, twin) in [
        ("iothubowner", true, true, true),
        ("registryRead", true, false, false),
        ("registryReadWrite", true, true, false),
        ("service", false, false, true),
        ("device", false, false, false),
    ] {
        for (line, body, allowed) in [
            ("GET /devices/d", "", read),
            ("GET /devices", "", read),
            ("PUT /devices/e", write, put),
            ("DELETE /devices/e", "", put),
            ("GET /twins/d", "", twin),
            ("PATCH /twins/d", "{}", twin),
        ] {
            let answer = harness.policy(policy, line, &[], body).await;
            match allowed {
                true => assert!(answer.status.is_success(), "{policy} {line}: {}", answer.text),
                false => drop(answer.refused(401, CODE)),
            }
        }
    }
}

#[tokio::test]
async fn a_policy_without_the_right_changes_nothing() {
    let harness = Harness::new();
    let refused = harness.policy("registryRead", "PUT /devices/d", &[], r#"{"deviceId":"d"}"#).await;
    refused.refused(401, CODE);
    harness.owner("GET /devices/d", &[], "").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn a_devices_own_token_reads_no_registry_and_an_unknown_device_is_401_not_404() {
    let harness = Harness::new();
    let device = harness.create_device("d").await;
    let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    for resource in ["localhost/devices/d", "localhost/devices/ghost"] {
        let token = harness.own_token(resource, key);
        let answer =
            harness.raw(&format!("GET /devices/d?{VERSION}"), &[("authorization", &token)], "").await;
        answer.refused(401, CODE);
    }
}

#[tokio::test]
async fn a_refusal_and_a_missing_header_are_journalled() {
    let harness = Harness::new();
    harness.raw(&devices(), &[], "").await.refused(401, CODE);
    harness.raw(&devices(), &[("authorization", "SharedAccessSignature sr=x")], "").await.refused(401, CODE);
    let journal = harness.admin("GET /admin/journal", "").await.json();
    let entries = journal.as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!(entry["operation"], "Authenticate");
        assert_eq!(entry["outcome"], "refused");
        assert_eq!(entry["protocol"], "https");
    }
}
