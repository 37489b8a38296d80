//! Devices that come and go over every transport while services patch, call and send, and a ledger that holds the
//! hub to the invariants of ARCHITECTURE section 7 all the while.
//!
//! [`ledger`] is what was said and done, and what is wrong with it. [`session`] is a device's connection, [`device`]
//! its lives, [`service`] everybody else; [`ending`] asks, when all is quiet, whether the hub's view is true.

mod device;
mod ending;
mod ledger;
mod service;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hub::time::{Clock as _, SystemClock};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::rows;
use crate::servers::Server;
use crate::target::Target;
use ledger::Ledger;

/// Devices of one service: each has its own, so that the versions it sees grow by exactly one.
const DEVICES_PER_SERVICE: usize = 50;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The emulator's program.
    #[arg(long, default_value = "target/release/iothub-emulator")]
    emulator: PathBuf,
    #[arg(long, default_value_t = 100)]
    devices: usize,
    #[arg(long, default_value_t = 30)]
    secs: u64,
    /// What a run printed, to throw the same dice; what other tasks do in between is up to the machine.
    #[arg(long)]
    seed: Option<u64>,
}

/// What all who take part share.
struct World {
    target: Target,
    devices: Vec<String>,
    ledger: Mutex<Ledger>,
    until: Instant,
    /// Every message has been settled, and none will be sent.
    is_quiet: AtomicBool,
    seed: u64,
}

impl World {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| SystemClock.now().unix_secs().unsigned_abs());
    rows::say(&format!("churn --devices {} --secs {} --seed {seed}", arguments.devices, arguments.secs));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let world = runtime.block_on(live(arguments, seed))?;
    let ledger = world.ledger.lock();
    rows::say(&ledger.summary());
    for violation in ledger.violations() {
        rows::say(&format!("VIOLATION {violation}"));
    }
    Ok(if ledger.violations().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn live(arguments: &Arguments, seed: u64) -> anyhow::Result<Arc<World>> {
    let target = Target::hub(Server::emulator(&arguments.emulator).await?)?;
    let devices: Vec<_> = (0..arguments.devices).map(|n| format!("churn-{n:04}")).collect();
    target.register(&devices).await?;
    let world = Arc::new(World {
        target,
        ledger: Mutex::new(Ledger::of(&devices)),
        until: Instant::now() + Duration::from_secs(arguments.secs),
        is_quiet: AtomicBool::new(false),
        devices,
        seed,
    });
    let mut living = JoinSet::new();
    for n in 0..world.devices.len() {
        living.spawn(device::live(Arc::clone(&world), n));
    }
    for first in (0..world.devices.len()).step_by(DEVICES_PER_SERVICE) {
        let last = world.devices.len().min(first + DEVICES_PER_SERVICE);
        living.spawn(service::send_and_patch(Arc::clone(&world), first..last));
        living.spawn(service::call(Arc::clone(&world), first..last));
    }
    living.spawn(service::watch_connections(Arc::clone(&world)));
    let feedback = tokio::spawn(service::read_feedback(Arc::clone(&world)));
    while let Some(ended) = living.join_next().await {
        ended??;
    }
    ending::check(&world).await?;
    feedback.await??;
    world.ledger.lock().check_seen();
    world.ledger.lock().close();
    Ok(world)
}
