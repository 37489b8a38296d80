//! MQTT packets that break a rule: the connection ends at once, and only that one (contract/mqtt.md 2.11).

use crate::harness::mqtt::{Login, packet, publish_packet, text};
use crate::harness::{Emulator, Mqtt, Neighbours, Port};

/// Sends `bytes` as the first thing on a connection, which must end without an answer.
async fn is_hung_up_on(emulator: &Emulator, what: &str, bytes: &[u8]) {
    let mut mqtt = Mqtt::new(emulator.io(Port::Mqtts).await);
    mqtt.try_send(bytes).await;
    assert_eq!(mqtt.next().await, None, "{what}");
}

#[tokio::test]
async fn a_first_packet_that_is_no_connect_ends_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    is_hung_up_on(&emulator, "PINGREQ first", &packet(0xc0, &[])).await;
    let publish = publish_packet(0x30, "devices/good-mqtt/messages/events/", None, b"x");
    is_hung_up_on(&emulator, "PUBLISH first", &publish).await;
    is_hung_up_on(&emulator, "packet type 0", &packet(0x00, &[])).await;
    is_hung_up_on(&emulator, "packet type 15", &packet(0xf0, &[])).await;
    is_hung_up_on(&emulator, "CONNACK from a client", &packet(0x20, &[0, 0])).await;
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_packet_of_268435455_bytes_is_refused_before_it_is_sent() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let largest = [0xff, 0xff, 0xff, 0x7f];
    is_hung_up_on(&emulator, "CONNECT", &[&[0x10], &largest[..]].concat()).await;
    is_hung_up_on(&emulator, "a length of five bytes", &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f]).await;

    emulator.create_device("d1").await;
    for kind in [0x30, 0x32, 0x82, 0xa2, 0xc0] {
        let mut mqtt = emulator.mqtt("d1").await;
        mqtt.try_send(&[&[kind], &largest[..]].concat()).await;
        mqtt.is_closed().await;
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_username_of_one_megabyte_is_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    // MQTT cannot say that a text has 1 MiB: the packet announces it and sends it all the same.
    let mut body = text("MQTT");
    body.extend([4, 0xc2, 0, 60]);
    body.extend(text("d1"));
    body.extend([0xff, 0xff]);
    body.extend(vec![b'u'; 1024 * 1024]);
    is_hung_up_on(&emulator, "1 MiB", &packet(0x10, &body)).await;
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn the_longest_username_mqtt_can_say_is_refused_with_5() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for username in
        ["u".repeat(65_535), "/".repeat(65_535), format!("localhost/d1/?{}", "a=b&".repeat(16_000))]
    {
        let mut mqtt = Mqtt::new(emulator.io(Port::Mqtts).await);
        let login = Login { username, ..Login::new("d1", "SharedAccessSignature sr=x") };
        assert_eq!(mqtt.log_in(&login).await, (false, 5));
        mqtt.is_closed().await;
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_connect_that_breaks_the_format_ends_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let connect = |flags: u8, rest: &[u8]| {
        let mut body = text("MQTT");
        body.extend([4, flags, 0, 60]);
        body.extend(rest);
        packet(0x10, &body)
    };
    let good = [text("d1"), text("localhost/d1/?api-version=2021-04-12"), text("token")].concat();
    is_hung_up_on(&emulator, "reserved flag", &connect(0xc3, &good)).await;
    is_hung_up_on(&emulator, "reserved bits of the first byte", &{
        let mut bytes = connect(0xc2, &good);
        bytes[0] |= 0x01;
        bytes
    })
    .await;
    is_hung_up_on(&emulator, "password without username", &connect(0x42, &good)).await;
    is_hung_up_on(&emulator, "Will with QoS 3", &connect(0xde, &good)).await;
    is_hung_up_on(&emulator, "bytes after the end", &connect(0xc2, &[&good[..], b"more"].concat())).await;
    is_hung_up_on(&emulator, "text longer than the packet", &connect(0xc2, &[0xff, 0xff, b'd'])).await;
    is_hung_up_on(&emulator, "a client id that is not UTF-8", &connect(0x02, &[0, 2, 0xff, 0xfe])).await;
    is_hung_up_on(&emulator, "an empty CONNECT", &packet(0x10, &[])).await;
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn other_versions_of_mqtt_are_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for (name, level) in [("MQIsdp", 3), ("MQTT", 3), ("MQTT", 5), ("MQTT", 255), ("HTTP", 4)] {
        let mut body = text(name);
        body.extend([level, 0x02, 0, 60]);
        if level == 5 {
            body.push(0);
        }
        body.extend(text("d1"));
        let mut mqtt = Mqtt::new(emulator.io(Port::Mqtts).await);
        mqtt.try_send(&packet(0x10, &body)).await;
        // 5 or a plain close, contract/mqtt.md 2.6.
        let answer = mqtt.next().await;
        let refused = crate::harness::mqtt::Packet::ConnAck { session_present: false, code: 5 };
        assert!(answer.is_none() || answer == Some(refused), "{name} {level}: {answer:?}");
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn a_second_connect_ends_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let mut mqtt = emulator.mqtt("d1").await;
    let token = emulator.token("d1", 3600).await;
    mqtt.send(&Login::new("d1", &token).packet()).await;
    mqtt.is_closed().await;
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn packets_that_break_a_rule_end_a_connection_that_was_accepted() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let topic = "devices/d1/messages/events/";
    let subscribe =
        |options: u8| packet(0x82, &[&[0, 1][..], &text("$iothub/twin/res/#"), &[options]].concat());
    let cases: [(&str, Vec<u8>); 17] = [
        ("QoS 2", publish_packet(0x34, topic, Some(1), b"x")),
        ("QoS 3", publish_packet(0x36, topic, Some(1), b"x")),
        ("DUP with QoS 0", publish_packet(0x38, topic, None, b"x")),
        ("packet id 0", publish_packet(0x32, topic, Some(0), b"x")),
        ("an unknown topic", publish_packet(0x32, "nowhere", Some(1), b"x")),
        (
            "a topic of another device",
            publish_packet(0x32, "devices/good-mqtt/messages/events/", Some(1), b"x"),
        ),
        ("a wildcard in a topic", publish_packet(0x32, "devices/+/messages/events/", Some(1), b"x")),
        ("a NUL in a topic", publish_packet(0x32, "devices/d1/messages/events/a=\0", Some(1), b"x")),
        ("an empty topic", publish_packet(0x32, "", Some(1), b"x")),
        ("a topic longer than its packet", packet(0x32, &[0xff, 0xff, b'd'])),
        (
            "a message of 256 KiB and one byte",
            publish_packet(0x32, topic, Some(1), &vec![b'x'; 256 * 1024 + 1]),
        ),
        ("SUBSCRIBE without its reserved bit", packet(0x80, &[0, 1])),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 1])),
        ("SUBSCRIBE with reserved options", subscribe(0x04)),
        ("UNSUBSCRIBE without filters", packet(0xa2, &[0, 1])),
        ("PUBREL", packet(0x62, &[0, 1])),
        ("PINGREQ with a body", packet(0xc0, &[0])),
    ];
    for (what, bytes) in cases {
        let mut mqtt = emulator.mqtt("d1").await;
        mqtt.try_send(&bytes).await;
        assert_eq!(mqtt.next().await, None, "{what}");
        neighbours.are_untouched().await;
    }
    // The twin of all of these: what is allowed, at its limit.
    let mut mqtt = emulator.mqtt("d1").await;
    mqtt.publish(topic, &vec![b'x'; 256 * 1024]).await;
    mqtt.ping().await;
}
