//! Twins over REST, TLS and SAS, against axum in the same rounds: a handler that keeps twins in a map, which is what
//! the goal was set by (PERFORMANCE sections 6 and 13, row 15), and one that always says the same.
//!
//! Rates depend on what else the machine does, and client and server share it; the processor time a server takes for
//! one operation hardly does. The goal is on the ratio of the latter.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use auth::SasToken;
use hub::access::development_policies;
use hub::time::{Clock as _, SystemClock};

use crate::load::{self, Client, Connector, Request, Until};
use crate::registry::{CONTENT, PATCH};
use crate::rows::{self, Row, median};
use crate::servers::Server;

/// Devices that each connection goes round.
const DEVICES_PER_CONNECTION: usize = 32;
/// Name, verb and body.
const LOADS: [(&str, &str, &str); 2] = [("rest-get", "GET", ""), ("rest-patch", "PATCH", PATCH)];
const API_VERSION: &str = "api-version=2021-04-12";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The emulator's program, a release build.
    #[arg(long, default_value = "target/release/iothub-emulator")]
    emulator: PathBuf,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// The loads of a round.
    #[arg(long, value_delimiter = ',', default_values_t = LOADS.map(|(name, ..)| name.to_owned()))]
    loads: Vec<String>,
    /// How long each load runs in each round.
    #[arg(long, default_value_t = 3)]
    secs: u64,
    /// A file to add the rows to.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(arguments))?;
    rows::append(&rows, arguments.out.as_deref())?;
    rows::say(&rows::table(&rows));
    for (load, ..) in LOADS {
        for limit in ["axum", "bare"] {
            let figure = |name| Some(format!("{:.2}", of_limit(&rows, load, limit, name)?));
            if let (Some(cpu), Some(rate)) = (figure("cpu_us"), figure("per_s")) {
                rows::say(&format!("{load}: {cpu} of {limit} by processor time, {rate} by rate"));
            }
        }
    }
    Ok(())
}

/// The median of the rounds' ratios; above one is better than the limit.
fn of_limit(rows: &[Row], load: &str, limit: &str, figure: &str) -> Option<f64> {
    let of = |target: &str, at: u64| {
        let mut rows = rows.iter().filter(|row| row.load == load && row.target == target && row.at == at);
        rows.next()?.figures.get(figure).copied()
    };
    let ratio = |at| {
        let (ours, limit) = (of("emulator", at)?, of(limit, at)?);
        Some(if figure == "cpu_us" { limit / ours } else { ours / limit })
    };
    let last = rows.iter().map(|row| row.at).max()?;
    median((1..=last).filter_map(ratio).collect())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let emulator = Server::emulator(&arguments.emulator).await?;
    let token = token()?;
    let devices = devices(arguments.connections);
    let twin = prepare(&emulator.connector()?, &devices, &token).await?;
    let (axum, bare) = (Server::bare(&twin, true).await?, Server::bare(&twin, false).await?);
    rows::say(&format!("{} devices, an answer has {} bytes", devices.len(), twin.len()));
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds {
        for (load, verb, body) in
            LOADS.into_iter().filter(|(load, ..)| arguments.loads.iter().any(|it| it == load))
        {
            for server in [&bare, &axum, &emulator] {
                let requests = |devices: &[String]| -> Vec<Request> {
                    let one = |device: &String| request(verb, &path("twins", device), &token, body);
                    devices.iter().map(one).collect()
                };
                let mut clients = Vec::new();
                for devices in devices.chunks(DEVICES_PER_CONNECTION) {
                    clients.push((server.connector()?.connect().await?, requests(devices)));
                }
                let figures = measure_one(server, clients, Duration::from_secs(arguments.secs)).await?;
                rows.push(Row::new(load, server.name, round, &figures));
            }
        }
    }
    Ok(rows)
}

/// A tenth of the time to warm up, then the load.
async fn measure_one(
    server: &Server,
    clients: Vec<(Client, Vec<Request>)>,
    time: Duration,
) -> anyhow::Result<[(&'static str, f64); 3]> {
    let (_, clients) = load::run(clients, Until::Over(time / 10)).await?;
    let before = server.cpu_secs()?;
    let (outcome, _) = load::run(clients, Until::Over(time)).await?;
    let cpu_secs = server.cpu_secs()? - before;
    let operations = outcome.operations as f64;
    Ok([
        ("per_s", operations / outcome.secs),
        ("cpu_us", cpu_secs * 1e6 / operations),
        ("rss_mib", server.rss_mib()?),
    ])
}

/// Registers the devices with their twins; what the first twin looks like.
async fn prepare(connector: &Connector, devices: &[String], token: &str) -> anyhow::Result<String> {
    let mut client = connector.connect().await?;
    for device in devices {
        let identity = format!(r#"{{"deviceId":"{device}"}}"#);
        client.exchange(&request("PUT", &path("devices", device), token, &identity)).await?;
        client.exchange(&request("PATCH", &path("twins", device), token, CONTENT)).await?;
    }
    let first = devices.first().context("no devices")?;
    Ok(String::from_utf8(client.exchange(&request("GET", &path("twins", first), token, "")).await?)?)
}

fn devices(connections: usize) -> Vec<String> {
    (0..connections * DEVICES_PER_CONNECTION).map(|n| format!("device-{n:07}")).collect()
}

fn path(collection: &str, device: &str) -> String {
    format!("/{collection}/{device}?{API_VERSION}")
}

/// The headers of the Node service SDK.
fn request(verb: &str, path: &str, token: &str, body: &str) -> Request {
    let entity = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n", body.len())
    };
    let text = format!(
        "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nAccept: application/json\r\n\
         Request-Id: 5b4f6a3e-6d7e-4f0a-9f6b-1d2c3b4a5968\r\nUser-Agent: azure-iothub/1.16.6 (bench)\r\n{entity}\r\n{body}"
    );
    text.into_bytes().into()
}

fn token() -> anyhow::Result<String> {
    let policies = development_policies();
    let owner = policies.iter().find(|policy| policy.name.as_str() == "iothubowner").context("the owner")?;
    let expiry = SystemClock.now().plus(Duration::from_secs(24 * 60 * 60));
    Ok(SasToken::sign("localhost", &owner.keys.primary, expiry, Some(&owner.name)))
}
