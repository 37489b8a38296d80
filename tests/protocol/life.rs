//! The life of the process: ready when every listener accepts and not before, all ports or none, and an orderly end
//! (PRODUCT sections 1 and 2).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use iothub_emulator::app::{App, Surroundings};
use iothub_emulator::config::{Bind, Options};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::harness::emulator::{config, state_folder};
use crate::harness::http::{self, Answer};
use crate::harness::mqtt::Login;
use crate::harness::watch::{in_time, nothing_panicked, read_to_the_end};
use crate::harness::{Amqp, Emulator, Mqtt, Port, websocket};

const EVERY_PORT: [Port; 5] = [Port::Admin, Port::Amqp, Port::Amqps, Port::Https, Port::Mqtts];

/// Five ports that were free a moment ago, on a loopback address of the test's own: on 127.0.0.1 they could be
/// handed out again to a test beside this one.
fn free_ports(host: Ipv4Addr) -> [u16; 5] {
    let held = [(); 5].map(|()| TcpListener::bind((host, 0)).expect("a free port"));
    held.map(|socket| socket.local_addr().expect("a bound socket").port())
}

fn options(host: Ipv4Addr, [https, mqtts, amqps, amqp, admin]: [u16; 5]) -> Options {
    Options {
        bind: Some(Bind::Address(host.into())),
        https_port: Some(https),
        mqtts_port: Some(mqtts),
        amqps_port: Some(amqps),
        amqp_port: Some(amqp),
        admin_port: Some(admin),
        ..Options::default()
    }
}

async fn accepts(address: impl ToSocketAddrs) -> bool {
    TcpStream::connect(address).await.is_ok()
}

async fn ready(admin: SocketAddr) -> Option<Answer> {
    let stream = TcpStream::connect(admin).await.ok()?;
    Some(http::exchange(net::Io::new(stream), http::request("GET /ready", &[], "").as_bytes()).await)
}

#[tokio::test]
async fn ready_is_503_until_every_listener_accepts_and_200_after() {
    let emulator = Emulator::start().await;
    let answer = emulator.admin("GET /ready", &Value::Null).await;
    assert_eq!(answer.status, 200, "{answer}");
    let body = answer.json();
    assert_eq!(body["ready"], true);
    let listeners = body["listeners"].as_array().expect("a list");
    for name in ["https", "mqtts", "amqps", "amqp", "admin"] {
        let of_name = listeners.iter().filter(|listener| listener["name"] == name);
        assert!(
            of_name.clone().count() > 0 && of_name.clone().all(|it| it["state"] == "accepting"),
            "{name}: {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_told_ready_finds_every_listener_accepting() {
    let state = state_folder();
    let host = Ipv4Addr::new(127, 0, 0, 71);
    let ports = free_ports(host);
    let config = config(options(host, ports), state.path());
    let admin = SocketAddr::from((host, ports[4]));
    let asking = tokio::spawn(async move {
        let mut early = 0;
        loop {
            match ready(admin).await {
                Some(answer) if answer.status == 200 => return early,
                Some(answer) => {
                    assert_eq!((answer.status, &answer.json()["ready"]), (503, &json!(false)), "{answer}");
                    early += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
    });
    let app = App::start(&config).await.expect("the ports are free");
    in_time("ready", asking).await.expect("every answer was 503 or 200");
    for port in ports {
        assert!(accepts((host, port)).await, "{port}");
    }
    app.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_ways_out_and_nothing_half_starts() {
    let state = state_folder();
    let host = Ipv4Addr::new(127, 0, 0, 72);
    let ports = free_ports(host);
    let flags = ["--https-port", "--mqtts-port", "--amqps-port", "--amqp-port", "--admin-port"];
    for (index, flag) in flags.into_iter().enumerate() {
        let taken = TcpListener::bind((host, ports[index])).expect("the port is still free");
        let error =
            App::start(&config(options(host, ports), state.path())).await.expect_err("the port is taken");
        let text = error.to_string();
        for words in
            [format!("{host}:{}", ports[index]), flag.to_owned(), "in use".to_owned(), "Ways out".to_owned()]
        {
            assert!(text.contains(&words), "{words}: {text}");
        }
        drop(taken);
        for port in ports {
            assert!(!accepts((host, port)).await, "{port} was served although {} was taken", ports[index]);
        }
        assert!(
            !state.path().join("endpoints.json").exists(),
            "a start that failed tells nobody where it listens"
        );
    }
    // The twin: with all ports free the same configuration starts.
    let app = App::start(&config(options(host, ports), state.path())).await.expect("the ports are free");
    app.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn every_port_that_cannot_be_had_is_named_at_once() {
    let state = state_folder();
    let host = Ipv4Addr::new(127, 0, 0, 73);
    let ports = free_ports(host);
    let _taken = [ports[1], ports[2]].map(|port| TcpListener::bind((host, port)).expect("it is free"));
    let error =
        App::start(&config(options(host, ports), state.path())).await.expect_err("two ports are taken");
    let text = error.to_string();
    assert!(
        text.contains(&format!("{host}:{}", ports[1])) && text.contains(&format!("{host}:{}", ports[2])),
        "{text}"
    );
}

#[tokio::test]
async fn the_ports_in_use_are_written_down_and_removed_at_the_end() {
    let emulator = Emulator::start().await;
    let file = emulator.state().join("endpoints.json");
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let written: Value = serde_json::from_str(&text).expect("it is JSON");
    for (name, port) in [
        ("https", Port::Https),
        ("mqtts", Port::Mqtts),
        ("amqps", Port::Amqps),
        ("amqp", Port::Amqp),
        ("admin", Port::Admin),
    ] {
        assert_eq!(written[name][0], emulator.address(port).to_string(), "{text}");
    }
    let state = emulator.stop().await;
    assert!(!state.path().join("endpoints.json").exists());
}

#[tokio::test]
async fn a_stop_says_goodbye_in_every_protocol_and_lets_requests_finish() {
    // An address of its own, so that nobody else is handed its ports once they are free.
    let bind = Some(Bind::Address(Ipv4Addr::new(127, 0, 0, 74).into()));
    let options = Options { bind, ..Options::default() };
    let emulator = Emulator::start_with(options, Surroundings::default()).await;
    for device in ["d1", "d2", "d3", "d4"] {
        emulator.create_device(device).await;
    }
    let mut mqtt = emulator.mqtt("d1").await;
    let (mut amqp, _) = emulator.amqp("d2").await;
    let mut unclaimed = Amqp::open(emulator.io(Port::Amqp).await).await;
    let token = emulator.token("d3", 3600).await;
    let io = websocket::upgrade(emulator.io(Port::Https).await, "mqtt").await;
    let mut mqtt_ws = Mqtt::connect(io, &Login::new("d3", &token)).await;
    let io = websocket::upgrade(emulator.io(Port::Https).await, "AMQPWSB10").await;
    let mut amqp_ws = Amqp::open(io).await;
    // A request of which the hub has the head and half the body.
    let body = r#"{"deviceId":"late"}"#;
    let token = emulator.policy_token("iothubowner");
    let request =
        http::request("PUT /devices/late?api-version=2021-04-12", &[("Authorization", &token)], body);
    let (first_half, second_half) = request.split_at(request.len() - 5);
    let mut https = emulator.io(Port::Https).await;
    https.write_all(first_half.as_bytes()).await.expect("the hub reads");
    https.flush().await.expect("the hub reads");
    // And a connection that is kept alive without a request.
    let mut idle = emulator.io(Port::Https).await;
    let addresses = EVERY_PORT.map(|port| emulator.address(port));

    let stopping = tokio::spawn(emulator.stop());
    mqtt.is_closed().await;
    mqtt_ws.is_closed().await;
    for amqp in [&mut amqp, &mut unclaimed, &mut amqp_ws] {
        let reason = amqp.closed().await.expect("a close before the end");
        assert_eq!(reason.condition, "amqp:connection:forced");
    }
    https.write_all(second_half.as_bytes()).await.expect("the hub still reads");
    https.flush().await.expect("the hub still reads");
    let answer = Answer::read(&mut https).await;
    assert_eq!(answer.ok()["deviceId"], "late");
    let said = read_to_the_end(&mut idle).await;
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    in_time("the end", stopping).await.expect("stopping succeeds");
    for address in addresses {
        assert!(!accepts(address).await, "{address} still accepts");
    }
    nothing_panicked();
}

#[tokio::test]
async fn a_stop_cuts_off_who_does_not_leave() {
    let emulator = Emulator::start().await;
    let mut connected = Vec::new();
    for port in EVERY_PORT {
        let mut io = emulator.io(port).await;
        // The beginning of something that never comes.
        let part: &[u8] = match port {
            Port::Admin | Port::Https => {
                b"POST /twins/d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
            }
            Port::Amqp | Port::Amqps => b"AMQP\x00\x01\x00\x00\x00\x00",
            Port::Mqtts => b"\x10\x7f\x00\x04MQTT",
        };
        io.write_all(part).await.expect("the hub reads");
        connected.push(io);
        connected.push(emulator.tcp(port).await);
    }
    in_time("the end", emulator.app.stop(Duration::from_millis(200))).await;
    for mut io in connected {
        read_to_the_end(&mut io).await;
    }
    nothing_panicked();
}

#[tokio::test]
async fn a_stop_cuts_off_a_websocket_that_does_not_leave() {
    let emulator = Emulator::start().await;
    let io = websocket::upgrade(emulator.io(Port::Https).await, "AMQPWSB10").await;
    let mut amqp = Amqp::open(io).await;
    let hub = Arc::downgrade(&emulator.app.hub);
    // Told to go, the client has longer than this to answer, and does not.
    in_time("the end", emulator.app.stop(Duration::from_millis(200))).await;
    assert!(hub.upgrade().is_none(), "somebody still serves a connection of the hub");
    let reason = amqp.closed().await.expect("a close before the end");
    assert_eq!(reason.condition, "amqp:connection:forced");
    assert!(amqp.next().await.is_none());
    nothing_panicked();
}

#[tokio::test]
async fn ready_is_503_while_draining() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    let mut mqtt = emulator.mqtt("d1").await;
    // A request begun before the end, and finished after it has begun.
    let mut admin = emulator.io(Port::Admin).await;
    admin.write_all(b"GET /ready HTTP/1.1\r\n").await.expect("the hub reads");
    // The admin port's own loop has run: it answers a later connection.
    emulator.admin("GET /health", &Value::Null).await.ok();
    let stopping = tokio::spawn(emulator.stop());
    mqtt.is_closed().await;
    let _ = admin.write_all(b"Host: localhost\r\nConnection: close\r\n\r\n").await;
    let said = read_to_the_end(&mut admin).await;
    // Answered with 503, or not any more.
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503 ") && said.contains("draining"), "{said}");
    in_time("the end", stopping).await.expect("stopping succeeds");
}

#[tokio::test]
async fn a_connection_past_the_limit_waits_until_another_leaves() {
    let options = Options { max_connections: Some(2), ..Options::default() };
    let emulator = Emulator::start_with(options, Surroundings::default()).await;
    for device in ["d1", "d2", "d3"] {
        emulator.create_device(device).await;
    }
    let (first, mut second) = (emulator.mqtt("d1").await, emulator.mqtt("d2").await);
    let token = emulator.token("d3", 3600).await;
    let third = async {
        let mut third = Mqtt::connect(emulator.io(Port::Mqtts).await, &Login::new("d3", &token)).await;
        third.ping().await;
    };
    tokio::pin!(third);
    let others = async {
        // Other listeners and connections go on meanwhile, a few round trips long.
        for _ in 0..10 {
            second.ping().await;
            emulator.identity("d2").await;
        }
    };
    tokio::select! {
        () = &mut third => panic!("a third connection was served at a limit of two"),
        () = others => {}
    }
    drop(first);
    third.await;
    nothing_panicked();
}
