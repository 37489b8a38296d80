//! Feedback on cloud-to-device messages, and file notifications, for back ends (contract/amqp.md 4.3).

use fe2o3_amqp_types::definitions::ReceiverSettleMode;
use fe2o3_amqp_types::messaging::{DeliveryState, Rejected};
use fe2o3_amqp_types::performatives::Performative;
use fe2o3_amqp_types::primitives::{Symbol, Timestamp as AmqpTime, Value};
use hub::c2d::{Acknowledgement, CloudToDeviceMessage};
use hub::gate::operations::PurgeCloudToDevice;
use hub::ids::IdentityId;

use crate::cloud_to_device::{LOCK, is_quiet, send};
use crate::raw::{Received, detach, receiver};
use crate::service::{FEEDBACK, back_end};
use crate::settlement::{accepted, disposition, rejected, released, settle};
use crate::world;
use crate::world::World;

/// Leaves feedback on that many messages, one record each.
async fn feed_back(world: &World, device: &IdentityId, ids: &[&str]) {
    for id in ids {
        let message = CloudToDeviceMessage {
            message_id: Some((*id).to_owned()),
            acknowledgement: Some(Acknowledgement::Full),
            ..CloudToDeviceMessage::default()
        };
        send(world, device, message).await;
    }
    let by = world.owner::<PurgeCloudToDevice>(device.device.clone()).await;
    world.hub.purge_messages(by).unwrap();
}

fn message_ids(received: &Received) -> Vec<String> {
    let records = received.message.json();
    let id = |record: &serde_json::Value| record["originalMessageId"].as_str().unwrap().to_owned();
    records.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn feedback_has_the_body_and_the_properties_that_clients_read_unasked() {
    let (world, _) = world();
    let device = world.device("d1").await;
    feed_back(&world, &device, &["a", "b"]).await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, FEEDBACK)).await.unwrap();
    client.credit(2, 1000).await;
    let received = client.message(2).await;
    let message = &received.message;
    assert_eq!(
        message.property(6),
        Some(Value::Symbol(Symbol::from("application/vnd.microsoft.iothub.feedback.json")))
    );
    assert_eq!(message.property(1), Some(Value::Binary(b"test".to_vec().into())));
    let now = world.hub.clock().now();
    let enqueued = Value::Timestamp(AmqpTime::from_milliseconds(now.unix_millis()));
    assert_eq!(message.annotation("iothub-enqueuedtime"), Some(enqueued));
    assert_eq!(received.transfer.delivery_tag.as_ref().unwrap().len(), 16);
    let records = message.json();
    assert_eq!(records.as_array().unwrap().len(), 2);
    let record = &records[0];
    assert_eq!(record["originalMessageId"], "a");
    assert_eq!(record["enqueuedTimeUtc"], now.to_string());
    assert_eq!(record["statusCode"], "Purged");
    assert_eq!(record["description"], "Purged");
    assert_eq!(record["deviceId"], "d1");
    assert_eq!(record["deviceGenerationId"].as_str().unwrap().len(), 18);
}

#[tokio::test]
async fn feedback_that_comes_about_later_is_sent_to_who_waits_for_it() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, FEEDBACK)).await.unwrap();
    client.credit(2, 1000).await;
    assert!(is_quiet(&mut client, 2).await);
    for id in ["a", "b"] {
        feed_back(&world, &device, &[id]).await;
        let received = client.message(2).await;
        assert_eq!(message_ids(&received), [id]);
        settle(&mut client, &received, accepted()).await;
    }
    assert!(is_quiet(&mut client, 2).await);
}

#[tokio::test]
async fn feedback_is_completed_by_accepted_and_rejected_and_comes_again_after_released() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, FEEDBACK)).await.unwrap();
    client.credit(2, 1000).await;
    for (state, comes_again) in [(accepted(), false), (rejected(), false), (released(), true)] {
        feed_back(&world, &device, &["a"]).await;
        let received = client.message(2).await;
        settle(&mut client, &received, state).await;
        assert_eq!(is_quiet(&mut client, 2).await, !comes_again);
    }
}

/// C# reads feedback in mode second, with no credit until it is asked for a message.
#[tokio::test]
async fn feedback_waits_for_credit_and_is_confirmed_in_mode_second_until_its_lock_is_lost() {
    let (world, clock) = world();
    let device = world.device("d1").await;
    let mut client = back_end(&world).await;
    let mut attach = receiver(2, FEEDBACK);
    attach.rcv_settle_mode = ReceiverSettleMode::Second;
    client.attach(attach).await.unwrap();
    feed_back(&world, &device, &["a"]).await;
    assert!(is_quiet(&mut client, 2).await);
    client.credit(2, 1).await;
    let late = client.message(2).await.transfer.delivery_id.unwrap();
    clock.advance(LOCK);
    world.hub.run_due();
    client.send(0, &disposition(late, late, false, accepted()), &[]).await;
    let DeliveryState::Rejected(Rejected { error: Some(error) }) = client.outcome(late).await else {
        panic!()
    };
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    assert_eq!(condition, Value::Symbol("com.microsoft:message-lock-lost".into()));
    client.credit(2, 2).await;
    let id = client.message(2).await.transfer.delivery_id.unwrap();
    client.send(0, &disposition(id, id, false, accepted()), &[]).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
}

#[tokio::test]
async fn feedback_is_free_again_when_its_reader_goes() {
    for how in ["detach", "lost"] {
        let (world, _) = world();
        let device = world.device("d1").await;
        feed_back(&world, &device, &["a"]).await;
        let mut first = back_end(&world).await;
        first.attach(receiver(2, FEEDBACK)).await.unwrap();
        first.credit(2, 1).await;
        first.message(2).await;
        let mut second = back_end(&world).await;
        second.attach(receiver(2, FEEDBACK)).await.unwrap();
        second.credit(2, 1).await;
        assert!(is_quiet(&mut second, 2).await, "it is locked");
        match how {
            "detach" => first.send(0, &detach(2), &[]).await,
            _ => drop(first),
        }
        assert_eq!(message_ids(&second.message(2).await), ["a"], "{how}");
    }
}

#[tokio::test]
async fn draining_a_feedback_receiver_is_answered_when_there_is_nothing() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    client.attach(receiver(2, FEEDBACK)).await.unwrap();
    let mut drain = crate::raw::flow(2, 9);
    drain.drain = true;
    client.send(0, &drain, &[]).await;
    let answer = client
        .until(|frame| match frame {
            Performative::Flow(flow) if flow.drain => Some(flow.clone()),
            _ => None,
        })
        .await;
    assert_eq!((answer.link_credit, answer.delivery_count), (Some(0), Some(9)));
}

#[tokio::test]
async fn the_receiver_of_file_notifications_is_there_and_stays_empty() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, "/messages/serviceBound/filenotifications")).await.unwrap();
    client.credit(2, 1000).await;
    feed_back(&world, &device, &["a"]).await;
    assert!(is_quiet(&mut client, 2).await);
}
