//! The way to the events for tools that know the hub only (contract/eventhubs.md 7).

use std::collections::HashMap;

use fe2o3_amqp_types::performatives::{Attach, Detach, Open, Performative};
use fe2o3_amqp_types::primitives::Value;

use crate::event_readers::token_for;
use crate::raw::{Raw, open, receiver, sender};
use crate::service::back_end;
use crate::{HOUR, world};

/// Attaches; the answer and the detach that follows it.
async fn redirected(client: &mut Raw, attach: &Attach) -> (Attach, Detach) {
    client.send(0, attach, &[]).await;
    let reply = client
        .until(|frame| match frame {
            Performative::Attach(reply) => Some(reply.clone()),
            _ => None,
        })
        .await;
    let detach = client
        .until(|frame| match frame {
            Performative::Detach(detach) => Some(detach.clone()),
            _ => None,
        })
        .await;
    (reply, detach)
}

fn info(detach: &Detach) -> HashMap<String, Value> {
    let error = detach.error.as_ref().unwrap();
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    assert_eq!(condition, Value::Symbol("amqp:link:redirect".into()));
    assert!(error.description.as_ref().is_some_and(|text| !text.is_empty()));
    error.info.as_ref().unwrap().iter().map(|(key, value)| (key.0.clone(), value.clone())).collect()
}

#[tokio::test]
async fn who_asks_at_the_hub_is_told_the_address_with_the_rest_of_the_old_one() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    for (handle, old, new) in [
        (2, "messages/events/", "amqps://localhost:5671/test/"),
        (3, "/messages/events", "amqps://localhost:5671/test/"),
        (4, "amqps://localhost/messages/events/$management", "amqps://localhost:5671/test/$management"),
        (
            5,
            "/messages/events/ConsumerGroups/$Default/Partitions/0",
            "amqps://localhost:5671/test/ConsumerGroups/$Default/Partitions/0",
        ),
    ] {
        let attach = receiver(handle, old);
        let (reply, detach) = redirected(&mut client, &attach).await;
        assert_eq!((reply.source, reply.target), (attach.source, attach.target), "the attach is echoed");
        assert!(detach.closed);
        let expected = [
            ("hostname", Value::String("localhost".into())),
            ("network-host", Value::String("localhost".into())),
            ("port", Value::Uint(5671)),
            ("address", Value::String(new.into())),
        ];
        let expected: HashMap<_, _> =
            expected.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(info(&detach), expected, "{old}");
    }
}

#[tokio::test]
async fn the_host_is_the_name_the_caller_came_by() {
    let (world, _) = world();
    for (came_by, host) in [(Some("My-Hub.example:5671"), "my-hub.example"), (None, "default.example")] {
        let open = Open { hostname: came_by.map(Into::into), ..open() };
        let mut client = Raw::open_with(world.connect(), open).await;
        client.attach_pair(0, "$cbs").await;
        assert_eq!(client.put_token(0, &world.policy_token("service", HOUR)).await.0, 200);
        let (_, detach) = redirected(&mut client, &receiver(2, "messages/events/")).await;
        let told = info(&detach);
        assert_eq!(told["hostname"], Value::String(host.into()));
        assert_eq!(told["address"], Value::String(format!("amqps://{host}:5671/test/")));
    }
}

/// IoT Explorer's token is for just that part of the hub.
#[tokio::test]
async fn only_who_may_read_events_is_redirected() {
    let (world, _) = world();
    let token = token_for(&world, "localhost/messages/events", HOUR);
    let mut client = Raw::authenticated(world.connect(), &token).await;
    let (_, detach) = redirected(&mut client, &receiver(2, "messages/events/$management")).await;
    assert!(info(&detach).contains_key("address"));
    for token in [world.policy_token("device", HOUR), token_for(&world, "sb://localhost/other", HOUR)] {
        let mut client = Raw::authenticated(world.connect(), &token).await;
        let (condition, _) = client.attach(receiver(2, "messages/events/$management")).await.unwrap_err();
        assert_eq!(condition, "amqp:unauthorized-access");
    }
}

#[tokio::test]
async fn a_sender_is_redirected_to_questions_only() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    let (_, detach) = redirected(&mut client, &sender(2, "messages/events/$management")).await;
    assert!(info(&detach).contains_key("address"));
    let (condition, _) = client.attach(sender(3, "messages/events")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}
