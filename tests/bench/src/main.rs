//! Measurements of the emulator against PERFORMANCE sections 6, 7 and 12, run by hand on a release build.
//!
//! ```text
//! bench registry                        a hub in this process, growing to a million devices
//! bench grow                            whole operations over TLS, against registries of a thousand to a million
//! bench log                             an event log in this process, growing to a million events
//! bench rest --emulator target/release/iothub-emulator
//!                                       twins over TLS and SAS, against a bare axum handler in the same rounds
//! bench device --loads connect,ingest-50,rtt
//!                                       devices over MQTT and AMQP, beside mosquitto and a sink in the same rounds
//! bench events                          telemetry while two consumer groups read it, beside mosquitto in the same rounds
//! bench churn --devices 500 --secs 360   devices come and go over every transport; exit 1 where an invariant breaks
//! bench misuse                          clients that stall, flood, reconnect and vanish; exit 1 where others suffer
//! bench check FILE.jsonl                exit 1 where a goal is missed
//! ```
//! Every run prints a table and, with `--out`, adds its rows to a file as JSON lines. Every load ends by itself.
//!
//! In reading order: `registry`, `grow`, `log`, `rest`, `device`, `events`, `churn` and `misuse` are the runs; `load` is
//! the HTTP client, `mqtt`, `amqp` and `wire` the devices', `servers` the processes they load and `target` the way in;
//! `bare` and `sink` are the limits; `rows` and `histogram` what comes out, `goals` what it is held against.

mod amqp;
mod bare;
#[path = "../../harness/byte_stream.rs"]
mod byte_stream;
mod churn;
mod device;
mod dice;
mod events;
mod goals;
mod grow;
mod histogram;
mod http;
mod load;
mod log;
mod misuse;
mod mqtt;
mod registry;
mod rest;
mod rows;
mod servers;
mod sink;
mod target;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Measures the emulator")]
struct Arguments {
    #[command(subcommand)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Serves a bare handler that `rest` measures against; started by it.
    #[command(hide = true)]
    Bare {
        state: PathBuf,
        body: PathBuf,
        #[arg(long)]
        keeps_twins: bool,
    },
    /// Holds rows against the goals.
    Check {
        /// What runs wrote with `--out`.
        rows: PathBuf,
        /// The goals.
        #[arg(long, default_value = "tests/bench/goals.toml")]
        goals: PathBuf,
    },
    /// Lets devices come and go, and holds the hub to its invariants.
    Churn(churn::Arguments),
    /// Loads the emulator as devices do.
    Device(device::Arguments),
    /// Measures whole operations against registries of growing size.
    Grow(grow::Arguments),
    /// Loads the emulator as devices do, while back ends read what they send.
    Events(events::Arguments),
    /// Grows an event log in this process and measures it at each size.
    Log(log::Arguments),
    /// Misbehaves towards the emulator, and measures what others notice of it.
    Misuse(misuse::Arguments),
    /// Grows a hub in this process and measures its operations at each size.
    Registry(registry::Arguments),
    /// Reads and patches twins over REST, TLS and SAS.
    Rest(rest::Arguments),
    /// Serves what `device` measures against; started by it.
    #[command(hide = true)]
    Sink { state: PathBuf, certificate: PathBuf, key: PathBuf },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().run {
        Run::Bare { state, body, keeps_twins } => {
            bare::run(&state, &body, keeps_twins).map(|()| ExitCode::SUCCESS)
        }
        Run::Check { rows, goals } => goals::check(&rows, &goals),
        Run::Churn(arguments) => churn::run(&arguments),
        Run::Device(arguments) => device::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Grow(arguments) => grow::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Events(arguments) => events::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Log(arguments) => log::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Misuse(arguments) => misuse::run(&arguments),
        Run::Registry(arguments) => registry::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Rest(arguments) => rest::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Sink { state, certificate, key } => {
            sink::run(&state, &certificate, &key).map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        rows::say(&format!("bench: {error:#}"));
        ExitCode::FAILURE
    })
}
