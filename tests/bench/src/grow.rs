//! Whole operations against registries of growing size, as a user meets them: REST over TLS with a SAS token, MQTT
//! log-ins and telemetry (PERFORMANCE sections 7, 12 and 13, row 16).
//!
//! One emulator for each size, all filled beforehand. A round runs each load on every size in turn, so that whatever
//! else the machine does befalls all of them alike; what counts is the median of the rounds' ratios to the smallest
//! size, of the processor time an operation took of the server. Devices are drawn at random, each pass anew: a large
//! registry does not live in the processor's caches.

mod calls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::device::{Figures, connect, ingest, name};
use crate::dice::Dice;
use crate::load::{self, Client, Until};
use crate::rows::{self, Row, median};
use crate::servers::Server;
use crate::target::{Target, owner_token};

use self::calls::Call;

/// Devices that log in, and that send telemetry.
const CONNECTING: usize = 500;
const SENDING: usize = 50;
/// What a registry lacks of its size: the hub has a limit, and a pass of calls may create as many.
const ROOM: usize = 400;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The emulator's program, a release build.
    #[arg(long, default_value = "target/release/iothub-emulator")]
    emulator: PathBuf,
    /// Devices of each registry, growing.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    sizes: Vec<usize>,
    /// The loads of a round.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "get,twin-get,twin-patch,create,bulk-create,list,connect,ingest"
    )]
    loads: Vec<String>,
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// How long each load runs on each size in each round, at least.
    #[arg(long, default_value_t = 2)]
    secs: u64,
    /// A file to add the rows to.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A registry of its size in a process of its own.
struct Registry {
    size: usize,
    /// Those that are there between the passes.
    devices: usize,
    target: Arc<Target>,
    dice: Dice,
}

/// What one load came to at each size, round by round.
type Rounds = Vec<Vec<Figures>>;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(arguments))?;
    rows::append(&rows, arguments.out.as_deref())?;
    for of_kind in rows.chunk_by(|one, next| one.figures.keys().eq(next.figures.keys())) {
        rows::say(&rows::table(of_kind));
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let (mut registries, mut memory) = (Vec::new(), Vec::new());
    for &size in &arguments.sizes {
        ensure!(size >= ROOM + CONNECTING, "a registry has {} devices at least", ROOM + CONNECTING);
        let registry = filled(arguments, size).await?;
        let figures = [("rss_mib", registry.target.server.rss_mib()?)];
        memory.push(Row::new("grow-memory", "emulator", size as u64, &figures));
        registries.push(registry);
    }
    let mut measured: Vec<Rounds> = vec![Vec::new(); arguments.loads.len()];
    for round in 1..=arguments.rounds {
        for (load, rounds) in arguments.loads.iter().zip(&mut measured) {
            let mut of_round = Vec::new();
            for registry in &mut registries {
                let figures = registry.put_on(load, Duration::from_secs(arguments.secs)).await;
                of_round.push(figures.with_context(|| format!("{load} on {} devices", registry.size))?);
            }
            rounds.push(of_round);
        }
        rows::say(&format!("round {round} of {}", arguments.rounds));
    }
    let of_load = |(load, rounds): (&String, Rounds)| {
        let load = format!("grow-{load}");
        let row =
            move |(n, &size): (usize, &usize)| Row::new(&load, "emulator", size as u64, &grown(&rounds, n));
        arguments.sizes.iter().enumerate().map(row).collect::<Vec<_>>()
    };
    Ok(arguments.loads.iter().zip(measured).flat_map(of_load).chain(memory).collect())
}

async fn filled(arguments: &Arguments, size: usize) -> anyhow::Result<Registry> {
    let target = Target::hub(Server::emulator(&arguments.emulator).await?)?;
    let devices = size - ROOM;
    target.register(&(0..devices).map(name).collect::<Vec<_>>()).await?;
    rows::say(&format!("{size} devices, less {ROOM}"));
    Ok(Registry { size, devices, target: Arc::new(target), dice: Dice::of(size as u64) })
}

/// The medians of the `n`th size's figures and of their ratios to the first size's.
fn grown(rounds: &Rounds, n: usize) -> Vec<(&'static str, f64)> {
    let figure = |round: &Vec<Figures>, n: usize, name: &str| {
        round.get(n)?.iter().find(|(found, _)| *found == name).map(|(_, figure)| *figure)
    };
    let over_rounds =
        |of: &dyn Fn(&Vec<Figures>) -> Option<f64>| median(rounds.iter().filter_map(of).collect());
    let growth = |name: &'static str| {
        over_rounds(&move |round| Some(figure(round, n, name)? / figure(round, 0, name)?))
    };
    let figures = [
        ("cpu_us", over_rounds(&|round| figure(round, n, "cpu_us"))),
        ("cpu_growth", growth("cpu_us")),
        ("per_s", over_rounds(&|round| figure(round, n, "per_s"))),
        ("per_s_growth", growth("per_s")),
    ];
    figures.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect()
}

impl Registry {
    async fn put_on(&mut self, load: &str, time: Duration) -> anyhow::Result<Figures> {
        match load {
            "connect" => {
                let devices = self.some(CONNECTING);
                connect::run(&self.target, devices).await
            }
            "ingest" => {
                let devices = self.some(SENDING);
                ingest::run(&self.target, devices, ingest::Shape { qos: 1, window: 16, time }).await
            }
            other => self.call(Call::named(other).context("there is no such load")?, time).await,
        }
    }

    /// Different devices, drawn at random.
    fn some(&mut self, count: usize) -> Vec<String> {
        let mut drawn = std::collections::BTreeSet::new();
        while drawn.len() < count {
            drawn.insert(self.dice.below(self.devices as u64) as usize);
        }
        drawn.into_iter().map(name).collect()
    }

    /// Passes of calls, the first to warm up, until the time is over. What a pass made is taken away again, so that
    /// the registry keeps its size; only the calls themselves count.
    async fn call(&mut self, call: Call, time: Duration) -> anyhow::Result<Figures> {
        let (server, token) = (&self.target.server, owner_token()?);
        let mut clients = Vec::new();
        for _ in 0..call.connections {
            clients.push(server.connector()?.connect().await?);
        }
        let (mut secs, mut cpu_secs, mut operations, mut is_warm) = (0.0, 0.0, 0.0, false);
        while secs < time.as_secs_f64() {
            let lists = call.pass(&mut self.dice, self.devices, &token);
            let undo = call.undo(&token);
            let before = server.cpu_secs()?;
            let outcome;
            (outcome, clients) = pass(clients, lists).await?;
            if is_warm {
                cpu_secs += server.cpu_secs()? - before;
                secs += outcome.secs;
                operations += outcome.operations as f64 * call.operations_each as f64;
            }
            is_warm = true;
            if let Some(lists) = undo {
                (_, clients) = pass(clients, lists).await?;
            }
        }
        Ok(vec![("per_s", operations / secs), ("cpu_us", cpu_secs * 1e6 / operations)])
    }
}

/// Each connection asks its list once.
async fn pass(
    clients: Vec<Client>,
    lists: Vec<Vec<load::Request>>,
) -> anyhow::Result<(load::Outcome, Vec<Client>)> {
    let (outcome, clients) = load::run(clients.into_iter().zip(lists).collect(), Until::Answered).await?;
    Ok((outcome, clients.into_iter().map(|(client, _)| client).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_median_of_the_rounds_ratios_to_the_smallest_size() {
        let round = |small, large| vec![vec![("cpu_us", small)], vec![("cpu_us", large)]];
        let rounds = vec![round(10.0, 12.0), round(30.0, 33.0), round(10.0, 20.0)];
        assert_eq!(grown(&rounds, 1), [("cpu_us", 20.0), ("cpu_growth", 1.2)]);
        assert_eq!(grown(&rounds, 0), [("cpu_us", 10.0), ("cpu_growth", 1.0)]);
    }
}
