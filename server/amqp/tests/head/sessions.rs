//! How sessions begin, are renewed, and end (contract/amqp.md 2.1, 5; ARCHITECTURE 4.5).

use std::time::Duration;

use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::{Close, End, Performative};
use hub::gate::operations::{DeleteDevice, UpdateDevice};
use hub::identity::{AuthenticationSpec, DeviceSpec, DeviceStatus};
use hub::ids::{IdentityId, IfMatch};

use crate::raw::{Raw, data, detach, sender};
use crate::world::World;
use crate::{HOUR, world};

const EVENTS: &str = "/devices/d1/messages/events";

fn is_connected(world: &World, identity: &IdentityId) -> bool {
    world.hub.connections().iter().any(|view| view.identity == *identity)
}

/// A device `d1` with its telemetry link attached at handle 2.
async fn connected(world: &World, ttl: Duration) -> (IdentityId, Raw) {
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, ttl)).await;
    client.attach(sender(2, EVENTS)).await.unwrap();
    (device, client)
}

#[tokio::test]
async fn a_session_begins_with_the_first_device_link_and_ends_with_the_last() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    assert!(!is_connected(&world, &device));
    client.attach(sender(2, EVENTS)).await.unwrap();
    client.attach(sender(3, "/devices/d1/twin")).await.unwrap();
    assert!(is_connected(&world, &device));
    for (handle, still_connected) in [(2, true), (3, false)] {
        client.send(0, &detach(handle), &[]).await;
        client
            .until(|frame| {
                matches!(frame, Performative::Detach(detach) if detach.handle.0 == handle).then_some(())
            })
            .await;
        assert_eq!(is_connected(&world, &device), still_connected);
    }
}

#[tokio::test]
async fn end_close_and_a_lost_socket_disconnect() {
    for how in ["end", "close", "lost"] {
        let (world, _) = world();
        let device = world.device("d1").await;
        let (io, task) = world.connect_with(None);
        let mut client = Raw::authenticated(io, &world.token(&device, HOUR)).await;
        client.attach(sender(2, EVENTS)).await.unwrap();
        assert!(is_connected(&world, &device));
        match how {
            "end" => {
                client.send(0, &End { error: None }, &[]).await;
                client.until(|frame| matches!(frame, Performative::End(_)).then_some(())).await;
            }
            "close" => {
                client.send(0, &Close { error: None }, &[]).await;
                client.until(|frame| matches!(frame, Performative::Close(_)).then_some(())).await;
                assert!(client.next().await.is_none());
            }
            _ => {
                drop(client);
                task.await.unwrap();
            }
        }
        assert!(!is_connected(&world, &device), "{how}");
    }
}

#[tokio::test]
async fn a_second_connection_takes_the_identity_over() {
    let (world, _) = world();
    let (device, mut first) = connected(&world, HOUR).await;
    let other = world.device("d2").await;
    assert_eq!(first.put_token(0, &world.token(&other, HOUR)).await.0, 200);
    first.attach(sender(3, "/devices/d2/messages/events")).await.unwrap();
    let mut second = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    second.attach(sender(2, EVENTS)).await.unwrap();
    assert_eq!(first.detached(2).await.0, "amqp:link:stolen");
    // The other identity of the first connection goes on.
    let id = first.transfer(3, &data(b"still here")).await;
    assert!(matches!(first.outcome(id).await, DeliveryState::Accepted(_)));
    assert_eq!(world.hub.connections().len(), 2);
}

#[tokio::test]
async fn a_newer_link_of_the_same_kind_replaces_the_older() {
    let (world, _) = world();
    let (device, mut client) = connected(&world, HOUR).await;
    client.attach(sender(3, EVENTS)).await.unwrap();
    assert_eq!(client.detached(2).await.0, "amqp:link:stolen");
    let id = client.transfer(3, &data(b"newer")).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    assert!(is_connected(&world, &device));
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_ends_its_links_and_the_connection_that_carries_nothing_else() {
    let (world, clock) = world();
    let (_, mut client) = connected(&world, HOUR).await;
    clock.advance(HOUR);
    world.hub.run_due();
    assert_eq!(client.detached(2).await.0, "amqp:unauthorized-access");
    assert_eq!(client.closed().await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_client_whose_token_expired_may_wind_down_in_its_own_order() {
    let (world, clock) = world();
    let (_, mut client) = connected(&world, HOUR).await;
    clock.advance(HOUR);
    world.hub.run_due();
    client.detached(2).await;
    // The Node SDK waits for the answer to each of these, and hangs for good if a close comes first.
    for handle in [2, 0, 1] {
        client.send(0, &detach(handle), &[]).await;
    }
    client.send(0, &End { error: None }, &[]).await;
    client.send(0, &Close { error: None }, &[]).await;
    let mut answers = Vec::new();
    while let Some(frame) = client.next().await {
        match frame.performative {
            Some(Performative::Detach(detach)) => answers.push(format!("detach {}", detach.handle.0)),
            Some(Performative::End(end)) => answers.push(format!("end {:?}", end.error)),
            Some(Performative::Close(close)) => answers.push(format!("close {:?}", close.error)),
            _ => {}
        }
    }
    assert_eq!(answers, ["detach 0", "detach 1", "end None", "close None"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_puts_a_new_token_after_expiry_may_stay() {
    let (world, clock) = world();
    let (device, mut client) = connected(&world, HOUR).await;
    clock.advance(HOUR);
    world.hub.run_due();
    client.detached(2).await;
    client.send(0, &detach(2), &[]).await;
    assert_eq!(client.put_token(0, &world.token(&device, HOUR)).await.0, 200);
    tokio::time::advance(Duration::from_secs(10)).await;
    client.attach(sender(2, EVENTS)).await.unwrap();
}

#[tokio::test]
async fn an_expired_token_leaves_the_other_identities_of_the_connection_alone() {
    let (world, clock) = world();
    let (_, mut client) = connected(&world, HOUR).await;
    let other = world.device("d2").await;
    client.put_token(0, &world.token(&other, 2 * HOUR)).await;
    client.attach(sender(3, "/devices/d2/messages/events")).await.unwrap();
    clock.advance(HOUR);
    world.hub.run_due();
    assert_eq!(client.detached(2).await.0, "amqp:unauthorized-access");
    let id = client.transfer(3, &data(b"still here")).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    client.send(0, &detach(2), &[]).await;
    assert_eq!(client.attach(sender(2, EVENTS)).await.unwrap_err().0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_renewed_token_keeps_the_session() {
    let (world, clock) = world();
    let (device, mut client) = connected(&world, HOUR).await;
    clock.advance(HOUR / 2);
    assert_eq!(client.put_token(0, &world.token(&device, HOUR)).await.0, 200);
    clock.advance(HOUR / 2);
    world.hub.run_due();
    let id = client.transfer(2, &data(b"renewed")).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    clock.advance(HOUR / 2);
    world.hub.run_due();
    assert_eq!(client.detached(2).await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_renewed_policy_token_keeps_all_its_sessions() {
    let (world, clock) = world();
    world.device("d1").await;
    world.device("d2").await;
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    client.attach(sender(2, EVENTS)).await.unwrap();
    client.attach(sender(3, "/devices/d2/messages/events")).await.unwrap();
    client.put_token(0, &world.policy_token("device", 3 * HOUR)).await;
    clock.advance(2 * HOUR);
    world.hub.run_due();
    for handle in [2, 3] {
        let id = client.transfer(handle, &data(b"renewed")).await;
        assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    }
}

#[tokio::test]
async fn disabling_deleting_and_new_keys_end_the_session_with_their_condition() {
    for (how, condition) in [
        ("disable", "amqp:unauthorized-access"),
        ("keys", "amqp:unauthorized-access"),
        ("delete", "amqp:not-found"),
    ] {
        let (world, _) = world();
        let (device, mut client) = connected(&world, HOUR).await;
        let id = device.device.clone();
        if how == "delete" {
            let by = world.owner::<DeleteDevice>(id).await;
            world.hub.delete_device(by, &IfMatch::Any).unwrap();
        } else {
            let keys = hub::access::SymmetricKey::from_base64("bmV3IGtleSBuZXcga2V5IG5ldyBrZXk=")
                .unwrap()
                .to_base64();
            let spec = DeviceSpec {
                status: (how == "disable").then_some(DeviceStatus::Disabled),
                authentication: (how == "keys").then(|| AuthenticationSpec {
                    primary_key: Some(keys.clone()),
                    secondary_key: Some(keys),
                    ..AuthenticationSpec::default()
                }),
                ..DeviceSpec::default()
            };
            let by = world.owner::<UpdateDevice>(id).await;
            world.hub.update_device(by, &spec, &IfMatch::Any).unwrap();
        }
        assert_eq!(client.detached(2).await.0, condition, "{how}");
        assert_eq!(
            client.attach(sender(5, EVENTS)).await.unwrap_err().0,
            "amqp:unauthorized-access",
            "{how}"
        );
    }
}

#[tokio::test]
async fn a_token_put_before_its_key_changed_opens_no_link() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    let key = Some("bmV3IGtleSBuZXcga2V5IG5ldyBrZXk=".to_owned());
    let authentication =
        AuthenticationSpec { primary_key: key.clone(), secondary_key: key, ..Default::default() };
    let spec = DeviceSpec { authentication: Some(authentication), ..DeviceSpec::default() };
    let by = world.owner::<UpdateDevice>(device.device.clone()).await;
    world.hub.update_device(by, &spec, &IfMatch::Any).unwrap();
    assert_eq!(client.attach(sender(2, EVENTS)).await.unwrap_err().0, "amqp:unauthorized-access");
}

#[tokio::test(start_paused = true)]
async fn draining_detaches_with_a_reason_and_then_closes() {
    let (world, _) = world();
    let (device, mut client) = connected(&world, HOUR).await;
    world.drain.cancel();
    assert_eq!(client.detached(2).await.0, "amqp:link:detach-forced");
    assert!(!is_connected(&world, &device));
    assert_eq!(client.attach(sender(5, EVENTS)).await.unwrap_err().0, "amqp:link:detach-forced");
    assert_eq!(client.closed().await.0, "amqp:connection:forced");
}

#[tokio::test(start_paused = true)]
async fn draining_detaches_the_cbs_links_of_a_client_that_has_no_others() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    world.drain.cancel();
    for handle in [0, 1] {
        client.send(0, &detach(handle), &[]).await;
    }
    assert_eq!(client.detached(0).await.0, "amqp:link:detach-forced");
    assert_eq!(client.closed().await.0, "amqp:connection:forced");
}

#[tokio::test]
async fn draining_closes_a_connection_without_links_at_once() {
    let (world, _) = world();
    let mut client = Raw::open(world.connect()).await;
    world.drain.cancel();
    assert_eq!(client.closed().await.0, "amqp:connection:forced");
}
