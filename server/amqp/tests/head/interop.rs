//! A client we did not write: fe2o3-amqp opens, authenticates, sends and receives.

use fe2o3_amqp::connection::Connection;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::Session;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Data, Message, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::Value;

use crate::{HOUR, world};

#[tokio::test]
async fn fe2o3_puts_a_token_sends_telemetry_and_reads_its_twin() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let builder = Connection::builder().container_id("fe2o3").hostname("localhost");
    let mut connection = builder.open_with_stream(world.connect()).await.unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut requests = Sender::attach(&mut session, "cbs-sender", "$cbs").await.unwrap();
    let mut replies = Receiver::attach(&mut session, "cbs-receiver", "$cbs").await.unwrap();
    let put = Message::builder()
        .properties(Properties::builder().message_id(7u64).build())
        .application_properties(
            ApplicationProperties::builder()
                .insert("operation", "put-token")
                .insert("type", "servicebus.windows.net:sastoken")
                .insert("name", "localhost%2Fdevices%2Fd1")
                .build(),
        )
        .value(world.token(&device, HOUR))
        .build();
    requests.send(put).await.unwrap().accepted_or("not accepted").unwrap();
    let reply = replies.recv::<Value>().await.unwrap();
    replies.accept(&reply).await.unwrap();
    let properties = reply.message().properties.clone().unwrap();
    assert_eq!(properties.correlation_id, Some(MessageId::Ulong(7)));

    let mut telemetry =
        Sender::attach(&mut session, "telemetry", "/devices/d1/messages/events").await.unwrap();
    for size in [0, 10, 200_000] {
        let message = Message::from(Data(vec![b'x'; size].into()));
        telemetry.send(message).await.unwrap().accepted_or("not accepted").unwrap();
    }
    assert_eq!(world.hub.events().newest(10, None).len(), 3);

    let mut requests = Sender::attach(&mut session, "twin-sender", "/devices/d1/twin").await.unwrap();
    let mut replies = Receiver::attach(&mut session, "twin-receiver", "/devices/d1/twin").await.unwrap();
    let get = Message::builder()
        .message_annotations(MessageAnnotations::builder().insert("operation", "GET").build())
        .properties(Properties::builder().correlation_id("one".to_owned()).build())
        .data(b" ".to_vec())
        .build();
    requests.send(get).await.unwrap().accepted_or("not accepted").unwrap();
    let reply = replies.recv::<Data>().await.unwrap();
    replies.accept(&reply).await.unwrap();
    let twin: serde_json::Value = serde_json::from_slice(&reply.body().0).unwrap();
    assert_eq!(twin["desired"]["$version"], 1);

    session.end().await.unwrap();
    connection.close().await.unwrap();
    assert!(world.hub.connections().is_empty());
}

#[tokio::test]
async fn sasl_plain_stands_for_a_token_and_anonymous_for_none() {
    let (world, _) = world();
    let device = world.device("d1").await;
    world.module("d1", "m1").await;
    let plain = |username: &str, password: String| SaslProfile::Plain { username: username.into(), password };
    for (profile, attaches) in [
        (plain("d1@sas.localhost", world.token(&device, HOUR)), true),
        (plain("device@sas.root.localhost", world.policy_token("device", HOUR)), true),
        (SaslProfile::Anonymous, false),
    ] {
        let builder =
            Connection::builder().container_id("c").hostname("localhost").sasl_profile(profile.clone());
        let mut connection = builder.open_with_stream(world.connect()).await.unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let attached = Sender::attach(&mut session, "t", "/devices/d1/messages/events").await;
        assert_eq!(attached.is_ok(), attaches, "{profile:?}");
    }
    for profile in [
        plain("d1@sas.localhost", "nonsense".into()),
        plain("d1/modules/m1@sas.localhost", world.token(&device, HOUR)),
        plain("nobody", world.token(&device, HOUR)),
    ] {
        let builder =
            Connection::builder().container_id("c").hostname("localhost").sasl_profile(profile.clone());
        assert!(builder.open_with_stream(world.connect()).await.is_err(), "{profile:?}");
    }
}
