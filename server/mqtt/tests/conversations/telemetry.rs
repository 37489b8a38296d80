//! Device-to-cloud messages; `contract/mqtt.md 4` and `5`.

use crate::harness::*;

#[tokio::test]
async fn messages_are_acknowledged_in_order_once_they_can_be_read() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    let mut bytes = Vec::new();
    for id in 1..=40_u16 {
        bytes.extend(Publish(id, "devices/d/messages/events/", &format!("body {id}")).bytes());
    }
    client.send(&Raw(&bytes)).await;
    for id in 1..=40_usize {
        assert_eq!(client.next().await, format!("PUBACK {id}"));
        assert!(bench.events().len() >= id);
    }
    let bodies: Vec<_> = bench.events().iter().map(|event| event.body.clone()).collect();
    assert_eq!(bodies.first().map(|body| &**body), Some(&b"body 1"[..]));
    assert_eq!(bodies.last().map(|body| &**body), Some(&b"body 40"[..]));
}

#[tokio::test]
async fn properties_come_from_the_topic_and_the_sender_from_the_connection() {
    let bench = Bench::new().await;
    let mut client = bench.online("d/m").await;
    let topic = "devices/d/modules/m/messages/events/%24.mid=1&$.ct=application/json&%24.cdid=x&colour=dark%20red&%24.on=o/";
    client.send(&Publish(0, topic, "{}")).await;
    client.send(&PINGREQ).await;
    assert_eq!(client.next().await, "PINGRESP");
    let [event] = bench.events().try_into().expect("one event");
    assert_eq!(event.identity, identity("d/m"));
    assert_eq!(event.properties.message_id.as_deref(), Some("1"));
    assert_eq!(event.properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(event.properties.output_name.as_deref(), Some("o"));
    assert_eq!(event.properties.application, [("colour".to_owned(), Some("dark red".to_owned()))]);
    assert_eq!(event.body, "{}");
}

#[tokio::test]
async fn a_message_of_the_largest_size_is_taken_and_one_byte_more_closes() {
    let bench = Bench::new().await;
    let largest = "x".repeat(262_144);
    let mut client = bench.online("d").await;
    client.send(&Publish(1, "devices/d/messages/events/", &largest)).await;
    assert_eq!(client.next().await, "PUBACK 1");
    client.send(&Publish(2, "devices/d/messages/events/", &format!("{largest}x"))).await;
    client.assert_closed().await;
    assert_eq!(bench.events().len(), 1);
}

#[tokio::test]
async fn messages_to_another_identity_or_with_qos_2_close() {
    let bench = Bench::new().await;
    let mut qos_2 = string("devices/d/messages/events/");
    qos_2.extend([0, 1]);
    let rows = [
        Publish(1, "devices/d/modules/m/messages/events/", "").bytes(),
        Publish(1, "devices/other/messages/events/", "").bytes(),
        Publish(1, "devices/d/messages/events/a+b", "").bytes(),
        frame(0x34, &qos_2),
    ];
    for bytes in rows {
        let mut client = bench.online("d").await;
        client.send(&Raw(&bytes)).await;
        client.assert_closed().await;
    }
    assert!(bench.events().is_empty());
}
