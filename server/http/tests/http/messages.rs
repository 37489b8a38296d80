//! Cloud-to-device messages and their feedback as back ends handle them over REST: contract/rest.md 1.14.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

const FEEDBACK: &str = "/messages/serviceBound/feedback";

async fn world() -> Harness {
    let harness = Harness::new();
    harness.create_device("d").await;
    harness
}

async fn service(harness: &Harness, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    harness.policy("service", line, headers, body).await
}

async fn send(harness: &Harness, headers: &[(&str, &str)], body: &str) -> Answer {
    service(harness, "POST /devices/d/messages/deviceBound", headers, body).await
}

/// As the device `d` sees it, through a policy that may act as one.
async fn receive(harness: &Harness) -> Answer {
    harness.policy("device", "GET /devices/d/messages/deviceBound", &[], "").await
}

#[tokio::test]
async fn what_the_explorer_sends_arrives_with_its_properties() {
    let harness = world().await;
    let headers = [
        ("iothub-app-Key", "v"),
        ("iothub-messageid", "m"),
        ("iothub-correlationid", "c"),
        ("iothub-ack", "Full"),
        ("iothub-expiry", "2026-01-01T00:30:00Z"),
        ("Content-Encoding", "utf-8"),
    ];
    assert_eq!(send(&harness, &headers, "hi").await.status, StatusCode::NO_CONTENT);
    let answer = receive(&harness).await;
    assert_eq!(answer.text, "hi");
    for (name, value) in [
        ("iothub-app-key", "v"),
        ("iothub-messageid", "m"),
        ("iothub-correlationid", "c"),
        ("iothub-ack", "full"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-expiry", "2026-01-01T00:30:00.0000000Z"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_verb_tells_the_sender_from_the_receiver_and_each_needs_its_right() {
    let harness = world().await;
    let path = "/devices/d/messages/deviceBound";
    //                          service  device
    for (verb, allowed) in [("POST", [true, false]), ("GET", [false, true])] {
        for (policy, allowed) in ["service", "device"].into_iter().zip(allowed) {
            let answer = harness.policy(policy, &format!("{verb} {path}"), &[], "").await;
            match allowed {
                true => assert!(answer.status.is_success(), "{policy} {verb}: {}", answer.text),
                false => drop(answer.refused(401, "IotHubUnauthorizedAccess")),
            }
        }
    }
}

#[tokio::test]
async fn a_message_against_the_rules_is_refused_and_not_queued() {
    let harness = world().await;
    let limit = 64 * 1024;
    send(&harness, &[], &"x".repeat(limit + 1)).await.refused(413, "MessageTooLarge");
    send(&harness, &[("iothub-messageid", "m")], &"x".repeat(limit)).await.refused(413, "MessageTooLarge");
    send(&harness, &[("iothub-ack", "maybe")], "").await.refused(400, "ArgumentInvalid");
    send(&harness, &[("iothub-expiry", "soon")], "").await.refused(400, "ArgumentInvalid");
    for expiry in ["2026-01-01T00:00:00Z", "2026-01-03T00:00:01Z"] {
        send(&harness, &[("iothub-expiry", expiry)], "").await.refused(403, "InvalidMessageExpiryTime");
    }
    assert_eq!(receive(&harness).await.status, StatusCode::NO_CONTENT);
    assert_eq!(send(&harness, &[], &"x".repeat(limit)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_51st_message_is_refused_and_a_purge_makes_room() {
    let harness = world().await;
    for _ in 0..50 {
        assert_eq!(send(&harness, &[], "").await.status, StatusCode::NO_CONTENT);
    }
    send(&harness, &[], "").await.refused(403, "DeviceMaximumQueueDepthExceeded");
    let purged = service(&harness, "DELETE /devices/d/commands", &[], "").await.expect(StatusCode::OK);
    assert_eq!(purged, json!({ "totalMessagesPurged": 50, "deviceId": "d", "moduleId": null }));
    let purged = service(&harness, "DELETE /devices/d/commands/", &[], "").await.expect(StatusCode::OK);
    assert_eq!(purged["totalMessagesPurged"], 0);
    assert_eq!(send(&harness, &[], "").await.status, StatusCode::NO_CONTENT);
}

/// Sends a message whose fate is asked for and purges it, so there is a record to read.
async fn make_feedback(harness: &Harness, id: &str) {
    let headers = [("iothub-ack", "full"), ("iothub-messageid", id)];
    assert_eq!(send(harness, &headers, "").await.status, StatusCode::NO_CONTENT);
    service(harness, "DELETE /devices/d/commands", &[], "").await.expect(StatusCode::OK);
}

async fn feedback(harness: &Harness) -> Option<(Value, String)> {
    let answer = service(harness, &format!("GET {FEEDBACK}"), &[], "").await;
    if answer.status == StatusCode::NO_CONTENT {
        return None;
    }
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/vnd.microsoft.iothub.feedback.json"));
    let quoted = answer.header("etag").unwrap();
    let token = quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
    Some((serde_json::from_str(&answer.text).unwrap(), token.to_owned()))
}

#[tokio::test]
async fn feedback_is_read_under_a_lock_until_it_is_completed() {
    let harness = world().await;
    assert!(feedback(&harness).await.is_none());
    make_feedback(&harness, "m").await;
    let (records, token) = feedback(&harness).await.unwrap();
    assert_eq!(records.as_array().unwrap().len(), 1);
    assert_eq!(records[0]["originalMessageId"], "m");
    assert_eq!(records[0]["statusCode"], "Purged");
    assert!(feedback(&harness).await.is_none());
    let abandoned = service(&harness, &format!("POST {FEEDBACK}/{token}/abandon"), &[], "{}").await;
    assert_eq!(abandoned.status, StatusCode::NO_CONTENT);
    let (again, token) = feedback(&harness).await.unwrap();
    assert_eq!(again, records);
    let complete = format!("DELETE {FEEDBACK}/{token}");
    assert_eq!(service(&harness, &complete, &[], "").await.status, StatusCode::NO_CONTENT);
    service(&harness, &complete, &[], "").await.refused(412, "DeviceMessageLockLost");
    assert!(feedback(&harness).await.is_none());
}

#[tokio::test]
async fn a_lock_on_feedback_lasts_a_minute() {
    let harness = world().await;
    make_feedback(&harness, "m").await;
    let (_, token) = feedback(&harness).await.unwrap();
    harness.clock.advance(Duration::from_secs(60));
    let late = service(&harness, &format!("DELETE {FEEDBACK}/{token}"), &[], "").await;
    late.refused(412, "DeviceMessageLockLost");
    assert!(feedback(&harness).await.is_some());
}

#[tokio::test]
async fn what_is_no_token_settles_no_feedback() {
    let harness = world().await;
    for line in [format!("DELETE {FEEDBACK}/x"), format!("POST {FEEDBACK}/x/abandon")] {
        service(&harness, &line, &[], "").await.refused(412, "DeviceMessageLockLost");
    }
}
