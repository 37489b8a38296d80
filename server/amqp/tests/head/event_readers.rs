//! Who reads beside whom, for how long, and what a bad reader does to itself only (contract/eventhubs.md 2, 4, 4.2).

use std::sync::Arc;
use std::time::Duration;

use amqp::AmqpOptions;
use auth::SasToken;
use fe2o3_amqp_types::performatives::{Flow, Performative};
use fe2o3_amqp_types::primitives::Value;
use hub::access::PolicyName;
use hub::time::{ManualClock, Timestamp};

use crate::cloud_to_device::is_quiet;
use crate::event_hub::{body, expect, partition, send, with_epoch};
use crate::raw::{AMQP_HEADER, Raw, begin, detach, flow, frame, open, put_token, receiver, sender};
use crate::service::back_end;
use crate::world::World;
use crate::{HOUR, world};

const STOLEN: &str = "amqp:link:stolen";

/// A token of the policy `service` for a resource.
pub(crate) fn token_for(world: &World, resource: &str, ttl: Duration) -> String {
    let name = PolicyName::parse("service").unwrap();
    let policy = world.hub.policies().iter().find(|policy| policy.name == name).unwrap();
    SasToken::sign(resource, &policy.keys.primary, world.hub.clock().now().plus(ttl), Some(&name))
}

#[tokio::test]
async fn a_reader_of_the_same_or_a_higher_owner_level_takes_the_partition_over() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut first = back_end(&world).await;
    let mut second = back_end(&world).await;
    for (old, new) in [
        (None, Value::Long(0)),
        (Some(Value::Long(1)), Value::Long(1)),
        (Some(Value::Int(3)), Value::Long(4)),
        (Some(Value::Ulong(5)), Value::Uint(6)),
    ] {
        let attach = receiver(2, &partition.address);
        let attach = match old {
            Some(level) => with_epoch(attach, level),
            None => attach,
        };
        first.attach(attach).await.unwrap();
        first.credit(2, 100).await;
        first.message(2).await;
        second.attach(with_epoch(receiver(2, &partition.address), new.clone())).await.unwrap();
        let (condition, description) = first.detached(2).await;
        assert_eq!(condition, STOLEN, "{new:?}");
        assert!(description.contains("owner level"), "{description}");
        second.credit(2, 100).await;
        expect(&mut second, 2, &["0"]).await;
        for client in [&mut first, &mut second] {
            client.send(0, &detach(2), &[]).await;
            assert!(is_quiet(client, 2).await);
        }
    }
}

#[tokio::test]
async fn a_reader_of_a_lower_owner_level_or_none_is_refused_and_the_owner_reads_on() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut owner = back_end(&world).await;
    owner.attach(with_epoch(receiver(2, &partition.address), Value::Long(5))).await.unwrap();
    let mut other = back_end(&world).await;
    let lower = with_epoch(receiver(2, &partition.address), Value::Long(4));
    assert_eq!(other.attach(lower).await.unwrap_err().0, STOLEN);
    assert_eq!(other.attach(receiver(3, &partition.address)).await.unwrap_err().0, STOLEN);
    owner.credit(2, 100).await;
    expect(&mut owner, 2, &["0"]).await;
}

#[tokio::test]
async fn an_owner_that_leaves_gives_the_partition_free() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut owner = back_end(&world).await;
    let mut other = back_end(&world).await;
    owner.attach(with_epoch(receiver(2, &partition.address), Value::Long(5))).await.unwrap();
    owner.send(0, &detach(2), &[]).await;
    assert!(is_quiet(&mut owner, 2).await);
    other.attach(receiver(2, &partition.address)).await.unwrap();
}

#[tokio::test]
async fn an_owner_level_that_is_no_number_is_an_argument_error() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    for (handle, level) in
        [(2, Value::String("1".into())), (3, Value::Ulong(u64::MAX)), (4, Value::Bool(true))]
    {
        let refused = client.attach(with_epoch(receiver(handle, &partition.address), level)).await;
        assert_eq!(refused.unwrap_err().0, "com.microsoft:argument-error", "handle {handle}");
    }
    client.attach(with_epoch(receiver(5, &partition.address), Value::Null)).await.unwrap();
}

#[tokio::test]
async fn five_read_a_partition_beside_each_other_and_of_a_thousand_more_none() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut readers = back_end(&world).await;
    for handle in 2..7 {
        readers.attach(receiver(handle, &partition.address)).await.unwrap();
    }
    let mut crowd = back_end(&world).await;
    for handle in 2..1002 {
        let (condition, description) = crowd.attach(receiver(handle, &partition.address)).await.unwrap_err();
        assert_eq!(condition, "amqp:resource-limit-exceeded");
        assert!(description.starts_with("5 readers"), "{description}");
    }
    for handle in 2..7 {
        readers.credit(handle, 100).await;
        assert_eq!(body(&readers.message(handle).await), "0");
    }
    readers.send(0, &detach(2), &[]).await;
    assert!(is_quiet(&mut readers, 2).await);
    crowd.attach(receiver(1002, &partition.address)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_event_hub_group_or_partition_is_not_found() {
    let (world, _) = world();
    let mut client = back_end(&world).await;
    for (handle, address) in [
        (2, "test/ConsumerGroups/other/Partitions/0"),
        (3, "test/ConsumerGroups/$Default/Partitions/4"),
        (4, "test/ConsumerGroups/$Default/Partitions/-1"),
        (5, "test/ConsumerGroups/$Default/Partitions/x"),
        (6, "other/ConsumerGroups/$Default/Partitions/0"),
        (7, "test/ConsumerGroups/$Default"),
        (8, "other"),
    ] {
        let refused = client.attach(receiver(handle, address)).await;
        assert_eq!(refused.unwrap_err().0, "amqp:not-found", "{address}");
    }
    client.attach(receiver(9, "test/ConsumerGroups/$Default/Partitions/3")).await.unwrap();
}

#[tokio::test]
async fn nobody_sends_to_an_event_hub() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("iothubowner", HOUR)).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    for (handle, address) in [
        (3, "test"),
        (4, "test/Partitions/0"),
        (5, "amqps://localhost/TEST"),
        (6, "messages/events"),
        (7, &*partition.address),
    ] {
        let refused = client.attach(sender(handle, address)).await;
        assert_eq!(refused.unwrap_err().0, "amqp:unauthorized-access", "{address}");
    }
    assert_eq!(client.attach(sender(8, "other")).await.unwrap_err().0, "amqp:not-found");
    client.credit(2, 100).await;
    expect(&mut client, 2, &["0"]).await;
}

#[tokio::test]
async fn reading_takes_a_claim_with_the_right_for_the_place_that_is_read() {
    let (world, _) = world();
    let address = |group: &str, partition: u8| format!("test/ConsumerGroups/{group}/Partitions/{partition}");
    for (resource, reads, reads_not) in [
        ("localhost", address("$Default", 0), None),
        ("sb://localhost/test", address("$Default", 0), None),
        ("sb://localhost/test/consumergroups/$default", address("$Default", 0), Some(address("g", 0))),
        (
            "amqps://localhost/test/ConsumerGroups/$Default/Partitions/1",
            address("$Default", 1),
            Some(address("$Default", 0)),
        ),
        (
            "localhost/messages/events",
            address("$Default", 0),
            Some("other/ConsumerGroups/g/Partitions/0".into()),
        ),
    ] {
        let mut client = Raw::authenticated(world.connect(), &token_for(&world, resource, HOUR)).await;
        client.attach(receiver(2, &reads)).await.unwrap();
        if let Some(address) = reads_not {
            let refused = client.attach(receiver(3, &address)).await;
            assert_eq!(refused.unwrap_err().0, "amqp:unauthorized-access", "{resource} and {address}");
        }
    }
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    let refused = client.attach(receiver(2, &address("$Default", 0))).await;
    assert_eq!(refused.unwrap_err().0, "amqp:unauthorized-access");
}

/// A token for an event hub is no token for messages to devices.
#[tokio::test]
async fn a_claim_for_an_event_hub_opens_no_other_service_link() {
    let (world, _) = world();
    let mut client =
        Raw::authenticated(world.connect(), &token_for(&world, "sb://localhost/test", HOUR)).await;
    assert_eq!(
        client.attach(sender(2, "/messages/devicebound")).await.unwrap_err().0,
        "amqp:unauthorized-access"
    );
    assert_eq!(client.attach(sender(3, "/devices/d1/twin")).await.unwrap_err().0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_reader_ends_with_its_claim_and_one_with_another_claim_reads_on() {
    let (world, clock) = world();
    let partition = partition(&world, "d1").await;
    let entity = format!("sb://localhost/{}", partition.address);
    let mut client = Raw::authenticated(world.connect(), &token_for(&world, &entity, HOUR)).await;
    client.put_token(0, &token_for(&world, "sb://localhost/test/$management", 3 * HOUR)).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    client.attach(receiver(3, "$management")).await.unwrap();
    client.credit(2, 100).await;
    expect(&mut client, 2, &["0"]).await;
    let mut other = Raw::authenticated(world.connect(), &token_for(&world, "sb://localhost", 2 * HOUR)).await;
    other.attach(receiver(2, &partition.address)).await.unwrap();
    other.credit(2, 100).await;
    expect(&mut other, 2, &["0"]).await;
    clock.advance(HOUR);
    world.hub.run_due();
    assert_eq!(client.detached(2).await.0, "amqp:unauthorized-access");
    send(&world, &partition.device, "1").await;
    expect(&mut other, 2, &["1"]).await;
    client.send(0, &detach(2), &[]).await;
    assert!(is_quiet(&mut client, 3).await, "the connection goes on with its other claim");
    let refused = client.attach(receiver(4, &partition.address)).await;
    assert_eq!(refused.unwrap_err().0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_connection_without_any_claim_left_is_closed() {
    let (world, clock) = world();
    let partition = partition(&world, "d1").await;
    let mut client =
        Raw::authenticated(world.connect(), &token_for(&world, "sb://localhost/test", HOUR)).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    clock.advance(HOUR);
    world.hub.run_due();
    assert_eq!(client.detached(2).await.0, "amqp:unauthorized-access");
    assert_eq!(client.closed().await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_renewed_claim_keeps_its_readers() {
    let (world, clock) = world();
    let partition = partition(&world, "d1").await;
    let entity = format!("sb://localhost/{}", partition.address);
    let mut client = Raw::authenticated(world.connect(), &token_for(&world, &entity, HOUR)).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    client.credit(2, 100).await;
    expect(&mut client, 2, &["0"]).await;
    for n in 1..4 {
        clock.advance(HOUR / 2);
        assert_eq!(client.put_token(0, &token_for(&world, &entity, HOUR)).await.0, 200);
        clock.advance(HOUR / 2 - Duration::from_secs(1));
        world.hub.run_due();
        send(&world, &partition.device, &n.to_string()).await;
        expect(&mut client, 2, &[&n.to_string()]).await;
    }
}

#[tokio::test]
async fn a_reader_that_never_settles_reads_on() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    client.credit(2, u32::MAX).await;
    for n in 1..3000 {
        assert_eq!(body(&client.message(2).await), (n - 1).to_string());
        send(&world, &partition.device, &n.to_string()).await;
    }
}

/// What it is granted stays in the event hub until retention takes it: the gap tells how little it held.
#[tokio::test]
async fn a_reader_that_does_not_read_its_socket_holds_no_more_than_is_written_at_a_time() {
    const EVENT_BYTES: usize = 10_000;
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_secs(1_767_225_600)));
    let world =
        World::with(clock, AmqpOptions::default(), |config| config.event_retention.bytes = 4 * 2_000_000);
    let partition = partition(&world, "d1").await;
    for _ in 0..100 {
        send(&world, &partition.device, &"x".repeat(EVENT_BYTES)).await;
    }
    let mut stalled = back_end(&world).await;
    stalled.attach(receiver(2, &partition.address)).await.unwrap();
    stalled.credit(2, u32::MAX).await;
    assert_eq!(body(&stalled.message(2).await), "0");
    let mut other = back_end(&world).await;
    other.attach(receiver(2, &partition.address)).await.unwrap();
    other.credit(2, u32::MAX).await;
    for _ in 0..101 {
        other.message(2).await;
    }
    for _ in 0..1000 {
        send(&world, &partition.device, &"x".repeat(EVENT_BYTES)).await;
        other.message(2).await;
    }
    let mut numbers = Vec::new();
    while numbers.last() != Some(&1100) {
        let Some(Value::Long(number)) = stalled.message(2).await.message.annotation("x-opt-sequence-number")
        else {
            panic!("no sequence number")
        };
        numbers.push(number);
    }
    let gap = numbers.windows(2).position(|pair| pair[1] != pair[0] + 1).expect("a gap");
    let held = (gap + 1) * EVENT_BYTES;
    assert!(
        held < 64 * 1024 + 2 * 128 * 1024,
        "{held} bytes of events were held, those of the socket included"
    );
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[tokio::test]
async fn readers_of_a_connection_take_turns_and_its_client_is_heard_in_between() {
    let (world, _) = world();
    let busy = partition(&world, "d1").await;
    let mut names = (2..).map(|n| format!("d{n}"));
    let quiet = loop {
        let other = partition(&world, &names.next().unwrap()).await;
        if other.address != busy.address {
            break other;
        }
    };
    let body = "x".repeat(10_000);
    for _ in 0..1000 {
        send(&world, &busy.device, &body).await;
    }
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &busy.address)).await.unwrap();
    client.attach(receiver(3, &quiet.address)).await.unwrap();
    let both: Vec<u8> = [frame(0, &flow(2, 10_000), &[]), frame(0, &flow(3, 10_000), &[])].concat();
    client.write(&both).await;
    let mut before = 0;
    loop {
        let frame = client.next().await.unwrap();
        match frame.performative {
            Some(Performative::Transfer(transfer)) if transfer.handle.0 == 3 => break,
            Some(Performative::Transfer(_)) => before += 1,
            _ => {}
        }
    }
    assert!(before < 100, "{before} events of the other link came first");
    client.send(0, &detach(2), &[]).await;
    let mut behind = 0;
    client
        .until(|frame| {
            behind += 1;
            matches!(frame, Performative::Detach(detach) if detach.handle.0 == 2).then_some(())
        })
        .await;
    assert!(behind < 500, "{behind} frames came before the answer to the detach");
}

/// Python attaches the CBS pair, puts its token and reads in one breath, on channel 1.
#[tokio::test]
async fn a_whole_conversation_may_be_pipelined() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let mut client = Raw::new(world.connect());
    let mut token = client.next_transfer(0);
    token.settled = Some(true);
    let request =
        put_token("sb://localhost/test", &token_for(&world, "sb://localhost/test", HOUR), Value::Ulong(0));
    let bytes = [
        &AMQP_HEADER[..],
        &frame(0, &open(), &[]),
        &frame(0, &begin(), &[]),
        &frame(0, &receiver(1, "$cbs"), &[]),
        &frame(0, &sender(0, "$cbs"), &[]),
        &frame(0, &flow(1, 100), &[]),
        &frame(0, &token, &request),
        &frame(0, &receiver(2, &partition.address), &[]),
        &frame(0, &Flow { link_credit: Some(10), ..flow(2, 10) }, &[]),
    ]
    .concat();
    client.write(&bytes).await;
    client.expect_header(AMQP_HEADER).await;
    assert_eq!(body(&client.message(2).await), "0");
}
