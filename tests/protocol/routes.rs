//! Routes on the wire: what devices and back ends do over MQTT and REST is told to readers over AMQP, who come with a
//! client of their own (contract/mqtt.md 12, contract/eventhubs.md 5).

use std::io::Write as _;

use iothub_client::events::{Event, EventHubClient, EventHubConnectionString, EventReader, StartPosition};
use iothub_emulator::app::Surroundings;
use iothub_emulator::config::Options;
use serde_json::{Value, json};

use crate::harness::watch::in_time;
use crate::harness::{Emulator, Port};

const REPORT: &str = "$iothub/twin/PATCH/properties/reported/?$rid=1";

/// An emulator with an event hub `life` beside its own, and what `routing` adds to the configuration file.
async fn emulator(routing: &str) -> Emulator {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(file, "[[event-hub]]\nname = 'life'\npartitions = 2\nconsumer-groups = ['pager']\n{routing}")
        .expect("the file is ours");
    let options = Options { config: Some(file.path().to_owned()), ..Options::default() };
    Emulator::start_with(options, Surroundings::default()).await
}

/// Everything an event hub holds and gets.
async fn reader(emulator: &Emulator, event_hub: &str, consumer_group: &str) -> EventReader {
    let policy = emulator.app.hub.policies().iter().find(|policy| policy.name.as_str() == "service");
    let key = policy.expect("a built-in policy").keys.primary.to_base64();
    let text = format!(
        "Endpoint=sb://{};SharedAccessKeyName=service;SharedAccessKey={key};EntityPath={event_hub};\
         UseDevelopmentEmulator=true",
        emulator.address(Port::Amqp)
    );
    let connection_string = EventHubConnectionString::parse(&text).expect("a connection string");
    let client = EventHubClient::builder(connection_string).consumer_group(consumer_group).open();
    let client = in_time("the client", client).await.expect("the emulator lets it in");
    let opening = Box::pin(client.read_all(|_| StartPosition::Earliest));
    in_time("the reader", opening).await.expect("the group may be read")
}

async fn next(reader: &mut EventReader) -> Event {
    in_time("an event", reader.next()).await.expect("reading goes on").expect("nothing fails")
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&event.body).expect("JSON")
}

#[tokio::test]
async fn a_property_a_device_clears_is_an_explicit_null_to_readers() {
    let emulator =
        emulator("[[route]]\nname = 'r'\nsource = 'TwinChangeEvents'\nendpoints = ['events']\n").await;
    emulator.create_device("d1").await;
    let mut reader = reader(&emulator, "localhost", "$Default").await;
    let mut device = emulator.mqtt("d1").await;
    device.publish(REPORT, br#"{"alarm":{"level":3},"rate":5}"#).await;
    device.publish(REPORT, br#"{"alarm":null}"#).await;

    let set = next(&mut reader).await;
    assert_eq!(body(&set)["properties"]["reported"]["alarm"], json!({"level": 3}));
    let cleared = next(&mut reader).await;
    let reported = &body(&cleared)["properties"]["reported"];
    assert_eq!((reported.get("alarm"), reported.get("rate")), (Some(&Value::Null), None));
    assert_eq!((&reported["$version"], reported["$metadata"].get("alarm")), (&json!(3), None));
    assert_eq!(cleared.source(), Some("twinChangeEvents"));
    assert_eq!((cleared.device_id(), cleared.module_id()), (Some("d1"), None));
    assert_eq!(cleared.annotation("iothub-connection-auth-method"), None);
    assert_eq!(cleared.content_type.as_deref(), Some("application/json"));
    assert_eq!(cleared.content_encoding.as_deref(), Some("utf-8"));
    let expected = [
        ("opType", "updateTwin"),
        ("iothub-message-schema", "twinChangeNotification"),
        ("hubName", "localhost"),
        ("deviceId", "d1"),
    ];
    for (name, value) in expected {
        assert_eq!(cleared.property(name), Some(value), "{name}");
    }
    assert_eq!(cleared.property("moduleId"), None);
}

#[tokio::test]
async fn the_life_of_a_device_is_read_from_an_event_hub_of_its_own() {
    let emulator = emulator(
        "[[route]]\nname = 'a'\nsource = 'DeviceLifecycleEvents'\nendpoints = ['life']\n\
         [[route]]\nname = 'b'\nsource = 'DeviceConnectionStateEvents'\ncondition = 'true'\nendpoints = ['life']\n\
         [[enrichment]]\nkey = 'place'\nvalue = '$twin.tags.place'\nendpoints = ['life']\n",
    )
    .await;
    let mut reader = reader(&emulator, "life", "PAGER").await;
    emulator.create_device("d1").await;
    emulator.owner("PATCH /twins/d1", &[], &json!({"tags": {"place": "43"}})).await.ok();
    let mut old = emulator.mqtt("d1").await;
    let _new = emulator.amqp("d1").await;
    old.is_closed().await;
    emulator.owner("DELETE /devices/d1", &[("If-Match", "*")], &Value::Null).await.ok();

    let mut numbers = Vec::new();
    for (op_type, place) in [
        ("createDeviceIdentity", "$twin.tags.place"),
        ("deviceConnected", "43"),
        ("deviceDisconnected", "43"),
        ("deviceConnected", "43"),
        ("deviceDisconnected", "43"),
        ("deleteDeviceIdentity", "43"),
    ] {
        let event = next(&mut reader).await;
        assert_eq!((event.property("opType"), event.property("place")), (Some(op_type), Some(place)));
        let body = body(&event);
        match body["sequenceNumber"].as_str() {
            Some(number) => numbers.push(number.to_owned()),
            None => assert_eq!(body["deviceId"], "d1", "the body of a lifecycle event is the twin"),
        }
    }
    assert!(numbers.len() == 4 && numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
}

#[tokio::test]
async fn messages_go_where_the_admin_api_routes_them_from_then_on() {
    let emulator = emulator("").await;
    emulator.create_device("d1").await;
    let (mut built_in, mut life) =
        (reader(&emulator, "localhost", "$Default").await, reader(&emulator, "life", "$Default").await);
    let mut device = emulator.mqtt("d1").await;
    device.publish("devices/d1/messages/events/key=own", b"one").await;
    assert_eq!(next(&mut built_in).await.body, "one");

    let route =
        json!({"name": "all", "source": "DeviceMessages", "endpointNames": ["life"], "isEnabled": true});
    let enrichment = json!({"key": "key", "value": "$iothubname", "endpointNames": ["life"]});
    let routing = json!({"routes": [route], "enrichments": [enrichment]});
    emulator.admin("PUT /admin/routing", &routing).await.ok();
    device.publish("devices/d1/messages/events/key=own", b"two").await;
    let routed = next(&mut life).await;
    assert_eq!(routed.body, "two");
    let keys: Vec<_> = routed.properties.iter().filter(|(name, _)| name == "key").collect();
    assert_eq!(keys, [&("key".to_owned(), Some("localhost".to_owned()))], "a property has one value");

    emulator.admin("PUT /admin/routing", &json!({})).await.ok();
    device.publish("devices/d1/messages/events/", b"three").await;
    let back = next(&mut built_in).await;
    assert_eq!((&back.body[..], back.sequence_number), (&b"three"[..], 1), "the second was never there");
}
