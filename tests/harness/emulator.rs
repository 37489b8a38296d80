//! An emulator of a test's own: in this process, on free ports, with certificates made once per run. What a test
//! knows of it, it learned over its sockets; only the clock is moved from inside.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hub::time::{Clock as _, ManualClock, SystemClock};
use iothub_emulator::app::{App, Surroundings};
use iothub_emulator::config::{Config, Options};
use net::Io;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::amqp::Link;
use crate::harness::certificates::Pem;
use crate::harness::http::{self, Answer};
use crate::harness::mqtt::Login;
use crate::harness::watch::watch_for_panics;
use crate::harness::{Amqp, Mqtt, sas, tls};

/// The query every call of the REST API needs.
const API_VERSION: &str = "api-version=2021-04-12";

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Admin,
    Amqp,
    Amqps,
    Https,
    Mqtts,
}

/// A running emulator.
pub(crate) struct Emulator {
    pub(crate) app: App,
    /// Stands still; `None` where hub time is the machine's.
    pub(crate) clock: Option<Arc<ManualClock>>,
    state: TempDir,
}

impl Emulator {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default(), Surroundings::default()).await
    }

    /// With hub time in the hands of the test, from now on.
    pub(crate) async fn start_with_clock(options: Options) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let surroundings = Surroundings { clock: clock.clone(), ..Surroundings::default() };
        let emulator = Self::start_with(options, surroundings).await;
        Self { clock: Some(clock), ..emulator }
    }

    pub(crate) async fn start_with(options: Options, surroundings: Surroundings) -> Self {
        watch_for_panics();
        let state = state_folder();
        let app =
            App::start_in(&config(options, state.path()), surroundings).await.expect("free ports are free");
        Self { app, clock: None, state }
    }

    /// Where the certificates and `endpoints.json` are.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// The first address a listener is bound to.
    pub(crate) fn address(&self, port: Port) -> SocketAddr {
        let endpoints = &self.app.endpoints;
        let addresses = match port {
            Port::Admin => &endpoints.admin,
            Port::Amqp => &endpoints.amqp,
            Port::Amqps => &endpoints.amqps,
            Port::Https => &endpoints.https,
            Port::Mqtts => &endpoints.mqtts,
        };
        *addresses.first().expect("every listener has an address")
    }

    /// A TCP connection and nothing more.
    pub(crate) async fn tcp(&self, port: Port) -> Io {
        Io::new(TcpStream::connect(self.address(port)).await.expect("the listener accepts"))
    }

    /// A connection as its clients make it: TLS where the listener has it.
    pub(crate) async fn io(&self, port: Port) -> Io {
        self.io_with(port, None).await
    }

    /// The same, presenting a certificate.
    pub(crate) async fn io_with(&self, port: Port, certificate: Option<&Pem>) -> Io {
        match port {
            Port::Admin | Port::Amqp => self.tcp(port).await,
            Port::Amqps | Port::Https | Port::Mqtts => {
                tls::io(self.address(port), &self.app.root_certificate, certificate).await
            }
        }
    }

    /// Any request to the HTTPS port.
    pub(crate) async fn https(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        http::exchange(self.io(Port::Https).await, http::request(line, headers, body).as_bytes()).await
    }

    /// A call with a policy's token; `line` is `VERB /path`, to which the api-version is added.
    pub(crate) async fn call(
        &self,
        policy: &str,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let separator = if line.contains('?') { '&' } else { '?' };
        let token = self.policy_token(policy);
        let headers = [headers, &[("Authorization", token.as_str())]].concat();
        self.https(&format!("{line}{separator}{API_VERSION}"), &headers, body).await
    }

    /// A call of the owner.
    pub(crate) async fn owner(&self, line: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call("iothubowner", line, headers, &body).await
    }

    /// A request to the admin port.
    pub(crate) async fn admin(&self, line: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Content-Type", "application/json")];
        http::exchange(self.io(Port::Admin).await, http::request(line, &headers, &body).as_bytes()).await
    }

    pub(crate) async fn create_device(&self, id: &str) -> Value {
        self.create_device_with(id, json!({})).await
    }

    /// A device with further members; what the service answered.
    pub(crate) async fn create_device_with(&self, id: &str, members: Value) -> Value {
        let mut body = members;
        body["deviceId"] = id.into();
        self.owner(&format!("PUT /devices/{id}"), &[], &body).await.ok()
    }

    /// A module with further members.
    pub(crate) async fn create_module_with(&self, device: &str, id: &str, members: Value) -> Value {
        let mut body = members;
        body["deviceId"] = device.into();
        body["moduleId"] = id.into();
        self.owner(&format!("PUT /devices/{device}/modules/{id}"), &[], &body).await.ok()
    }

    /// What the registry has of `d` or `d/m`.
    pub(crate) async fn identity(&self, identity: &str) -> Value {
        self.owner(&format!("GET {}", path(identity)), &[], &Value::Null).await.ok()
    }

    /// The newest rows of the journal about `d` or `d/m`.
    pub(crate) async fn journal(&self, identity: &str) -> Vec<Value> {
        let query = match identity.split_once('/') {
            Some((device, module)) => format!("device={device}&module={module}"),
            None => format!("device={identity}"),
        };
        match self.admin(&format!("GET /admin/journal?{query}"), &Value::Null).await.ok() {
            Value::Array(rows) => rows,
            other => panic!("the journal is a list, not {other}"),
        }
    }

    /// A token of a shared access policy for the whole hub, good for an hour.
    pub(crate) fn policy_token(&self, policy: &str) -> String {
        let policy = self
            .app
            .hub
            .policies()
            .iter()
            .find(|known| known.name.as_str() == policy)
            .expect("a built-in policy");
        sas::token(
            "localhost",
            &policy.keys.primary.to_base64(),
            self.now() + 3600,
            Some(policy.name.as_str()),
        )
    }

    /// A token of `d` or `d/m` with its own primary key, good for `secs`.
    pub(crate) async fn token(&self, identity: &str, secs: i64) -> String {
        let found = self.identity(identity).await;
        let key =
            found["authentication"]["symmetricKey"]["primaryKey"].as_str().expect("an identity with keys");
        sas::token(&resource(identity), key, self.now() + secs, None)
    }

    /// Hub time, in Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        self.app.hub.clock().now().unix_secs()
    }

    /// Moves hub time, and does what falls due, as the ticker would.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.as_ref().expect("the test started it with a clock").advance(by);
        self.app.hub.run_due();
    }

    /// Connects `d` or `d/m` over MQTT with its own token.
    pub(crate) async fn mqtt(&self, identity: &str) -> Mqtt {
        let token = self.token(identity, 3600).await;
        Mqtt::connect(self.io(Port::Mqtts).await, &Login::new(identity, &token)).await
    }

    /// Connects `d` or `d/m` over AMQP with its own token; its telemetry link.
    pub(crate) async fn amqp(&self, identity: &str) -> (Amqp, Link) {
        let token = self.token(identity, 3600).await;
        let mut amqp = Amqp::open(self.io(Port::Amqps).await).await;
        assert_eq!(amqp.put_token(&resource(identity), &token).await, 200);
        let link = amqp.sender(&telemetry_address(identity)).await.expect("the token is good for this link");
        (amqp, link)
    }

    /// Stops, and waits for everything to be over; the folder that is left.
    pub(crate) async fn stop(self) -> TempDir {
        self.app.stop(Duration::from_secs(10)).await;
        self.state
    }
}

/// What the emulator is told: free ports on the loopback, and what the test adds.
pub(crate) fn config(options: Options, state: &Path) -> Config {
    let any = |port: Option<u16>| port.or(Some(0));
    let options = Options {
        https_port: any(options.https_port),
        mqtts_port: any(options.mqtts_port),
        amqps_port: any(options.amqps_port),
        amqp_port: any(options.amqp_port),
        admin_port: any(options.admin_port),
        state_dir: Some(state.to_owned()),
        ..options
    };
    Config::resolve(options, &|_| false).expect("the options are good")
}

/// A folder with this run's root and server certificate.
pub(crate) fn state_folder() -> TempDir {
    static FILES: OnceLock<Vec<(std::ffi::OsString, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(Options::default(), folder.path());
        let state =
            iothub_emulator::state_folder::StateFolder::open(folder.path()).expect("the folder is ours");
        let now = SystemClock.now();
        let root = iothub_emulator::certificates::RootAuthority::load_or_make(&state, now).expect("a root");
        root.server_certificate(&config.all_host_names(), &state, now).expect("a server certificate");
        let entries = std::fs::read_dir(folder.path())
            .expect("the folder is ours")
            .map(|entry| entry.expect("an entry"));
        entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).expect("a file"))).collect()
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("the folder is ours");
    }
    folder
}

/// `/devices/d[/modules/m]`
pub(crate) fn path(identity: &str) -> String {
    match identity.split_once('/') {
        Some((device, module)) => format!("/devices/{device}/modules/{module}"),
        None => format!("/devices/{identity}"),
    }
}

/// `localhost/devices/d[/modules/m]`, what a token of the identity is for.
pub(crate) fn resource(identity: &str) -> String {
    format!("localhost{}", path(identity))
}

/// The address of an identity's telemetry link.
pub(crate) fn telemetry_address(identity: &str) -> String {
    format!("{}/messages/events", path(identity))
}

/// The topic of an identity's telemetry.
pub(crate) fn telemetry_topic(identity: &str) -> String {
    format!("{}/messages/events/", path(identity).trim_start_matches('/'))
}
