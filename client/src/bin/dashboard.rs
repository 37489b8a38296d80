//! The back end of the scenario "telemetry to dashboard": shows the readings of all devices as they come, until it is
//! interrupted. Every fifth of a device is a checkpoint: started again, it goes on behind the last one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use iothub_client::events::{
    Event, EventHubClient, EventHubConnectionString, FileCheckpoints, StartPosition,
};
use iothub_client::{Error, TrustedRoots};
use serde::Deserialize;

const CHECKPOINT_EVERY: u64 = 5;

/// Shows the readings that devices send to an IoT hub.
#[derive(Debug, Parser)]
#[command(name = "dashboard", version)]
struct Arguments {
    /// Consumer group to read in.
    consumer_group: String,

    /// File that keeps how far it has come.
    checkpoints: PathBuf,

    /// Connection string of the event hub, or of an IoT hub's built-in endpoint.
    #[arg(long, env = "EVENT_HUB_CONNECTION_STRING", hide_env_values = true)]
    // As text, because clap would repeat a faulty one in its error, key and all.
    connection_string: String,

    /// PEM file with a root certificate to trust beside the system's.
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Reading {
    number: u64,
    temperature: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let mut roots = TrustedRoots::system();
    if let Some(file) = &arguments.ca_file {
        roots = roots.and_pem_file(file)?;
    }
    let connection_string = EventHubConnectionString::parse(&arguments.connection_string)?;
    let client = EventHubClient::builder(connection_string)
        .consumer_group(arguments.consumer_group)
        .owner_level(0)
        .trusted_roots(roots)
        .open()
        .await?;
    let mut checkpoints = FileCheckpoints::open(arguments.checkpoints)?;
    let start = |partition: &str| checkpoints.start(partition).unwrap_or(StartPosition::Earliest);
    let mut reader = client.read_all(start).await?;
    loop {
        let event = tokio::select! {
            event = reader.next() => event,
            _ = tokio::signal::ctrl_c() => None,
        };
        match event {
            Some(event) => show(&event?, &mut checkpoints)?,
            None => break,
        }
    }
    drop(reader);
    client.close().await;
    Ok(())
}

fn show(event: &Event, checkpoints: &mut FileCheckpoints) -> Result<(), Error> {
    let device = event.device_id().unwrap_or("somebody");
    let Ok(Reading { number, temperature }) = serde_json::from_slice(&event.body) else {
        println!("{device}: something else");
        return Ok(());
    };
    let alert = if event.property("temperatureAlert") == Some("true") { " (too hot)" } else { "" };
    println!("{device}: reading {number}, {temperature} °C{alert}");
    if number % CHECKPOINT_EVERY == 0 {
        checkpoints.save(event)?;
        println!("checkpoint at reading {number}");
    }
    Ok(())
}
