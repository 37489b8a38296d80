//! What devices do with cloud-to-device messages: settlement, locks, and links that go (contract/amqp.md 4.2).

use std::time::Duration;

use fe2o3_amqp_types::definitions::{ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Modified, Rejected, Released};
use fe2o3_amqp_types::performatives::{Attach, Disposition, Performative};
use fe2o3_amqp_types::primitives::Value;
use hub::c2d::Outcome;

use crate::cloud_to_device::{
    LOCK, address, feedback, is_quiet, message_id, pending, receiving, receiving_with, send_all,
};
use crate::raw::{self, Raw, Received, detach, receiver, sender};
use crate::{HOUR, world};

fn second(attach: &mut Attach) {
    attach.rcv_settle_mode = ReceiverSettleMode::Second;
}

pub(crate) fn disposition(first: u32, last: u32, settled: bool, state: DeliveryState) -> Disposition {
    Disposition {
        role: Role::Receiver,
        first,
        last: Some(last),
        settled,
        state: Some(state),
        batchable: false,
    }
}

pub(crate) fn accepted() -> DeliveryState {
    DeliveryState::Accepted(Accepted {})
}

pub(crate) fn released() -> DeliveryState {
    DeliveryState::Released(Released {})
}

pub(crate) fn rejected() -> DeliveryState {
    DeliveryState::Rejected(Rejected { error: None })
}

fn modified(undeliverable_here: Option<bool>) -> DeliveryState {
    let delivery_failed = Some(true);
    DeliveryState::Modified(Modified { delivery_failed, undeliverable_here, message_annotations: None })
}

pub(crate) async fn settle(client: &mut Raw, received: &Received, state: DeliveryState) {
    let id = received.transfer.delivery_id.unwrap();
    client.send(0, &disposition(id, id, true, state), &[]).await;
}

fn delivery_count(received: &Received) -> u8 {
    match received.message.annotation("iothub-deliverycount") {
        Some(Value::Ubyte(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_disposition_does_to_the_message_what_the_contract_says() {
    for (what, state, ended) in [
        ("accepted", accepted(), Some(Outcome::Success)),
        ("rejected", rejected(), Some(Outcome::Rejected)),
        ("modified, undeliverable here", modified(Some(true)), Some(Outcome::Rejected)),
        ("released", released(), None),
        ("modified, undeliverable here is false", modified(Some(false)), None),
        ("modified", modified(None), None),
    ] {
        let (world, _, device, mut client) = receiving(10).await;
        send_all(&world, &device, &["a"]).await;
        let received = client.message(2).await;
        settle(&mut client, &received, state).await;
        match ended {
            Some(outcome) => {
                assert!(is_quiet(&mut client, 2).await, "{what}");
                assert_eq!(feedback(&world).await, [("a".to_owned(), outcome)], "{what}");
                assert_eq!(pending(&world, &device).await, 0, "{what}");
            }
            None => {
                let again = client.message(2).await;
                assert_eq!((message_id(&again), delivery_count(&again)), ("a".into(), 1), "{what}");
                assert_ne!(again.transfer.delivery_tag, received.transfer.delivery_tag, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_disposition_settled_without_a_word_gives_the_message_back() {
    let (world, _, device, mut client) = receiving(10).await;
    send_all(&world, &device, &["a"]).await;
    let id = client.message(2).await.transfer.delivery_id.unwrap();
    client.send(0, &Disposition { state: None, ..disposition(id, id, true, accepted()) }, &[]).await;
    assert_eq!(delivery_count(&client.message(2).await), 1);
}

#[tokio::test]
async fn the_tenth_release_is_the_last() {
    let (world, _, device, mut client) = receiving(100).await;
    send_all(&world, &device, &["a"]).await;
    for count in 0..10 {
        let received = client.message(2).await;
        assert_eq!(delivery_count(&received), count);
        settle(&mut client, &received, released()).await;
    }
    assert!(is_quiet(&mut client, 2).await);
    assert_eq!(feedback(&world).await, [("a".into(), Outcome::DeliveryCountExceeded)]);
}

#[tokio::test]
async fn a_disposition_may_cover_a_range_and_what_is_not_there() {
    let (world, _, device, mut client) = receiving(10).await;
    send_all(&world, &device, &["a", "b", "c", "d"]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.message(2).await.transfer.delivery_id.unwrap());
    }
    client.send(0, &disposition(ids[0], ids[1], true, accepted()), &[]).await;
    client.send(0, &disposition(ids[3], u32::MAX / 2, true, rejected()), &[]).await;
    assert!(is_quiet(&mut client, 2).await);
    let row = |id: &str, outcome| (id.to_owned(), outcome);
    let expected = [row("a", Outcome::Success), row("b", Outcome::Success), row("d", Outcome::Rejected)];
    assert_eq!(feedback(&world).await, expected);
    assert_eq!(pending(&world, &device).await, 1);
}

/// C# waits for this frame, and throws unless it says accepted.
#[tokio::test]
async fn a_receiver_in_mode_second_gets_the_last_word_from_the_hub() {
    for state in [accepted(), released(), rejected()] {
        let (world, _, device, mut client) = receiving_with(1, second).await;
        send_all(&world, &device, &["a"]).await;
        let id = client.message(2).await.transfer.delivery_id.unwrap();
        client.send(0, &disposition(id, id, false, state), &[]).await;
        let answer = client
            .until(|frame| match frame {
                Performative::Disposition(answer) => Some(answer.clone()),
                _ => None,
            })
            .await;
        assert!(matches!(answer.role, Role::Sender), "{answer:?}");
        assert_eq!((answer.first, answer.last, answer.settled), (id, Some(id), true));
        assert!(matches!(answer.state, Some(DeliveryState::Accepted(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_receiver_in_mode_second_that_comes_too_late_hears_that_the_lock_is_lost() {
    let (world, clock, device, mut client) = receiving_with(1, second).await;
    send_all(&world, &device, &["a"]).await;
    let id = client.message(2).await.transfer.delivery_id.unwrap();
    clock.advance(LOCK);
    world.hub.run_due();
    client.send(0, &disposition(id, id, false, accepted()), &[]).await;
    let DeliveryState::Rejected(Rejected { error: Some(error) }) = client.outcome(id).await else {
        panic!("not rejected")
    };
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    assert_eq!(condition, Value::Symbol("com.microsoft:message-lock-lost".into()));
    assert!(error.description.is_some());
    assert_eq!(pending(&world, &device).await, 1);
}

#[tokio::test]
async fn a_settled_disposition_is_not_answered_and_one_that_decides_nothing_either() {
    let (world, _, device, mut client) = receiving(10).await;
    send_all(&world, &device, &["a", "b"]).await;
    let first = client.message(2).await;
    let second = client.message(2).await.transfer.delivery_id.unwrap();
    settle(&mut client, &first, accepted()).await;
    client.send(0, &Disposition { state: None, ..disposition(second, second, false, accepted()) }, &[]).await;
    let mut echo = raw::flow(2, 5);
    echo.echo = true;
    client.send(0, &echo, &[]).await;
    let answered = client
        .until(|frame| match frame {
            Performative::Disposition(_) => Some(true),
            Performative::Flow(_) => Some(false),
            _ => None,
        })
        .await;
    assert!(!answered);
    assert_eq!(pending(&world, &device).await, 1);
}

#[tokio::test]
async fn a_lock_that_runs_out_brings_the_message_again_while_the_device_stays() {
    let (world, clock, device, mut client) = receiving(10).await;
    send_all(&world, &device, &["a", "b"]).await;
    let first = client.message(2).await;
    let second = client.message(2).await;
    settle(&mut client, &second, accepted()).await;
    assert!(is_quiet(&mut client, 2).await);
    clock.advance(LOCK - Duration::from_secs(1));
    world.hub.run_due();
    assert!(is_quiet(&mut client, 2).await);
    clock.advance(Duration::from_secs(1));
    world.hub.run_due();
    let again = client.message(2).await;
    assert_eq!((message_id(&again), delivery_count(&again)), ("a".into(), 0));
    // Its old delivery means nothing any more, its new one does.
    settle(&mut client, &first, rejected()).await;
    settle(&mut client, &again, accepted()).await;
    assert!(is_quiet(&mut client, 2).await);
    assert_eq!(feedback(&world).await, [("b".into(), Outcome::Success), ("a".into(), Outcome::Success)]);
}

#[tokio::test]
async fn a_link_that_goes_gives_back_what_it_held_without_raising_the_count() {
    let (world, _, device, mut client) = receiving(10).await;
    client.attach(sender(3, "/devices/d1/messages/events")).await.unwrap();
    send_all(&world, &device, &["a"]).await;
    client.message(2).await;
    client.send(0, &detach(2), &[]).await;
    client.attach(receiver(4, &address(&device))).await.unwrap();
    client.credit(4, 10).await;
    let again = client.message(4).await;
    assert_eq!((message_id(&again), delivery_count(&again)), ("a".into(), 0));
}

#[tokio::test]
async fn a_newer_receiver_takes_over_what_the_older_one_held() {
    let (world, _, device, mut client) = receiving(10).await;
    send_all(&world, &device, &["a"]).await;
    client.message(2).await;
    client.attach(receiver(3, &address(&device))).await.unwrap();
    assert_eq!(client.detached(2).await.0, "amqp:link:stolen");
    client.credit(3, 10).await;
    let again = client.message(3).await;
    assert_eq!((message_id(&again), delivery_count(&again)), ("a".into(), 0));
}

#[tokio::test]
async fn a_connection_that_is_lost_or_taken_over_gives_back_what_it_held() {
    for is_lost in [true, false] {
        let (world, _) = world();
        let device = world.device("d1").await;
        let (io, task) = world.connect_with(None);
        let mut first = Raw::authenticated(io, &world.token(&device, HOUR)).await;
        first.attach(receiver(2, &address(&device))).await.unwrap();
        first.credit(2, 10).await;
        send_all(&world, &device, &["a"]).await;
        first.message(2).await;
        let first = if is_lost {
            drop(first);
            task.await.unwrap();
            None
        } else {
            Some(first)
        };
        let mut second = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
        second.attach(receiver(2, &address(&device))).await.unwrap();
        second.credit(2, 10).await;
        let again = second.message(2).await;
        assert_eq!((message_id(&again), delivery_count(&again)), ("a".into(), 0));
        drop(first);
    }
}

#[tokio::test]
async fn a_link_that_settles_when_it_sends_completes_the_message() {
    let (world, _, device, mut client) =
        receiving_with(10, |attach| attach.snd_settle_mode = SenderSettleMode::Settled).await;
    send_all(&world, &device, &["a"]).await;
    let received = client.message(2).await;
    assert_eq!(received.transfer.settled, Some(true));
    assert_eq!(received.transfer.delivery_tag.unwrap().len(), 16);
    assert!(is_quiet(&mut client, 2).await);
    assert_eq!(feedback(&world).await, [("a".into(), Outcome::Success)]);
}

/// The C SDK puts all its devices into one session.
#[tokio::test]
async fn devices_in_one_session_settle_their_own_messages() {
    let (world, _) = world();
    let (first, second) = (world.device("d1").await, world.device("d2").await);
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    for (handle, device) in [(2, &first), (3, &second)] {
        client.attach(receiver(handle, &address(device))).await.unwrap();
        client.credit(handle, 10).await;
        send_all(&world, device, &["a"]).await;
    }
    let (to_first, to_second) = (client.message(2).await, client.message(3).await);
    settle(&mut client, &to_second, accepted()).await;
    assert!(is_quiet(&mut client, 2).await);
    assert_eq!((pending(&world, &first).await, pending(&world, &second).await), (1, 0));
    settle(&mut client, &to_first, accepted()).await;
    assert!(is_quiet(&mut client, 2).await);
    assert_eq!(pending(&world, &first).await, 0);
}
