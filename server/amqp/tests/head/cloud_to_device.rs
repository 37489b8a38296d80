//! Cloud-to-device messages to devices: their form, and when they are sent (contract/amqp.md 4.2).

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp_types::performatives::{Attach, Begin, Open, Performative};
use fe2o3_amqp_types::primitives::{Symbol, Timestamp as AmqpTime, Value};
use hub::c2d::{Acknowledgement, CloudToDeviceMessage, FeedbackRecord, Outcome, Settlement};
use hub::gate::operations::{GetDevice, ReceiveFeedback, SendCloudToDevice, SettleFeedback};
use hub::ids::IdentityId;
use hub::time::{ManualClock, Timestamp};

use crate::raw::{self, Raw, Received, begin, open, receiver};
use crate::world::World;
use crate::{HOUR, world};

pub(crate) const LOCK: Duration = Duration::from_secs(60);

pub(crate) fn address(device: &IdentityId) -> String {
    format!("/devices/{device}/messages/devicebound")
}

pub(crate) async fn send(world: &World, device: &IdentityId, message: CloudToDeviceMessage) {
    let by = world.owner::<SendCloudToDevice>(device.device.clone()).await;
    world.hub.send_cloud_to_device(by, message).unwrap();
}

/// Messages with these ids, and a wish for all feedback.
pub(crate) async fn send_all(world: &World, device: &IdentityId, ids: &[&str]) {
    for id in ids {
        let message = CloudToDeviceMessage {
            message_id: Some((*id).to_owned()),
            acknowledgement: Some(Acknowledgement::Full),
            ..CloudToDeviceMessage::default()
        };
        send(world, device, message).await;
    }
}

pub(crate) async fn pending(world: &World, device: &IdentityId) -> usize {
    let by = world.owner::<GetDevice>(device.device.clone()).await;
    world.hub.device(by).unwrap().pending_messages
}

/// What became of messages since the last look.
pub(crate) async fn feedback(world: &World) -> Vec<(String, Outcome)> {
    let by = world.owner::<ReceiveFeedback>(()).await;
    let Some(batch) = world.hub.lock_next_feedback(by).unwrap() else { return Vec::new() };
    let by = world.owner::<SettleFeedback>(()).await;
    world.hub.settle_feedback(by, batch.token, Settlement::Complete).unwrap();
    let row = |record: &FeedbackRecord| (record.original_message_id.clone().unwrap(), record.outcome);
    batch.records.iter().map(row).collect()
}

/// A device `d1` whose receiver has handle 2 and this much credit.
pub(crate) async fn receiving(credit: u32) -> (World, Arc<ManualClock>, IdentityId, Raw) {
    receiving_with(credit, |_| {}).await
}

pub(crate) async fn receiving_with(
    credit: u32,
    change: impl FnOnce(&mut Attach),
) -> (World, Arc<ManualClock>, IdentityId, Raw) {
    let (world, clock) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    let mut attach = receiver(2, &address(&device));
    change(&mut attach);
    client.attach(attach).await.unwrap();
    client.credit(2, credit).await;
    (world, clock, device, client)
}

pub(crate) fn message_id(received: &Received) -> String {
    match received.message.property(0) {
        Some(Value::String(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Whether everything sent so far was handled, and no message came by it. Asked twice: what follows from a frame is
/// written behind the answers to those read with it.
pub(crate) async fn is_quiet(client: &mut Raw, handle: u32) -> bool {
    let mut echo = raw::flow(handle, 0);
    (echo.handle, echo.delivery_count, echo.link_credit, echo.echo) = (None, None, None, true);
    for _ in 0..2 {
        client.send(0, &echo, &[]).await;
        let is_quiet = client
            .until(|frame| match frame {
                Performative::Transfer(transfer) if transfer.handle.0 == handle => Some(false),
                Performative::Flow(flow) if flow.handle.is_none() => Some(true),
                _ => None,
            })
            .await;
        if !is_quiet {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_message_has_the_sections_and_types_that_clients_read() {
    let (world, _, device, mut client) = receiving(10).await;
    let now = world.hub.clock().now();
    let message = CloudToDeviceMessage {
        message_id: Some("id-1".into()),
        correlation_id: Some("correlation".into()),
        user_id: Some("user".into()),
        content_type: Some("application/json".into()),
        content_encoding: Some("utf-8".into()),
        acknowledgement: Some(Acknowledgement::Full),
        expires_at: Some(now.plus(LOCK)),
        application: vec![("colour".into(), Some("dark red".into())), ("flag".into(), None)],
        body: "{}".into(),
        ..CloudToDeviceMessage::default()
    };
    send(&world, &device, message).await;
    let Received { message, transfer, .. } = client.message(2).await;
    let text = |text: &str| Some(Value::String(text.into()));
    let symbol = |text: &str| Some(Value::Symbol(Symbol::from(text)));
    let time = |at: Timestamp| Some(Value::Timestamp(AmqpTime::from_milliseconds(at.unix_millis())));
    assert_eq!(message.annotation("x-opt-sequence-number"), Some(Value::Ulong(1)));
    assert_eq!(message.annotation("iothub-enqueuedtime"), time(now));
    assert_eq!(message.annotation("iothub-deliverycount"), Some(Value::Ubyte(0)));
    for (place, value) in [
        (0, text("id-1")),
        (1, Some(Value::Binary(b"user".to_vec().into()))),
        (2, text("/devices/d1/messages/devicebound")),
        (5, text("correlation")),
        (6, symbol("application/json")),
        (7, symbol("utf-8")),
        (8, time(now.plus(LOCK))),
    ] {
        assert_eq!(message.property(place), value, "property {place}");
    }
    assert_eq!(message.application("iothub-ack"), text("full"));
    assert_eq!(message.application("colour"), text("dark red"));
    assert_eq!(message.application("flag"), text(""));
    assert_eq!(message.section(0x75), Some(&Value::Binary(b"{}".to_vec().into())));
    assert_eq!((transfer.settled, transfer.message_format), (Some(false), Some(0)));
}

/// C# makes a `Guid` of the tag and settles by it.
#[tokio::test]
async fn the_tag_is_the_lock_token_as_a_dotnet_guid() {
    let (world, _, device, mut client) = receiving(10).await;
    send_all(&world, &device, &["a"]).await;
    let received = client.message(2).await;
    let Some(Value::String(token)) = received.message.annotation("x-opt-lock-token") else {
        panic!("no token")
    };
    let tag: [u8; 16] = received.transfer.delivery_tag.unwrap().to_vec().try_into().unwrap();
    assert_eq!(uuid::Uuid::from_bytes_le(tag).to_string(), token);
}

#[tokio::test]
async fn a_message_without_properties_has_none_but_its_address() {
    let (world, _, device, mut client) = receiving(10).await;
    send(&world, &device, CloudToDeviceMessage::default()).await;
    let message = client.message(2).await.message;
    for place in [0, 1, 3, 4, 5, 6, 7, 8, 9] {
        assert_eq!(message.property(place), Some(Value::Null), "property {place}");
    }
    assert_eq!(message.section(0x74), None);
    assert_eq!(message.section(0x75), Some(&Value::Binary(Vec::new().into())), "Java casts the body to data");
}

#[tokio::test]
async fn messages_are_sent_for_credit_only_and_in_order() {
    let (world, _, device, mut client) = receiving(0).await;
    send_all(&world, &device, &["a", "b", "c"]).await;
    assert!(is_quiet(&mut client, 2).await);
    client.credit(2, 2).await;
    assert_eq!(message_id(&client.message(2).await), "a");
    assert_eq!(message_id(&client.message(2).await), "b");
    assert!(is_quiet(&mut client, 2).await);
    let mut more = raw::flow(2, 1);
    (more.delivery_count, more.next_incoming_id) = (Some(2), Some(3));
    client.send(0, &more, &[]).await;
    assert_eq!(message_id(&client.message(2).await), "c");
}

/// Locked at send time: what waits for credit can be taken by others, and can expire.
#[tokio::test]
async fn what_waits_for_credit_is_not_locked() {
    let (world, clock, device, mut client) = receiving(1).await;
    send_all(&world, &device, &["a", "b"]).await;
    let held = client.message(2).await;
    clock.advance(HOUR);
    world.hub.run_due();
    assert_eq!(feedback(&world).await, [("a".into(), Outcome::Expired), ("b".into(), Outcome::Expired)]);
    drop(held);
}

#[tokio::test]
async fn what_was_sent_while_the_device_was_away_comes_with_its_first_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    send_all(&world, &device, &["a", "b"]).await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(receiver(2, &address(&device))).await.unwrap();
    assert!(is_quiet(&mut client, 2).await);
    client.credit(2, 50).await;
    assert_eq!(message_id(&client.message(2).await), "a");
    assert_eq!(message_id(&client.message(2).await), "b");
}

#[tokio::test]
async fn draining_brings_what_there_is_and_uses_up_the_rest_of_the_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    send_all(&world, &device, &["a", "b", "c"]).await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(receiver(2, &address(&device))).await.unwrap();
    let mut drain = raw::flow(2, 10);
    drain.drain = true;
    client.send(0, &drain, &[]).await;
    let mut messages = 0;
    let answer = client
        .until(|frame| match frame {
            Performative::Transfer(transfer) if transfer.handle.0 == 2 => {
                messages += 1;
                None
            }
            Performative::Flow(flow) if flow.drain => Some(flow.clone()),
            _ => None,
        })
        .await;
    assert_eq!((messages, answer.link_credit, answer.delivery_count), (3, Some(0), Some(10)));
    send_all(&world, &device, &["d"]).await;
    assert!(is_quiet(&mut client, 2).await);
}

#[tokio::test]
async fn draining_with_less_credit_than_messages_leaves_the_others() {
    let (world, _, device, mut client) = receiving(0).await;
    send_all(&world, &device, &["a", "b", "c"]).await;
    let mut drain = raw::flow(2, 2);
    drain.drain = true;
    client.send(0, &drain, &[]).await;
    assert_eq!(message_id(&client.message(2).await), "a");
    assert_eq!(message_id(&client.message(2).await), "b");
    let answer = client
        .until(|frame| match frame {
            Performative::Flow(flow) if flow.drain => Some(flow.clone()),
            _ => None,
        })
        .await;
    assert_eq!((answer.link_credit, answer.delivery_count), (Some(0), Some(2)));
}

#[tokio::test]
async fn messages_wait_for_the_sessions_window_and_go_on_when_it_opens() {
    let (world, _) = world();
    let device = world.device("d1").await;
    for _ in 0..3 {
        let message = CloudToDeviceMessage { body: vec![b'x'; 60_000].into(), ..Default::default() };
        send(&world, &device, message).await;
    }
    let mut client = Raw::open_with(world.connect(), Open { max_frame_size: 4096.into(), ..open() }).await;
    client.attach_pair(0, "$cbs").await;
    client.put_token(0, &world.token(&device, HOUR)).await;
    let narrow = Begin { incoming_window: 5, ..begin() };
    client.send(1, &narrow, &[]).await;
    client.until(|frame| matches!(frame, Performative::Begin(_)).then_some(())).await;
    client.send(1, &receiver(0, &address(&device)), &[]).await;
    client.until(|frame| matches!(frame, Performative::Attach(_)).then_some(())).await;
    let (mut frames, mut messages) = (0, 0);
    let mut flow = raw::flow(0, 10);
    flow.incoming_window = 5;
    while messages < 3 {
        flow.next_incoming_id = Some(frames);
        client.send(1, &flow, &[]).await;
        // Exactly as many frames as the window lets through, until there are no more.
        for _ in 0..5 {
            let more = client
                .until(|frame| match frame {
                    Performative::Transfer(transfer) => Some(transfer.more),
                    _ => None,
                })
                .await;
            frames += 1;
            if !more {
                messages += 1;
                if messages == 3 {
                    break;
                }
            }
        }
    }
    assert!(frames > 3 * 60_000 / 4096, "{frames}");
}

#[tokio::test]
async fn a_message_of_64_kib_is_split_for_a_client_with_small_frames() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open_with(world.connect(), Open { max_frame_size: 4096.into(), ..open() }).await;
    client.attach_pair(0, "$cbs").await;
    client.put_token(0, &world.token(&device, HOUR)).await;
    client.attach(receiver(2, &address(&device))).await.unwrap();
    client.credit(2, 1).await;
    let body = vec![7; 64 * 1024];
    let message = CloudToDeviceMessage { body: body.clone().into(), ..CloudToDeviceMessage::default() };
    send(&world, &device, message).await;
    let received = client.message(2).await;
    assert!(received.frames > 16);
    assert_eq!(received.message.section(0x75), Some(&Value::Binary(body.into())));
}

#[tokio::test]
async fn a_modules_receiver_stays_empty_because_modules_have_no_queue() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let module = world.module("d1", "m1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&module, HOUR)).await;
    for (handle, node) in [(2, "messages/devicebound"), (3, "messages/events")] {
        client.attach(receiver(handle, &format!("/devices/d1/modules/m1/{node}"))).await.unwrap();
        client.credit(handle, 10).await;
    }
    send_all(&world, &device, &["a"]).await;
    assert!(is_quiet(&mut client, 2).await);
    assert!(is_quiet(&mut client, 3).await);
    assert_eq!(pending(&world, &device).await, 1);
}
