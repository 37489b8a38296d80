//! The running process: ready, asked, stopped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hub::access::{CredentialKind, Grant, Permissions, PolicyName, Scope, Subject};
use hub::gate::operations::{CreateDevice, CreateModule};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec, ModuleSpec};
use hub::ids::{DeviceId, ModuleId};
use iothub_emulator::app::App;
use iothub_emulator::config::{Config, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::process::{FREE_PORTS, Serving, run, stderr, stdout};

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn when_it_says_ready_every_listener_accepts_and_healthcheck_agrees() {
    let serving = Serving::start();
    for listener in ["https", "mqtts", "amqps", "amqp", "admin"] {
        let address = serving.address(listener);
        assert!(TcpStream::connect(&address).is_ok(), "{listener} on {address}");
        assert!(serving.banner.contains(&address), "{listener}: {}", serving.banner);
    }
    assert!(get(&serving.address("admin"), "/ready").starts_with("HTTP/1.1 200"));
    let health = run(serving.state.path(), &["healthcheck"]);
    assert_eq!((health.status.code(), stdout(&health)), (Some(0), "ready\n".to_owned()));
}

#[test]
fn sigterm_and_sigint_end_it_with_0_and_leave_no_endpoints() {
    for signal in ["TERM", "INT"] {
        let mut serving = Serving::start();
        // A client that just sits there does not hold it up.
        let _idle = TcpStream::connect(serving.address("mqtts")).unwrap();
        serving.signal(signal);
        let (code, log) = serving.ended();
        assert_eq!(code, Some(0), "{signal}: {log}");
        assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
        assert!(!serving.state.path().join("endpoints.json").exists());
        assert_eq!(run(serving.state.path(), &["healthcheck", "--admin-port", "1"]).status.code(), Some(1));
    }
}

#[test]
fn the_root_certificate_is_the_same_over_http_and_from_the_command() {
    let serving = Serving::start();
    let exported = stdout(&run(serving.state.path(), &["cert", "export"]));
    assert!(get(&serving.address("admin"), "/ca.pem").ends_with(&exported));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_strings_of_devices_and_modules_are_those_of_the_registry() {
    let state = tempfile::tempdir().unwrap();
    let app = start(state.path(), Options::default()).await;
    // An id that a path has to escape.
    let device = DeviceId::parse("d%#?1").unwrap();
    let keyed =
        app.hub.create_device(owner::<CreateDevice>(&app, device.clone()).await, &DeviceSpec::default());
    let hub::identity::AuthenticationMechanism::Sas(keys) = keyed.unwrap().authentication else {
        panic!("a new device has keys")
    };
    let by_authority = AuthenticationSpec {
        kind: Some(AuthenticationType::CertificateAuthority),
        ..AuthenticationSpec::default()
    };
    let module = owner::<CreateModule>(&app, (device, ModuleId::parse("m1").unwrap())).await;
    let spec = ModuleSpec { authentication: Some(by_authority), ..ModuleSpec::default() };
    app.hub.create_module(module, &spec).unwrap();

    let of = |arguments: &[&str]| {
        run(state.path(), &[&["connection-string", "--device", "d%#?1"], arguments].concat())
    };
    let key = keys.primary.to_base64();
    assert_eq!(stdout(&of(&[])), format!("HostName=localhost;DeviceId=d%#?1;SharedAccessKey={key}\n"));
    assert_eq!(stdout(&of(&["--module", "m1"])), "HostName=localhost;DeviceId=d%#?1;ModuleId=m1;x509=true\n");
    let missing = of(&["--module", "m2"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("'d%#?1/m2' is not registered"), "{}", stderr(&missing));
    app.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn one_connection_more_than_the_limit_waits_until_another_ends() {
    const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let state = tempfile::tempdir().unwrap();
    let app = start(state.path(), Options { max_connections: Some(1), ..Options::default() }).await;
    let connect = || tokio::net::TcpStream::connect(app.endpoints.admin[0]);

    let mut first = connect().await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    until_answer(&mut first).await;
    let mut second = connect().await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    // The first one is still served, and the second one still is not.
    first.write_all(REQUEST).await.unwrap();
    until_answer(&mut first).await;
    assert_eq!(second.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    until_answer(&mut second).await;
    app.stop(Duration::ZERO).await;
}

/// Reads until a good answer has begun.
async fn until_answer(stream: &mut tokio::net::TcpStream) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("HTTP/1.1 200") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "closed too early");
    }
}

/// An emulator in this process, on ports the system picks.
async fn start(state: &Path, options: Options) -> App {
    let free = Some(0);
    let options = Options {
        https_port: free,
        mqtts_port: free,
        amqps_port: free,
        amqp_port: free,
        admin_port: free,
        state_dir: Some(state.to_owned()),
        ..options
    };
    App::start(&Config::resolve(options, &|_| false).unwrap()).await.unwrap()
}

async fn owner<O: Operation>(app: &App, target: O::Target) -> Admitted<O> {
    let grant = Grant {
        subject: Subject::Policy(PolicyName::parse("iothubowner").unwrap()),
        scope: Scope::Hub,
        permissions: Permissions::REGISTRY_WRITE,
        expires_at: None,
        credential: CredentialKind::SasPolicy,
        revision: None,
    };
    let details = Details { protocol: ProtocolLabel("test"), connection: None };
    app.hub.gate().admit(&Arc::new(grant), target, details).await.unwrap()
}

#[test]
fn garbage_on_any_port_closes_that_connection_only() {
    let serving = Serving::start();
    for listener in ["https", "mqtts", "amqps", "amqp", "admin"] {
        let mut stream = TcpStream::connect(serving.address(listener)).unwrap();
        // The peer may close before all of it is written.
        let _ = stream.write_all(&[0xff; 4096]);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(get(&serving.address("admin"), "/ready").starts_with("HTTP/1.1 200"));
}

#[test]
fn connection_strings_carry_the_name_the_running_emulator_was_given() {
    let serving = Serving::start_with(&["--host-name", "my-hub.example"]);
    let of = |arguments: &[&str]| stdout(&run(serving.state.path(), arguments));
    assert!(of(&["connection-string"]).starts_with("HostName=my-hub.example;"));
    assert!(of(&["connection-string", "--event-hub"]).starts_with("Endpoint=sb://my-hub.example:"));
    let named = of(&["connection-string", "--host-name", "127.0.0.1"]);
    assert!(named.starts_with("HostName=127.0.0.1;"), "{named}");
}

#[test]
fn a_second_process_on_one_state_folder_is_refused_and_disturbs_nobody() {
    let serving = Serving::start();
    let before = serving.endpoints();
    let second = run(serving.state.path(), &[&["serve"][..], &FREE_PORTS].concat());
    assert_eq!(second.status.code(), Some(1));
    let said = stderr(&second);
    assert!(said.contains("another emulator runs on") && said.contains("--state-dir"), "{said}");
    assert_eq!(serving.endpoints(), before);
}
