//! The processes a load is put on: started on free ports, asked for what they cost, ended with their owner.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::load::Connector;

/// Where the bare handler says it listens.
pub(crate) const ADDRESS_FILE: &str = "address";
/// Ticks of a second in `/proc/PID/stat`; the same on every Linux since 2.4.
const TICKS_PER_SEC: f64 = 100.0;
/// How long a process may take to listen, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// A server under load. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    process: Child,
    pub(crate) address: SocketAddr,
    state: TempDir,
}

impl Server {
    /// The emulator, its logs off as far as warnings.
    pub(crate) async fn emulator(program: &Path) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--bind", "127.0.0.1", "--log-level", "warn", "--state-dir"])
            .arg(state.path());
        for port in ["https", "mqtts", "amqps", "amqp", "admin"] {
            command.args([format!("--{port}-port"), "0".to_owned()]);
        }
        Self::start("emulator", command, state, "endpoints.json", |text| {
            let endpoints: serde_json::Value = serde_json::from_str(text).ok()?;
            endpoints["https"][0].as_str()?.parse().ok()
        })
        .await
    }

    /// The limit: [`crate::bare`] in a process of its own, answering with `body`.
    pub(crate) async fn bare(body: &str) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let file = state.path().join("body");
        std::fs::write(&file, body)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(state.path()).arg(file);
        Self::start("bare", command, state, ADDRESS_FILE, |text| text.trim().parse().ok()).await
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
        let root = std::fs::read(self.state.path().join(iothub_emulator::certificates::ROOT_CERTIFICATE))?;
        Connector::new(self.address, &root)
    }

    /// User and system time so far, in seconds.
    pub(crate) fn cpu_secs(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // The name before the last parenthesis may hold blanks; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let mut times = fields.split_ascii_whitespace().skip(11).take(2);
        let mut ticks = || times.next().and_then(|text| text.parse::<f64>().ok()).context("/proc/PID/stat");
        Ok((ticks()? + ticks()?) / TICKS_PER_SEC)
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
