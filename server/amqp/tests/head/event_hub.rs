//! Reading a partition: where a reader begins, and how it is paced (contract/eventhubs.md 4). What follows builds on
//! the helpers here: `event_message` on the form of events, `event_readers` on who reads beside whom.

use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{DeliveryState, FilterSet};
use fe2o3_amqp_types::performatives::{Attach, Performative};
use fe2o3_amqp_types::primitives::{Array, Symbol, Value};
use hub::gate::operations::SendTelemetry;
use hub::ids::IdentityId;
use hub::telemetry::DeviceMessage;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use crate::cloud_to_device::is_quiet;
use crate::raw::{Raw, Received, flow, receiver};
use crate::service::back_end;
use crate::settlement::{accepted, disposition, released};
use crate::world;
use crate::world::World;

const SELECTOR: &str = "apache.org:selector-filter:string";

/// A partition of the built-in event hub for `$Default`, and a device whose events it holds.
pub(crate) struct Partition {
    pub(crate) address: String,
    pub(crate) device: IdentityId,
}

/// Registers `id` and sends its first event, whose body is `0`.
pub(crate) async fn partition(world: &World, id: &str) -> Partition {
    let device = world.device(id).await;
    send(world, &device, "0").await;
    let (number, _) = world.hub.events().newest(1, Some(&device.device))[0].clone();
    Partition { address: format!("test/ConsumerGroups/$Default/Partitions/{number}"), device }
}

/// Sends telemetry with this body.
pub(crate) async fn send(world: &World, device: &IdentityId, body: &str) {
    let message = DeviceMessage { body: body.to_owned().into(), ..DeviceMessage::default() };
    send_message(world, device, message).await;
}

pub(crate) async fn send_message(world: &World, device: &IdentityId, message: DeviceMessage) {
    let by = world.owner::<SendTelemetry>(device.clone()).await;
    world.hub.send_telemetry(by, message).unwrap();
}

pub(crate) fn with_selector(mut attach: Attach, selector: Value) -> Attach {
    let filter = FilterSet::from_iter([(Symbol::from(SELECTOR), selector)]);
    attach.source.as_mut().unwrap().filter = Some(filter);
    attach
}

/// As Python and Java describe it.
pub(crate) fn described(selector: &str) -> Value {
    let descriptor = Descriptor::Name(Symbol::from(SELECTOR));
    Value::Described(Box::new(Described { descriptor, value: Value::String(selector.into()) }))
}

pub(crate) fn with_epoch(mut attach: Attach, level: Value) -> Attach {
    attach.properties = Some(Fields::from_iter([(Symbol::from("com.microsoft:epoch"), level)]));
    attach
}

pub(crate) fn body(received: &Received) -> String {
    let Some(Value::Binary(body)) = received.message.section(0x75) else { panic!("no data") };
    String::from_utf8(body.to_vec()).unwrap()
}

/// Reads as many events as are named, and that there are no more.
pub(crate) async fn expect(client: &mut Raw, handle: u32, bodies: &[&str]) {
    for expected in bodies {
        assert_eq!(body(&client.message(handle).await), *expected);
    }
    assert!(is_quiet(client, handle).await, "more than {bodies:?}");
}

async fn read_from(world: &World, partition: &Partition, selector: Value, bodies: &[&str]) {
    let mut client = back_end(world).await;
    client.attach(with_selector(receiver(2, &partition.address), selector)).await.unwrap();
    client.credit(2, 100).await;
    expect(&mut client, 2, bodies).await;
}

#[tokio::test]
async fn a_reader_gets_what_is_there_and_then_what_comes() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    client.credit(2, 100).await;
    expect(&mut client, 2, &["0"]).await;
    for body in ["1", "2"] {
        send(&world, &partition.device, body).await;
        expect(&mut client, 2, &[body]).await;
    }
}

#[tokio::test]
async fn every_form_of_the_address_reads_the_partition() {
    let (world, _) = world();
    let Partition { address, .. } = partition(&world, "d1").await;
    let number = address.rsplit('/').next().unwrap();
    let mut client = back_end(&world).await;
    for (handle, address) in [
        format!("test/ConsumerGroups/$Default/Partitions/{number}"),
        format!("/test/ConsumerGroups/%24Default/Partitions/{number}"),
        format!("amqps://localhost/TEST/consumergroups/$default/partitions/{number}"),
        format!("sb://localhost:5671/Test/CONSUMERGROUPS/$DEFAULT/PARTITIONS/{number}"),
    ]
    .iter()
    .enumerate()
    {
        let handle = handle as u32 + 2;
        client.attach(receiver(handle, address)).await.unwrap();
        client.credit(handle, 1).await;
        assert_eq!(body(&client.message(handle).await), "0", "{address}");
    }
}

/// The forms of the filter's value are those of Python and Java, of Node and Go, of .NET, and a bare string.
#[tokio::test]
async fn a_selector_is_read_however_it_is_described_and_comes_back_as_it_was() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let text = "amqp.annotation.x-opt-offset > '-1'";
    let coded = |code| {
        let descriptor = Descriptor::Code(code);
        Value::Described(Box::new(Described { descriptor, value: Value::String(text.into()) }))
    };
    let bare = Value::String(text.into());
    for selector in [described(text), coded(0x0000_468C_0000_0004), coded(0x0000_0013_7000_000A), bare] {
        let mut client = back_end(&world).await;
        let attach = with_selector(receiver(2, &partition.address), selector);
        let reply = client.attach(attach.clone()).await.unwrap();
        assert_eq!(reply.source, attach.source);
        client.credit(2, 100).await;
        expect(&mut client, 2, &["0"]).await;
    }
}

#[tokio::test]
async fn a_reader_begins_where_its_selector_says() {
    let (world, clock) = world();
    let partition = partition(&world, "d1").await;
    let mut times = vec![world.hub.clock().now().unix_millis()];
    for body in ["1", "2"] {
        clock.advance(std::time::Duration::from_millis(1));
        times.push(world.hub.clock().now().unix_millis());
        send(&world, &partition.device, body).await;
    }
    let events = world.hub.events().newest(3, Some(&partition.device.device));
    let second = events[1].1.position;
    let at = times[1];
    for (selector, bodies) in [
        ("x-opt-offset > '-1'".to_owned(), &["0", "1", "2"][..]),
        ("x-opt-offset > '@latest'".to_owned(), &[]),
        (format!("x-opt-offset > '{}'", second.offset), &["2"]),
        (format!("x-opt-offset >= {}", second.offset), &["1", "2"]),
        (format!("x-opt-offset > '{}'", u64::MAX), &[]),
        ("x-opt-sequence-number > '1'".to_owned(), &["2"]),
        ("x-opt-sequence-number >= '1'".to_owned(), &["1", "2"]),
        (format!("x-opt-enqueued-time > '{at}'"), &["2"]),
        (format!("x-opt-enqueued-time >= '{at}'"), &["1", "2"]),
        (format!("x-opt-enqueuedtimeutc > {at}"), &["2"]),
    ] {
        read_from(&world, &partition, described(&format!("amqp.annotation.{selector}")), bodies).await;
    }
}

#[tokio::test]
async fn a_reader_of_new_events_gets_those_and_no_old_ones() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    let latest = described("amqp.annotation.x-opt-offset > '@latest'");
    client.attach(with_selector(receiver(2, &partition.address), latest)).await.unwrap();
    client.credit(2, 100).await;
    assert!(is_quiet(&mut client, 2).await);
    send(&world, &partition.device, "new").await;
    expect(&mut client, 2, &["new"]).await;
}

#[tokio::test]
async fn a_malformed_selector_is_an_argument_error_and_harms_nobody_else() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    let foreign = Value::Described(Box::new(Described {
        descriptor: Descriptor::Code(7),
        value: Value::String("amqp.annotation.x-opt-offset > '-1'".into()),
    }));
    for (handle, selector) in [
        (3, described("offset > 5")),
        (4, described("amqp.annotation.x-opt-offset > 'a:b'")),
        (5, described("amqp.annotation.x-opt-offset > '1' OR TRUE")),
        (6, Value::Int(5)),
        (7, foreign),
    ] {
        let refused = client.attach(with_selector(receiver(handle, &partition.address), selector)).await;
        assert_eq!(refused.unwrap_err().0, "com.microsoft:argument-error", "handle {handle}");
    }
    client.credit(2, 100).await;
    expect(&mut client, 2, &["0"]).await;
}

#[tokio::test]
async fn no_event_is_sent_without_credit_and_as_many_as_there_is_credit_for() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    for n in 1..200 {
        send(&world, &partition.device, &n.to_string()).await;
    }
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    assert!(is_quiet(&mut client, 2).await);
    let mut next = 0;
    for credit in [1, 3, 150, 200] {
        client.credit(2, credit).await;
        for n in next..credit {
            assert_eq!(body(&client.message(2).await), n.to_string());
        }
        next = credit;
        assert!(is_quiet(&mut client, 2).await);
    }
}

#[tokio::test]
async fn a_drained_reader_gets_all_there_is_and_has_no_credit_left() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    for n in 1..150 {
        send(&world, &partition.device, &n.to_string()).await;
    }
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    let mut drain = flow(2, 1000);
    drain.drain = true;
    client.send(0, &drain, &[]).await;
    for n in 0..150 {
        assert_eq!(body(&client.message(2).await), n.to_string());
    }
    let answer = client
        .until(|frame| match frame {
            Performative::Flow(flow) if flow.drain => Some(flow.clone()),
            _ => None,
        })
        .await;
    assert_eq!((answer.link_credit, answer.delivery_count), (Some(0), Some(1000)));
    send(&world, &partition.device, "late").await;
    assert!(is_quiet(&mut client, 2).await);
}

#[tokio::test]
async fn events_are_settled_when_sent_only_for_who_asked_for_it() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    for (handle, mode, settled) in [
        (2, SenderSettleMode::Settled, true),
        (3, SenderSettleMode::Unsettled, false),
        (4, SenderSettleMode::Mixed, false),
    ] {
        let mut attach = receiver(handle, &partition.address);
        attach.snd_settle_mode = mode;
        client.attach(attach).await.unwrap();
        client.credit(handle, 1).await;
        assert_eq!(client.message(handle).await.transfer.settled, Some(settled), "handle {handle}");
    }
}

/// Java reads in mode second.
#[tokio::test]
async fn settling_changes_nothing_and_is_answered_in_mode_second() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    let mut attach = receiver(2, &partition.address);
    attach.rcv_settle_mode = ReceiverSettleMode::Second;
    client.attach(attach).await.unwrap();
    client.credit(2, 100).await;
    let id = client.message(2).await.transfer.delivery_id.unwrap();
    client.send(0, &disposition(id, id, false, accepted()), &[]).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    send(&world, &partition.device, "1").await;
    let id = client.message(2).await.transfer.delivery_id.unwrap();
    client.send(0, &disposition(id, id, true, released()), &[]).await;
    send(&world, &partition.device, "2").await;
    expect(&mut client, 2, &["2"]).await;
}

#[tokio::test]
async fn runtime_metrics_come_with_each_event_to_who_desires_them_in_either_form() {
    const METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    send(&world, &partition.device, "1").await;
    let last = world.hub.events().newest(1, None)[0].1.position;
    let mut client = back_end(&world).await;
    let symbol = |name: &str| Symbol::from(name);
    for (handle, desired, wants) in [
        (2, Some(Array(vec![symbol(METRIC)])), true),
        (3, Some(Array(vec![symbol("com.microsoft:georeplication"), symbol(METRIC)])), true),
        (4, Some(Array(vec![symbol("com.microsoft:georeplication")])), false),
        (5, None, false),
    ] {
        let mut attach = receiver(handle, &partition.address);
        attach.desired_capabilities = desired;
        let reply = client.attach(attach).await.unwrap();
        assert_eq!(reply.offered_capabilities, wants.then(|| Array(vec![symbol(METRIC)])), "handle {handle}");
        client.credit(handle, 1).await;
        let message = client.message(handle).await.message;
        let Some(Value::Map(metrics)) = message.section(0x71) else {
            assert!(!wants, "handle {handle}");
            continue;
        };
        assert!(wants, "handle {handle}");
        let metric = |name: &str| metrics.get(&Value::Symbol(symbol(name))).cloned();
        assert_eq!(metric("last_enqueued_sequence_number"), Some(Value::Long(last.sequence_number)));
        assert_eq!(metric("last_enqueued_offset"), Some(Value::String(last.offset.to_string())));
        let at = Value::Timestamp(last.enqueued_at.unix_millis().into());
        assert_eq!(metric("last_enqueued_time_utc"), Some(at));
        let now = Value::Timestamp(world.hub.clock().now().unix_millis().into());
        assert_eq!(metric("runtime_info_retrieval_time_utc"), Some(now));
    }
}
