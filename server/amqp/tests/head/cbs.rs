//! put-token: replies, claims, and what links may do with them (contract/amqp.md 2).

use fe2o3_amqp_types::definitions::SenderSettleMode;
use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::Performative;
use fe2o3_amqp_types::primitives::{Timestamp as AmqpTime, Uuid, Value};

use crate::raw::{Raw, begin, flow, ids, put_token, receiver, section, sender};
use crate::{HOUR, world};

#[tokio::test]
async fn the_reply_echoes_the_message_id_with_its_type() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let token = world.token(&device, HOUR);
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    for id in [
        Value::String("duplex1".into()),
        Value::Uuid(Uuid::from([7; 16])),
        Value::Ulong(0),
        Value::Ulong(300),
        Value::Null,
    ] {
        client.transfer(0, &put_token("localhost", &token, id.clone())).await;
        let reply = client.message(1).await.message;
        assert_eq!(reply.correlation_id().unwrap_or(Value::Null), id);
        assert_eq!(reply.application("status-code"), Some(Value::Int(200)));
        assert_eq!(reply.application("status-description"), Some(Value::String("OK".into())));
    }
}

#[tokio::test]
async fn the_request_is_accepted_before_it_is_answered() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    let id = client.transfer(0, &put_token("localhost", &world.token(&device, HOUR), Value::Null)).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    client.message(1).await;
}

#[tokio::test]
async fn replies_are_settled_only_for_who_attached_with_settled() {
    let (world, _) = world();
    for (mode, settled) in [(SenderSettleMode::Settled, true), (SenderSettleMode::Mixed, false)] {
        let mut client = Raw::open(world.connect()).await;
        client.attach(sender(0, "$cbs")).await.unwrap();
        let mut replies = receiver(1, "$cbs");
        replies.snd_settle_mode = mode;
        client.attach(replies).await.unwrap();
        client.credit(1, 1).await;
        client.transfer(0, &put_token("localhost", "nonsense", Value::Null)).await;
        assert_eq!(client.message(1).await.transfer.settled, Some(settled));
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_and_harms_nobody_else() {
    let (world, _) = world();
    let good = world.device("good").await;
    let other = world.device("other").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&good, HOUR)).await;
    let wrong = world.token(&good, HOUR).replace("good", "other");
    for (token, status) in [(wrong.as_str(), 401), ("nonsense", 401), ("", 401)] {
        assert_eq!(client.put_token(0, token).await.0, status, "{token}");
    }
    let nobody = auth::SasToken::sign(
        "localhost/devices/nobody",
        &world.key(&other),
        world.hub.clock().now().plus(HOUR),
        None,
    );
    assert_eq!(client.put_token(0, &nobody).await.0, 404);
    client.attach(sender(2, "/devices/good/messages/events")).await.unwrap();
    let (condition, _) = client.attach(sender(3, "/devices/other/messages/events")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_request_that_is_no_put_token_is_answered_with_400() {
    let (world, _) = world();
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    client.transfer(0, &crate::raw::data(b"what is this")).await;
    assert_eq!(client.message(1).await.message.application("status-code"), Some(Value::Int(400)));
}

#[tokio::test]
async fn a_device_token_does_not_reach_its_modules_and_a_policy_token_does() {
    let (world, _) = world();
    let device = world.device("d1").await;
    world.module("d1", "m1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    let (condition, _) = client.attach(sender(2, "/devices/d1/modules/m1/twin")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
    assert_eq!(client.put_token(0, &world.policy_token("device", HOUR)).await.0, 200);
    client.attach(sender(3, "/devices/d1/modules/m1/twin")).await.unwrap();
}

#[tokio::test]
async fn a_policy_without_device_connect_opens_no_device_link() {
    let (world, _) = world();
    world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("service", HOUR)).await;
    let (condition, _) = client.attach(sender(2, "/devices/d1/twin")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn claims_belong_to_their_connection() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let _first = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    let mut second = Raw::open(world.connect()).await;
    let (condition, _) = second.attach(sender(0, "/devices/d1/messages/events")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_connection_holds_a_bounded_number_of_claims() {
    let (world, _) = world();
    let policy = world.hub.policies().iter().find(|policy| policy.name.as_str() == "device").unwrap();
    let expires_at = world.hub.clock().now().plus(HOUR);
    let token = |number: usize| {
        let resource = format!("localhost/devices/d{number}");
        auth::SasToken::sign(&resource, &policy.keys.primary, expires_at, Some(&policy.name))
    };
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    client.credit(1, 10_000).await;
    for number in 0..1990 {
        assert_eq!(client.put_token(0, &token(number)).await.0, 200, "claim {number}");
    }
    let (status, description) = client.put_token(0, &token(1990)).await;
    assert_eq!(status, 403);
    assert!(description.contains("1990"), "{description}");
    assert_eq!(client.put_token(0, &token(7)).await.0, 200, "renewals go on");
}

#[tokio::test]
async fn a_reply_waits_for_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open(world.connect()).await;
    client.attach(sender(0, "$cbs")).await.unwrap();
    client.attach(receiver(1, "$cbs")).await.unwrap();
    let id = client.transfer(0, &put_token("localhost", &world.token(&device, HOUR), Value::Null)).await;
    client.outcome(id).await;
    client.credit(1, 1).await;
    assert_eq!(client.message(1).await.message.application("status-code"), Some(Value::Int(200)));
}

/// Go attaches a new pair for every token, Java and C# keep a session for CBS beside those of their devices.
#[tokio::test]
async fn a_reply_goes_to_the_latest_receiver_of_the_requests_session() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let token = put_token("localhost", &world.token(&device, HOUR), Value::Null);
    let mut client = Raw::open(world.connect()).await;
    client.send(1, &begin(), &[]).await;
    for (channel, pair) in [(0, 0), (0, 2), (1, 0)] {
        client.send(channel, &sender(pair, "$cbs"), &[]).await;
        client.send(channel, &receiver(pair + 1, "$cbs"), &[]).await;
        client.send(channel, &flow(pair + 1, 10), &[]).await;
    }
    for (channel, request, expected) in [(0, 0, 3), (0, 2, 3), (1, 0, 1)] {
        let transfer = client.next_transfer(request);
        client.send(channel, &transfer, &token).await;
        let answered_on = loop {
            let (_, on, body) = client.next_body().await.expect("an answer");
            if body[2] == 0x14 {
                let Performative::Transfer(reply) = serde_amqp::from_reader(&body[..]).unwrap() else {
                    panic!()
                };
                break (on, reply.handle.0);
            }
        };
        assert_eq!(answered_on, (channel, expected), "request on handle {request} of channel {channel}");
    }
}

#[tokio::test]
async fn both_names_of_a_sas_token_are_taken_and_other_kinds_of_token_are_not() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    let text = |text: &str| Value::String(text.into());
    for (kind, status) in [
        ("servicebus.windows.net:sastoken", 200),
        ("azure-devices.net:sastoken", 200),
        ("jwt", 401),
        ("Bearer", 401),
        ("bearer", 401),
    ] {
        // C# adds the expiry, which the token says itself.
        let application = [
            (text("operation"), text("put-token")),
            (text("type"), text(kind)),
            (text("name"), text("localhost/devices/d1")),
            (text("expiration"), Value::Timestamp(AmqpTime::from_milliseconds(1))),
        ];
        let application = Value::Map(application.into_iter().collect());
        let body = section(0x77, &text(&world.token(&device, HOUR)));
        client.transfer(0, &[section(0x74, &application), body].concat()).await;
        let reply = client.message(1).await.message;
        assert_eq!(reply.application("status-code"), Some(Value::Int(status)), "{kind}");
    }
}

#[tokio::test]
async fn a_reply_is_addressed_to_whom_the_request_named() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    let request = put_token("localhost", &world.token(&device, HOUR), Value::Null);
    for reply_to in [Value::String("cbs-1".into()), Value::Null] {
        let mut fields = vec![Value::Null; 5];
        (fields[2], fields[4]) = (Value::String("$cbs".into()), reply_to.clone());
        let end_of_properties = ids(Value::Null, Value::Null).len();
        let request = [section(0x73, &Value::List(fields)), request[end_of_properties..].to_vec()].concat();
        client.transfer(0, &request).await;
        assert_eq!(client.message(1).await.message.property(2).unwrap_or(Value::Null), reply_to);
    }
}
