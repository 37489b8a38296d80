//! Telemetry from devices while back ends read it: what a reader sees, how soon, and what reading costs the senders
//! (issue 5; PERFORMANCE section 13, row 8).
//!
//! [`senders`]: 500 devices over MQTT and TLS, QoS 1. [`readers`]: at the emulator one AMQP reader for each partition
//! and consumer group, at mosquitto as many subscribers as there are groups, QoS 1; each reads everything.
//! [`ledger`]: what was sent, acknowledged and read; a run that lost or doubled a message has no figure. Senders that
//! are too far ahead of the slowest reader wait, everywhere alike, so that acknowledged and read is one rate.
//!
//! Each round runs five loads on each target: `events-alone` without readers, `events` with them, both as fast as it
//! goes; `paced-alone` and `events-paced` the same at a fixed rate, for response times; `events-stall` at that rate while
//! one group takes nothing for a while (the emulator only: what a broker queues for a stalled subscriber is another
//! promise).

mod ledger;
mod readers;
mod senders;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::device::{Figures, Span, connect, names};
use crate::histogram::Histogram;
use crate::rows::{self, Row};
use crate::servers::Server;
use crate::target::Target;
use ledger::Ledger;
use readers::Latencies;

/// How long readers may take to read what was acknowledged, after the last of it.
const CATCH_UP: Duration = Duration::from_secs(20);
/// What the emulator keeps: little, so that it is full before memory is looked at, and more than senders may be ahead.
const RETENTION_MIB: u32 = 64;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The emulator's program, a release build.
    #[arg(long, default_value = "target/release/iothub-emulator")]
    emulator: PathBuf,
    /// emulator, mosquitto.
    #[arg(long, value_delimiter = ',', default_value = "mosquitto,emulator")]
    targets: Vec<String>,
    /// events-alone, events, paced-alone, events-paced, events-stall.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "events-alone,events,paced-alone,events-paced,events-stall"
    )]
    loads: Vec<String>,
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// How long each load runs in each round, after a third of it to warm up.
    #[arg(long, default_value_t = 3)]
    secs: u64,
    /// How long one group stalls in `events-stall`.
    #[arg(long, default_value_t = 10)]
    stall_secs: u64,
    /// Devices that send.
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// Consumer groups that read.
    #[arg(long, default_value_t = 2)]
    groups: usize,
    /// Messages a second of `events-paced` and `events-stall`: what one unit of the largest tier takes.
    #[arg(long, default_value_t = 6000)]
    rate: u64,
    /// A file to add the rows to.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What a load asks of senders and readers.
#[derive(Clone, Copy, Debug)]
struct Shape {
    connections: usize,
    groups: usize,
    time: Duration,
    /// Messages a second of all devices together; as many as they can without.
    rate: Option<u64>,
    /// How long the last group takes nothing, from the end of the warm-up on.
    stall: Option<Duration>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(arguments))?;
    for load in &arguments.loads {
        let of_load: Vec<_> = rows.iter().filter(|row| row.load == *load).cloned().collect();
        rows::say(&rows::table(&of_load));
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let hub = Target::hub(Server::emulator_with(&arguments.emulator, &options(arguments.groups)).await?)?;
    hub.register(&names(arguments.connections)).await?;
    let mut targets = Vec::new();
    for target in &arguments.targets {
        match target.as_str() {
            "emulator" => {}
            "mosquitto" => targets.push(Arc::new(Target::peer(Server::mosquitto(&hub.server).await?, &hub))),
            other => bail!("there is no target {other}"),
        }
    }
    targets.push(Arc::new(hub));
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds {
        for load in &arguments.loads {
            for target in &targets {
                let Some(shape) = shape(load, target, arguments)? else { continue };
                let figures = run_one(target, shape).await;
                let figures = figures.with_context(|| format!("{load} on the {}", target.name()))?;
                let row = Row::new(load, target.name(), round, &figures);
                // At once: a load that fails later does not lose what was measured.
                rows::append(std::slice::from_ref(&row), arguments.out.as_deref())?;
                rows.push(row);
            }
        }
        rows::say(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(rows)
}

/// What the emulator is told besides what every load tells it.
fn options(groups: usize) -> Vec<String> {
    let mut options = vec!["--event-retention-mib".to_owned(), RETENTION_MIB.to_string()];
    options.extend((0..groups).flat_map(|group| ["--consumer-group".to_owned(), readers::group_name(group)]));
    options
}

/// `None` where a target is not asked for a load.
fn shape(load: &str, target: &Target, arguments: &Arguments) -> anyhow::Result<Option<Shape>> {
    let time = Duration::from_secs(arguments.secs);
    let shape =
        Shape { connections: arguments.connections, groups: arguments.groups, time, rate: None, stall: None };
    let stall = Duration::from_secs(arguments.stall_secs);
    Ok(match load {
        "events-alone" => Some(Shape { groups: 0, ..shape }),
        "events" => Some(shape),
        "paced-alone" => Some(Shape { groups: 0, rate: Some(arguments.rate), ..shape }),
        "events-paced" => Some(Shape { rate: Some(arguments.rate), ..shape }),
        "events-stall" if target.is_hub() => {
            Some(Shape { rate: Some(arguments.rate), stall: Some(stall), time: stall, ..shape })
        }
        "events-stall" => None,
        other => bail!("there is no load {other}"),
    })
}

async fn run_one(target: &Arc<Target>, shape: Shape) -> anyhow::Result<Figures> {
    let ledger = Arc::new(Ledger::new(shape.connections, shape.groups));
    let readers = readers::open(target, shape.groups).await?;
    let wires = connect::open(target, names(shape.connections), true).await?.wires;
    let span = Span::starting(shape.time);
    let stalled = shape.stall.map(|_| span);
    let mut reading = JoinSet::new();
    for reader in readers {
        let is_stalled = reader.group + 1 == shape.groups;
        reading.spawn(reader.run(Arc::clone(&ledger), span, stalled.filter(|_| is_stalled)));
    }
    let mut sending = JoinSet::new();
    for (device, wire) in wires.into_iter().enumerate() {
        sending.spawn(senders::send(wire, device, Arc::clone(&ledger), span, shape.rate));
    }
    sleep_until(span.from).await;
    let before = Counts::now(target, &ledger)?;
    sleep_until(span.to).await;
    let counted = Counts::now(target, &ledger)?.since(&before);
    let mut acknowledging = Histogram::new();
    while let Some(done) = sending.join_next().await {
        acknowledging.merge(&done??);
    }
    ledger.close();
    let begun = Instant::now();
    let mut latencies = Latencies::new();
    let all_read = async {
        while let Some(done) = reading.join_next().await {
            latencies.merge(&done??);
        }
        anyhow::Ok(())
    };
    let in_time = timeout(CATCH_UP, all_read).await;
    ledger.verdict()?;
    in_time.context("the readers did not end")??;
    figures(target, shape, &counted, &acknowledging, &latencies, begun.elapsed())
}

/// What a server and its clients have done so far.
struct Counts {
    acknowledged: u64,
    read: u64,
    cpu_secs: f64,
    rss_mib: f64,
}

impl Counts {
    fn now(target: &Target, ledger: &Ledger) -> anyhow::Result<Self> {
        Ok(Self {
            acknowledged: ledger.acknowledged(),
            read: ledger.read(),
            cpu_secs: target.server.cpu_secs()?,
            rss_mib: target.server.rss_mib()?,
        })
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            acknowledged: self.acknowledged - earlier.acknowledged,
            read: self.read - earlier.read,
            cpu_secs: self.cpu_secs - earlier.cpu_secs,
            rss_mib: self.rss_mib - earlier.rss_mib,
        }
    }
}

fn figures(
    target: &Target,
    shape: Shape,
    counted: &Counts,
    acknowledging: &Histogram,
    latencies: &Latencies,
    catch_up: Duration,
) -> anyhow::Result<Figures> {
    anyhow::ensure!(counted.acknowledged > 0, "nothing was acknowledged");
    let (acknowledged, secs) = (counted.acknowledged as f64, shape.time.as_secs_f64());
    let mut figures = vec![
        ("acked_per_s", acknowledged / secs),
        ("cpu_us", counted.cpu_secs * 1e6 / acknowledged),
        ("puback_p50_us", acknowledging.us(0.5)),
        ("puback_p99_us", acknowledging.us(0.99)),
        ("rss_mib", target.server.rss_mib()?),
    ];
    if shape.groups > 0 {
        figures.extend([
            ("read_per_s", counted.read as f64 / secs),
            ("after_ack_p50_us", latencies.after_acknowledgement.us(0.5)),
            ("after_ack_p99_us", latencies.after_acknowledgement.us(0.99)),
            ("after_send_p50_us", latencies.after_send.us(0.5)),
            ("after_send_p99_us", latencies.after_send.us(0.99)),
        ]);
    }
    if shape.stall.is_some() {
        figures.extend([("grown_mib", counted.rss_mib), ("catch_up_ms", catch_up.as_secs_f64() * 1e3)]);
    }
    Ok(figures)
}
