//! AMQP bytes that break the framing or a rule: the connection is closed with the reason where one can still be
//! said, and nobody else notices (contract/amqp.md 1.1, 1.2, 5).

use bytes::Bytes;
use fe2o3_amqp::frames::amqp::FrameBody;
use fe2o3_amqp::types::performatives::Transfer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::amqp::{AMQP_HEADER, Link, SASL_HEADER, open_frame, raw_frame};
use crate::harness::emulator::{resource, telemetry_address};
use crate::harness::watch::{in_time, read_to_the_end};
use crate::harness::{Amqp, Emulator, Neighbours, Port};

/// A close performative, as far as its descriptor.
const CLOSE: &[u8] = b"\x00\x53\x18";
const FRAMING_ERROR: &[u8] = b"amqp:connection:framing-error";

fn contains(said: &[u8], part: &[u8]) -> bool {
    said.windows(part.len()).any(|window| window == part)
}

/// An open as a client writes it: container-id and nothing else.
fn open_bytes() -> Vec<u8> {
    let body = b"\x00\x53\x10\xc0\x04\x01\xa1\x01t";
    raw_frame(8 + body.len() as u32, 2, 0, body)
}

/// What the hub says to these bytes until it hangs up. Its close is answered by hanging up as well, for it waits
/// some seconds for that.
async fn answer_to(emulator: &Emulator, port: Port, bytes: &[u8]) -> Vec<u8> {
    let mut io = emulator.io(port).await;
    let _ = io.write_all(bytes).await;
    let _ = io.flush().await;
    let mut said = Vec::new();
    while !contains(&said, CLOSE) {
        if !matches!(in_time("an answer or the end", io.read_buf(&mut said)).await, Ok(1..)) {
            return said;
        }
    }
    let _ = io.shutdown().await;
    said.extend(read_to_the_end(&mut io).await);
    said
}

#[tokio::test]
async fn a_wrong_protocol_header_is_answered_with_the_right_one() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let headers: [&[u8; 8]; 6] = [
        b"AMQP\x00\x00\x09\x01",
        b"AMQP\x02\x01\x00\x00",
        b"AMQP\x00\x02\x00\x00",
        b"AMQP\x09\x01\x00\x00",
        b"amqp\x00\x01\x00\x00",
        b"GET / HT",
    ];
    for port in [Port::Amqp, Port::Amqps] {
        for header in headers {
            assert_eq!(answer_to(&emulator, port, header).await, AMQP_HEADER, "{port:?} {header:02x?}");
        }
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_frame_of_an_absurd_length_closes_the_connection_before_it_is_sent() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for port in [Port::Amqp, Port::Amqps] {
        for size in [u32::MAX, 0x8000_0000, 0x1000_0000, 65_537] {
            let first = [&AMQP_HEADER[..], &raw_frame(size, 2, 0, &[])].concat();
            let said = answer_to(&emulator, port, &first).await;
            assert!(contains(&said, FRAMING_ERROR), "{size} as the first frame: {said:02x?}");
            let later = [&AMQP_HEADER[..], &open_bytes(), &raw_frame(size, 2, 0, &[])].concat();
            let said = answer_to(&emulator, port, &later).await;
            assert!(contains(&said, CLOSE) && contains(&said, FRAMING_ERROR), "{size}: {said:02x?}");
        }
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn a_frame_shorter_than_its_header_closes_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for size in 0..8 {
        let bytes = [&AMQP_HEADER[..], &open_bytes(), &raw_frame(size, 2, 0, &[])].concat();
        let said = answer_to(&emulator, Port::Amqps, &bytes).await;
        assert!(contains(&said, CLOSE) && contains(&said, FRAMING_ERROR), "{size}: {said:02x?}");
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_frame_that_is_no_performative_closes_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let whole = |data_offset, kind, body: &[u8]| raw_frame(8 + body.len() as u32, data_offset, kind, body);
    let cases: [(&str, Vec<u8>); 11] = [
        ("a data offset into the header", whole(1, 0, &[0; 8])),
        ("a data offset past the end", whole(200, 0, &[0; 8])),
        ("a frame type nobody knows", whole(2, 7, &[0; 8])),
        ("a SASL frame", whole(2, 1, b"\x00\x53\x41\xc0\x08\x01\xa3\x05PLAIN")),
        ("rubbish", whole(2, 0, &[0xff; 64])),
        ("an unknown performative", whole(2, 0, b"\x00\x53\x7f\x45")),
        ("a list longer than its frame", whole(2, 0, b"\x00\x53\x11\xd0\xff\xff\xff\xff\xff\xff\xff\xff")),
        (
            "a list that says it has four billion fields",
            whole(2, 0, b"\x00\x53\x11\xd0\x00\x00\x00\x04\xff\xff\xff\xff"),
        ),
        ("descriptors within descriptors", whole(2, 0, &[0; 60_000])),
        (
            "lists within lists",
            whole(2, 0, &[&b"\x00\x53\x11"[..], &b"\xc0\xfe\x01".repeat(15_000)].concat()),
        ),
        ("a second open", open_bytes()),
    ];
    for (what, bytes) in cases {
        let said =
            answer_to(&emulator, Port::Amqps, &[&AMQP_HEADER[..], &open_bytes(), &bytes].concat()).await;
        assert!(contains(&said, CLOSE), "{what}: {said:02x?}");
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn what_comes_before_the_open_is_answered_with_a_close() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    // begin{next-outgoing-id 0, windows 1}
    let begin = b"\x00\x53\x11\xc0\x08\x04\x40\x43\x52\x01\x52\x01";
    let bytes = [&AMQP_HEADER[..], &raw_frame(8 + begin.len() as u32, 2, 0, begin)].concat();
    let said = answer_to(&emulator, Port::Amqps, &bytes).await;
    assert!(contains(&said, CLOSE), "{said:02x?}");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn bad_credentials_in_the_sasl_layer_get_outcome_1_and_the_end() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let init = |mechanism: &[u8], response: &[u8]| {
        let field = |code: u8, bytes: &[u8]| [&[code, bytes.len() as u8], bytes].concat();
        let fields = [field(0xa3, mechanism), field(0xa0, response)].concat();
        let body = [&[0, 0x53, 0x41, 0xc0, fields.len() as u8 + 1, 2], &fields[..]].concat();
        raw_frame(8 + body.len() as u32, 2, 1, &body)
    };
    // sasl-outcome{code: ubyte 1}
    let refused = b"\x50\x01";
    let cases: [(&[u8], &[u8]); 5] = [
        (b"PLAIN", b"\0good-mqtt@sas.localhost\0SharedAccessSignature sr=x&sig=y&se=1"),
        (b"PLAIN", b"no separators"),
        (b"PLAIN", &[0xff; 100]),
        (b"SCRAM-SHA-1", b""),
        (b"EXTERNAL", b""),
    ];
    for (mechanism, response) in cases {
        let said =
            answer_to(&emulator, Port::Amqps, &[&SASL_HEADER[..], &init(mechanism, response)].concat()).await;
        assert!(said.starts_with(SASL_HEADER) && contains(&said, refused), "{mechanism:?}: {said:02x?}");
        assert!(!contains(&said, CLOSE), "a failed SASL layer is not opened: {said:02x?}");
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn frames_for_links_and_sessions_that_are_not_there_end_what_they_touch() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let transfer = |link: Link| FrameBody::Transfer {
        performative: Transfer {
            handle: link.0.into(),
            delivery_id: Some(0),
            delivery_tag: Some(vec![0].into()),
            message_format: Some(0),
            settled: Some(false),
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        },
        payload: Bytes::from_static(b"\x00\x53\x75\xa0\x01x"),
    };
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    amqp.send(0, transfer(Link(7))).await;
    match amqp.next().await {
        Some(FrameBody::End(end)) => {
            let condition = crate::harness::amqp::Reason::of(end.error.as_ref()).condition;
            assert_eq!(condition, "amqp:session:unattached-handle");
        }
        other => panic!("instead of an end: {other:?}"),
    }
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    amqp.send(9, transfer(Link(0))).await;
    let reason = amqp.closed().await.expect("a close before the end");
    assert_eq!(reason.condition, "amqp:connection:framing-error");
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    amqp.send(0, FrameBody::Open(open_frame())).await;
    assert!(amqp.closed().await.is_some());
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_message_past_256_kib_is_rejected_and_one_at_the_limit_is_taken() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let (mut amqp, telemetry) = emulator.amqp("d1").await;
    assert_eq!(amqp.deliver(telemetry, &vec![b'x'; 256 * 1024]).await, Ok(()));
    let refused = amqp.deliver(telemetry, &vec![b'x'; 256 * 1024 + 1]).await.expect_err("one byte too many");
    assert_eq!(refused.condition, "amqp:link:message-size-exceeded");
    // The link is none the worse.
    assert_eq!(amqp.deliver(telemetry, b"x").await, Ok(()));
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_token_no_one_signed_is_refused_by_number_and_leaves_the_connection_open() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let good = emulator.token("d1", 3600).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    let requests = amqp.sender("$cbs").await.expect("everybody may attach to $cbs");
    amqp.receiver("$cbs").await.expect("everybody may attach to $cbs");
    let audience = resource("d1");
    let (long, later) =
        (format!("SharedAccessSignature sr={}", "x".repeat(30_000)), good.replace("se=", "se=9"));
    let bad: [(&str, &[i32]); 6] = [
        ("", &[400, 401]),
        ("Bearer x", &[400, 401]),
        ("SharedAccessSignature", &[400, 401]),
        ("SharedAccessSignature sr=x&sig=y&se=z", &[400, 401]),
        // A limit, not a judgement.
        (&long, &[403]),
        (&later, &[401]),
    ];
    for (bad, allowed) in bad {
        let status = amqp.put_token_on(requests, &audience, bad).await;
        assert!(allowed.contains(&status), "{status} for {bad:.40}");
        let refused = amqp.sender(&telemetry_address("d1")).await.expect_err("nothing was proven");
        assert_eq!(refused.condition, "amqp:unauthorized-access");
    }
    assert_eq!(amqp.put_token_on(requests, &audience, &good).await, 200);
    assert!(amqp.sender(&telemetry_address("d1")).await.is_ok());
    neighbours.are_untouched().await;
}
