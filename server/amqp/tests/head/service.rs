//! The service side: who may, and messages for devices (contract/amqp.md 3, 4.2).

use std::time::Duration;

use fe2o3_amqp_types::messaging::{DeliveryState, Rejected};
use fe2o3_amqp_types::performatives::Performative;
use fe2o3_amqp_types::primitives::{Symbol, Timestamp as AmqpTime, Uuid, Value};
use hub::c2d::{Acknowledgement, CloudToDeviceMessage, LockedMessage};
use hub::gate::operations::ReceiveCloudToDevice;
use hub::ids::IdentityId;
use hub::time::Timestamp;

use crate::cloud_to_device::{LOCK, pending};
use crate::raw::{Raw, data, receiver, section, sender};
use crate::settlement::{accepted, settle};
use crate::world::World;
use crate::{HOUR, world};

const SEND: &str = "/messages/devicebound";
pub(crate) const FEEDBACK: &str = "/messages/serviceBound/feedback";
const D1: &str = "/devices/d1/messages/devicebound";

/// A back end with its CBS pair at 0.
pub(crate) async fn back_end(world: &World) -> Raw {
    Raw::authenticated(world.connect(), &world.policy_token("service", HOUR)).await
}

/// The same with a sender at 2.
async fn sending(world: &World) -> Raw {
    let mut client = back_end(world).await;
    client.attach(sender(2, SEND)).await.unwrap();
    client
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// A message with these properties by place, application properties and a body.
fn message(properties: &[(usize, Value)], application: &[(&str, Value)], body: &[u8]) -> Vec<u8> {
    let mut fields = vec![Value::Null; 10];
    properties.iter().for_each(|(place, value)| fields[*place] = value.clone());
    let application = application.iter().map(|(key, value)| (text(key), value.clone())).collect();
    let sections = [section(0x73, &Value::List(fields)), section(0x74, &Value::Map(application)), data(body)];
    sections.concat()
}

fn to(address: &str) -> Vec<u8> {
    message(&[(2, text(address))], &[], b"x")
}

/// Sends a message; the condition and description of its rejection.
async fn sent(client: &mut Raw, message: &[u8]) -> Result<(), (String, String)> {
    let mut transfer = client.next_transfer(2);
    // Larger ones do not fit a frame.
    let mut parts = message.chunks(60_000).peekable();
    while let Some(part) = parts.next() {
        transfer.more = parts.peek().is_some();
        client.send(0, &transfer, part).await;
    }
    match client.outcome(transfer.delivery_id.unwrap()).await {
        DeliveryState::Accepted(_) => Ok(()),
        DeliveryState::Rejected(Rejected { error: Some(error) }) => {
            let Ok(Value::Symbol(condition)) = serde_amqp::to_value(&error.condition) else { panic!() };
            Err((condition.0, error.description.expect("Java reads it without a test")))
        }
        other => panic!("{other:?}"),
    }
}

async fn refused(client: &mut Raw, message: &[u8]) -> String {
    sent(client, message).await.unwrap_err().0
}

/// What a device without a session finds first in its queue.
async fn queued(world: &World, device: &IdentityId) -> LockedMessage {
    let by = world.owner::<ReceiveCloudToDevice>(device.device.clone()).await;
    world.hub.lock_next_message(by).unwrap().expect("a message is queued")
}

#[tokio::test]
async fn a_message_is_accepted_and_queued_with_everything_its_sender_gave_it() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = sending(&world).await;
    let expires_at = world.hub.clock().now().plus(LOCK);
    let symbol = |text: &str| Value::Symbol(Symbol::from(text));
    let time = |at: Timestamp| Value::Timestamp(AmqpTime::from_milliseconds(at.unix_millis()));
    let properties = [
        (0, text("id-1")),
        (1, Value::Binary(b"user".to_vec().into())),
        (2, text(D1)),
        (5, text("correlation")),
        (6, symbol("application/json")),
        (7, symbol("utf-8")),
        (8, time(expires_at)),
    ];
    let application = [("iothub-ack", text("full")), ("colour", text("red")), ("count", Value::Int(7))];
    sent(&mut client, &message(&properties, &application, b"{}")).await.unwrap();
    let queued = queued(&world, &device).await;
    let optional = |text: &str| Some(text.to_owned());
    let expected = CloudToDeviceMessage {
        message_id: optional("id-1"),
        correlation_id: optional("correlation"),
        user_id: optional("user"),
        content_type: optional("application/json"),
        content_encoding: optional("utf-8"),
        acknowledgement: Some(Acknowledgement::Full),
        expires_at: Some(expires_at),
        application: vec![("colour".into(), optional("red")), ("count".into(), optional("7"))],
        body: "{}".into(),
        ..CloudToDeviceMessage::default()
    };
    assert_eq!(*queued.message, expected);
}

/// Node sends a uuid where the text looks like one, Python whatever its caller gave it.
#[tokio::test]
async fn message_ids_of_every_type_reach_the_device_as_text() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = sending(&world).await;
    for (id, read) in [
        (text("one"), Some("one")),
        (Value::Uuid(Uuid::from([0x11; 16])), Some("11111111-1111-1111-1111-111111111111")),
        (Value::Ulong(7), Some("7")),
        (Value::Int(-7), Some("-7")),
        (Value::Null, None),
    ] {
        sent(&mut client, &message(&[(0, id.clone()), (2, text(D1)), (5, id)], &[], b"")).await.unwrap();
        let queued = queued(&world, &device).await;
        let found = (queued.message.message_id.as_deref(), queued.message.correlation_id.as_deref());
        assert_eq!(found, (read, read));
    }
}

#[tokio::test]
async fn the_receiver_is_found_by_the_property_to_with_its_id_encoded_or_raw() {
    let (world, _) = world();
    let (plain, odd) = (world.device("d1").await, world.device("a%2Bb").await);
    let encoded = world.device("a:b").await;
    let mut client = sending(&world).await;
    for (address, device) in [
        ("/devices/d1/messages/deviceBound", &plain),
        ("/DEVICES/d1/Messages/devicebound", &plain),
        ("devices/d1/messages/devicebound", &plain),
        ("/devices/a%3Ab/messages/devicebound", &encoded),
        ("/devices/a:b/messages/devicebound", &encoded),
        ("/devices/a%2Bb/messages/devicebound", &odd),
        ("/devices/a%252Bb/messages/devicebound", &odd),
    ] {
        sent(&mut client, &to(address)).await.unwrap();
        queued(&world, device).await;
    }
    assert_eq!(refused(&mut client, &to("/devices/D1/messages/devicebound")).await, "amqp:not-found");
}

#[tokio::test]
async fn what_cannot_be_queued_is_rejected_with_its_condition_and_a_description() {
    let (world, _) = world();
    world.device("d1").await;
    world.module("d1", "m1").await;
    let mut client = sending(&world).await;
    let module = |module: &str| format!("/devices/d1/modules/{module}/messages/devicebound");
    let past = Value::Timestamp(AmqpTime::from_milliseconds(world.hub.clock().now().unix_millis() - 1));
    for (what, message, condition) in [
        ("unknown device", to("/devices/nobody/messages/devicebound"), "amqp:not-found"),
        ("unknown module", to(&module("nobody")), "amqp:not-found"),
        ("a module, which has no queue", to(&module("m1")), "com.microsoft:argument-error"),
        ("no address", message(&[], &[], b"x"), "com.microsoft:argument-error"),
        ("a bad address", to("d1"), "com.microsoft:argument-error"),
        ("expired", message(&[(2, text(D1)), (8, past)], &[], b"x"), "com.microsoft:argument-error"),
        (
            "an unknown wish for feedback",
            message(&[(2, text(D1))], &[("iothub-ack", text("all"))], b"x"),
            "com.microsoft:argument-error",
        ),
        (
            "64 KiB and a byte",
            message(&[(2, text(D1))], &[], &vec![0; 64 * 1024 + 1]),
            "amqp:link:message-size-exceeded",
        ),
        ("no message at all", b"hello".to_vec(), "amqp:decode-error"),
    ] {
        assert_eq!(refused(&mut client, &message).await, condition, "{what}");
    }
    // The link goes on.
    sent(&mut client, &message(&[(2, text(D1))], &[], &vec![0; 64 * 1024 - 100])).await.unwrap();
}

#[tokio::test]
async fn fifty_messages_fit_a_queue_and_the_next_is_rejected() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = sending(&world).await;
    for _ in 0..50 {
        sent(&mut client, &to(D1)).await.unwrap();
    }
    assert_eq!(refused(&mut client, &to(D1)).await, "amqp:resource-limit-exceeded");
    assert_eq!(pending(&world, &device).await, 50);
}

/// Go's zero time is the year 1; anything before 1970 is no expiry.
#[tokio::test]
async fn an_expiry_in_the_year_1_is_none() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = sending(&world).await;
    let year_1 = Value::Timestamp(AmqpTime::from_milliseconds(-62_135_596_800_000));
    sent(&mut client, &message(&[(2, text(D1)), (8, year_1)], &[], b"x")).await.unwrap();
    assert_eq!(queued(&world, &device).await.message.expires_at, None);
}

#[tokio::test]
async fn only_policies_with_service_connect_reach_the_service_side() {
    let (world, _) = world();
    for (policy, is_allowed) in [
        ("iothubowner", true),
        ("service", true),
        ("device", false),
        ("registryRead", false),
        ("registryReadWrite", false),
    ] {
        let mut client = Raw::authenticated(world.connect(), &world.policy_token(policy, HOUR)).await;
        for (handle, attach) in [
            (2, sender(2, SEND)),
            (3, receiver(3, FEEDBACK)),
            (4, receiver(4, "/messages/serviceBound/filenotifications")),
        ] {
            match client.attach(attach).await {
                Ok(reply) => {
                    assert!(is_allowed, "{policy} {handle}");
                    assert_eq!(reply.max_message_size, Some(128 * 1024));
                }
                Err((condition, _)) => {
                    assert!(!is_allowed, "{policy} {handle}");
                    assert_eq!(condition, "amqp:unauthorized-access");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_service_side_needs_no_leading_slash_and_takes_absolute_addresses_in_any_case() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    for (handle, address) in [
        "messages/devicebound",
        "/messages/deviceBound",
        "amqps://localhost/messages/devicebound",
        "amqps://localhost:5671/messages/deviceBound/",
    ]
    .into_iter()
    .enumerate()
    {
        client.attach(sender(handle as u32 + 2, address)).await.unwrap();
    }
    for (handle, address) in [
        "messages/servicebound/feedback",
        "amqps://localhost:5671/messages/serviceBound/Feedback",
        "/messages/serviceBound/fileNotifications",
    ]
    .into_iter()
    .enumerate()
    {
        client.attach(receiver(handle as u32 + 10, address)).await.unwrap();
    }
}

/// The C SDK attaches both on one connection, at open.
#[tokio::test]
async fn one_connection_sends_messages_and_reads_feedback_on_them() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = sending(&world).await;
    client.attach(receiver(3, FEEDBACK)).await.unwrap();
    client.credit(3, 10).await;
    let wish = [("iothub-ack", text("positive"))];
    sent(&mut client, &message(&[(0, text("a")), (2, text(D1))], &wish, b"x")).await.unwrap();
    let mut receiving = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    receiving.attach(receiver(2, D1)).await.unwrap();
    receiving.credit(2, 1).await;
    let received = receiving.message(2).await;
    settle(&mut receiving, &received, accepted()).await;
    let records = client.message(3).await.message.json();
    assert_eq!(
        (&records[0]["originalMessageId"], &records[0]["statusCode"]),
        (&"a".into(), &"Success".into())
    );
}

#[tokio::test]
async fn service_links_end_with_the_token_they_rest_on() {
    let (world, clock) = world();
    world.device("d1").await;
    let mut client = sending(&world).await;
    client.attach(receiver(3, FEEDBACK)).await.unwrap();
    clock.advance(HOUR - Duration::from_secs(1));
    world.hub.run_due();
    sent(&mut client, &to(D1)).await.unwrap();
    clock.advance(Duration::from_secs(1));
    world.hub.run_due();
    let mut ended = Vec::new();
    for _ in 0..2 {
        let (handle, condition) = client
            .until(|frame| match frame {
                Performative::Detach(detach) => {
                    Some((detach.handle.0, format!("{:?}", detach.error.as_ref().unwrap().condition)))
                }
                _ => None,
            })
            .await;
        assert!(condition.contains("UnauthorizedAccess"), "{condition}");
        ended.push(handle);
    }
    ended.sort_unstable();
    assert_eq!(ended, [2, 3]);
    assert_eq!(client.closed().await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_renewed_token_keeps_the_service_links() {
    let (world, clock) = world();
    world.device("d1").await;
    let mut client = sending(&world).await;
    clock.advance(HOUR / 2);
    assert_eq!(client.put_token(0, &world.policy_token("service", HOUR)).await.0, 200);
    clock.advance(HOUR / 2);
    world.hub.run_due();
    sent(&mut client, &to(D1)).await.unwrap();
    clock.advance(HOUR / 2);
    world.hub.run_due();
    assert_eq!(client.detached(2).await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn service_links_are_detached_with_their_reason_when_the_hub_stops() {
    let (world, _) = world();
    let mut client = sending(&world).await;
    world.drain.cancel();
    assert_eq!(client.detached(2).await.0, "amqp:link:detach-forced");
}
