//! Telemetry read by a client with an implementation of its own, over every way to the built-in event hub
//! (contract/eventhubs.md 1).

use iothub_client::events::{EventHubClient, EventHubConnectionString, EventHubTransport, StartPosition};
use iothub_client::{ErrorKind, TrustedRoots};

use crate::harness::watch::in_time;
use crate::harness::{Emulator, Port};

const WAYS: [(Port, EventHubTransport); 3] = [
    (Port::Amqp, EventHubTransport::Amqp),
    (Port::Amqps, EventHubTransport::Amqp),
    (Port::Https, EventHubTransport::AmqpWs),
];

/// A client that comes that way and believes `roots`.
async fn client(
    emulator: &Emulator,
    (port, transport): (Port, EventHubTransport),
    roots: TrustedRoots,
) -> Result<EventHubClient, iothub_client::Error> {
    let policy = emulator.app.hub.policies().iter().find(|policy| policy.name.as_str() == "service");
    let key = policy.expect("a built-in policy").keys.primary.to_base64();
    let flag = if port == Port::Amqp { ";UseDevelopmentEmulator=true" } else { "" };
    let text = format!(
        "Endpoint=sb://127.0.0.1/;SharedAccessKeyName=service;SharedAccessKey={key};EntityPath=localhost{flag}"
    );
    let connection_string = EventHubConnectionString::parse(&text).expect("a connection string");
    let builder = EventHubClient::builder(connection_string).transport(transport).trusted_roots(roots);
    let opening = Box::pin(builder.port(emulator.address(port).port()).open());
    in_time("the client", opening).await
}

#[tokio::test]
async fn what_a_device_says_is_read_over_plain_tcp_tls_and_websocket() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    let mut device = emulator.mqtt("d1").await;
    device.publish("devices/d1/messages/events/colour=red", b"hello").await;
    for way in WAYS {
        let roots = TrustedRoots::system().and_pem(emulator.app.root_certificate.as_bytes()).expect("a root");
        let client = client(&emulator, way, roots).await.expect("the emulator lets it in");
        let properties = in_time("properties", Box::pin(client.properties())).await.expect("it is told");
        assert_eq!(properties.partition_ids, ["0", "1", "2", "3"], "{way:?}");
        let opening = Box::pin(client.read_all(|_| StartPosition::Earliest));
        let mut reader = in_time("the reader", opening).await.expect("the group may be read");
        let event =
            in_time("an event", reader.next()).await.expect("reading goes on").expect("nothing fails");
        assert_eq!((event.device_id(), event.property("colour")), (Some("d1"), Some("red")), "{way:?}");
        assert_eq!(event.body, "hello", "{way:?}");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_trust_the_root_stays_outside() {
    let emulator = Emulator::start().await;
    for way in [WAYS[1], WAYS[2]] {
        let refused =
            client(&emulator, way, TrustedRoots::system()).await.expect_err("nobody vouches for it");
        assert_eq!(refused.kind(), ErrorKind::Connection, "{way:?}");
    }
}
