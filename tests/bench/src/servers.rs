//! The processes a load is put on: started on free ports, asked for what they cost, ended with their owner.
//!
//! The emulator makes a certificate; sink and mosquitto are given the same one, so that handshakes cost the same.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::load::Connector;

/// Where a bare handler says it listens.
pub(crate) const ADDRESS_FILE: &str = "address";
/// How long a process may take to listen, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// A server under load. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    process: Child,
    /// Where the loads of this server connect; the HTTPS port of the emulator.
    pub(crate) address: SocketAddr,
    state: TempDir,
}

/// What mosquitto asks its clients for.
pub(crate) const MOSQUITTO_LOGIN: &str = "bench";
/// What the emulator calls its certificate and key.
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

impl Server {
    /// The emulator, its logs off but for faults of its own.
    pub(crate) async fn emulator(program: &Path) -> anyhow::Result<Self> {
        Self::emulator_with(program, &[]).await
    }

    /// The same with further options.
    pub(crate) async fn emulator_with(program: &Path, options: &[String]) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--bind", "127.0.0.1", "--log-level", "error", "--state-dir"])
            .arg(state.path())
            .args(options);
        for port in ["https", "mqtts", "amqps", "amqp", "admin"] {
            command.args([format!("--{port}-port"), "0".to_owned()]);
        }
        Self::start("emulator", command, state, "endpoints.json", |text| {
            let endpoints: serde_json::Value = serde_json::from_str(text).ok()?;
            endpoints["https"][0].as_str()?.parse().ok()
        })
        .await
    }

    /// A limit: [`crate::bare`] in a process of its own, answering with `body` or keeping twins that begin as it.
    pub(crate) async fn bare(body: &str, keeps_twins: bool) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let file = state.path().join("body");
        std::fs::write(&file, body)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(state.path()).arg(file);
        if keeps_twins {
            command.arg("--keeps-twins");
        }
        let name = if keeps_twins { "axum" } else { "bare" };
        Self::start(name, command, state, ADDRESS_FILE, |text| text.trim().parse().ok()).await
    }

    /// The limit of the MQTT loads, with the certificate of `emulator`.
    pub(crate) async fn sink(emulator: &Self) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("sink").arg(state.path()).args([emulator.file(CERTIFICATE), emulator.file(KEY)]);
        Self::start("sink", command, state, ADDRESS_FILE, |text| text.trim().parse().ok()).await
    }

    /// Debian's mosquitto with the certificate of `emulator`: a password for everybody, nothing on disk, nothing
    /// held back. It cannot choose a port itself, and says nothing when it listens.
    pub(crate) async fn mosquitto(emulator: &Self) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let (config, passwords) = (state.path().join("conf"), state.path().join("passwords"));
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(&passwords)
            .args([MOSQUITTO_LOGIN, MOSQUITTO_LOGIN])
            .stderr(Stdio::null())
            .status()
            .await;
        ensure!(
            made.context("mosquitto_passwd (Debian's package mosquitto)")?.success(),
            "mosquitto_passwd failed"
        );
        let address = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let text = format!(
            "persistence false\nset_tcp_nodelay true\nmax_inflight_messages 0\nmax_queued_messages 0\n\
             log_type error\nallow_anonymous false\nuser root\npassword_file {}\nlistener {} 127.0.0.1\n\
             certfile {}\nkeyfile {}\n",
            passwords.display(),
            address.port(),
            emulator.file(CERTIFICATE).display(),
            emulator.file(KEY).display(),
        );
        std::fs::write(&config, text)?;
        std::fs::write(state.path().join(ADDRESS_FILE), address.to_string())?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&config).stderr(Stdio::null());
        let listens = |text: &str| {
            let address = text.trim().parse().ok()?;
            std::net::TcpStream::connect(address).ok().map(|_| address)
        };
        Self::start("mosquitto", command, state, ADDRESS_FILE, listens).await
    }

    async fn start(
        name: &'static str,
        mut command: Command,
        state: TempDir,
        file: &str,
        address: impl Fn(&str) -> Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let mut process = command.stdout(Stdio::null()).kill_on_drop(true).spawn().context(name)?;
        let (begun, mut looks) = (Instant::now(), tokio::time::interval(LOOK));
        while begun.elapsed() < PATIENCE {
            looks.tick().await;
            let text = std::fs::read_to_string(state.path().join(file)).unwrap_or_default();
            if let Some(address) = address(&text) {
                return Ok(Self { name, process, address, state });
            }
            if let Some(status) = process.try_wait()? {
                bail!("{name} ended with {status}");
            }
        }
        bail!("{name} does not listen after {} s", PATIENCE.as_secs())
    }

    /// Who connects to it, trusting the certificate it made.
    pub(crate) fn connector(&self) -> anyhow::Result<Connector> {
        Connector::new(self.address, &self.root()?)
    }

    /// Where the emulator has this port.
    pub(crate) fn port(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let endpoints: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(self.file("endpoints.json"))?)?;
        let first = endpoints.get(name).and_then(|addresses| addresses.get(0)?.as_str());
        Ok(first.context("no such port")?.parse()?)
    }

    /// The root that signed the emulator's certificate.
    pub(crate) fn root(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.file(iothub_emulator::certificates::ROOT_CERTIFICATE))?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// User and system time of its threads so far, in seconds. To the nanosecond, unlike the ticks of
    /// `/proc/PID/stat`; a thread that ended would be missing, but those that serve do not end.
    pub(crate) fn cpu_secs(&self) -> anyhow::Result<f64> {
        let mut nanos = 0.0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            // One that ended meanwhile is gone with its time.
            let times = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanos += times.split_ascii_whitespace().next().map_or(Ok(0.0), str::parse::<f64>)?;
        }
        Ok(nanos / 1e9)
    }

    pub(crate) fn rss_mib(&self) -> anyhow::Result<f64> {
        rss_mib(&self.pid()?.to_string())
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("the server ended")
    }
}

/// Resident memory of a process, or of this one under the name `self`.
pub(crate) fn rss_mib(process: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
