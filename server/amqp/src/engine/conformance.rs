//! The type system as clients may spell it (contract/amqp.md 1.3.9, AMQP 1.0 part 1): every primitive in every
//! encoding, described values, arrays and maps, and frames whose fields are spelled each way.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use uuid::Uuid;

use super::encode::{FRAME_AMQP, Writer};
use super::frame::{Frame, FrameBody, next_frame};
use super::message::{Message, Properties, Scalar};
use super::value::encoded_len;
use super::*;
use crate::names::{AMQP_HEADER, SASL_HEADER, descriptors};

/// A value's bytes: constructor, then whatever follows.
fn value(constructor: u8, rest: &[u8]) -> Vec<u8> {
    [&[constructor], rest].concat()
}

/// Every encoding of every primitive, by the names of the standard, and what it means here.
fn primitives() -> Vec<(&'static str, Vec<u8>, Scalar)> {
    let uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF);
    let long_text = [&4_u32.to_be_bytes()[..], b"text"].concat();
    let text = || Scalar::Text("text".into());
    let bytes = || Scalar::Binary(b"text".to_vec());
    vec![
        ("null", value(0x40, &[]), Scalar::Null),
        ("true", value(0x41, &[]), Scalar::Bool(true)),
        ("false", value(0x42, &[]), Scalar::Bool(false)),
        ("boolean true", value(0x56, &[1]), Scalar::Bool(true)),
        ("boolean false", value(0x56, &[0]), Scalar::Bool(false)),
        ("ubyte", value(0x50, &[200]), Scalar::Uint(200)),
        ("ushort", value(0x60, &[1, 0]), Scalar::Uint(256)),
        ("uint0", value(0x43, &[]), Scalar::Uint(0)),
        ("smalluint", value(0x52, &[200]), Scalar::Uint(200)),
        ("uint", value(0x70, &[0, 0, 1, 0]), Scalar::Uint(256)),
        ("ulong0", value(0x44, &[]), Scalar::Uint(0)),
        ("smallulong", value(0x53, &[200]), Scalar::Uint(200)),
        ("ulong", value(0x80, &u64::MAX.to_be_bytes()), Scalar::Uint(u64::MAX)),
        ("byte", value(0x51, &[0xFF]), Scalar::Int(-1)),
        ("short", value(0x61, &[0xFF, 0xFE]), Scalar::Int(-2)),
        ("smallint", value(0x54, &[0xFF]), Scalar::Int(-1)),
        ("int", value(0x71, &i32::MIN.to_be_bytes()), Scalar::Int(i32::MIN.into())),
        ("smalllong", value(0x55, &[0xFF]), Scalar::Int(-1)),
        ("long", value(0x81, &i64::MIN.to_be_bytes()), Scalar::Int(i64::MIN)),
        ("float", value(0x72, &1.5_f32.to_be_bytes()), Scalar::Float(1.5)),
        ("double", value(0x82, &1.5_f64.to_be_bytes()), Scalar::Float(1.5)),
        ("decimal32", value(0x74, &[1; 4]), Scalar::Compound),
        ("decimal64", value(0x84, &[1; 8]), Scalar::Compound),
        ("decimal128", value(0x94, &[1; 16]), Scalar::Compound),
        ("char", value(0x73, &[0, 0, 0, b'x']), Scalar::Text("x".into())),
        ("timestamp", value(0x83, &(-5_i64).to_be_bytes()), Scalar::Time(-5)),
        ("uuid", value(0x98, uuid.as_bytes()), Scalar::Uuid(uuid)),
        ("vbin8", value(0xA0, b"\x04text"), bytes()),
        ("vbin32", value(0xB0, &long_text), bytes()),
        ("str8", value(0xA1, b"\x04text"), text()),
        ("str32", value(0xB1, &long_text), text()),
        ("sym8", value(0xA3, b"\x04text"), text()),
        ("sym32", value(0xB3, &long_text), text()),
        ("list0", value(0x45, &[]), Scalar::Compound),
        ("list8", value(0xC0, &[3, 2, 0x40, 0x41]), Scalar::Compound),
        ("list32", value(0xD0, &[0, 0, 0, 6, 0, 0, 0, 2, 0x40, 0x41]), Scalar::Compound),
        ("map8", value(0xC1, &[4, 2, 0x40, 0x50, 1]), Scalar::Compound),
        ("map32", value(0xD1, &[0, 0, 0, 6, 0, 0, 0, 2, 0x40, 0x41]), Scalar::Compound),
        ("array8 of symbols", value(0xE0, &[6, 2, 0xA3, 1, b'a', 1, b'b']), Scalar::Compound),
        ("array8 of nothing", value(0xE0, &[2, 0, 0x40]), Scalar::Compound),
        (
            "array32 of ints",
            value(0xF0, &[0, 0, 0, 13, 0, 0, 0, 2, 0x71, 0, 0, 0, 1, 0, 0, 0, 2]),
            Scalar::Compound,
        ),
        ("array of described values", value(0xE0, &[7, 2, 0, 0x53, 1, 0x50, 7, 8]), Scalar::Compound),
        ("described by a number", value(0x00, &[0x53, 9, 0x40]), Scalar::Compound),
        ("described by a long number", value(0x00, &[0x80, 0, 0, 0, 0, 0, 0, 0, 9, 0x45]), Scalar::Compound),
        ("described by a symbol", value(0x00, &[0xA3, 1, b'd', 0xA1, 1, b'x']), Scalar::Compound),
    ]
}

/// A section around a value.
fn section(code: u8, encoded: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code], encoded].concat()
}

#[test]
fn every_primitive_is_measured_in_every_encoding() {
    for (name, encoded, _) in primitives() {
        let followed = [&encoded[..], &[0x40, 0x41]].concat();
        assert_eq!(encoded_len(&followed), Ok(encoded.len()), "{name}");
        let cut = &encoded[..encoded.len() - 1];
        assert!(encoded_len(cut).is_err(), "{name} without its last byte");
    }
}

#[test]
fn every_primitive_may_be_a_property() {
    for (name, encoded, meaning) in primitives() {
        for (short, key) in [(true, vec![0xA1, 1, b'k']), (false, vec![0xB1, 0, 0, 0, 1, b'k'])] {
            let entries = [&key[..], &encoded].concat();
            let map = if short {
                value(0xC1, &[&[entries.len() as u8 + 1, 2], &entries[..]].concat())
            } else {
                value(
                    0xD1,
                    &[&(entries.len() as u32 + 4).to_be_bytes()[..], &[0, 0, 0, 2], &entries].concat(),
                )
            };
            let message = Message::parse(&section(0x74, &map).into()).unwrap();
            assert_eq!(message.application_property("k"), Some(&meaning), "{name}");
        }
        let properties = value(0xC0, &[&[encoded.len() as u8 + 1, 1], &encoded[..]].concat());
        let message = Message::parse(&section(0x73, &properties).into()).unwrap();
        let read = Properties::scalar(message.properties.message_id.as_ref()).unwrap();
        assert_eq!(read, meaning, "{name} as message-id");
    }
}

#[test]
fn sections_may_be_described_by_number_long_number_or_symbol() {
    let data = value(0xA0, b"\x02hi");
    for (symbol, code) in descriptors::SECTIONS {
        let body = match code {
            0x75 => data.clone(),
            0x71 | 0x72 | 0x74 | 0x78 => value(0xC1, &[1, 0]),
            _ => value(0x45, &[]),
        };
        let by_symbol = [&[0x00, 0xA3, symbol.len() as u8], symbol.as_bytes(), &body].concat();
        let by_long_symbol = [&[0x00, 0xB3, 0, 0, 0, symbol.len() as u8], symbol.as_bytes(), &body].concat();
        let by_number = section(*code as u8, &body);
        let by_long_number = [&[0x00, 0x80], &code.to_be_bytes()[..], &body].concat();
        for spelled in [by_symbol, by_long_symbol, by_number, by_long_number] {
            let message = Message::parse(&Bytes::from(spelled)).unwrap_or_else(|e| panic!("{symbol}: {e}"));
            assert_eq!(message.data.len(), usize::from(*code == 0x75), "{symbol}");
        }
    }
    assert!(Message::parse(&Bytes::from(value(0x00, b"\xA3\x01x\x45"))).is_err(), "an unknown symbol");
}

/// Performatives of a client by code, each field in the spellings the standard allows.
fn spelled(code: u64, fields: &[&[&[u8]]], spelling: usize) -> Vec<u8> {
    let pick = |spellings: &&[&[u8]]| spellings[spelling % spellings.len()].to_vec();
    let body: Vec<u8> = fields.iter().flat_map(pick).collect();
    let symbol = descriptors::PERFORMATIVES.iter().find(|(_, number)| *number == code).unwrap().0;
    let descriptor = match spelling % 4 {
        0 => vec![0x53, code as u8],
        1 => [&[0x80], &code.to_be_bytes()[..]].concat(),
        2 => [&[0xA3, symbol.len() as u8], symbol.as_bytes()].concat(),
        _ => [&[0xB3, 0, 0, 0, symbol.len() as u8], symbol.as_bytes()].concat(),
    };
    let count = fields.len();
    let list = match spelling / 2 % 2 {
        _ if count == 0 && spelling.is_multiple_of(3) => vec![0x45],
        0 => value(0xC0, &[&[body.len() as u8 + 1, count as u8], &body[..]].concat()),
        _ => value(
            0xD0,
            &[&(body.len() as u32 + 4).to_be_bytes()[..], &(count as u32).to_be_bytes(), &body].concat(),
        ),
    };
    [&[0x00], &descriptor[..], &list].concat()
}

fn framed(body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    Writer(&mut bytes).frame(FRAME_AMQP, 1, |w| w.0.extend_from_slice(body));
    bytes
}

const TRUE: &[&[u8]] = &[&[0x41], &[0x56, 1]];
const FALSE: &[&[u8]] = &[&[0x42], &[0x56, 0]];
const ZERO: &[&[u8]] = &[&[0x43], &[0x52, 0], &[0x70, 0, 0, 0, 0]];
const SEVEN: &[&[u8]] = &[&[0x52, 7], &[0x70, 0, 0, 0, 7]];
const NULL: &[&[u8]] = &[&[0x40]];
const NAME: &[&[u8]] = &[b"\xA1\x01n", b"\xB1\0\0\0\x01n"];
const TAG: &[&[u8]] = &[b"\xA0\x01t", b"\xB0\0\0\0\x01t"];
const ACCEPTED: &[&[u8]] = &[
    &[0x00, 0x53, 0x24, 0x45],
    &[0x00, 0x53, 0x24, 0xC0, 1, 0],
    &[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x24, 0xD0, 0, 0, 0, 4, 0, 0, 0, 0],
    b"\x00\xA3\x12amqp:accepted:list\x45",
];
const ADDRESS: &[&[u8]] = &[
    &[0x00, 0x53, 0x29, 0xC0, 4, 1, 0xA1, 1, b'a'],
    &[0x00, 0x53, 0x29, 0xD0, 0, 0, 0, 7, 0, 0, 0, 1, 0xA1, 1, b'a'],
    b"\x00\xA3\x10amqp:target:list\xC0\x04\x01\xA1\x01a",
];

fn parsed(code: u64, fields: &[&[&[u8]]], spelling: usize) -> FrameBody {
    let mut bytes = framed(&spelled(code, fields, spelling));
    match next_frame(&mut bytes) {
        Ok(Some(Frame::Amqp { channel: 1, body })) => body,
        other => panic!("{code:#x} in spelling {spelling}: {other:?}"),
    }
}

#[test]
fn rule_9_frames_mean_the_same_however_their_fields_are_spelled() {
    for spelling in 0..12 {
        let FrameBody::Open(open) = parsed(0x10, &[NAME, NULL, SEVEN], spelling) else { panic!() };
        assert_eq!((open.container_id.as_str(), open.max_frame_size.0), ("n", 7));
        let FrameBody::Begin(begin) = parsed(0x11, &[NULL, ZERO, SEVEN, SEVEN], spelling) else { panic!() };
        assert_eq!((begin.next_outgoing_id, begin.incoming_window), (0, 7));
        let fields = [NAME, SEVEN, FALSE, &[&[0x50, 1]], NULL, NULL, ADDRESS];
        let FrameBody::Attach(attach) = parsed(0x12, &fields, spelling) else { panic!() };
        assert_eq!((attach.handle, attach.client_receives, attach.snd_settle_mode), (7, false, Some(1)));
        assert_eq!(attach.address(), Ok(Some("a".to_owned())));
        let FrameBody::Attach(attach) = parsed(0x12, &[NAME, ZERO, TRUE], spelling) else { panic!() };
        assert_eq!((attach.handle, attach.client_receives), (0, true));
        let fields = [ZERO, SEVEN, ZERO, SEVEN, SEVEN, ZERO, SEVEN, NULL, TRUE, FALSE];
        let FrameBody::Flow(flow) = parsed(0x13, &fields, spelling) else { panic!() };
        assert_eq!((flow.handle.map(|handle| handle.0), flow.link_credit), (Some(7), Some(7)));
        assert_eq!((flow.drain, flow.echo), (true, false));
        let fields = [ZERO, SEVEN, TAG, ZERO, TRUE, FALSE];
        let FrameBody::Transfer(transfer, _) = parsed(0x14, &fields, spelling) else { panic!() };
        assert_eq!((transfer.delivery_id, transfer.settled, transfer.more), (Some(7), Some(true), false));
        let fields = [TRUE, ZERO, SEVEN, TRUE, ACCEPTED];
        let FrameBody::Disposition(disposition) = parsed(0x15, &fields, spelling) else { panic!() };
        assert_eq!((disposition.first, disposition.last, disposition.settled), (0, Some(7), true));
        assert!(matches!(disposition.state, Some(fe2o3_amqp_types::messaging::DeliveryState::Accepted(_))));
        let FrameBody::Detach(detach) = parsed(0x16, &[SEVEN, TRUE], spelling) else { panic!() };
        assert_eq!((detach.handle.0, detach.closed), (7, true));
        assert!(matches!(parsed(0x17, &[], spelling), FrameBody::End(_)));
        assert!(matches!(parsed(0x18, &[NULL], spelling), FrameBody::Close(_)));
        assert!(matches!(parsed(0x18, &[], spelling), FrameBody::Close(_)));
    }
}

/// Feeds bytes to an engine that accepts all, and says how much it wrote in answer.
fn survive(bytes: &[u8]) -> usize {
    let mut engine = Engine::new();
    let mut written = 0;
    engine.input().extend_from_slice(bytes);
    while let Some(event) = engine.next_event() {
        match event {
            Event::Attach(request) => engine.accept(request, 1000, None),
            Event::Delivery(link, delivery) => {
                if let Some(payload) = &delivery.payload {
                    let _ = Message::parse(payload);
                }
                engine.settle(link, &delivery, &Outcome::Accepted);
            }
            Event::Sasl(_) => engine.sasl_outcome(true),
            Event::LinkReady { link, .. } => engine.finish_drain(link),
            Event::Settled(deliveries) => {
                deliveries.iter().for_each(|settled| engine.confirm(settled, &Outcome::Accepted));
            }
            Event::Closed
            | Event::Failed(_)
            | Event::LinkClosed(_)
            | Event::Opened(_)
            | Event::SessionClosed(_)
            | Event::SessionReady(_) => {}
        }
        written += engine.take_output().len();
    }
    written + engine.take_output().len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Bounded: no frame of a client is worth more than a small answer.
    #[test]
    fn arbitrary_bytes_are_survived_at_every_stage(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        stage in 0usize..4,
    ) {
        let open = framed(&spelled(0x10, &[NAME], 0));
        let begin = framed(&spelled(0x11, &[NULL, ZERO, SEVEN, SEVEN], 0));
        let before = match stage {
            0 => Vec::new(),
            1 => SASL_HEADER.to_vec(),
            2 => AMQP_HEADER.to_vec(),
            _ => [&AMQP_HEADER[..], &open, &begin].concat(),
        };
        let written = survive(&[&before[..], &bytes].concat());
        prop_assert!(written <= 1024 + 64 * bytes.len(), "{written} bytes in answer to {}", bytes.len());
        let framed = framed(&bytes);
        survive(&[&before[..], &framed].concat());
        let _ = Message::parse(&Bytes::from(bytes));
    }

    #[test]
    fn arbitrary_fields_in_a_known_frame_are_survived(
        code in 0x10u64..0x19,
        fields in proptest::collection::vec(0usize..45, 0..14),
        spelling in 0usize..12,
    ) {
        let primitives = primitives();
        let chosen: Vec<Vec<u8>> = fields
            .iter()
            .map(|place| primitives[place % primitives.len()].1.clone())
            .collect();
        let chosen: Vec<[&[u8]; 1]> = chosen.iter().map(|field| [&field[..]]).collect();
        let chosen: Vec<&[&[u8]]> = chosen.iter().map(|field| &field[..]).collect();
        let open = framed(&spelled(0x10, &[NAME], 0));
        let begin = framed(&spelled(0x11, &[NULL, ZERO, SEVEN, SEVEN], 0));
        let frame = framed(&spelled(code, &chosen, spelling));
        survive(&[&AMQP_HEADER[..], &open, &begin, &frame].concat());
    }
}
