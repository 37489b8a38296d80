//! Packets arrive in whatever pieces the network makes of them; `contract/mqtt.md 1`.

use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::harness::*;

/// One of each packet a client sends, and what it is answered.
fn conversation(bench: &Bench) -> (Vec<u8>, [&'static str; 7]) {
    let packets = [
        bench.connect("d").bytes(),
        Subscribe(1, &[("$iothub/twin/res/#", 1), (MESSAGES, 0)]).bytes(),
        Publish(2, "devices/d/messages/events/a=1", "body").bytes(),
        Publish(3, "$iothub/twin/PATCH/properties/reported/?$rid=1", r#"{"a":1}"#).bytes(),
        Unsubscribe(4, MESSAGES).bytes(),
        PubAck(9).bytes(),
        PINGREQ.bytes(),
    ];
    let answers = [
        "SUBACK 1 [1, 0]",
        "PUBACK 2",
        "PUBACK 3",
        "PUBLISH $iothub/twin/res/204/?$rid=1",
        "UNSUBACK 4",
        "PINGRESP",
        "closed",
    ];
    (packets.concat().into_iter().chain(DISCONNECT.bytes()).collect(), answers)
}

async fn assert_understood(bench: &Bench, pieces: &[&[u8]], answers: &[&str]) {
    let mut client = bench.accept();
    for piece in pieces {
        client.send(&Raw(piece)).await;
        // The server reads what is there before the next piece comes.
        tokio::task::yield_now().await;
    }
    assert!(client.next().await.starts_with("CONNACK 0"), "{pieces:?}");
    for answer in answers {
        let got = client.next().await;
        assert!(got.starts_with(answer), "{got}, instead of {answer}, in {pieces:?}");
    }
}

#[tokio::test]
async fn a_conversation_split_at_any_byte_is_the_same_conversation() {
    let bench = Bench::new().await;
    let (bytes, answers) = conversation(&bench);
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_understood(&bench, &[first, second], &answers).await;
    }
    assert_eq!(bench.events().len(), bytes.len() - 1, "each time the one message");
}

#[tokio::test]
async fn a_conversation_byte_by_byte_or_all_at_once_is_the_same_conversation() {
    let bench = Bench::new().await;
    let (bytes, answers) = conversation(&bench);
    assert_understood(&bench, &bytes.chunks(1).collect::<Vec<_>>(), &answers).await;
    assert_understood(&bench, &[&bytes], &answers).await;
}

#[tokio::test]
async fn a_packet_in_the_wrong_place_or_against_the_format_ends_the_connection() {
    let rows: [(&str, Vec<u8>); 22] = [
        ("type 0", vec![0x00, 0]),
        ("CONNACK", frame(0x20, &[0, 0])),
        ("PUBREC", frame(0x50, &[0, 1])),
        ("PUBREL", frame(0x62, &[0, 1])),
        ("PUBCOMP", frame(0x70, &[0, 1])),
        ("SUBACK", frame(0x90, &[0, 1, 0])),
        ("UNSUBACK", frame(0xb0, &[0, 1])),
        ("PINGRESP", frame(0xd0, &[])),
        ("AUTH of MQTT 5", frame(0xf0, &[])),
        ("SUBSCRIBE with flags 0", frame(0x80, &[0, 1, 0, 1, b'#', 0])),
        ("UNSUBSCRIBE with flags 3", frame(0xa3, &[0, 1, 0, 1, b'#'])),
        ("PUBACK with flags", frame(0x42, &[0, 1])),
        ("PINGREQ with flags", frame(0xc1, &[])),
        ("DISCONNECT with flags", frame(0xe8, &[])),
        ("DISCONNECT with a reason of MQTT 5", frame(0xe0, &[0])),
        ("PUBACK with a reason of MQTT 5", frame(0x40, &[0, 1, 0])),
        ("a length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("a PUBLISH shorter than its topic", frame(0x30, &[0, 9, b'd'])),
        ("a PUBLISH with QoS 3", frame(0x36, &[0, 1, b'd', 0, 1])),
        (
            "a PUBLISH with packet id 0",
            frame(0x32, &[&string("devices/d/messages/events/")[..], &[0, 0]].concat()),
        ),
        ("a topic with NUL", Publish(1, "devices/d/messages/events/a\0", "").bytes()),
        ("a second CONNECT", frame(0x10, b"\0\x04MQTT\x04\x02\0\x3c\0\x01d")),
    ];
    let bench = Bench::new().await;
    for (name, bytes) in rows {
        let mut client = bench.online("d").await;
        client.send(&Raw(&bytes)).await;
        assert_eq!(client.next().await, "closed", "{name}");
    }
    assert!(bench.events().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_after_a_connect_panic_the_server(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        pieces in 1_usize..50,
    ) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            let mut client = bench.online("d").await;
            for piece in bytes.chunks(pieces) {
                client.send(&Raw(piece)).await;
                tokio::task::yield_now().await;
            }
            // Joins the server's task, which fails if that panicked.
            client.vanish().await;
            assert!(bench.hub.connections().is_empty());
        });
    }
}
