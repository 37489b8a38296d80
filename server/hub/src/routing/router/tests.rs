//! Which event lands where, and what it is enriched with.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::events::Event;
use crate::gate::Tier;
use crate::gate::operations::{PatchTwin, SendTelemetry};
use crate::ids::{IdentityId, IfMatch};
use crate::routing::{EnrichmentSpec, RouteSpec};
use crate::telemetry::{DeviceMessage, MessageProperties};
use crate::testing::{admit, hub, hub_with, identity_grant, owner, register};
use crate::twin::{Arrays, TwinPatch};

fn name(text: &str) -> EventHubName {
    EventHubName::parse(text).unwrap()
}

fn route(name: &str, source: MessageSource, endpoints: &[&str]) -> RouteSpec {
    RouteSpec {
        name: name.into(),
        source: source.route_name().into(),
        condition: None,
        endpoints: endpoints.iter().map(|name| (*name).to_owned()).collect(),
        is_enabled: true,
    }
}

fn enrichment(key: &str, value: &str, endpoint: &str) -> EnrichmentSpec {
    EnrichmentSpec { key: key.into(), value: value.into(), endpoints: vec![endpoint.into()] }
}

fn set(hub: &Hub, routes: Vec<RouteSpec>, fallback_route: bool, enrichments: Vec<EnrichmentSpec>) {
    hub.set_routing(&RoutingSpec { routes, fallback_route, enrichments }, &[name("alerts")]).unwrap();
}

fn send(hub: &Hub, identity: &IdentityId, body: usize) {
    let by = admit::<SendTelemetry>(hub, &identity_grant(identity, None), identity.clone()).unwrap();
    let properties = MessageProperties {
        application: vec![("own".into(), Some("kept".into())), ("place".into(), Some("replaced".into()))],
        ..MessageProperties::default()
    };
    hub.send_telemetry(by, DeviceMessage { properties, body: Bytes::from(vec![b'x'; body]) }).unwrap();
}

fn held(hub: &Hub, event_hub: &str) -> Vec<Event> {
    let event_hub = hub.event_hubs().get(event_hub).unwrap();
    event_hub.newest(100, None).into_iter().rev().map(|(_, event)| event).collect()
}

/// How many events the built-in event hub and `alerts` hold.
fn counts(hub: &Hub) -> (usize, usize) {
    (held(hub, "test").len(), held(hub, "alerts").len())
}

fn properties(event: &Event) -> Value {
    event
        .application_properties()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

const TELEMETRY: MessageSource = MessageSource::Telemetry;

#[test]
fn without_routes_messages_go_to_the_built_in_endpoint_and_nothing_else_is_told() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    send(&hub, &device, 1);
    assert_eq!(held(&hub, "test").iter().map(|event| event.data.source).collect::<Vec<_>>(), [TELEMETRY]);
    for source in MessageSource::ALL {
        assert_eq!(hub.is_wanted(source), source == TELEMETRY, "{source:?}");
    }
}

#[test]
fn a_message_that_a_route_takes_does_not_fall_back() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    set(&hub, vec![route("r", TELEMETRY, &["alerts"])], true, vec![]);
    send(&hub, &device, 1);
    assert_eq!(counts(&hub), (0, 1));
}

#[test]
fn a_message_that_no_enabled_route_takes_falls_back_if_that_is_switched_on() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let routes = || {
        let disabled = RouteSpec { is_enabled: false, ..route("off", TELEMETRY, &["alerts"]) };
        vec![disabled, route("other", MessageSource::TwinChange, &["alerts"])]
    };
    set(&hub, routes(), true, vec![]);
    send(&hub, &device, 1);
    assert_eq!(counts(&hub), (1, 0));
    set(&hub, routes(), false, vec![]);
    send(&hub, &device, 1);
    assert_eq!(counts(&hub), (1, 0), "it goes nowhere");
}

#[test]
fn a_message_of_several_routes_to_one_endpoint_is_there_once() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let routes = vec![
        route("a", TELEMETRY, &["alerts", "events"]),
        route("b", TELEMETRY, &["events"]),
        route("c", TELEMETRY, &["alerts"]),
    ];
    set(&hub, routes, true, vec![]);
    send(&hub, &device, 1);
    assert_eq!(counts(&hub), (1, 1));
    let (built_in, alerts) = (held(&hub, "test").remove(0), held(&hub, "alerts").remove(0));
    assert!(Arc::ptr_eq(&built_in.data, &alerts.data), "one copy serves both");
    assert!(built_in.enrichments.is_none() && alerts.enrichments.is_none());
}

#[test]
fn enrichments_belong_to_their_endpoint() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let enrichments =
        vec![enrichment("hub", "$iothubname", "alerts"), enrichment("place", "Plant 43", "alerts")];
    set(&hub, vec![route("a", TELEMETRY, &["alerts", "events"])], true, enrichments);
    send(&hub, &device, 1);
    send(&hub, &device, 1);
    assert_eq!(properties(&held(&hub, "test")[0]), json!({"own": "kept", "place": "replaced"}));
    let alerts = held(&hub, "alerts");
    assert_eq!(properties(&alerts[0]), json!({"own": "kept", "hub": "test", "place": "Plant 43"}));
    let added = |n: usize| alerts[n].enrichments.clone().unwrap();
    assert!(Arc::ptr_eq(&added(0), &added(1)), "what never changes is made once");
}

#[test]
fn an_enrichment_follows_the_senders_own_twin_and_shows_its_path_where_that_says_nothing() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    let device = IdentityId::device(module.device.clone());
    let enrichments = vec![
        enrichment("floor", "$twin.tags.floor", "events"),
        enrichment("where", "$twin.tags.where", "events"),
        enrichment("rate", "$twin.properties.desired.rate.secs", "events"),
        enrichment("same", "text", "events"),
    ];
    set(&hub, vec![], true, enrichments);
    let patch = json!({"tags": {"floor": 3, "where": {"building": "43"}}, "properties": {"desired": {"rate": {"secs": 5}}}});
    let patch = TwinPatch::parse(patch, Arrays::Allowed).unwrap();
    hub.patch_twin(owner::<PatchTwin>(&hub, device.clone()), &patch, &IfMatch::Any).unwrap();
    send(&hub, &device, 1);
    send(&hub, &module, 1);
    let added = |n: usize| {
        let shown = properties(&held(&hub, "test")[n]);
        ["floor", "where", "rate", "same"].map(|key| shown[key].as_str().unwrap().to_owned())
    };
    assert_eq!(added(0), ["3", "$twin.tags.where", "5", "text"]);
    assert_eq!(
        added(1),
        ["$twin.tags.floor", "$twin.tags.where", "$twin.properties.desired.rate.secs", "text"]
    );
}

#[test]
fn an_event_that_enrichments_make_too_large_is_dropped_for_that_endpoint_alone() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let own = "own".len() + "kept".len() + "place".len() + "replaced".len();
    set(&hub, vec![route("a", TELEMETRY, &["alerts", "events"])], true, vec![enrichment("k", "v", "alerts")]);
    send(&hub, &device, limits::TELEMETRY_BYTES - own - 2);
    assert_eq!(counts(&hub), (1, 1));
    send(&hub, &device, limits::TELEMETRY_BYTES - own - 1);
    assert_eq!(counts(&hub), (2, 1));
}

#[test]
fn routing_that_breaks_a_rule_changes_nothing() {
    let (hub, _) = hub();
    set(&hub, vec![route("r", TELEMETRY, &["alerts"])], false, vec![]);
    let before = hub.routing();
    let spec = RoutingSpec { routes: vec![route("a b", TELEMETRY, &["cold"])], ..RoutingSpec::default() };
    assert!(hub.set_routing(&spec, &[name("cold")]).is_err());
    assert_eq!(hub.routing(), before);
    assert!(hub.event_hubs().get("cold").is_none(), "nor is an event hub made");
}

#[test]
fn event_hubs_are_made_once_and_stay() {
    let (hub, _) = hub();
    set(&hub, vec![], true, vec![]);
    let made = hub.event_hubs().get("alerts").unwrap();
    assert_eq!(made.partitions(), hub.events().partitions());
    hub.set_routing(&RoutingSpec::default(), &[name("ALERTS"), name("cold")]).unwrap();
    assert!(Arc::ptr_eq(&made, &hub.event_hubs().get("alerts").unwrap()));
    assert_eq!(hub.event_hubs().all().len(), 3);
}

#[test]
fn a_free_hub_has_one_event_hub_beside_its_own() {
    let (hub, _) = hub_with(|config| config.tier = Tier::Free);
    set(&hub, vec![], true, vec![]);
    let refused = hub.set_routing(&RoutingSpec::default(), &[name("cold")]).unwrap_err();
    assert!(refused.message().contains("the free tier allows 1"), "{}", refused.message());
}
