//! Clients that misbehave, and what their neighbours notice of it (PERFORMANCE section 9).
//!
//! [`neighbours`] are well-behaved devices that ask for their twins all the while; [`offenders`] are the four ways to
//! misbehave. Each kind has a fresh hub and goes through rounds of calm and misuse, one after the other, so that the
//! two latencies differ by the misuse and not by what else the machine does. Resident memory is read before each
//! misuse and after it, when it has had a while to go down. The goals of the loads `misuse-*` are checked at once.

mod neighbours;
mod offenders;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::device::names;
use crate::goals;
use crate::rows::{self, Row};
use crate::servers::Server;
use crate::target::Target;
use neighbours::Neighbours;
use offenders::{Offence, Offenders};

/// How long memory may take to go down after a misuse, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);
/// Memory that is back to within this needs no more waiting; less than any goal.
const CLOSE_MIB: f64 = 2.0;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The emulator's program, a release build.
    #[arg(long, default_value = "target/release/iothub-emulator")]
    emulator: PathBuf,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "stall,flood,reconnect,cut")]
    kinds: Vec<Offence>,
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// How long the calm and the misuse of each round last.
    #[arg(long, default_value_t = 4)]
    secs: u64,
    /// The goals.
    #[arg(long, default_value = "tests/bench/goals.toml")]
    goals: PathBuf,
    /// A file to add the rows to.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // The neighbours have a thread of their own: what they measure is not to be the queue of the offenders.
    let at_home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let abroad = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut rows = Vec::new();
    for offence in &arguments.kinds {
        let of_kind = abroad
            .block_on(measure(*offence, arguments, &at_home))
            .with_context(|| format!("misuse by {offence:?}"))?;
        rows::say(&rows::table(&of_kind));
        rows::append(&of_kind, arguments.out.as_deref())?;
        rows.extend(of_kind);
    }
    goals::check_rows(&rows, &arguments.goals, goals::Unmeasured::Skipped)
}

async fn measure(offence: Offence, arguments: &Arguments, at_home: &Runtime) -> anyhow::Result<Vec<Row>> {
    let target = Arc::new(Target::hub(Server::emulator(&arguments.emulator).await?)?);
    target.register(&names(offenders::DEVICES + neighbours::DEVICES)).await?;
    let mut neighbours = Neighbours::move_in(&target, at_home.handle()).await?;
    let time = Duration::from_secs(arguments.secs);
    let mut offenders = Offenders::new(offence, &target);
    offenders.warm_up(time).await?;
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds {
        let before = target.server.rss_mib()?;
        offenders.gather().await?;
        let calm = neighbours.ask(Instant::now() + time).await?;
        let until = Instant::now() + time;
        let (noticed, acts) = tokio::join!(neighbours.ask(until), offenders.offend(until));
        let (noticed, acts, peak) = (noticed?, acts?, target.server.rss_mib()?);
        let after = settled_mib(&target, before).await?;
        let figures = [
            ("acts_per_s", acts as f64 / time.as_secs_f64()),
            ("calm_p50_us", calm.us(0.5)),
            ("calm_p99_us", calm.us(0.99)),
            ("kept_mib", after - before),
            ("p50_times", noticed.us(0.5) / calm.us(0.5)),
            ("p50_us", noticed.us(0.5)),
            ("p99_times", noticed.us(0.99) / calm.us(0.99)),
            ("p99_us", noticed.us(0.99)),
            ("peak_mib", peak),
            ("rss_mib", after),
        ];
        rows.push(Row::new(offence.load(), target.name(), round, &figures));
    }
    Ok(rows)
}

/// Resident memory when it is near `before` again, or no longer waited for.
async fn settled_mib(target: &Target, before: f64) -> anyhow::Result<f64> {
    let (begun, mut looks) = (Instant::now(), tokio::time::interval(LOOK));
    loop {
        looks.tick().await;
        let rss = target.server.rss_mib()?;
        if rss <= before + CLOSE_MIB || begun.elapsed() >= PATIENCE {
            return Ok(rss);
        }
    }
}
