//! Cloud-to-device messages from the queue to the client's acknowledgement; `contract/mqtt.md 6`.

use std::time::Duration;

use hub::c2d::Outcome;
use hub::limits::C2D_LOCK;

use crate::harness::*;

/// The message with this body, as it is sent with QoS 1.
fn publish(packet_id: u16, body: &str) -> String {
    format!("PUBLISH {packet_id} {}", topic_and(body))
}

fn redelivered(packet_id: u16, body: &str) -> String {
    format!("PUBLISH {packet_id} DUP {}", topic_and(body))
}

fn topic_and(body: &str) -> String {
    format!(
        "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid={body}&iothub-ack=full {body}"
    )
}

async fn pass(bench: &Bench, time: Duration) {
    bench.clock.advance(time);
    bench.hub.run_due();
}

#[tokio::test]
async fn a_message_is_completed_when_it_is_acknowledged_and_not_before() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    bench.send_message("a").await;
    assert_eq!(client.next().await, publish(1, "a"));
    client.assert_nothing_came().await;
    assert!(bench.feedback().await.is_empty());
    client.send(&PubAck(1)).await;
    client.assert_nothing_came().await;
    assert_eq!(bench.feedback().await, [("a".to_owned(), Outcome::Success)]);
}

#[tokio::test]
async fn with_qos_0_a_message_is_completed_by_being_sent() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(0).await;
    bench.send_message("a").await;
    assert_eq!(client.next().await, format!("PUBLISH {}", topic_and("a")));
    client.assert_nothing_came().await;
    assert_eq!(bench.feedback().await, [("a".to_owned(), Outcome::Success)]);
}

#[tokio::test]
async fn a_message_that_was_delivered_before_is_completed_with_qos_0_without_being_sent() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    bench.send_message("a").await;
    assert_eq!(client.next().await, publish(1, "a"));
    client.subscribe_to_messages(0).await;
    pass(&bench, C2D_LOCK).await;
    bench.send_message("b").await;
    assert_eq!(client.next().await, format!("PUBLISH {}", topic_and("b")));
    client.assert_nothing_came().await;
    assert_eq!(bench.feedback().await, ["a", "b"].map(|body| (body.to_owned(), Outcome::Success)));
}

#[tokio::test]
async fn ten_are_out_at_once_and_acknowledgements_in_any_order_bring_the_rest_in_order() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    for number in 1..=14 {
        bench.send_message(&number.to_string()).await;
    }
    for number in 1..=10 {
        assert_eq!(client.next().await, publish(number, &number.to_string()));
    }
    client.assert_nothing_came().await;
    for (acknowledged, next) in [(10, 11), (2, 12), (5, 13), (11, 14)] {
        client.send(&PubAck(acknowledged)).await;
        assert_eq!(client.next().await, publish(next, &next.to_string()));
    }
    client.send(&PubAck(10)).await;
    client.assert_nothing_came().await;
    let completed: Vec<_> = bench.feedback().await.into_iter().map(|(body, _)| body).collect();
    assert_eq!(completed, ["10", "2", "5", "11"], "an acknowledgement that names nothing changes nothing");
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_as_dup_when_its_lock_ends_and_before_newer_ones() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    for number in 1..=11 {
        bench.send_message(&number.to_string()).await;
    }
    for number in 1..=10 {
        assert_eq!(client.next().await, publish(number, &number.to_string()));
    }
    client.send(&PubAck(1)).await;
    assert_eq!(client.next().await, publish(11, "11"));
    pass(&bench, C2D_LOCK - Duration::from_secs(1)).await;
    client.assert_nothing_came().await;
    pass(&bench, Duration::from_secs(1)).await;
    for number in 2..=11 {
        assert_eq!(client.next().await, redelivered(number, &number.to_string()));
    }
    client.send(&PubAck(3)).await;
    client.assert_nothing_came().await;
    let completed: Vec<_> = bench.feedback().await.into_iter().map(|(body, _)| body).collect();
    assert_eq!(completed, ["1", "3"]);
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_on_the_next_connection_without_a_subscribe() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    bench.send_message("a").await;
    assert_eq!(client.next().await, publish(1, "a"));
    client.vanish().await;
    bench.send_message("b").await;

    let mut client = bench.accept();
    client.send(&bench.connect("d")).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 1");
    assert_eq!(client.next().await, redelivered(1, "a"));
    assert_eq!(client.next().await, publish(2, "b"));
    client.send(&PubAck(2)).await;
    client.send(&PubAck(1)).await;
    client.assert_nothing_came().await;
    assert_eq!(bench.feedback().await, ["b", "a"].map(|body| (body.to_owned(), Outcome::Success)));
}

#[tokio::test]
async fn a_connection_that_takes_over_gets_what_the_older_one_had_not_acknowledged() {
    let bench = Bench::new().await;
    let mut older = bench.online("d").await;
    older.subscribe_to_messages(1).await;
    bench.send_message("a").await;
    assert_eq!(older.next().await, publish(1, "a"));
    let mut newer = bench.online("d").await;
    older.assert_closed().await;
    assert_eq!(newer.next().await, redelivered(1, "a"));
}

#[tokio::test]
async fn nothing_comes_without_a_subscription_and_what_waited_comes_with_one() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    bench.send_message("a").await;
    client.assert_nothing_came().await;
    client.subscribe_to_messages(1).await;
    assert_eq!(client.next().await, publish(1, "a"));
}

#[tokio::test]
async fn nothing_comes_after_unsubscribe_and_what_was_out_can_still_be_acknowledged() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    bench.send_message("a").await;
    assert_eq!(client.next().await, publish(1, "a"));
    client.send(&Unsubscribe(2, MESSAGES)).await;
    assert_eq!(client.next().await, "UNSUBACK 2");
    bench.send_message("b").await;
    client.assert_nothing_came().await;
    client.send(&PubAck(1)).await;
    client.assert_nothing_came().await;
    assert_eq!(bench.feedback().await, [("a".to_owned(), Outcome::Success)]);
}

#[tokio::test]
async fn overlapping_filters_bring_one_copy_with_the_better_qos() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    let filters = [(MESSAGES, 0), ("devices/+/messages/devicebound/#", 1)];
    client.send(&Subscribe(1, &filters)).await;
    assert_eq!(client.next().await, "SUBACK 1 [0, 1]");
    bench.send_message("a").await;
    assert_eq!(client.next().await, publish(1, "a"));
    client.assert_nothing_came().await;
}

#[tokio::test]
async fn a_clean_session_gets_messages_only_after_it_subscribed() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    client.leave().await;
    bench.send_message("a").await;
    let mut clean = bench.accept();
    clean.send(&Connect { clean_session: true, ..bench.connect("d") }).await;
    assert_eq!(clean.next().await, "CONNACK 0 session present 0");
    clean.assert_nothing_came().await;
    clean.subscribe_to_messages(1).await;
    assert_eq!(clean.next().await, publish(1, "a"));
}

#[tokio::test]
async fn a_module_subscribes_and_gets_nothing_of_its_devices_messages() {
    let bench = Bench::new().await;
    let mut module = bench.online("d/m").await;
    let filters = [("devices/d/modules/m/messages/devicebound/#", 1), ("devices/d/modules/m/#", 1)];
    module.send(&Subscribe(1, &filters)).await;
    assert_eq!(module.next().await, "SUBACK 1 [1, 1]");
    bench.send_message("a").await;
    module.assert_nothing_came().await;
}

#[tokio::test]
async fn a_late_acknowledgement_neither_completes_nor_closes_and_the_message_comes_again() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.subscribe_to_messages(1).await;
    bench.send_message("a").await;
    assert_eq!(client.next().await, publish(1, "a"));
    // Its lock is over, and nobody has noticed yet.
    bench.clock.advance(C2D_LOCK);
    client.send(&PubAck(1)).await;
    assert_eq!(client.next().await, redelivered(2, "a"));
    assert!(bench.feedback().await.is_empty());
}
