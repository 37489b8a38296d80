//! The numbered rules that break SDKs, on the bytes of a whole conversation (contract/amqp.md 1.3, 1.4, 1.5).

use std::collections::HashMap;

use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::messaging::{DeliveryState, Source, TargetArchetype};
use fe2o3_amqp_types::performatives::{Attach, Close, End, Flow, Performative};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use hub::c2d::CloudToDeviceMessage;

use crate::cloud_to_device::send;
use crate::raw::{Raw, data, detach, flow, put_token, receiver, sender, twin_request};
use crate::{HOUR, world};

/// Everything a device is told in a conversation that has every kind of frame, as bodies of frames.
async fn conversation() -> Vec<Vec<u8>> {
    let (world, _) = world();
    let device = world.device("d1").await;
    send(&world, &device, CloudToDeviceMessage { body: "hello".into(), ..Default::default() }).await;
    let mut client = Raw::new(world.connect());
    client.write(crate::raw::AMQP_HEADER).await;
    client.expect_header(crate::raw::AMQP_HEADER).await;
    client.send(0, &crate::raw::open(), &[]).await;
    client.send(0, &crate::raw::begin(), &[]).await;
    client.send(0, &sender(0, "$cbs"), &[]).await;
    client.send(0, &receiver(1, "$cbs"), &[]).await;
    client.send(0, &flow(1, 10), &[]).await;
    client.transfer(0, &put_token("localhost", &world.token(&device, HOUR), Value::Ulong(0))).await;
    client.send(0, &sender(2, "/devices/d1/twin"), &[]).await;
    client.send(0, &receiver(3, "/devices/d1/twin"), &[]).await;
    client.send(0, &flow(3, 10), &[]).await;
    client.transfer(2, &twin_request("GET", "", Value::String("1".into()), b" ")).await;
    client.send(0, &receiver(4, "/devices/d1/messages/devicebound"), &[]).await;
    client.send(0, &flow(4, 10), &[]).await;
    client.send(0, &sender(5, "/nowhere"), &[]).await;
    client.send(0, &sender(6, "/devices/d1/messages/events"), &[]).await;
    client.transfer(6, b"no message").await;
    client.send(0, &detach(2), &[]).await;
    client.send(0, &End { error: None }, &[]).await;
    client.send(0, &Close { error: None }, &[]).await;
    let mut bodies = Vec::new();
    while let Some((_, _, body)) = client.next_body().await {
        bodies.push(body.to_vec());
    }
    bodies
}

/// The number of fields of each frame, read as pyamqp does: at fixed offsets. Panics on any other form.
fn fields(body: &[u8]) -> (u8, u32) {
    assert_eq!(body[..2], [0x00, 0x53], "the descriptor must be a smallulong: {body:02x?}");
    let count = match body[3] {
        0xC0 => body[5].into(),
        0xD0 => u32::from_be_bytes(body[8..12].try_into().unwrap()),
        other => panic!("a performative is a list8 or a list32, not {other:#04x}"),
    };
    (body[2], count)
}

#[tokio::test]
async fn rules_1_and_2_no_performative_is_trimmed_and_each_is_a_short_described_list() {
    let expected = HashMap::from([
        (0x10, 10),
        (0x11, 8),
        (0x12, 14),
        (0x13, 11),
        (0x14, 11),
        (0x15, 6),
        (0x16, 3),
        (0x17, 1),
        (0x18, 1),
    ]);
    let mut seen = HashMap::new();
    for body in conversation().await {
        let (code, count) = fields(&body);
        assert_eq!(count, expected[&code], "{body:02x?}");
        *seen.entry(code).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), expected.len(), "every kind of frame was looked at: {seen:?}");
}

#[tokio::test]
async fn rule_2_an_empty_close_is_these_seven_bytes() {
    let bodies = conversation().await;
    assert_eq!(bodies.last().unwrap()[..], [0x00, 0x53, 0x18, 0xC0, 0x02, 0x01, 0x40]);
}

#[tokio::test]
async fn rule_3_annotations_have_symbols_for_keys_and_application_properties_strings() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let message = CloudToDeviceMessage { application: vec![("k".into(), None)], ..Default::default() };
    send(&world, &device, message).await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(receiver(2, "/devices/d1/messages/devicebound")).await.unwrap();
    client.credit(2, 1).await;
    let message = client.message(2).await.message;
    let Some(Value::Map(annotations)) = message.section(0x72) else { panic!("no annotations") };
    assert!(annotations.iter().all(|(key, _)| matches!(key, Value::Symbol(_))));
    let Some(Value::Map(application)) = message.section(0x74) else { panic!("no properties") };
    assert!(application.iter().all(|(key, _)| matches!(key, Value::String(_))));
}

#[tokio::test]
async fn rules_4_and_5_the_sending_hub_names_its_first_count_and_the_receiving_hub_its_limit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    for (handle, node) in [(2, "twin"), (4, "methods/devicebound"), (6, "messages/devicebound")] {
        let reply = client.attach(receiver(handle, &format!("/devices/d1/{node}"))).await.unwrap();
        assert!(matches!(reply.role, Role::Sender));
        assert_eq!(reply.initial_delivery_count, Some(0), "{node}");
    }
    for (handle, node) in [(3, "twin"), (5, "methods/devicebound"), (7, "messages/events")] {
        let reply = client.attach(sender(handle, &format!("/devices/d1/{node}"))).await.unwrap();
        assert!(matches!(reply.role, Role::Receiver));
        assert!(reply.max_message_size.unwrap() >= 128 * 1024, "{node}");
    }
    let reply = client.attach(sender(8, "/devices/d1/messages/events")).await.unwrap();
    assert!(reply.max_message_size.unwrap() >= 256 * 1024, "the C SDK batches by it");
}

/// C# puts the device id into the other terminus, the C SDK a name of its own; Python a source with its container id.
#[tokio::test]
async fn rule_6_source_and_target_come_back_as_they_were_and_a_refusal_has_neither() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    let mut to_hub = sender(2, "/devices/d1/messages/events");
    to_hub.source = Some(Box::new(Source::from("link-snd-d1-source")));
    let mut from_hub = receiver(3, "/devices/d1/messages/devicebound");
    from_hub.target = Some(Box::new(TargetArchetype::Target("d1".into())));
    for attach in [to_hub, from_hub] {
        let reply = client.attach(attach.clone()).await.unwrap();
        assert_eq!((reply.source, reply.target), (attach.source, attach.target));
        assert_eq!(reply.name, attach.name);
    }
    let (condition, description) = client.attach(sender(4, "/devices/d2/twin")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
    assert!(!description.is_empty());
}

#[tokio::test]
async fn rule_7_credit_follows_the_attach_at_once_and_is_topped_up_at_half() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.send(0, &sender(2, "/devices/d1/messages/events"), &[]).await;
    let mut frames = Vec::new();
    while frames.len() < 2 {
        match client.next().await.unwrap().performative {
            Some(Performative::Attach(reply)) => frames.push(format!("attach {}", reply.handle.0)),
            Some(Performative::Flow(flow)) => {
                let (handle, credit) = (flow.handle.unwrap().0, flow.link_credit.unwrap());
                frames.push(format!("flow {handle} {} {credit}", flow.delivery_count.unwrap()));
            }
            _ => {}
        }
    }
    assert_eq!(frames, ["attach 2", "flow 2 0 1000"]);
    for _ in 0..500 {
        client.transfer(2, &data(b"x")).await;
    }
    let topped_up = client
        .until(|frame| match frame {
            Performative::Flow(Flow { handle: Some(handle), delivery_count, link_credit, .. })
                if handle.0 == 2 =>
            {
                Some((*delivery_count, *link_credit))
            }
            _ => None,
        })
        .await;
    assert_eq!(topped_up, (Some(500), Some(1000)));
}

#[tokio::test]
async fn rule_8_drain_and_echo_are_answered() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(receiver(2, "/devices/d1/messages/devicebound")).await.unwrap();
    for (drain, echo, expected) in [(false, true, (20, 0)), (true, false, (0, 20)), (true, true, (0, 20))] {
        let mut asked = flow(2, 20);
        (asked.drain, asked.echo) = (drain, echo);
        client.send(0, &asked, &[]).await;
        let answer = client
            .until(|frame| match frame {
                Performative::Flow(flow) if flow.handle.is_some() => Some(flow.clone()),
                _ => None,
            })
            .await;
        assert_eq!((answer.link_credit.unwrap(), answer.delivery_count.unwrap()), expected);
        assert!(!answer.echo, "an answer that asks would never end");
    }
}

/// The Node SDK leaks the properties of one link into the next.
#[tokio::test]
async fn links_are_told_apart_by_role_and_address_and_never_by_their_properties() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    let leaked = |attach: Attach, id: &str| {
        let key = Symbol::from("com.microsoft:channel-correlation-id");
        let properties = [(key, Value::String(id.into()))].into_iter().collect();
        Attach { properties: Some(properties), ..attach }
    };
    client.attach(leaked(sender(2, "/devices/d1/messages/events"), "methods:1")).await.unwrap();
    client.attach(leaked(receiver(3, "/devices/d1/messages/devicebound"), "twin:1")).await.unwrap();
    let id = client.transfer(2, &data(b"telemetry")).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    assert_eq!(world.hub.events().newest(10, None).len(), 1);
}

#[tokio::test]
async fn addresses_are_taken_in_every_form_and_ids_encoded_or_raw() {
    let (world, _) = world();
    // A raw `%` that happens to read as an encoding, and what a URL parser would cut at.
    for id in ["d1", "a?b#c", "p%41q", "x+y", "q=1;r@s", "it's(1)"] {
        let device = world.device(id).await;
        let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
        let encoded: String = id
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        for (handle, address) in [
            format!("/devices/{id}/messages/events"),
            format!("devices/{id}/messages/events/"),
            format!("/Devices/{id}/Messages/Events"),
            format!("amqps://localhost/devices/{id}/messages/events"),
            format!("amqps://localhost:5671/devices/{encoded}/messages/events"),
        ]
        .iter()
        .enumerate()
        {
            client
                .attach(sender(handle as u32 + 2, address))
                .await
                .unwrap_or_else(|e| panic!("{address}: {e:?}"));
        }
        let connected: Vec<_> = world.hub.connections().into_iter().map(|view| view.identity).collect();
        assert!(connected.contains(&device), "{id}");
    }
}

/// What C#, Node, Java, C, Go and Python name as the audience; the token alone decides.
#[tokio::test]
async fn any_audience_name_goes_with_a_good_token() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    for name in [
        "localhost%2Fdevices%2Fd1",
        "localhost/devices/d1",
        "localhost",
        "amqps://localhost:5671/",
        "https://localhost",
        "localhost/devices/somebody-else",
    ] {
        client.transfer(0, &put_token(name, &world.token(&device, HOUR), Value::Null)).await;
        let reply = client.message(1).await.message;
        assert_eq!(reply.application("status-code"), Some(Value::Int(200)), "{name}");
    }
}
