//! Bytes good and bad against the limits and the bits of the standard.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::decode::{MAX_CONNECT_BYTES, MAX_PUBLISH_BYTES, MAX_SUBSCRIBE_BYTES};
use super::*;
use crate::packet::{ConnAck, FilterRequest, GrantedQos, Outgoing, Packet, QosOne, SubscribeCode};

/// A frame: first byte, body, and the length between them.
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn connect(level: u8, flags: u8, fields: &[&str]) -> Vec<u8> {
    let mut body = string("MQTT");
    body.extend_from_slice(&[level, flags, 0, 60]);
    fields.iter().for_each(|field| body.extend(string(field)));
    frame(0x10, &body)
}

fn decode_all(bytes: &[u8], expecting: Expecting) -> Result<Option<Packet>, WireError> {
    decode(&mut BytesMut::from(bytes), expecting)
}

fn decode_next(bytes: &[u8]) -> Result<Option<Packet>, WireError> {
    decode_all(bytes, Expecting::Anything)
}

#[test]
fn a_connect_carries_its_login_and_its_will() {
    let bytes = connect(4, 0xe6, &["d/m", "devices/d/modules/m/messages/events/", "gone", "user", "pass"]);
    let Ok(Some(Packet::Connect(connect))) = decode_all(&bytes, Expecting::Connect) else {
        panic!("a valid CONNECT")
    };
    assert_eq!((connect.client_id.as_str(), connect.keep_alive_secs), ("d/m", 60));
    assert_eq!((connect.username.as_str(), connect.password.as_str()), ("user", "pass"));
    assert!(connect.clean_session);
    let will = connect.will.expect("a Will");
    assert!(will.retain);
    assert_eq!(will.payload, "gone");
    assert_eq!(will.topic, "devices/d/modules/m/messages/events/");
}

#[test]
fn a_packet_is_taken_only_when_its_last_byte_is_there() {
    let bytes = connect(4, 0x82, &["d", "user"]);
    for end in 0..bytes.len() {
        assert_eq!(decode_all(&bytes[..end], Expecting::Connect), Ok(None), "{end} bytes");
    }
    assert!(matches!(decode_all(&bytes, Expecting::Connect), Ok(Some(Packet::Connect(_)))));
}

#[test]
fn what_is_no_connect_is_refused_by_its_first_byte() {
    for first in [0x00, b'G', 0x30, 0xc0, 0xff] {
        assert_eq!(decode_all(&[first], Expecting::Connect), Err(WireError::NotConnect), "{first:#x}");
    }
    let tls_hello = 0x16;
    assert_eq!(decode_all(&[tls_hello], Expecting::Connect), Err(WireError::ReservedBits(1)));
    assert_eq!(decode_all(&[0x10], Expecting::Connect), Ok(None));
}

#[test]
fn a_length_past_the_packets_limit_is_refused_before_its_bytes_arrive() {
    let header = |first: u8, bytes: usize| {
        let mut header = frame(first, &vec![0; bytes]);
        header.truncate(header.len() - bytes);
        header
    };
    let rows = [
        ("CONNECT", 0x10, MAX_CONNECT_BYTES),
        ("PUBLISH", 0x30, MAX_PUBLISH_BYTES),
        ("SUBSCRIBE", 0x82, MAX_SUBSCRIBE_BYTES),
        ("UNSUBSCRIBE", 0xa2, MAX_SUBSCRIBE_BYTES),
        ("PUBACK", 0x40, 2),
        ("PINGREQ", 0xc0, 0),
        ("DISCONNECT", 0xe0, 0),
    ];
    for (name, first, limit) in rows {
        let at = decode_next(&header(first, limit));
        assert!(at.is_ok(), "{name} at its limit: {at:?}");
        let past = decode_next(&header(first, limit + 1));
        assert!(matches!(past, Err(WireError::TooLong { .. })), "{name} past its limit: {past:?}");
    }
    let one_megabyte_username = header(0x10, 1024 * 1024);
    assert!(matches!(decode_all(&one_megabyte_username, Expecting::Connect), Err(WireError::TooLong { .. })));
}

#[test]
fn a_remaining_length_of_five_bytes_is_refused() {
    let error = decode_next(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
    assert_eq!(error, Err(WireError::Malformed("remaining length longer than four bytes")));
}

#[test]
fn other_protocols_and_levels_are_named_as_such() {
    for level in [0, 3, 5, 0x84] {
        let error = decode_all(&connect(level, 0x02, &["d"]), Expecting::Connect);
        assert_eq!(error, Err(WireError::UnsupportedProtocol), "level {level}");
    }
    let mut body = string("MQIsdp");
    body.extend_from_slice(&[3, 2, 0, 60]);
    body.extend(string("d"));
    assert_eq!(decode_all(&frame(0x10, &body), Expecting::Connect), Err(WireError::UnsupportedProtocol));
}

#[test]
fn a_malformed_connect_is_refused() {
    let mut trailing = connect(4, 0x02, &["d"]);
    trailing.push(0);
    trailing[1] += 1;
    let rows = [
        ("reserved flag", connect(4, 0x03, &["d"])),
        ("password without username", connect(4, 0x42, &["d", "pass"])),
        ("Will bits without a Will", connect(4, 0x22, &["d"])),
        ("no client id", connect(4, 0x02, &[])),
        ("no username", connect(4, 0x82, &["d"])),
        ("more than its fields", trailing),
        ("nothing", frame(0x10, &[])),
        ("client id not UTF-8", frame(0x10, b"\0\x04MQTT\x04\x02\0\x3c\0\x01\xff")),
    ];
    for (name, bytes) in rows {
        let result = decode_all(&bytes, Expecting::Connect);
        assert!(
            matches!(result, Err(WireError::Malformed(_) | WireError::ReservedBits(_))),
            "{name}: {result:?}"
        );
    }
    let will_qos_two = connect(4, 0x16, &["d", "t", "m"]);
    assert_eq!(decode_all(&will_qos_two, Expecting::Connect), Err(WireError::WillQosTwo));
}

#[test]
fn a_publish_carries_its_flags_and_its_packet_id() {
    let mut body = string("t");
    body.extend_from_slice(b"\x12\x34body");
    let Ok(Some(Packet::Publish(publish))) = decode_next(&frame(0x3b, &body)) else {
        panic!("a valid PUBLISH")
    };
    assert!(publish.dup && publish.retain);
    assert_eq!(publish.packet_id, Some(0x1234));
    assert_eq!((publish.topic.as_ref(), publish.payload.as_ref()), (&b"t"[..], &b"body"[..]));

    let Ok(Some(Packet::Publish(publish))) = decode_next(&frame(0x30, &string("t"))) else {
        panic!("a valid PUBLISH")
    };
    assert_eq!(publish.packet_id, None);
    assert!(!publish.dup && !publish.retain && publish.payload.is_empty());
}

#[test]
fn a_publish_with_qos_two_or_three_or_without_a_packet_id_is_refused() {
    let mut body = string("t");
    body.extend_from_slice(&[0, 0]);
    assert_eq!(decode_next(&frame(0x34, &body)), Err(WireError::QosTwo));
    assert_eq!(decode_next(&frame(0x36, &body)), Err(WireError::Malformed("QoS 3")));
    assert_eq!(decode_next(&frame(0x38, &body)), Err(WireError::Malformed("DUP on a QoS 0 publish")));
    assert!(decode_next(&frame(0x32, &body)).is_err(), "packet id 0");
    assert!(decode_next(&frame(0x32, &string("t"))).is_err(), "no packet id");
    assert!(decode_next(&frame(0x32, &[0, 9, b't'])).is_err(), "topic longer than the packet");
}

#[test]
fn a_subscribe_names_its_filters_in_order() {
    let mut body = vec![0, 7];
    body.extend(string("a"));
    body.push(2);
    body.extend(string("b/#"));
    body.push(0);
    let expected = Packet::Subscribe {
        packet_id: 7,
        filters: vec![
            FilterRequest { filter: "a".into(), qos: 2 },
            FilterRequest { filter: "b/#".into(), qos: 0 },
        ],
    };
    assert_eq!(decode_next(&frame(0x82, &body)), Ok(Some(expected)));
}

#[test]
fn a_subscribe_or_unsubscribe_against_the_rules_is_refused() {
    let with = |options: u8| {
        let mut body = vec![0, 7];
        body.extend(string("a"));
        body.push(options);
        body
    };
    let mut unnamed = with(0);
    unnamed[1] = 0;
    let rows = [
        ("no filters", frame(0x82, &[0, 7])),
        ("packet id 0", frame(0x82, &unnamed)),
        ("QoS 3", frame(0x82, &with(3))),
        ("reserved option bits", frame(0x82, &with(4))),
        ("reserved header bits", frame(0x80, &with(0))),
        ("no filters to leave", frame(0xa2, &[0, 7])),
        ("half a filter", frame(0xa2, &[0, 7, 0, 9, b'a'])),
        ("no packet id", frame(0xa2, &[7])),
    ];
    for (name, bytes) in rows {
        assert!(decode_next(&bytes).is_err(), "{name}");
    }
}

#[test]
fn packets_of_a_server_and_of_qos_two_are_refused() {
    for kind in [0, 2, 5, 6, 7, 9, 11, 13, 15] {
        assert_eq!(decode_next(&[kind << 4]), Err(WireError::UnexpectedType(kind)));
    }
}

#[test]
fn answers_are_the_bytes_of_the_standard() {
    let publish =
        |delivery| Outgoing::Publish { topic: "t".into(), payload: Bytes::from_static(b"body"), delivery };
    let rows: [(Outgoing, &[u8]); 10] = [
        (Outgoing::ConnAck(ConnAck::Accepted { session_present: false }), b"\x20\x02\x00\x00"),
        (Outgoing::ConnAck(ConnAck::Accepted { session_present: true }), b"\x20\x02\x01\x00"),
        (Outgoing::ConnAck(ConnAck::NotAuthorized), b"\x20\x02\x00\x05"),
        (Outgoing::PingResp, b"\xd0\x00"),
        (Outgoing::PubAck { packet_id: 0x1234 }, b"\x40\x02\x12\x34"),
        (Outgoing::UnsubAck { packet_id: 9 }, b"\xb0\x02\x00\x09"),
        (
            Outgoing::SubAck {
                packet_id: 9,
                codes: vec![
                    SubscribeCode::Granted(GrantedQos::AtMostOnce),
                    SubscribeCode::Granted(GrantedQos::AtLeastOnce),
                    SubscribeCode::Refused,
                ],
            },
            b"\x90\x05\x00\x09\x00\x01\x80",
        ),
        (publish(None), b"\x30\x07\x00\x01tbody"),
        (publish(Some(QosOne { dup: false, packet_id: 0x1234 })), b"\x32\x09\x00\x01t\x12\x34body"),
        (publish(Some(QosOne { dup: true, packet_id: 1 })), b"\x3a\x09\x00\x01t\x00\x01body"),
    ];
    let mut buffer = BytesMut::new();
    for (packet, expected) in rows {
        let name = format!("{packet:?}");
        encode(packet, &mut buffer).expect("a packet within the limits");
        assert_eq!(buffer.split().as_ref(), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(bytes.as_slice());
        while let Ok(Some(_)) = decode(&mut buffer, Expecting::Anything) {}
        let _ = decode_all(&bytes, Expecting::Connect);
    }

    #[test]
    fn no_body_panics(first in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode_next(&frame(first, &body));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Packet types are drawn so that long lengths of every type are announced and their bodies fed in pieces.
    #[test]
    fn whatever_arrives_no_more_is_kept_than_the_longest_packet(
        streams in proptest::collection::vec(
            (prop_oneof![Just(0x10_u8), Just(0x30), Just(0x32), Just(0x82), Just(0xa2), Just(0xc0), any::<u8>()],
             0_usize..400_000, any::<u8>()),
            1..4,
        )
    ) {
        let mut buffer = BytesMut::new();
        let bytes = streams.into_iter().flat_map(|(first, length, fill)| frame(first, &vec![fill; length]));
        let bytes: Vec<u8> = bytes.collect();
        'fed: for piece in bytes.chunks(16 * 1024) {
            buffer.extend_from_slice(piece);
            loop {
                match decode(&mut buffer, Expecting::Anything) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'fed,
                }
            }
            prop_assert!(buffer.len() < 1 + MAX_LENGTH_BYTES + MAX_PUBLISH_BYTES);
        }
    }
}
