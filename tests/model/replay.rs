//! The hub's own events, read as a back end reads them and replayed: after every step what they told must be what the
//! model has (contract/mqtt.md 12): who exists, who is connected, and every twin with its versions and stamps.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::Hub;
use hub::access::EventsPath;
use hub::events::{Event, EventHubName, EventReader, MessageSource, ReaderRequest, StartPosition};
use hub::gate::Details;
use hub::gate::operations::ReadEvents;
use hub::ids::IdentityId;
use hub::routing::{RouteSpec, RoutingSpec};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::caller::Caller;
use crate::naive_twin::{NaiveSection, NaiveTwin, merged, restamped};
use crate::world::{PROTOCOL, World, at_once};

/// Where the events are routed; the built-in event hub keeps the messages for itself.
const EVENT_HUB: &str = "replayed";
const SOURCES: [MessageSource; 3] =
    [MessageSource::DeviceConnectionState, MessageSource::DeviceLifecycle, MessageSource::TwinChange];

/// A back end that has read everything so far.
#[derive(Debug)]
pub(crate) struct Replay {
    readers: Vec<EventReader>,
    told: BTreeMap<IdentityId, Told>,
    /// The newest sequence number of each identity that ever connected, even if it was made anew since.
    numbers: BTreeMap<IdentityId, String>,
}

/// What is known of an identity.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    version: u64,
    tags: Value,
    desired: Section,
    reported: Section,
    is_connected: bool,
}

/// Desired or reported properties, as told.
#[derive(Clone, Debug, PartialEq)]
struct Section {
    values: Value,
    metadata: Value,
    version: u64,
}

impl Replay {
    /// Routes everything there is to tell and begins to read.
    pub(crate) fn of(hub: &Hub) -> Self {
        let route = |source: MessageSource| RouteSpec {
            name: source.route_name().to_owned(),
            source: source.route_name().to_owned(),
            condition: None,
            endpoints: vec![EVENT_HUB.to_owned()],
            is_enabled: true,
        };
        let spec = RoutingSpec { routes: SOURCES.map(route).to_vec(), ..RoutingSpec::default() };
        let name = EventHubName::parse(EVENT_HUB).expect("a legal name");
        hub.set_routing(&spec, &[name]).expect("legal routing");
        let reader = |partition: u8| {
            let path = EventsPath::parse(EVENT_HUB, hub.name()).expect("a path");
            let details = Details { protocol: PROTOCOL, connection: None };
            let by = at_once(hub.gate().admit::<ReadEvents>(&Caller::OWNER.grant(None), path, details));
            let request = ReaderRequest {
                event_hub: EVENT_HUB,
                consumer_group: "$Default",
                partition: &partition.to_string(),
                start: StartPosition::Earliest,
                owner_level: None,
            };
            let by = by.expect("the owner may read");
            hub.open_event_reader(by, &request, Arc::new(Notify::new())).expect("a place is free")
        };
        let readers = (0..hub.events().partitions()).map(reader).collect();
        Self { readers, told: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    /// Reads what is new.
    fn read_on(&mut self) {
        let mut events = Vec::new();
        for reader in &mut self.readers {
            loop {
                let before = events.len();
                reader.read(usize::MAX, usize::MAX, &mut events);
                if events.len() == before {
                    break;
                }
            }
        }
        events.iter().for_each(|event| self.replay(event));
    }

    fn replay(&mut self, event: &Event) {
        let id = &event.data.identity;
        let property = |name| event.application_properties().find(|(n, _)| *n == name).and_then(|(_, v)| v);
        assert_eq!((property("hubName"), property("deviceId")), (Some("model"), Some(id.device.as_str())));
        assert_eq!(property("moduleId"), id.module.as_ref().map(hub::ids::ModuleId::as_str));
        assert_eq!(property("operationTimestamp"), Some(event.data.accepted_at.to_string().as_str()));
        let body: Value = serde_json::from_slice(&event.data.body).expect("events are JSON");
        let op_type = property("opType").expect("every event has one");
        if op_type == "createDeviceIdentity" {
            let before = self.told.insert(id.clone(), Told::of_whole(&body, false));
            assert!(before.is_none(), "{id} is made twice");
            return;
        }
        let told =
            self.told.get_mut(id).unwrap_or_else(|| panic!("{op_type} of {id}, of which nothing is known"));
        match op_type {
            "deleteDeviceIdentity" => {
                let whole = Told::of_whole(&body, false);
                assert!(!told.is_connected, "{id} is removed while it is connected");
                assert_eq!(whole.without_dates(), told.without_dates(), "the last twin of {id}");
                self.told.remove(id);
            }
            "deviceConnected" | "deviceDisconnected" => {
                let is_connected = op_type == "deviceConnected";
                assert_ne!(told.is_connected, is_connected, "{op_type} of {id}, which is so already");
                told.is_connected = is_connected;
                let number = body["sequenceNumber"].as_str().expect("text").to_owned();
                let before = self.numbers.insert(id.clone(), number.clone());
                assert!(number.len() == 64 && before.is_none_or(|before| before < number), "{id}: {number}");
            }
            "replaceTwin" => {
                assert_eq!(body["version"], told.version + 1, "the version of {id}");
                *told = Told::of_whole(&body, told.is_connected);
            }
            "updateTwin" => told.update(&body),
            other => panic!("{other} is none of the documented types"),
        }
    }
}

impl Told {
    fn of_whole(body: &Value, is_connected: bool) -> Self {
        let section = |name: &str| {
            let section = &body["properties"][name];
            let version = section["$version"].as_u64().expect("a number");
            Section { values: without_system(section), metadata: section["$metadata"].clone(), version }
        };
        Self {
            version: body["version"].as_u64().expect("a number"),
            tags: body.get("tags").cloned().unwrap_or_else(|| json!({})),
            desired: section("desired"),
            reported: section("reported"),
            is_connected,
        }
    }

    fn update(&mut self, body: &Value) {
        self.version += 1;
        assert_eq!(body["version"], self.version, "no change is missing");
        if let Some(patch) = body.get("tags") {
            self.tags = merged(&self.tags, patch);
        }
        if let Some(patch) = body["properties"].get("desired") {
            self.desired.update(patch);
        }
        if let Some(patch) = body["properties"].get("reported") {
            self.reported.update(patch);
        }
    }

    /// What a new identity shows without a date has one later (contract/mqtt.md 12).
    fn without_dates(&self) -> Self {
        let mut told = self.clone();
        for section in [&mut told.desired, &mut told.reported] {
            if section.version == 1 {
                section.metadata = Value::Null;
            }
        }
        told.is_connected = false;
        told
    }
}

impl Section {
    fn update(&mut self, told: &Value) {
        self.version += 1;
        assert_eq!(told["$version"], self.version, "no change is missing");
        let (patch, metadata) = (without_system(told), &told["$metadata"]);
        let stamps = metadata.as_object().into_iter().flatten();
        let stamp = Value::Object(stamps.filter(|(key, _)| key.starts_with("$last")).map(owned).collect());
        assert_eq!(
            *metadata,
            restamped(&json!({}), &json!({}), &patch, &stamp),
            "metadata mirrors what was written"
        );
        self.metadata = restamped(&self.metadata, &self.values, &patch, &stamp);
        self.values = merged(&self.values, &patch);
    }
}

fn without_system(section: &Value) -> Value {
    let members = section.as_object().expect("a section is an object").iter();
    Value::Object(members.filter(|(key, _)| !key.starts_with('$')).map(owned).collect::<Map<_, _>>())
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// What was told is what the model has.
pub(crate) fn check(world: &mut World) {
    world.replay.read_on();
    let told: Vec<_> = world.replay.told.keys().collect();
    let expected: Vec<_> = world.naive.identities.keys().collect();
    assert_eq!(told, expected, "who exists, as told");
    for (id, own) in &world.naive.identities {
        let section = |NaiveSection { values, metadata, version }: &NaiveSection| Section {
            values: values.clone(),
            metadata: metadata.clone(),
            version: *version,
        };
        let NaiveTwin { version, tags, desired, reported, .. } = &own.twin;
        let expected = Told {
            version: *version,
            tags: tags.clone(),
            desired: section(desired),
            reported: section(reported),
            is_connected: own.live.is_some(),
        };
        let told = &world.replay.told[id];
        assert_eq!(told.is_connected, expected.is_connected, "whether {id} is connected, as told");
        assert_eq!(told.without_dates(), expected.without_dates(), "the twin of {id}, as told");
    }
}
