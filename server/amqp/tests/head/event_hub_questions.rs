//! `$management` READ, every value with its type on the wire (contract/eventhubs.md 3), and pairs of links that are
//! opened and closed again (contract/eventhubs.md 2).

use fe2o3_amqp_types::messaging::{Target, TargetArchetype};
use fe2o3_amqp_types::primitives::{OrderedMap, Symbol, Timestamp, Uuid, Value};

use crate::cloud_to_device::is_quiet;
use crate::event_hub::{partition, send};
use crate::raw::{Raw, Sections, detach, put_token, receiver, section, sender};
use crate::service::back_end;
use crate::{HOUR, world};

const EVENT_HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// A request with this message-id and reply-to.
fn request(id: Value, reply_to: Value, application: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![Value::Null; 5];
    (fields[0], fields[4]) = (id, reply_to);
    let application = application.iter().map(|(key, value)| (text(key), text(value))).collect();
    [section(0x73, &Value::List(fields)), section(0x74, &Value::Map(application))].concat()
}

fn read<'a>(kind: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("operation", "READ"), ("type", kind), ("name", name)]
}

/// Asks on the pair at 2 and reads the reply.
async fn ask(client: &mut Raw, application: &[(&str, &str)]) -> Sections {
    client.transfer(2, &request(text("1"), Value::Null, application)).await;
    client.message(3).await.message
}

fn status(reply: &Sections) -> i32 {
    match reply.application("status-code") {
        Some(Value::Int(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn found(reply: &Sections) -> &OrderedMap<Value, Value> {
    assert_eq!(status(reply), 200);
    match reply.section(0x77) {
        Some(Value::Map(found)) => found,
        other => panic!("{other:?}"),
    }
}

fn expect(reply: &Sections, expected: &[(&str, Value)]) {
    let found = found(reply);
    for (key, value) in expected {
        assert_eq!(found.get(&text(key)), Some(value), "{key}");
    }
    assert_eq!(found.len(), expected.len());
}

#[tokio::test]
async fn an_event_hub_is_described_by_exactly_the_types_of_the_contract() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    client.attach_pair(2, "$management").await;
    let created = Value::Timestamp(Timestamp::from_milliseconds(world.hub.clock().now().unix_millis()));
    for name in ["test", "TEST", "messages/events", "Messages/Events"] {
        let reply = ask(&mut client, &read(EVENT_HUB, name)).await;
        expect(
            &reply,
            &[
                ("name", text("test")),
                ("type", text(EVENT_HUB)),
                ("created_at", created.clone()),
                ("partition_count", Value::Int(4)),
                ("partition_ids", Value::Array(["0", "1", "2", "3"].map(text).to_vec().into())),
                ("georeplication_factor", Value::Int(1)),
            ],
        );
    }
}

#[tokio::test]
async fn a_partition_is_described_by_exactly_the_types_of_the_contract_empty_and_not() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = back_end(&world).await;
    client.attach_pair(2, "test/$management").await;
    let time = |millis| Value::Timestamp(Timestamp::from_milliseconds(millis));
    for id in ["0", "1", "2", "3"] {
        let question = [read(PARTITION, "test"), vec![("partition", id)]].concat();
        expect(
            &ask(&mut client, &question).await,
            &[
                ("name", text("test")),
                ("type", text(PARTITION)),
                ("partition", text(id)),
                ("begin_sequence_number", Value::Long(0)),
                ("last_enqueued_sequence_number", Value::Long(-1)),
                ("last_enqueued_offset", text("-1")),
                ("last_enqueued_time_utc", time(0)),
                ("is_partition_empty", Value::Bool(true)),
            ],
        );
    }
    send(&world, &device, "0").await;
    send(&world, &device, "1").await;
    let (number, last) = world.hub.events().newest(1, None)[0].clone();
    let number = number.to_string();
    let question = [read(PARTITION, "test"), vec![("partition", number.as_str())]].concat();
    expect(
        &ask(&mut client, &question).await,
        &[
            ("name", text("test")),
            ("type", text(PARTITION)),
            ("partition", text(&number)),
            ("begin_sequence_number", Value::Long(0)),
            ("last_enqueued_sequence_number", Value::Long(1)),
            ("last_enqueued_offset", text(&last.position.offset.to_string())),
            ("last_enqueued_time_utc", time(last.position.enqueued_at.unix_millis())),
            ("is_partition_empty", Value::Bool(false)),
        ],
    );
}

/// Node sends a string, Python a uuid, C a number, and others nothing.
#[tokio::test]
async fn the_correlation_id_has_the_type_and_value_of_the_message_id() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    client.attach_pair(2, "$management").await;
    for id in [text("a"), Value::Uuid(Uuid::from([7; 16])), Value::Ulong(0), Value::Ulong(300)] {
        client.transfer(2, &request(id.clone(), text("me"), &read(EVENT_HUB, "test"))).await;
        let reply = client.message(3).await.message;
        assert_eq!((reply.correlation_id(), reply.property(2)), (Some(id), Some(text("me"))));
        assert_eq!(reply.application("status-description"), Some(text("OK")));
    }
    client.transfer(2, &request(Value::Null, Value::Null, &read(EVENT_HUB, "test"))).await;
    let reply = client.message(3).await.message;
    assert!(matches!(reply.correlation_id(), None | Some(Value::Null)));
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_why_and_the_next_one_is_answered() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    client.attach_pair(2, "$management").await;
    let partition = |id| [read(PARTITION, "test"), vec![("partition", id)]].concat();
    for (question, code, condition) in [
        (read(EVENT_HUB, "other"), 404, "com.microsoft:entity-not-found"),
        (read(EVENT_HUB, "a/b"), 404, "com.microsoft:entity-not-found"),
        (read(EVENT_HUB, ""), 404, "com.microsoft:entity-not-found"),
        (partition("4"), 400, "com.microsoft:argument-out-of-range"),
        (partition("-1"), 400, "com.microsoft:argument-out-of-range"),
        (read(PARTITION, "test"), 400, "com.microsoft:argument-error"),
        (read("com.microsoft:queue", "test"), 400, "com.microsoft:argument-error"),
        (vec![("operation", "READ"), ("type", EVENT_HUB)], 400, "com.microsoft:argument-error"),
        (
            vec![("operation", "DELETE"), ("type", EVENT_HUB), ("name", "test")],
            400,
            "com.microsoft:argument-error",
        ),
        (vec![], 400, "com.microsoft:argument-error"),
    ] {
        let reply = ask(&mut client, &question).await;
        assert_eq!(status(&reply), code, "{question:?}");
        assert_eq!(reply.application("error-condition"), Some(Value::Symbol(Symbol::from(condition))));
        assert!(
            matches!(reply.application("status-description"), Some(Value::String(why)) if !why.is_empty())
        );
    }
    found(&ask(&mut client, &read(EVENT_HUB, "test")).await);
}

#[tokio::test]
async fn questions_take_a_claim_for_the_event_hub_they_are_about() {
    let (world, _) = world();
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    client.attach_pair(2, "$management").await;
    assert_eq!(status(&ask(&mut client, &read(EVENT_HUB, "test")).await), 401);
    for (resource, code) in [
        ("sb://localhost/test/$management", 200),
        ("sb://localhost/test", 200),
        ("localhost/messages/events", 200),
        ("sb://localhost/test/ConsumerGroups/$Default", 401),
        ("sb://localhost/other", 401),
    ] {
        let token = crate::event_readers::token_for(&world, resource, HOUR);
        let mut client = Raw::authenticated(world.connect(), &token).await;
        client.attach_pair(2, "$management").await;
        assert_eq!(status(&ask(&mut client, &read(EVENT_HUB, "test")).await), code, "{resource}");
    }
}

/// The Java client puts no token on `$cbs` for its questions.
#[tokio::test]
async fn a_question_may_bring_the_token_it_rests_on() {
    let (world, _) = world();
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    client.attach_pair(2, "$management").await;
    let question = |token| [read(EVENT_HUB, "test"), vec![("security_token", token)]].concat();
    let elsewhere = crate::event_readers::token_for(&world, "sb://localhost/other", HOUR);
    for token in [elsewhere.as_str(), "SharedAccessSignature sr=x", ""] {
        assert_eq!(status(&ask(&mut client, &question(token)).await), 401, "{token}");
    }
    let token = crate::event_readers::token_for(&world, "amqps://localhost/test", HOUR);
    found(&ask(&mut client, &question(&token)).await);
}

#[tokio::test]
async fn a_pair_may_be_opened_and_closed_again_and_again() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    for _ in 0..20 {
        client.attach_pair(2, "$management").await;
        found(&ask(&mut client, &read(EVENT_HUB, "test")).await);
        client.attach_pair(4, "$cbs").await;
        assert_eq!(client.put_token(4, &world.policy_token("service", HOUR)).await.0, 200);
        for handle in 2..6 {
            client.send(0, &detach(handle), &[]).await;
        }
        assert!(is_quiet(&mut client, 3).await);
    }
}

/// Go's handles are the lowest that are free, so the newest link is not the one with the highest.
#[tokio::test]
async fn a_reply_goes_to_the_link_the_request_names_else_to_the_latest_of_its_session() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    client.attach(sender(2, "$management")).await.unwrap();
    for (handle, address) in [(5, "first"), (3, "second")] {
        let mut attach = receiver(handle, "$management");
        attach.target = Some(Box::new(TargetArchetype::Target(Target::from(address))));
        client.attach(attach).await.unwrap();
        client.credit(handle, 100).await;
    }
    for (reply_to, handle) in [(text("first"), 5), (text("second"), 3), (text("nobody"), 3), (Value::Null, 3)]
    {
        client.transfer(2, &request(text("1"), reply_to.clone(), &read(EVENT_HUB, "test"))).await;
        let reply = client.message(handle).await.message;
        assert_eq!(status(&reply), 200, "{reply_to:?}");
    }
    client.attach_pair(6, "$cbs").await;
    client.send(0, &detach(0), &[]).await;
    client.send(0, &detach(1), &[]).await;
    client.attach_pair(0, "$cbs").await;
    client.transfer(0, &put_token("localhost", &world.policy_token("service", HOUR), text("x"))).await;
    assert_eq!(client.message(1).await.message.correlation_id(), Some(text("x")));
}

#[tokio::test]
async fn questions_are_answered_beside_readers() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    client.attach_pair(2, "$management").await;
    client.attach(receiver(4, &partition.address)).await.unwrap();
    client.credit(4, 10).await;
    client.message(4).await;
    found(&ask(&mut client, &read(EVENT_HUB, "test")).await);
}
