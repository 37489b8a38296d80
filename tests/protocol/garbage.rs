//! Clients that do not speak what the port speaks: no TLS, or rubbish behind a good handshake.

use tokio::io::AsyncWriteExt as _;

use crate::harness::http::Answer;
use crate::harness::watch::read_to_the_end;
use crate::harness::{Emulator, Neighbours, Port};

const EVERY_PORT: [Port; 5] = [Port::Admin, Port::Amqp, Port::Amqps, Port::Https, Port::Mqtts];
const TLS_PORTS: [Port; 3] = [Port::Amqps, Port::Https, Port::Mqtts];

/// What no protocol here begins with.
fn garbage() -> Vec<u8> {
    (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect()
}

#[tokio::test]
async fn garbage_instead_of_tls_is_hung_up_on() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for port in TLS_PORTS {
        let mut io = emulator.tcp(port).await;
        let _ = io.write_all(&garbage()).await;
        let said = read_to_the_end(&mut io).await;
        // A TLS alert at most.
        assert!(said.is_empty() || said[0] == 0x15, "{port:?} said {said:02x?}");
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn plain_protocols_on_tls_ports_are_hung_up_on() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let openings: [&[u8]; 3] = [
        b"AMQP\x00\x01\x00\x00",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
    ];
    for port in TLS_PORTS {
        for opening in openings {
            let mut io = emulator.tcp(port).await;
            let _ = io.write_all(opening).await;
            let said = read_to_the_end(&mut io).await;
            assert!(said.is_empty() || said[0] == 0x15, "{port:?} said {said:02x?}");
        }
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_before_it_said_anything_costs_nothing() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for port in EVERY_PORT {
        for _ in 0..50 {
            drop(emulator.tcp(port).await);
        }
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn garbage_behind_the_handshake_ends_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for port in EVERY_PORT {
        let mut io = emulator.io(port).await;
        let _ = io.write_all(&garbage()).await;
        let _ = io.flush().await;
        let said = read_to_the_end(&mut io).await;
        match port {
            // Clients are told the header that would have been right (contract/amqp.md 1.1).
            Port::Amqp | Port::Amqps => assert_eq!(said, b"AMQP\x00\x01\x00\x00", "{port:?}"),
            Port::Admin | Port::Https => {
                assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400 "), "{port:?} said {said:02x?}");
            }
            Port::Mqtts => assert!(said.is_empty(), "{port:?} said {said:02x?}"),
        }
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn zeros_without_end_are_hung_up_on() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let zeros = vec![0; 64 * 1024];
    for port in EVERY_PORT {
        let mut io = emulator.io(port).await;
        // 64 MiB at most; the hub has hung up long before.
        let mut written = 0;
        while written < 1024 && io.write_all(&zeros).await.is_ok() && io.flush().await.is_ok() {
            written += 1;
        }
        assert!(written < 1024, "{port:?} swallowed everything");
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn an_http_head_without_end_is_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for port in [Port::Admin, Port::Https] {
        let mut io = emulator.io(port).await;
        let _ = io.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ").await;
        let letters = vec![b'x'; 16 * 1024];
        let mut written = 0;
        while written < 1024 && io.write_all(&letters).await.is_ok() && io.flush().await.is_ok() {
            written += 1;
        }
        assert!(written < 1024, "{port:?} swallowed a head of 16 MiB");
        neighbours.are_untouched().await;
    }
}

#[tokio::test]
async fn half_a_request_and_a_hang_up_is_nobodys_problem() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let token = emulator.policy_token("iothubowner");
    let mut io = emulator.io(Port::Https).await;
    let head = format!(
        "PUT /devices/half?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
         Content-Length: 100\r\n\r\n{{\"deviceId\":\"ha"
    );
    io.write_all(head.as_bytes()).await.expect("the hub reads");
    io.shutdown().await.expect("the hub reads");
    // The half that came is no request: refused if anything is said at all, and nothing was created.
    let said = read_to_the_end(&mut io).await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&said));
    let answer: Answer = emulator.owner("GET /devices/half", &[], &serde_json::Value::Null).await;
    answer.refused(404, "DeviceNotFound");
    neighbours.are_untouched().await;
}
