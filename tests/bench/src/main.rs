//! Measurements of the emulator against PERFORMANCE sections 6, 7 and 12, run by hand on a release build.
//!
//! ```text
//! bench registry                        a hub in this process, growing to a million devices
//! bench rest --emulator target/release/iothub-emulator
//!                                       twins over TLS and SAS, against a bare axum handler in the same rounds
//! bench check FILE.jsonl                exit 1 where a goal is missed
//! ```
//! Every run prints a table and, with `--out`, adds its rows to a file as JSON lines. Every load ends by itself.
//!
//! In reading order: `registry` and `rest` are the runs; `load` is the client, `servers` the processes it loads,
//! `bare` the one that is the limit; `rows` what comes out, `goals` what it is held against.

mod bare;
mod goals;
mod load;
mod registry;
mod rest;
mod rows;
mod servers;

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
    /// Serves the bare handler that `rest` measures against; started by it.
    #[command(hide = true)]
    Bare { state: PathBuf, body: PathBuf },
    /// Holds rows against the goals.
    Check {
        /// What runs wrote with `--out`.
        rows: PathBuf,
        /// The goals.
        #[arg(long, default_value = "tests/bench/goals.toml")]
        goals: PathBuf,
    },
    /// Grows a hub in this process and measures its operations at each size.
    Registry(registry::Arguments),
    /// Reads and patches twins over REST, TLS and SAS.
    Rest(rest::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().run {
        Run::Bare { state, body } => bare::run(&state, &body).map(|()| ExitCode::SUCCESS),
        Run::Check { rows, goals } => goals::check(&rows, &goals),
        Run::Registry(arguments) => registry::run(&arguments).map(|()| ExitCode::SUCCESS),
        Run::Rest(arguments) => rest::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        rows::say(&format!("bench: {error:#}"));
        ExitCode::FAILURE
    })
}
