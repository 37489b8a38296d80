//! Device loads over MQTT and AMQP, beside mosquitto and the sink in the same rounds (PERFORMANCE sections 3, 4, 12).
//!
//! [`connect`]: new connections. [`ingest`]: telemetry. [`round_trip`]: a request and its answer. [`idle`]: memory of
//! connections at rest. Each load runs on every target in turn, then the next round; what comes out beside the rows
//! is the median of the rounds' ratios, since rates move with whatever else the machine does.

pub(crate) mod connect;
mod idle;
pub(crate) mod ingest;
mod ingest_amqp;
mod round_trip;

pub(crate) use ingest::Span;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::rows::{self, Row, median};
use crate::servers::Server;
use crate::target::Target;

/// Figures of one load on one target.
pub(crate) type Figures = Vec<(&'static str, f64)>;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The emulator's program, a release build.
    #[arg(long, default_value = "target/release/iothub-emulator")]
    emulator: PathBuf,
    /// connect, ingest-1, ingest-50, ingest-500, ingest-w1, ingest-q0, ingest-amqp, rtt, idle, idle-amqp.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "connect,ingest-1,ingest-50,ingest-500,ingest-w1,ingest-q0,rtt"
    )]
    loads: Vec<String>,
    /// emulator, mosquitto, sink.
    #[arg(long, value_delimiter = ',', default_value = "sink,mosquitto,emulator")]
    targets: Vec<String>,
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// How long each load runs in each round, after a third of it to warm up.
    #[arg(long, default_value_t = 3)]
    secs: u64,
    /// Connections of `connect`, `idle` and `idle-amqp`.
    #[arg(long, default_value_t = 2000)]
    connections: usize,
    /// A file to add the rows to.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// How much of a load.
#[derive(Clone, Copy, Debug)]
struct Measure {
    connections: usize,
    time: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(arguments))?;
    for load in &arguments.loads {
        let of_load: Vec<_> = rows.iter().filter(|row| row.load == *load).cloned().collect();
        rows::say(&rows::table(&of_load));
        for peer in ["sink", "mosquitto"] {
            for figure in ["cpu_us", "per_s", "p50_us", "p99_us", "kib_each"] {
                if let Some(ratio) = against(&of_load, peer, figure) {
                    rows::say(&format!("{load}: {figure} {ratio:.2} times the {peer}'s"));
                }
            }
        }
    }
    Ok(())
}

/// The emulator's figure over the peer's: the median over the rounds.
fn against(rows: &[Row], peer: &str, figure: &str) -> Option<f64> {
    let of = |target: &str, at: u64| {
        rows.iter().find(|row| row.target == target && row.at == at)?.figures.get(figure).copied()
    };
    let last = rows.iter().map(|row| row.at).max()?;
    median((1..=last).filter_map(|at| Some(of("emulator", at)? / of(peer, at)?)).collect())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let hub = Target::hub(Server::emulator(&arguments.emulator).await?)?;
    let devices = names(arguments.connections.max(500));
    hub.register(&devices).await?;
    let mut targets = Vec::new();
    for target in &arguments.targets {
        match target.as_str() {
            "emulator" => {}
            "mosquitto" => targets.push(Arc::new(Target::peer(Server::mosquitto(&hub.server).await?, &hub))),
            "sink" => targets.push(Arc::new(Target::peer(Server::sink(&hub.server).await?, &hub))),
            other => bail!("there is no target {other}"),
        }
    }
    targets.push(Arc::new(hub));
    let measure = Measure { connections: arguments.connections, time: Duration::from_secs(arguments.secs) };
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds {
        for load in &arguments.loads {
            for target in &targets {
                let figures = run_one(load, target, measure).await;
                let figures = figures.with_context(|| format!("{load} on the {}", target.name()))?;
                if !figures.is_empty() {
                    let row = Row::new(load, target.name(), round, &figures);
                    // At once: a load that fails later does not lose what was measured.
                    rows::append(std::slice::from_ref(&row), arguments.out.as_deref())?;
                    rows.push(row);
                }
            }
        }
        rows::say(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(rows)
}

/// No figures where a target does not speak the load's protocol.
async fn run_one(load: &str, target: &Arc<Target>, measure: Measure) -> anyhow::Result<Figures> {
    let ingest = |connections, qos, window| {
        ingest::run(target, names(connections), ingest::Shape { qos, window, time: measure.time })
    };
    match load {
        "connect" => connect::run(target, names(measure.connections)).await,
        "ingest-1" => ingest(1, 1, 16).await,
        "ingest-50" => ingest(50, 1, 16).await,
        "ingest-500" => ingest(500, 1, 16).await,
        "ingest-w1" => ingest(50, 1, 1).await,
        "ingest-q0" => ingest(50, 0, 16).await,
        "ingest-amqp" if target.is_hub() => ingest_amqp::run(target, measure.time).await,
        "rtt" => round_trip::run(target, measure.time).await,
        "idle" => idle::mqtt(target, measure.connections).await,
        "idle-amqp" if target.is_hub() => idle::amqp(target, measure.connections).await,
        "idle-amqp" => idle::mqtt(target, measure.connections).await,
        "ingest-amqp" => Ok(Vec::new()),
        other => bail!("there is no load {other}"),
    }
}

/// The devices of every load.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(name).collect()
}

/// One of them.
pub(crate) fn name(n: usize) -> String {
    format!("device-{n:05}")
}

/// Rate, latency, and what each operation cost the server.
fn figures(
    server: &Server,
    latency: &crate::histogram::Histogram,
    secs: f64,
    cpu_secs: f64,
) -> anyhow::Result<Figures> {
    anyhow::ensure!(latency.total > 0, "nothing was answered");
    let operations = latency.total as f64;
    Ok(vec![
        ("per_s", operations / secs),
        ("cpu_us", cpu_secs * 1e6 / operations),
        ("p50_us", latency.us(0.5)),
        ("p99_us", latency.us(0.99)),
        ("rss_mib", server.rss_mib()?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_in_which_both_ran() {
        let row = |target, at, cpu| Row::new("connect", target, at, &[("cpu_us", cpu)]);
        let rows = [
            row("emulator", 1, 2.0),
            row("sink", 1, 1.0),
            row("emulator", 2, 9.0),
            row("sink", 2, 3.0),
            row("sink", 3, 1.0),
        ];
        assert_eq!(against(&rows, "sink", "cpu_us"), Some(2.5));
        assert_eq!(against(&rows, "mosquitto", "cpu_us"), None);
    }
}
