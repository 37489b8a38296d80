//! The queue through the hub: sessions, time, feedback.

use std::sync::Arc;
use std::time::Duration;

use crate::Hub;
use crate::c2d::{Acknowledgement, CloudToDeviceMessage, LockedMessage, Outcome, Settlement};
use crate::device_session::{Delivery, DeviceSession, Interest};
use crate::error::{ErrorCode, HubError};
use crate::gate::operations::{
    DeleteDevice, GetDevice, PollCloudToDevice, PurgeCloudToDevice, ReceiveCloudToDevice, ReceiveFeedback,
    SendCloudToDevice, SettleCloudToDevice, SettleFeedback,
};
use crate::ids::{IdentityId, IfMatch};
use crate::limits;
use crate::testing::{admit, admit_on, connect, hub, identity_grant, options, owner, register};
use crate::time::ManualClock;

fn send(hub: &Hub, device: &IdentityId, id: &str, ack: Acknowledgement) -> Result<(), HubError> {
    let message = CloudToDeviceMessage {
        message_id: Some(id.to_owned()),
        acknowledgement: Some(ack),
        ..CloudToDeviceMessage::default()
    };
    hub.send_cloud_to_device(owner::<SendCloudToDevice>(hub, device.device.clone()), message)
}

fn take(hub: &Hub, device: &IdentityId, connection: u64) -> Result<Option<LockedMessage>, HubError> {
    let by = admit_on::<ReceiveCloudToDevice>(
        hub,
        &identity_grant(device, None),
        device.device.clone(),
        connection,
    )?;
    hub.lock_next_message(by)
}

fn settle(
    hub: &Hub,
    device: &IdentityId,
    connection: u64,
    locked: &LockedMessage,
    how: Settlement,
) -> Result<(), HubError> {
    let grant = identity_grant(device, None);
    let by = admit_on::<SettleCloudToDevice>(hub, &grant, device.device.clone(), connection)?;
    hub.settle_message(by, locked.token, how)
}

fn feedback(hub: &Hub) -> Vec<(String, Outcome)> {
    let Some(batch) = hub.lock_next_feedback(owner::<ReceiveFeedback>(hub, ())).unwrap() else {
        return Vec::new();
    };
    hub.settle_feedback(owner::<SettleFeedback>(hub, ()), batch.token, Settlement::Complete).unwrap();
    let row =
        |record: &crate::c2d::FeedbackRecord| (record.original_message_id.clone().unwrap(), record.outcome);
    batch.records.iter().map(row).collect()
}

fn connected() -> (Arc<Hub>, Arc<ManualClock>, IdentityId, DeviceSession) {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let session = connect(&hub, &device, options(1)).unwrap();
    session.subscribe(Interest::CloudToDevice);
    (hub, clock, device, session)
}

#[tokio::test]
async fn a_connected_device_is_told_once_and_takes_what_waits_in_order() {
    let (hub, _, device, session) = connected();
    send(&hub, &device, "a", Acknowledgement::None).unwrap();
    send(&hub, &device, "b", Acknowledgement::None).unwrap();
    assert_eq!(session.next().await, Delivery::MessagesWaiting);
    let ids = [take(&hub, &device, 1), take(&hub, &device, 1)]
        .map(|taken| taken.unwrap().unwrap().message.message_id.clone().unwrap());
    assert_eq!(ids, ["a", "b"]);
    assert!(take(&hub, &device, 1).unwrap().is_none());
}

#[tokio::test]
async fn what_was_sent_while_offline_is_announced_when_the_device_subscribes() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    send(&hub, &device, "a", Acknowledgement::None).unwrap();
    let session = connect(&hub, &device, options(1)).unwrap();
    session.subscribe(Interest::CloudToDevice);
    assert_eq!(session.next().await, Delivery::MessagesWaiting);
}

#[test]
fn a_session_that_ends_frees_what_it_held_without_raising_the_count() {
    let (hub, _, device, session) = connected();
    send(&hub, &device, "a", Acknowledgement::None).unwrap();
    let held = take(&hub, &device, 1).unwrap().unwrap();
    drop(session);
    let late = settle(&hub, &device, 1, &held, Settlement::Complete).unwrap_err();
    assert_eq!(late.code(), ErrorCode::IotHubUnauthorizedAccess);
    let session = connect(&hub, &device, options(2)).unwrap();
    session.subscribe(Interest::CloudToDevice);
    let again = take(&hub, &device, 2).unwrap().unwrap();
    assert_eq!((again.sequence, again.delivery_count, again.is_redelivery), (1, 0, true));
    let lost = settle(&hub, &device, 2, &held, Settlement::Complete).unwrap_err();
    assert_eq!(lost.code(), ErrorCode::DeviceMessageLockLost);
}

#[tokio::test]
async fn a_session_may_let_go_of_what_it_holds_and_of_nothing_else() {
    let (hub, _, device, session) = connected();
    let other = register(&hub, "other", None);
    let others = connect(&hub, &other, options(2)).unwrap();
    for (device, connection) in [(&device, 1), (&other, 2)] {
        send(&hub, device, "a", Acknowledgement::None).unwrap();
        take(&hub, device, connection).unwrap().unwrap();
    }
    assert_eq!(session.next().await, Delivery::MessagesWaiting);
    hub.unlock_messages_of(&session);
    assert_eq!(session.next().await, Delivery::MessagesWaiting);
    let again = take(&hub, &device, 1).unwrap().unwrap();
    assert_eq!((again.delivery_count, again.is_redelivery), (0, true));
    assert!(take(&hub, &other, 2).unwrap().is_none());
    drop(others);
}

#[tokio::test]
async fn a_lock_that_runs_out_announces_the_message_again() {
    let (hub, clock, device, session) = connected();
    send(&hub, &device, "a", Acknowledgement::None).unwrap();
    assert_eq!(session.next().await, Delivery::MessagesWaiting);
    take(&hub, &device, 1).unwrap().unwrap();
    clock.advance(limits::C2D_LOCK);
    hub.run_due();
    assert_eq!(session.next().await, Delivery::MessagesWaiting);
    assert_eq!(take(&hub, &device, 1).unwrap().unwrap().delivery_count, 0);
}

#[test]
fn each_outcome_is_fed_back_once_to_those_who_asked() {
    let (hub, clock, device, _session) = connected();
    for (id, ack) in [
        ("completed", Acknowledgement::Full),
        ("completed unheard", Acknowledgement::Negative),
        ("rejected", Acknowledgement::Negative),
        ("rejected unheard", Acknowledgement::Positive),
        ("expired", Acknowledgement::Full),
    ] {
        send(&hub, &device, id, ack).unwrap();
    }
    for how in [Settlement::Complete, Settlement::Complete, Settlement::Reject, Settlement::Reject] {
        let locked = take(&hub, &device, 1).unwrap().unwrap();
        settle(&hub, &device, 1, &locked, how).unwrap();
    }
    clock.advance(limits::C2D_TTL_DEFAULT - Duration::from_secs(1));
    hub.run_due();
    assert_eq!(
        feedback(&hub),
        [("completed".to_owned(), Outcome::Success), ("rejected".to_owned(), Outcome::Rejected)]
    );
    clock.advance(Duration::from_secs(1));
    hub.run_due();
    assert_eq!(feedback(&hub), [("expired".to_owned(), Outcome::Expired)]);
    assert_eq!(feedback(&hub), []);
}

#[test]
fn a_purge_takes_locked_messages_too_and_says_how_many() {
    let (hub, _, device, _session) = connected();
    send(&hub, &device, "a", Acknowledgement::Negative).unwrap();
    send(&hub, &device, "b", Acknowledgement::None).unwrap();
    let held = take(&hub, &device, 1).unwrap().unwrap();
    let purged = hub.purge_messages(owner::<PurgeCloudToDevice>(&hub, device.device.clone())).unwrap();
    assert_eq!(purged, 2);
    assert_eq!(feedback(&hub), [("a".to_owned(), Outcome::Purged)]);
    let lost = settle(&hub, &device, 1, &held, Settlement::Complete).unwrap_err();
    assert_eq!(lost.code(), ErrorCode::DeviceMessageLockLost);
}

#[test]
fn the_identity_shows_how_many_messages_are_pending() {
    let (hub, _, device, _session) = connected();
    let pending = || hub.device(owner::<GetDevice>(&hub, device.device.clone())).unwrap().pending_messages;
    send(&hub, &device, "a", Acknowledgement::None).unwrap();
    let held = take(&hub, &device, 1).unwrap().unwrap();
    assert_eq!(pending(), 1);
    settle(&hub, &device, 1, &held, Settlement::Complete).unwrap();
    assert_eq!(pending(), 0);
}

#[test]
fn messages_need_a_device_that_exists_and_fit_its_limits() {
    let (hub, _, device, _session) = connected();
    let big = |bytes: usize| CloudToDeviceMessage { body: vec![0; bytes].into(), ..Default::default() };
    let by = || owner::<SendCloudToDevice>(&hub, device.device.clone());
    assert!(hub.send_cloud_to_device(by(), big(limits::C2D_BYTES)).is_ok());
    let refused = hub.send_cloud_to_device(by(), big(limits::C2D_BYTES + 1)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
    hub.delete_device(owner::<DeleteDevice>(&hub, device.device.clone()), &IfMatch::Any).unwrap();
    let gone = hub.send_cloud_to_device(by(), big(1)).unwrap_err();
    assert_eq!(gone.code(), ErrorCode::DeviceNotFound);
}

fn poll(hub: &Hub, device: &IdentityId, lock_secs: Option<u64>) -> Option<LockedMessage> {
    let by = admit::<PollCloudToDevice>(hub, &identity_grant(device, None), device.device.clone()).unwrap();
    hub.poll_next_message(by, lock_secs.map(Duration::from_secs)).unwrap()
}

#[test]
fn a_poll_locks_for_as_long_as_it_asks_from_5_to_300_seconds_and_leaves_no_activity() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    send(&hub, &device, "a", Acknowledgement::None).unwrap();
    for (asked, secs) in [(None, 60), (Some(0), 5), (Some(5), 5), (Some(180), 180), (Some(301), 300)] {
        assert!(poll(&hub, &device, asked).is_some(), "{asked:?}");
        clock.advance(Duration::from_secs(secs) - Duration::from_nanos(100));
        assert!(poll(&hub, &device, None).is_none(), "{asked:?}");
        clock.advance(Duration::from_nanos(100));
    }
    let presence = hub.device(owner::<GetDevice>(&hub, device.device)).unwrap().presence;
    assert_eq!(presence.last_activity, None);
}

#[test]
fn feedback_reads_as_the_json_that_sdks_parse() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    send(&hub, &device, "a\"b", Acknowledgement::Full).unwrap();
    hub.purge_messages(owner::<PurgeCloudToDevice>(&hub, device.device)).unwrap();
    let batch = hub.lock_next_feedback(owner::<ReceiveFeedback>(&hub, ())).unwrap().unwrap();
    let generation = batch.records[0].generation_id;
    assert_eq!(
        batch.to_json(),
        format!(
            r#"[{{"originalMessageId":"a\"b","enqueuedTimeUtc":"2026-01-01T00:00:00.0000000Z","statusCode":"Purged","description":"Purged","deviceId":"d","deviceGenerationId":"{generation}"}}]"#
        )
    );
}

#[test]
fn feedback_is_locked_while_it_is_read_and_free_again_when_its_reader_goes() {
    let (hub, clock, device, _session) = connected();
    for n in 0..=limits::FEEDBACK_BATCH_RECORDS {
        if n % limits::C2D_QUEUE_MESSAGES == 0 {
            hub.purge_messages(owner::<PurgeCloudToDevice>(&hub, device.device.clone())).unwrap();
        }
        send(&hub, &device, &n.to_string(), Acknowledgement::Full).unwrap();
    }
    hub.purge_messages(owner::<PurgeCloudToDevice>(&hub, device.device)).unwrap();
    let read = |connection| {
        let by =
            admit_on::<ReceiveFeedback>(&hub, &crate::testing::policy_grant(&hub, "service"), (), connection);
        hub.lock_next_feedback(by.unwrap()).unwrap()
    };
    let (first, second) = (read(7).unwrap(), read(8).unwrap());
    assert_eq!((first.records.len(), second.records.len()), (limits::FEEDBACK_BATCH_RECORDS, 1));
    assert!(read(8).is_none());
    hub.unlock_feedback_of(crate::ids::ConnectionId(7));
    assert_eq!(read(8).unwrap().records.len(), limits::FEEDBACK_BATCH_RECORDS);
    clock.advance(limits::C2D_LOCK);
    hub.run_due();
    assert_eq!(read(9).unwrap().records.len(), limits::FEEDBACK_BATCH_RECORDS);
}

#[test]
fn reading_feedback_for_ever_leaves_no_row_behind() {
    let (hub, clock, device, _session) = connected();
    for n in 0..100 {
        send(&hub, &device, &n.to_string(), Acknowledgement::Full).unwrap();
        hub.purge_messages(owner::<PurgeCloudToDevice>(&hub, device.device.clone())).unwrap();
        assert_eq!(feedback(&hub), [(n.to_string(), Outcome::Purged)]);
        assert_eq!(hub.deadlines.len(), 0);
        clock.advance(Duration::from_millis(100));
    }
}
