//! Event hubs beside the built-in one, and what the hub itself has to tell, on the wire (contract/eventhubs.md 5,
//! contract/mqtt.md 12).

use fe2o3_amqp_types::primitives::{Binary, Symbol, Value};
use hub::events::{ConsumerGroupName, EventHubName};
use hub::ids::IdentityId;
use hub::routing::{EnrichmentSpec, RouteSpec, RoutingSpec};
use hub::telemetry::{DeviceMessage, MessageProperties};
use serde_json::json;

use crate::cloud_to_device::is_quiet;
use crate::device::patch_desired;
use crate::event_hub::{body, expect, partition, send, send_message};
use crate::raw::{Raw, Received, detach, receiver};
use crate::service::back_end;
use crate::world;
use crate::world::World;

/// Sends everything of a source to the event hub `alerts`, which is made for it, with a property added on the way.
fn route(world: &World, source: &str) {
    let endpoints = vec!["alerts".to_owned()];
    let spec = RoutingSpec {
        routes: vec![RouteSpec {
            name: "route".to_owned(),
            source: source.to_owned(),
            condition: None,
            endpoints: endpoints.clone(),
            is_enabled: true,
        }],
        fallback_route: true,
        enrichments: vec![EnrichmentSpec { key: "site".to_owned(), value: "north".to_owned(), endpoints }],
    };
    world.hub.set_routing(&spec, &[EventHubName::parse("alerts").unwrap()]).unwrap();
}

/// The newest event of `alerts` about a device.
async fn alert(world: &World, device: &IdentityId) -> Received {
    let alerts = world.hub.event_hubs().get("alerts").unwrap();
    let (number, newest) = alerts.newest(1, Some(&device.device))[0].clone();
    let mut client: Raw = back_end(world).await;
    client.attach(receiver(2, &format!("Alerts/ConsumerGroups/$Default/Partitions/{number}"))).await.unwrap();
    client.credit(2, 100).await;
    for _ in 0..newest.position.sequence_number {
        client.message(2).await;
    }
    client.message(2).await
}

fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.into()))
}

#[tokio::test]
async fn a_further_event_hub_is_read_like_the_built_in_one_with_its_enrichments() {
    let (world, _) = world();
    route(&world, "DeviceMessages");
    let device = world.device("d1").await;
    let own = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let application = vec![own("level", "hot"), own("site", "the device's own")];
    let properties = MessageProperties { application, ..MessageProperties::default() };
    send_message(&world, &device, DeviceMessage { properties, body: "x".into() }).await;
    let received = alert(&world, &device).await;
    assert_eq!(body(&received), "x");
    assert_eq!(received.message.application("level"), text("hot"));
    assert_eq!(received.message.application("site"), text("north"));
    let Some(Value::Map(application)) = received.message.section(0x74) else { panic!("no properties") };
    assert_eq!(application.len(), 2, "no name stands twice");
}

#[tokio::test]
async fn the_hubs_own_events_have_the_contracts_properties_and_no_senders_stamps() {
    let (world, _) = world();
    let device = world.device("d1").await;
    route(&world, "TwinChangeEvents");
    patch_desired(&world, &device, json!({ "interval": 5 })).await;
    let received = alert(&world, &device).await;
    let message = &received.message;
    for (place, value) in [
        (1, Some(Value::Binary(Binary::from(b"test".to_vec())))),
        (2, Some(Value::Null)),
        (6, Some(Value::Symbol(Symbol::from("application/json")))),
        (7, Some(Value::Symbol(Symbol::from("utf-8")))),
    ] {
        assert_eq!(message.property(place), value, "field {place}");
    }
    assert!(matches!(message.correlation_id(), Some(Value::String(id)) if !id.is_empty()));
    for (name, value) in [
        ("iothub-message-source", text("twinChangeEvents")),
        ("iothub-connection-device-id", text("d1")),
        ("iothub-connection-auth-method", None),
        ("iothub-connection-auth-generation-id", None),
        ("x-opt-sequence-number", Some(Value::Long(0))),
    ] {
        assert_eq!(message.annotation(name), value, "{name}");
    }
    for (name, value) in [
        ("hubName", "test"),
        ("deviceId", "d1"),
        ("opType", "updateTwin"),
        ("iothub-message-schema", "twinChangeNotification"),
        ("site", "north"),
    ] {
        assert_eq!(message.application(name), text(value), "{name}");
    }
    assert_eq!(message.json()["properties"]["desired"]["interval"], 5);
}

#[tokio::test]
async fn a_consumer_group_that_is_removed_ends_its_readers_and_no_others() {
    let (world, _) = world();
    let partition = partition(&world, "d1").await;
    let group = || ConsumerGroupName::parse("dashboard").unwrap();
    world.hub.events().create_consumer_group(group()).unwrap();
    let mut client = back_end(&world).await;
    client.attach(receiver(2, &partition.address)).await.unwrap();
    client.attach(receiver(3, &partition.address.replace("$Default", "Dashboard"))).await.unwrap();
    client.credit(3, 100).await;
    expect(&mut client, 3, &["0"]).await;
    world.hub.events().delete_consumer_group("dashboard").unwrap();
    assert_eq!(client.detached(3).await.0, "amqp:not-found");
    client.send(0, &detach(3), &[]).await;
    client.credit(2, 100).await;
    assert_eq!(body(&client.message(2).await), "0");
    send(&world, &partition.device, "1").await;
    expect(&mut client, 2, &["1"]).await;
    assert!(is_quiet(&mut client, 2).await);
}
