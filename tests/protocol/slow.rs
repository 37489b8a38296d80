//! Clients that hold a connection without getting anywhere: each is cut within its limit, however busy it looks.
//! The limits are shortened; what they are in earnest stands with each of them in the code.

use std::time::Duration;

use iothub_emulator::app::Surroundings;
use iothub_emulator::config::Options;
use iothub_emulator::listen::AcceptLimits;
use net::Io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::harness::amqp::{AMQP_HEADER, SASL_HEADER};
use crate::harness::mqtt::{Login, packet};
use crate::harness::watch::{in_time, read_to_the_end};
use crate::harness::{Amqp, Emulator, Mqtt, Neighbours, Port, websocket};

/// What every limit is shortened to; long enough for the neighbours on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);
/// How often a dribbling client sends its next byte: often enough to look alive.
const DRIBBLE: Duration = Duration::from_millis(100);

async fn impatient_emulator() -> Emulator {
    impatient_emulator_with(Options::default()).await
}

async fn impatient_emulator_with(options: Options) -> Emulator {
    let surroundings = Surroundings {
        accept: AcceptLimits { handshake: LIMIT, first_request: LIMIT, unread: LIMIT },
        mqtt_connect_timeout: LIMIT,
        amqp: amqp::AmqpOptions { open_timeout: LIMIT, authentication_timeout: LIMIT },
        ..Surroundings::default()
    };
    Emulator::start_with(options, surroundings).await
}

/// The connection ends by itself, not before the limit; what was said until then.
async fn is_cut(io: &mut Io) -> Vec<u8> {
    let began = Instant::now();
    let said = read_to_the_end(io).await;
    // Counted from the accept, a moment before this began to watch.
    assert!(began.elapsed() > LIMIT / 2, "cut after {:?} already", began.elapsed());
    said
}

/// Sends `bytes` one at a time until the connection ends; what came back, and how much was sent.
async fn dribble(io: Io, bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut from, mut to) = tokio::io::split(io);
    let (mut said, mut sent) = (Vec::new(), 0);
    let mut ticks = tokio::time::interval(DRIBBLE);
    let mut listen = Box::pin(from.read_to_end(&mut said));
    let dribbled = async {
        loop {
            tokio::select! {
                _ = &mut listen => break,
                _ = ticks.tick() => {
                    let byte = bytes.get(sent..=sent).unwrap_or(b"x");
                    if to.write_all(byte).await.is_err() || to.flush().await.is_err() {
                        break;
                    }
                    sent += 1;
                }
            }
        }
    };
    in_time("the end of a dribbled connection", dribbled).await;
    drop(listen);
    (said, sent)
}

#[tokio::test]
async fn a_tls_handshake_that_is_never_begun_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let (mut https, mut mqtts, mut amqps) =
        (emulator.tcp(Port::Https).await, emulator.tcp(Port::Mqtts).await, emulator.tcp(Port::Amqps).await);
    let (a, b, c) = tokio::join!(is_cut(&mut https), is_cut(&mut mqtts), is_cut(&mut amqps));
    assert!(a.is_empty() && b.is_empty() && c.is_empty());
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_tls_handshake_byte_by_byte_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    // The head of a ClientHello record of 16 KiB, whose body never comes to an end.
    let hello = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];
    let (https, mqtts, amqps) =
        (emulator.tcp(Port::Https).await, emulator.tcp(Port::Mqtts).await, emulator.tcp(Port::Amqps).await);
    let ends = tokio::join!(dribble(https, &hello), dribble(mqtts, &hello), dribble(amqps, &hello));
    for (said, sent) in [ends.0, ends.1, ends.2] {
        assert!(said.is_empty() && sent > hello.len(), "after {sent} bytes: {said:02x?}");
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_secured_connection_that_says_nothing_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut ios = Vec::new();
    for port in [Port::Admin, Port::Amqp, Port::Amqps, Port::Https, Port::Mqtts] {
        ios.push((port, emulator.io(port).await));
    }
    for (port, said) in
        futures_util::future::join_all(ios.iter_mut().map(async |(port, io)| (*port, is_cut(io).await))).await
    {
        assert!(said.is_empty(), "{port:?} said {said:02x?}");
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn an_http_head_byte_by_byte_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let head = b"GET /devices?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nX-A: ";
    let ends = tokio::join!(
        dribble(emulator.io(Port::Https).await, head),
        dribble(emulator.io(Port::Admin).await, head)
    );
    for (said, _) in [ends.0, ends.1] {
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn half_a_connect_and_silence_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let connect = Login::new("d1", "SharedAccessSignature sr=x").packet();
    let mut tls = emulator.io(Port::Mqtts).await;
    let mut over_websocket = websocket::upgrade(emulator.io(Port::Https).await, "mqtt").await;
    for io in [&mut tls, &mut over_websocket] {
        io.write_all(&connect[..connect.len() / 2]).await.expect("the hub reads");
        io.flush().await.expect("the hub reads");
    }
    let (a, b) = tokio::join!(is_cut(&mut tls), is_cut(&mut over_websocket));
    assert!(a.is_empty() && b.is_empty());
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_connect_byte_by_byte_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let connect = packet(0x10, &vec![b'x'; 100_000]);
    // Valid as far as it goes.
    let begun = [&connect[..4], &crate::harness::mqtt::text("MQTT"), &[4, 0xc2, 0, 60, 0xff, 0xff]].concat();
    let (said, sent) = dribble(emulator.io(Port::Mqtts).await, &begun).await;
    assert!(said.is_empty() && sent > begun.len(), "after {sent} bytes: {said:02x?}");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn an_amqp_opening_that_stops_halfway_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut half_a_header = emulator.io(Port::Amqps).await;
    half_a_header.write_all(&AMQP_HEADER[..4]).await.expect("the hub reads");
    let mut no_open = emulator.io(Port::Amqps).await;
    no_open.write_all(AMQP_HEADER).await.expect("the hub reads");
    let mut no_sasl_init = emulator.io(Port::Amqps).await;
    no_sasl_init.write_all(SASL_HEADER).await.expect("the hub reads");
    let mut plain = emulator.io(Port::Amqp).await;
    plain.write_all(&AMQP_HEADER[..7]).await.expect("the hub reads");
    let mut over_websocket = websocket::upgrade(emulator.io(Port::Https).await, "AMQPWSB10").await;
    over_websocket.write_all(&AMQP_HEADER[..4]).await.expect("the hub reads");
    let said = tokio::join!(
        is_cut(&mut half_a_header),
        is_cut(&mut no_open),
        is_cut(&mut no_sasl_init),
        is_cut(&mut plain),
        is_cut(&mut over_websocket),
    );
    assert!(said.0.is_empty() && said.3.is_empty() && said.4.is_empty());
    assert!(said.1.starts_with(AMQP_HEADER) && said.2.starts_with(SASL_HEADER));
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn an_amqp_open_byte_by_byte_is_cut() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    // The header, and an open frame of 60,000 bytes that never ends.
    let opening = [&AMQP_HEADER[..], &[0, 0, 0xea, 0x60, 2, 0, 0, 0], &[0, 0x53, 0x10, 0xd0]].concat();
    let (said, sent) = dribble(emulator.io(Port::Amqps).await, &opening).await;
    assert!(sent > opening.len(), "after {sent} bytes: {said:02x?}");
    assert!(said.is_empty() || said.starts_with(AMQP_HEADER));
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn an_open_amqp_connection_without_a_credential_is_closed() {
    let emulator = impatient_emulator().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    amqp.sender("$cbs").await.expect("everybody may attach to $cbs");
    let reason = amqp.closed().await.expect("a close before the end");
    assert_eq!(reason.condition, "amqp:unauthorized-access");
    neighbours.are_untouched().await;
}

/// Asks the admin port for the same document often enough that the answers fill every buffer of a connection, and
/// reads nothing; the connection, and how many bytes of answers there are in all.
async fn ask_and_never_read(emulator: &Emulator) -> (Io, usize) {
    const DOCUMENT: &[u8] = b"GET /service/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const ANSWERS_BYTES: usize = 32 * 1024 * 1024;
    let answer = emulator.admin("GET /service/openapi.json", &serde_json::Value::Null).await;
    let asks = ANSWERS_BYTES / answer.body.len();
    let mut io = emulator.io(Port::Admin).await;
    io.write_all(&DOCUMENT.repeat(asks)).await.expect("the requests fit the buffers");
    (io, asks * answer.body.len())
}

#[tokio::test]
async fn an_answer_that_is_never_read_is_given_up_and_its_slot_freed() {
    let emulator = impatient_emulator_with(Options { max_connections: Some(1), ..Options::default() }).await;
    let began = Instant::now();
    let (mut stuck, answers_bytes) = ask_and_never_read(&emulator).await;
    // Answered only once the one slot is free.
    emulator.admin("GET /health", &serde_json::Value::Null).await.ok();
    assert!(began.elapsed() > LIMIT, "cut after {:?} already", began.elapsed());
    let said = read_to_the_end(&mut stuck).await;
    assert!(said.starts_with(b"HTTP/1.1 200 ") && said.len() < answers_bytes, "{} bytes", said.len());
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_given_whole() {
    let emulator = impatient_emulator().await;
    let (mut slow, answers_bytes) = ask_and_never_read(&emulator).await;
    let began = Instant::now();
    let (mut said, mut piece) = (0, vec![0; answers_bytes / 40]);
    let mut ticks = tokio::time::interval(LIMIT / 30);
    while said < answers_bytes {
        ticks.tick().await;
        let piece_bytes = piece.len().min(answers_bytes - said);
        said +=
            in_time("the next piece", slow.read_exact(&mut piece[..piece_bytes])).await.expect("it goes on");
    }
    assert!(began.elapsed() > LIMIT, "read in {:?} already", began.elapsed());
}

#[tokio::test]
async fn who_logs_in_within_the_limit_outlives_it() {
    let emulator = impatient_emulator().await;
    emulator.create_device("d1").await;
    emulator.create_device("d2").await;
    let mut mqtt = emulator.mqtt("d1").await;
    let (mut amqp, telemetry) = emulator.amqp("d2").await;
    let mut silent = Mqtt::new(emulator.io(Port::Mqtts).await);
    // Somebody else's limit passes, which began later than theirs.
    silent.is_closed().await;
    mqtt.publish("devices/d1/messages/events/", b"x").await;
    assert_eq!(amqp.deliver(telemetry, b"x").await, Ok(()));
}
