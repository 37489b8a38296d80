//! What a CleanSession=0 session leaves behind: its subscriptions, restored at the next CONNECT of the identity
//! (contract/mqtt.md 2.9). SDKs that renew by reconnecting never subscribe again.

use serde_json::{Value, json};

use crate::harness::mqtt::{Login, Packet};
use crate::harness::{Emulator, Mqtt, Port};

const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

async fn log_in(emulator: &Emulator, identity: &str, clean_session: bool) -> (Mqtt, bool) {
    let token = emulator.token(identity, 3600).await;
    let mut mqtt = Mqtt::new(emulator.io(Port::Mqtts).await);
    let (is_present, code) = mqtt.log_in(&Login { clean_session, ..Login::new(identity, &token) }).await;
    assert_eq!(code, 0);
    (mqtt, is_present)
}

async fn set_desired(emulator: &Emulator, twin: &str, value: u32) {
    let patch = json!({ "properties": { "desired": { "interval": value } } });
    emulator.owner(&format!("PATCH /twins/{twin}"), &[], &patch).await.ok();
}

/// The next packet is the news about `interval`.
async fn is_told(mqtt: &mut Mqtt, value: u32) {
    match mqtt.next().await {
        Some(Packet::Publish { topic, payload }) => {
            assert!(topic.starts_with("$iothub/twin/PATCH/properties/desired/?$version="), "{topic}");
            let patch: Value = serde_json::from_slice(&payload).expect("a patch is JSON");
            assert_eq!(patch["interval"], value);
        }
        other => panic!("instead of a notification: {other:?}"),
    }
}

async fn with_identities() -> Emulator {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", json!({})).await;
    emulator
}

#[tokio::test]
async fn subscriptions_survive_a_lost_connection() {
    for (identity, twin) in [("d1", "d1"), ("d1/m1", "d1/modules/m1")] {
        let emulator = with_identities().await;
        let (mut first, is_present) = log_in(&emulator, identity, false).await;
        assert!(!is_present);
        assert_eq!(first.subscribe(&["$iothub/twin/res/#", DESIRED]).await, [0, 0]);
        drop(first);
        let (mut second, is_present) = log_in(&emulator, identity, false).await;
        assert!(is_present);
        set_desired(&emulator, twin, 1).await;
        is_told(&mut second, 1).await;
    }
}

#[tokio::test]
async fn subscriptions_survive_a_take_over_as_at_a_renewal() {
    let emulator = with_identities().await;
    let (mut first, _) = log_in(&emulator, "d1", false).await;
    first.subscribe(&[DESIRED]).await;
    let (mut second, is_present) = log_in(&emulator, "d1", false).await;
    first.is_closed().await;
    assert!(is_present);
    set_desired(&emulator, "d1", 2).await;
    is_told(&mut second, 2).await;
}

#[tokio::test]
async fn a_clean_session_forgets_what_was_stored() {
    let emulator = with_identities().await;
    let (mut first, _) = log_in(&emulator, "d1", false).await;
    first.subscribe(&[DESIRED]).await;
    let (mut clean, is_present) = log_in(&emulator, "d1", true).await;
    assert!(!is_present);
    set_desired(&emulator, "d1", 3).await;
    // The answer to a ping comes first: there was no notification.
    clean.ping().await;
    let (mut third, is_present) = log_in(&emulator, "d1", false).await;
    assert!(!is_present);
    set_desired(&emulator, "d1", 4).await;
    third.ping().await;
}

#[tokio::test]
async fn what_a_clean_session_subscribes_is_not_stored() {
    let emulator = with_identities().await;
    let (mut clean, _) = log_in(&emulator, "d1", true).await;
    clean.subscribe(&[DESIRED]).await;
    set_desired(&emulator, "d1", 5).await;
    is_told(&mut clean, 5).await;
    let (mut next, is_present) = log_in(&emulator, "d1", false).await;
    assert!(!is_present);
    set_desired(&emulator, "d1", 6).await;
    next.ping().await;
}

#[tokio::test]
async fn stored_subscriptions_go_with_the_identity() {
    let emulator = with_identities().await;
    let (mut first, _) = log_in(&emulator, "d1", false).await;
    first.subscribe(&[DESIRED]).await;
    emulator.owner("DELETE /devices/d1", &[("If-Match", "*")], &Value::Null).await.ok();
    first.is_closed().await;
    emulator.create_device("d1").await;
    let (_second, is_present) = log_in(&emulator, "d1", false).await;
    assert!(!is_present);
}

#[tokio::test]
async fn nothing_that_happened_in_between_is_sent_later() {
    let emulator = with_identities().await;
    let (mut first, _) = log_in(&emulator, "d1", false).await;
    first.subscribe(&[DESIRED]).await;
    first.send(&crate::harness::mqtt::packet(0xe0, &[])).await;
    first.is_closed().await;
    set_desired(&emulator, "d1", 7).await;
    let (mut second, is_present) = log_in(&emulator, "d1", false).await;
    assert!(is_present);
    second.ping().await;
    set_desired(&emulator, "d1", 8).await;
    is_told(&mut second, 8).await;
}
