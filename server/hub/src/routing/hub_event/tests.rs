//! The hub's own events, as contract/mqtt.md 12 shows them, in the order in which things happened.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::events::Event;
use crate::gate::operations::{CreateModule, DeleteDevice, DeleteModule, UpdateDevice, UpdateReported};
use crate::identity::{BulkChange, BulkRow, DeviceSpec, DeviceStatus, ImportMode, ModuleSpec, RowId};
use crate::ids::{DeviceId, IfMatch};
use crate::routing::{RouteSpec, RoutingSpec};
use crate::telemetry::DeviceMessage;
use crate::testing::{admit, connect, hub, identity_grant, options, owner, register};
use crate::twin::{Arrays, ReportedPatch, TwinPatch};

fn route(hub: &Hub, sources: &[MessageSource]) {
    let route = |source: &MessageSource| RouteSpec {
        name: source.route_name().into(),
        source: source.route_name().into(),
        condition: None,
        endpoints: vec!["events".into()],
        is_enabled: true,
    };
    let routes = sources.iter().map(route).collect();
    hub.set_routing(&RoutingSpec { routes, ..RoutingSpec::default() }, &[]).unwrap();
}

fn id(device: &str) -> DeviceId {
    DeviceId::parse(device).unwrap()
}

fn events(hub: &Hub, device: &str) -> Vec<Event> {
    hub.events().newest(100, Some(&id(device))).into_iter().rev().map(|(_, event)| event).collect()
}

fn property<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.application_properties().find(|(found, _)| *found == name).and_then(|(_, value)| value)
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&event.data.body).unwrap()
}

/// `opType` of each event, with the module it is about.
fn told(hub: &Hub, device: &str) -> Vec<String> {
    let row = |event: &Event| {
        let what = property(event, "opType").unwrap_or("message");
        property(event, "moduleId").map_or_else(|| what.to_owned(), |module| format!("{what} {module}"))
    };
    events(hub, device).iter().map(row).collect()
}

fn edge(iot_edge: bool) -> DeviceSpec {
    DeviceSpec { iot_edge: Some(iot_edge), ..DeviceSpec::default() }
}

const CONNECTION: MessageSource = MessageSource::DeviceConnectionState;
const LIFECYCLE: MessageSource = MessageSource::DeviceLifecycle;
const TWIN: MessageSource = MessageSource::TwinChange;

#[test]
fn an_event_bears_the_documented_properties_and_no_stamps_of_a_sender() {
    let (hub, _) = hub();
    route(&hub, &[LIFECYCLE]);
    register(&hub, "d", Some("m"));
    let event = events(&hub, "d").remove(1);
    let data = &event.data;
    assert_eq!((data.source.as_str(), data.sender.is_none()), ("deviceLifecycleEvents", true));
    assert_eq!(data.identity.to_string(), "d/m");
    let system = &data.properties;
    assert_eq!(system.content_type.as_deref(), Some("application/json"));
    assert_eq!(system.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(system.user_id.as_deref(), Some("test"));
    let correlation_id = system.correlation_id.as_deref().unwrap();
    assert!(
        correlation_id.len() == 10 && u64::from_str_radix(correlation_id, 16).is_ok(),
        "{correlation_id}"
    );
    let expected = [
        ("hubName", "test"),
        ("deviceId", "d"),
        ("moduleId", "m"),
        ("operationTimestamp", "2026-01-01T00:00:00.0000000Z"),
        ("opType", "createDeviceIdentity"),
        ("iothub-message-schema", "deviceLifecycleNotification"),
    ];
    let shown: Vec<_> = event.application_properties().map(|(name, value)| (name, value.unwrap())).collect();
    assert_eq!(shown, expected);
    assert_eq!(property(&events(&hub, "d")[0], "moduleId"), None, "a device's event names no module");
}

#[test]
fn a_new_identity_shows_an_empty_twin_without_dates_or_what_it_was_made_with() {
    let (hub, _) = hub();
    route(&hub, &[LIFECYCLE]);
    register(&hub, "d", Some("m"));
    let empty = json!({"$metadata": {"$lastUpdated": "0001-01-01T00:00:00Z"}, "$version": 1});
    let twin = json!({"deviceId": "d", "moduleId": "m", "etag": "AAAAAAAAAAE=", "version": 2,
                      "properties": {"desired": empty, "reported": empty}});
    assert_eq!(body(&events(&hub, "d")[1]), twin);

    let content = json!({"tags": {"a": 1}, "properties": {"desired": {"b": 2}}});
    let change = BulkChange {
        mode: ImportMode::Create,
        twin: Some(TwinPatch::parse(content, Arrays::Allowed).unwrap()),
        ..BulkChange::default()
    };
    let row = BulkRow { id: RowId { device: "e".into(), module: None }, change: Ok(change) };
    hub.bulk_registry(owner(&hub, ()), vec![row]).unwrap();
    let body = body(&events(&hub, "e")[0]);
    assert_eq!((&body["tags"], &body["properties"]["desired"]["b"]), (&json!({"a": 1}), &json!(2)));
    assert_eq!(
        body["properties"]["desired"]["$metadata"]["b"]["$lastUpdated"],
        "2026-01-01T00:00:00.0000000Z"
    );
    assert_eq!(body["properties"]["reported"], empty);
}

#[test]
fn modules_of_the_edge_runtime_come_and_go_with_the_capability() {
    let (hub, _) = hub();
    route(&hub, &[LIFECYCLE]);
    hub.create_device(owner(&hub, id("d")), &edge(true)).unwrap();
    hub.update_device(owner(&hub, id("d")), &edge(false), &IfMatch::Any).unwrap();
    hub.update_device(owner(&hub, id("d")), &edge(true), &IfMatch::Any).unwrap();
    let made = ["createDeviceIdentity $edgeAgent", "createDeviceIdentity $edgeHub"];
    let removed = ["deleteDeviceIdentity $edgeAgent", "deleteDeviceIdentity $edgeHub"];
    assert_eq!(told(&hub, "d"), [&["createDeviceIdentity"][..], &made, &removed, &made].concat());
}

#[test]
fn a_device_goes_after_its_modules_and_each_after_its_connection() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    let device = IdentityId::device(module.device.clone());
    let _sessions =
        [connect(&hub, &device, options(1)).unwrap(), connect(&hub, &module, options(2)).unwrap()];
    route(&hub, &[LIFECYCLE, CONNECTION]);
    hub.delete_device(owner::<DeleteDevice>(&hub, device.device), &IfMatch::Any).unwrap();
    let expected =
        ["deviceDisconnected m", "deleteDeviceIdentity m", "deviceDisconnected", "deleteDeviceIdentity"];
    assert_eq!(told(&hub, "d"), expected);
}

#[test]
fn a_module_is_told_of_alone_and_with_its_twin_as_it_was() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    report(&hub, &module, &json!({"a": 1}));
    route(&hub, &[LIFECYCLE]);
    let target = (module.device, module.module.unwrap());
    hub.delete_module(owner::<DeleteModule>(&hub, target.clone()), &IfMatch::Any).unwrap();
    hub.create_module(owner::<CreateModule>(&hub, target), &ModuleSpec::default()).unwrap();
    assert_eq!(told(&hub, "d"), ["deleteDeviceIdentity m", "createDeviceIdentity m"]);
    let bodies: Vec<_> = events(&hub, "d").iter().map(body).collect();
    assert_eq!((&bodies[0]["properties"]["reported"]["a"], &bodies[0]["version"]), (&json!(1), &json!(3)));
    assert_eq!(bodies[1]["version"], 2);
}

#[test]
fn what_is_refused_is_not_told() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    route(&hub, &[LIFECYCLE, TWIN]);
    assert!(hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).is_err());
    assert!(hub.delete_device(owner(&hub, id("d")), &IfMatch::parse(Some("\"x\""))).is_err());
    let by = admit::<UpdateReported>(&hub, &identity_grant(&device, None), device.clone()).unwrap();
    let patch = ReportedPatch::parse(b"{}", Arrays::Allowed).unwrap();
    assert!(hub.update_reported(by, &patch, Some(9)).is_err());
    let patch = TwinPatch::parse(json!({}), Arrays::Allowed).unwrap();
    hub.patch_twin(owner(&hub, device), &patch, &IfMatch::Any).unwrap();
    assert_eq!(told(&hub, "d"), [""; 0], "a patch without sections changes nothing either");
}

#[test]
fn connections_are_told_with_numbers_that_grow_as_text() {
    let (hub, clock) = hub();
    let module = register(&hub, "d", Some("m"));
    route(&hub, &[CONNECTION]);
    for connection in 1..=9 {
        drop(connect(&hub, &module, options(connection)).unwrap());
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(told(&hub, "d"), ["deviceConnected m", "deviceDisconnected m"].repeat(9));
    let numbers: Vec<_> = events(&hub, "d")
        .iter()
        .map(|event| {
            assert_eq!(property(event, "iothub-message-schema"), Some("deviceConnectionStateNotification"));
            body(event)["sequenceNumber"].as_str().unwrap().to_owned()
        })
        .collect();
    let is_hex = |number: &String| number.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F'));
    assert!(numbers.iter().all(|number| number.len() == 64 && is_hex(number)), "{numbers:?}");
    assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
}

#[test]
fn a_take_over_tells_the_will_then_the_end_then_the_beginning() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    route(&hub, &[CONNECTION, MessageSource::Telemetry]);
    let with_will =
        crate::device_session::SessionOptions { will: Some(DeviceMessage::default()), ..options(1) };
    let old = connect(&hub, &device, with_will).unwrap();
    let new = connect(&hub, &device, options(2)).unwrap();
    drop(old);
    new.end();
    let expected =
        ["deviceConnected", "message", "deviceDisconnected", "deviceConnected", "deviceDisconnected"];
    assert_eq!(told(&hub, "d"), expected, "the stale session tells nothing when it goes");
}

#[test]
fn disabling_a_device_disconnects_it_and_its_modules() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    let device = IdentityId::device(module.device.clone());
    let _sessions =
        [connect(&hub, &device, options(1)).unwrap(), connect(&hub, &module, options(2)).unwrap()];
    route(&hub, &[CONNECTION]);
    let spec = DeviceSpec { status: Some(DeviceStatus::Disabled), ..DeviceSpec::default() };
    hub.update_device(owner::<UpdateDevice>(&hub, device.device), &spec, &IfMatch::Any).unwrap();
    assert_eq!(told(&hub, "d"), ["deviceDisconnected", "deviceDisconnected m"]);
}

fn report(hub: &Hub, identity: &IdentityId, patch: &Value) {
    let by = admit::<UpdateReported>(hub, &identity_grant(identity, None), identity.clone()).unwrap();
    let patch = ReportedPatch::parse(patch.to_string().as_bytes(), Arrays::Allowed).unwrap();
    hub.update_reported(by, &patch, None).unwrap();
}

fn patch(hub: &Hub, identity: &IdentityId, patch: Value) {
    let patch = TwinPatch::parse(patch, Arrays::Allowed).unwrap();
    hub.patch_twin(owner(hub, identity.clone()), &patch, &IfMatch::Any).unwrap();
}

#[test]
fn a_cleared_reported_property_is_told_as_an_explicit_null() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    route(&hub, &[TWIN]);
    report(&hub, &device, &json!({"a": {"b": 1, "c": [1, {"x": 2}]}}));
    report(&hub, &device, &json!({"a": {"b": null}}));
    assert_eq!(told(&hub, "d"), ["updateTwin", "updateTwin"]);
    let stamp = json!({"$lastUpdated": "2026-01-01T00:00:00.0000000Z"});
    let with = |key: &str, value: &Value| {
        let mut stamp = stamp.clone();
        stamp[key] = value.clone();
        stamp
    };
    let mut of_a = with("b", &stamp);
    of_a["c"] = stamp.clone();
    let bodies: Vec<_> = events(&hub, "d").iter().map(body).collect();
    assert_eq!(
        bodies,
        [
            json!({"version": 3, "properties": {"reported": {"a": {"b": 1, "c": [1, {"x": 2}]},
                   "$metadata": with("a", &of_a), "$version": 2}}}),
            json!({"version": 4, "properties": {"reported": {"a": {"b": null},
                   "$metadata": with("a", &stamp), "$version": 3}}}),
        ]
    );
}

#[test]
fn a_services_patch_tells_only_what_it_touched() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    patch(&hub, &module, json!({"tags": {"old": 1}, "properties": {"desired": {"old": 1}}}));
    route(&hub, &[TWIN]);
    patch(&hub, &module, json!({"tags": {"t": "new"}, "properties": {"desired": {"p": "new"}}}));
    patch(&hub, &module, json!({"tags": {"t": null}}));
    let stamp = json!({"$lastUpdated": "2026-01-01T00:00:00.0000000Z", "$lastUpdatedVersion": 3});
    let mut metadata = stamp.clone();
    metadata["p"] = stamp;
    let bodies: Vec<_> = events(&hub, "d").iter().map(body).collect();
    assert_eq!(
        bodies,
        [
            json!({"version": 4, "tags": {"t": "new"},
                   "properties": {"desired": {"p": "new", "$metadata": metadata, "$version": 3}}}),
            json!({"version": 5, "tags": {"t": null}}),
        ]
    );
    assert_eq!(told(&hub, "d"), ["updateTwin m", "updateTwin m"]);
}

#[test]
fn sections_cleared_by_null_are_told_key_by_key() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    patch(&hub, &device, json!({"tags": {"a": {"b": 1}}, "properties": {"desired": {"c": 1, "d": {}}}}));
    route(&hub, &[TWIN]);
    patch(&hub, &device, json!({"tags": null, "properties": {"desired": null}}));
    let body = body(&events(&hub, "d")[0]);
    assert_eq!(body["tags"], json!({"a": null}));
    let desired = &body["properties"]["desired"];
    assert_eq!((&desired["c"], &desired["d"], &desired["$version"]), (&Value::Null, &Value::Null, &json!(3)));
    assert_eq!(desired.as_object().unwrap().len(), 4);
}

#[test]
fn a_replacement_tells_the_whole_twin() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    report(&hub, &device, &json!({"r": 1}));
    patch(&hub, &device, json!({"tags": {"old": 1}, "properties": {"desired": {"kept": 1}}}));
    route(&hub, &[TWIN]);
    let replacement = TwinPatch::parse(json!({"tags": {"new": 1}}), Arrays::Allowed).unwrap();
    hub.replace_twin(owner(&hub, device), &replacement, &IfMatch::Any).unwrap();
    assert_eq!(told(&hub, "d"), ["replaceTwin"]);
    let body = body(&events(&hub, "d")[0]);
    assert_eq!(
        body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["deviceId", "etag", "version", "tags", "properties"]
    );
    assert_eq!(
        (&body["tags"], &body["etag"], &body["version"]),
        (&json!({"new": 1}), &json!("AAAAAAAAAAM="), &json!(5))
    );
    let properties = &body["properties"];
    assert_eq!((&properties["desired"]["kept"], &properties["reported"]["r"]), (&json!(1), &json!(1)));
    assert!(properties["reported"]["$metadata"]["r"]["$lastUpdated"].is_string());
}

#[test]
fn an_enrichment_of_a_twin_change_sees_the_twin_after_it() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let enrichment = crate::routing::EnrichmentSpec {
        key: "floor".into(),
        value: "$twin.tags.floor".into(),
        endpoints: vec!["events".into()],
    };
    let spec = RoutingSpec {
        routes: vec![RouteSpec {
            name: "r".into(),
            source: TWIN.route_name().into(),
            condition: None,
            endpoints: vec!["events".into()],
            is_enabled: true,
        }],
        enrichments: vec![enrichment],
        fallback_route: true,
    };
    hub.set_routing(&spec, &[]).unwrap();
    patch(&hub, &device, json!({"tags": {"floor": 7}}));
    assert_eq!(property(&events(&hub, "d")[0], "floor"), Some("7"));
}
