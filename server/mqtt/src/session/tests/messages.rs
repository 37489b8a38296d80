//! Cloud-to-device messages; `contract/mqtt.md 4`, `6.3` and `6.4`.

use std::sync::Arc;

use hub::c2d::CloudToDeviceMessage;
use hub::limits::C2D_LOCK;

use super::*;

const MESSAGES: &str = "devices/d/messages/devicebound/#";
const ANY_DEVICE: &str = "devices/+/messages/devicebound/#";
const TOPIC: &str = "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound";

/// A device that is online and kept these, each with its QoS.
fn device(filters: &[(&str, u8)]) -> Session {
    let login = Connect { client_id: "d".into(), username: "h/d".into(), ..connect() };
    let mut session = Session::new();
    session.on_packet(Packet::Connect(Box::new(login)), at());
    let kept = |(filter, qos): &(&str, u8)| SavedSubscription {
        filter: (*filter).into(),
        qos: *qos,
        created_at: at(),
    };
    let saved = SavedSession { subscriptions: filters.iter().map(kept).collect() };
    session.on_reply(Reply::Connected { saved, is_resumed: !filters.is_empty() });
    session
}

fn message(sequence: u64) -> LockedMessage {
    LockedMessage {
        token: LockToken::parse(&format!("00000000-0000-4000-8000-{sequence:012}")).expect("a GUID"),
        locked_until: at().plus(C2D_LOCK),
        sequence,
        enqueued_at: at(),
        expires_at: at().plus(C2D_LOCK * 60),
        delivery_count: 0,
        is_redelivery: false,
        message: Arc::new(CloudToDeviceMessage { body: "hi".into(), ..CloudToDeviceMessage::default() }),
    }
}

fn taken(session: &mut Session, message: LockedMessage) -> Vec<String> {
    shown(&session.on_reply(Reply::MessageTaken(Some(message))))
}

fn told(session: &mut Session, at: Timestamp) -> Vec<String> {
    shown(&session.on_delivery(Delivery::MessagesWaiting, at))
}

#[test]
fn a_message_is_completed_by_its_acknowledgement_once() {
    let mut session = device(&[(MESSAGES, 1)]);
    assert_eq!(told(&mut session, at()), ["take a message"]);
    assert_eq!(taken(&mut session, message(1)), [format!("PUBLISH 1 {TOPIC} hi")]);
    assert_eq!(on(&mut session, Packet::PubAck { packet_id: 2 }), ["Alive"]);
    assert_eq!(on(&mut session, Packet::PubAck { packet_id: 1 }), ["Complete"]);
    assert!(session.on_reply(Reply::MessageSettled).is_empty());
    assert_eq!(on(&mut session, Packet::PubAck { packet_id: 1 }), ["Alive"]);
}

#[test]
fn with_qos_0_a_message_is_completed_once_sent_and_never_sent_twice() {
    let mut session = device(&[(MESSAGES, 0)]);
    assert_eq!(taken(&mut session, message(1)), [format!("PUBLISH {TOPIC} hi"), "Complete".into()]);
    let again = LockedMessage { is_redelivery: true, ..message(2) };
    assert_eq!(taken(&mut session, again), ["Complete"]);
}

#[test]
fn of_two_filters_that_ask_for_it_a_message_comes_once_with_the_better_qos() {
    for filters in [[(MESSAGES, 0), (ANY_DEVICE, 1)], [(MESSAGES, 1), (ANY_DEVICE, 0)]] {
        let mut session = device(&filters);
        assert_eq!(taken(&mut session, message(1)), [format!("PUBLISH 1 {TOPIC} hi")]);
    }
}

#[test]
fn a_redelivered_message_is_marked_dup_and_keeps_its_packet_id_on_the_same_connection() {
    let mut session = device(&[(MESSAGES, 1)]);
    taken(&mut session, message(1));
    taken(&mut session, message(2));
    let again = LockedMessage { is_redelivery: true, ..message(1) };
    assert_eq!(taken(&mut session, again), [format!("PUBLISH 1 DUP {TOPIC} hi")]);
    let from_before = LockedMessage { is_redelivery: true, ..message(3) };
    assert_eq!(taken(&mut session, from_before), [format!("PUBLISH 3 DUP {TOPIC} hi")]);
}

#[test]
fn with_ten_out_no_more_are_taken_until_one_is_acknowledged_or_its_lock_ends() {
    let mut session = device(&[(MESSAGES, 1)]);
    for sequence in 1..=10 {
        assert_eq!(told(&mut session, at()), ["take a message"]);
        taken(&mut session, message(sequence));
    }
    assert!(told(&mut session, at()).is_empty());
    assert_eq!(told(&mut session, at().plus(C2D_LOCK)), ["take a message"]);
    on(&mut session, Packet::PubAck { packet_id: 4 });
    assert_eq!(told(&mut session, at()), ["take a message"]);
}

#[test]
fn none_is_taken_without_a_subscription_or_after_it_was_ended() {
    let mut session = device(&[]);
    assert!(told(&mut session, at()).is_empty());
    assert_eq!(
        on(&mut session, subscribe(1, &[(ANY_DEVICE, 1)])),
        ["Alive", "Subscribe(CloudToDevice)", &format!("keep [\"{ANY_DEVICE}\"]"), "SUBACK 1 [1]"]
    );
    assert_eq!(told(&mut session, at()), ["take a message"]);
    assert_eq!(
        on(&mut session, unsubscribe(2, ANY_DEVICE)),
        ["Alive", "Unsubscribe(CloudToDevice)", "keep []", "UnsubAck { packet_id: 2 }"]
    );
    assert!(told(&mut session, at()).is_empty());
}

#[test]
fn a_module_gets_its_subscription_granted_and_the_core_is_asked_for_nothing() {
    let filter = "devices/d/modules/m/messages/devicebound/#";
    assert_eq!(
        on(&mut connected(&[]), subscribe(1, &[(filter, 1)])),
        ["Alive", &format!("keep [\"{filter}\"]"), "SUBACK 1 [1]"]
    );
}

#[test]
fn a_message_whose_topic_would_be_too_long_is_rejected() {
    let application = vec![("k".to_owned(), Some("/".repeat(30_000)))];
    let long = CloudToDeviceMessage { application, ..CloudToDeviceMessage::default() };
    let mut session = device(&[(MESSAGES, 1)]);
    assert_eq!(taken(&mut session, LockedMessage { message: Arc::new(long), ..message(1) }), ["Reject"]);
    assert_eq!(taken(&mut session, message(2)), [format!("PUBLISH 1 {TOPIC} hi")]);
}
