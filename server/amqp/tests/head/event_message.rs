//! Events as readers get them, every value with its type on the wire (contract/eventhubs.md 5, contract/mqtt.md 11).

use fe2o3_amqp_types::definitions::Fields;
use fe2o3_amqp_types::performatives::{Begin, Flow, Open, Performative};
use fe2o3_amqp_types::primitives::{Binary, Symbol, Timestamp, Value};
use hub::telemetry::{DeviceMessage, MessageProperties};

use crate::event_hub::{body, partition, send_message};
use crate::raw::{Raw, Received, begin, data, flow, ids, open, receiver, section, sender};
use crate::service::back_end;
use crate::world::World;
use crate::{HOUR, world};

fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.into()))
}

fn symbol(text: &str) -> Option<Value> {
    Some(Value::Symbol(Symbol::from(text)))
}

fn time(millis: i64) -> Option<Value> {
    Some(Value::Timestamp(Timestamp::from_milliseconds(millis)))
}

/// The event after the first of `address`.
async fn second(world: &World, address: &str) -> Received {
    let mut client = back_end(world).await;
    client.attach(receiver(2, address)).await.unwrap();
    client.credit(2, 2).await;
    client.message(2).await;
    client.message(2).await
}

#[tokio::test]
async fn what_the_hub_knows_stands_in_annotations_of_the_contracts_types() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let message = DeviceMessage {
        properties: MessageProperties {
            subject: Some("thermostat".into()),
            interface_id: Some("urn:security".into()),
            diagnostic_id: Some("trace".into()),
            diagnostic_context: Some("a=b".into()),
            ..MessageProperties::default()
        },
        body: "{}".into(),
    };
    send_message(&world, &partition.device, message).await;
    let position = world.hub.events().newest(1, None)[0].1.position;
    let received = second(&world, &partition.address).await;
    let message = &received.message;
    let now = time(world.hub.clock().now().unix_millis());
    let generation = message.annotation("iothub-connection-auth-generation-id");
    assert!(matches!(&generation, Some(Value::String(id)) if id.len() == 18), "{generation:?}");
    for (name, value) in [
        ("x-opt-sequence-number", Some(Value::Long(1))),
        ("x-opt-offset", text(&position.offset.to_string())),
        ("x-opt-enqueued-time", now.clone()),
        ("x-opt-partition-key", text("d1")),
        ("iothub-connection-device-id", text("d1")),
        ("iothub-connection-module-id", None),
        (
            "iothub-connection-auth-method",
            text(r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#),
        ),
        ("iothub-enqueuedtime", now),
        ("iothub-message-source", text("Telemetry")),
        ("dt-subject", text("thermostat")),
        ("dt-dataschema", None),
        ("iothub-interface-id", text("urn:security")),
        ("Diagnostic-Id", text("trace")),
        ("Correlation-Context", text("a=b")),
    ] {
        assert_eq!(message.annotation(name), value, "{name}");
    }
    let Some(Value::Map(annotations)) = message.section(0x72) else { panic!("no annotations") };
    assert!(annotations.iter().all(|(key, _)| matches!(key, Value::Symbol(_))));
    assert_eq!(annotations.len(), 13);
}

#[tokio::test]
async fn what_the_sender_set_stands_in_properties_of_the_contracts_types() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let own = |text: &str| Some(text.to_owned());
    let message = DeviceMessage {
        properties: MessageProperties {
            message_id: own("id-1"),
            correlation_id: own("c-1"),
            user_id: own("user"),
            to: own("/somewhere"),
            content_type: own("application/json"),
            content_encoding: own("utf-8"),
            creation_time_utc: own("2026-01-01T00:00:00Z"),
            absolute_expiry: own("2026-01-01T00:00:01.500Z"),
            application: vec![("level".into(), own("hot")), ("empty".into(), own("")), ("none".into(), None)],
            ..MessageProperties::default()
        },
        body: "{}".into(),
    };
    send_message(&world, &partition.device, message).await;
    let received = second(&world, &partition.address).await;
    let message = &received.message;
    for (place, value) in [
        (0, text("id-1")),
        (1, Some(Value::Binary(Binary::from(b"user".to_vec())))),
        (2, text("/somewhere")),
        (5, text("c-1")),
        (6, symbol("application/json")),
        (7, symbol("utf-8")),
        (8, time(1_767_225_601_500)),
    ] {
        assert_eq!(message.property(place), value, "field {place}");
    }
    let Some(Value::Map(application)) = message.section(0x74) else { panic!("no properties") };
    assert!(application.iter().all(|(key, _)| matches!(key, Value::String(_))));
    for (name, value) in [
        ("level", text("hot")),
        ("empty", text("")),
        ("none", Some(Value::Null)),
        ("iothub-creation-time-utc", text("2026-01-01T00:00:00Z")),
    ] {
        assert_eq!(message.application(name), value, "{name}");
    }
    assert_eq!(application.len(), 4);
    assert_eq!(received.message.json(), serde_json::json!({}));
}

#[tokio::test]
async fn an_event_without_properties_names_only_where_it_was_sent_to() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    send_message(&world, &partition.device, DeviceMessage::default()).await;
    let received = second(&world, &partition.address).await;
    let nulls: Vec<bool> =
        (0..13).map(|place| received.message.property(place) == Some(Value::Null)).collect();
    let only_to = (0..13).map(|place| place != 2).collect::<Vec<_>>();
    assert_eq!(nulls, only_to);
    assert_eq!(received.message.property(2), text("/devices/d1/messages/events"));
    assert!(received.message.section(0x74).is_none());
    assert_eq!(body(&received), "");
}

#[tokio::test]
async fn what_a_module_sends_says_so() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let module = world.module("d1", "m1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&module, HOUR)).await;
    client.attach(sender(2, "/devices/d1/modules/m1/messages/events")).await.unwrap();
    let id = client.transfer(2, &data(b"x")).await;
    client.outcome(id).await;
    let message = second(&world, &partition.address).await.message;
    assert_eq!(message.annotation("iothub-connection-device-id"), text("d1"));
    assert_eq!(message.annotation("iothub-connection-module-id"), text("m1"));
    assert_eq!(message.property(2), text("/devices/d1/modules/m1/messages/events"));
    let Some(Value::String(method)) = message.annotation("iothub-connection-auth-method") else { panic!() };
    let method: serde_json::Value = serde_json::from_str(&method).unwrap();
    assert_eq!((method["scope"].as_str(), method["type"].as_str()), (Some("module"), Some("sas")));
}

#[tokio::test]
async fn the_model_a_device_announced_stands_on_its_events() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&partition.device, HOUR)).await;
    let mut attach = sender(2, "/devices/d1/messages/events");
    let model = Value::String("dtmi:com:example:Thermostat;1".into());
    attach.properties = Some(Fields::from_iter([(Symbol::from("com.microsoft:model-id"), model.clone())]));
    client.attach(attach).await.unwrap();
    let id = client.transfer(2, &data(b"x")).await;
    client.outcome(id).await;
    let message = second(&world, &partition.address).await.message;
    assert_eq!(message.annotation("dt-dataschema"), Some(model));
}

/// Go casts ids to strings unasked.
#[tokio::test]
async fn ids_are_strings_whatever_a_device_sent_and_a_body_of_parts_is_one_section() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&partition.device, HOUR)).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let uuid = [7; 16];
    let message = [ids(Value::Uuid(uuid.into()), Value::Ulong(5)), data(b"ab"), data(b"cd")].concat();
    let id = client.transfer(2, &message).await;
    client.outcome(id).await;
    let received = second(&world, &partition.address).await;
    assert_eq!(received.message.property(0), text("07070707-0707-0707-0707-070707070707"));
    assert_eq!(received.message.property(5), text("5"));
    assert_eq!(body(&received), "abcd");
}

/// The C SDK sends batches always, C# on request.
#[tokio::test]
async fn each_message_of_a_batch_is_an_event_of_its_own() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&partition.device, HOUR)).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let inner = |n: &str| {
        let application = [(Value::String("n".into()), Value::String(n.into()))].into_iter().collect();
        [section(0x74, &Value::Map(application)), data(n.as_bytes())].concat()
    };
    let mut transfer = client.next_transfer(2);
    transfer.message_format = Some(0x8001_3700);
    client.send(0, &transfer, &[data(&inner("1")), data(&inner("2"))].concat()).await;
    client.outcome(transfer.delivery_id.unwrap()).await;
    let mut reader = back_end(&world).await;
    reader.attach(receiver(2, &partition.address)).await.unwrap();
    reader.credit(2, 100).await;
    reader.message(2).await;
    for n in ["1", "2"] {
        let received = reader.message(2).await;
        assert_eq!((body(&received), received.message.application("n")), (n.to_owned(), text(n)));
    }
}

#[tokio::test]
async fn an_event_larger_than_the_clients_frames_is_split_and_whole_again() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let large: String = (0..200_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let message = DeviceMessage { body: large.clone().into(), ..DeviceMessage::default() };
    send_message(&world, &partition.device, message).await;
    for (frame_bytes, frames) in [(512, 400..600), (4096, 49..60), (u32::MAX, 4..5)] {
        let open = Open { max_frame_size: frame_bytes.into(), ..open() };
        let mut client = Raw::open_with(world.connect(), open).await;
        client.attach_pair(0, "$cbs").await;
        client.put_token(0, &world.policy_token("service", HOUR)).await;
        client.attach(receiver(2, &partition.address)).await.unwrap();
        client.credit(2, 2).await;
        client.message(2).await;
        let received = client.message(2).await;
        assert!(body(&received) == large, "frames of {frame_bytes}");
        assert!(frames.contains(&received.frames), "{} frames of {frame_bytes}", received.frames);
    }
}

#[tokio::test]
async fn events_wait_for_the_sessions_window_and_come_whole_and_in_order() {
    const WINDOW: u32 = 3;
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let bodies: Vec<String> =
        [1, 9_000, 1, 2, 20_000, 3, 4, 5].map(|length| length.to_string().repeat(length)).into();
    for body in &bodies {
        let message = DeviceMessage { body: body.clone().into(), ..DeviceMessage::default() };
        send_message(&world, &partition.device, message).await;
    }
    let open = Open { max_frame_size: 4096.into(), ..open() };
    let mut client = Raw::open_with(world.connect(), open).await;
    client.attach_pair(0, "$cbs").await;
    client.put_token(0, &world.policy_token("service", HOUR)).await;
    client.send(1, &Begin { incoming_window: WINDOW, ..begin() }, &[]).await;
    client.send(1, &receiver(0, &partition.address), &[]).await;
    let (mut frames, mut payload, mut received) = (0, Vec::new(), Vec::new());
    while received.len() <= bodies.len() {
        let credit = Flow { next_incoming_id: Some(frames), incoming_window: WINDOW, ..flow(0, 100) };
        client.send(1, &credit, &[]).await;
        // As many frames as the window lets through, until there are no more.
        let mut room = WINDOW;
        while room > 0 && received.len() <= bodies.len() {
            let frame = client.next().await.unwrap();
            let Some(Performative::Transfer(transfer)) = frame.performative else { continue };
            (frames, room) = (frames + 1, room - 1);
            payload.extend(frame.payload);
            if !transfer.more {
                received.push(std::mem::take(&mut payload));
            }
        }
    }
    let expected = std::iter::once("0").chain(bodies.iter().map(String::as_str));
    for (payload, body) in received.iter().zip(expected) {
        assert!(payload.ends_with(body.as_bytes()), "{} bytes instead of {}", payload.len(), body.len());
    }
    assert!(frames > 3 * WINDOW, "{frames}");
}
