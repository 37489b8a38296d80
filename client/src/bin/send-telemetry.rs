//! The device of the scenario "telemetry to dashboard": sends the readings of a thermostat, and leaves.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use iothub_client::device::{DeviceClient, TelemetryMessage, Transport};
use iothub_client::{DeviceConnectionString, Error, TrustedRoots};
use serde_json::json;

/// Sends the readings of a thermostat to an IoT hub.
#[derive(Debug, Parser)]
#[command(name = "send-telemetry", version)]
struct Arguments {
    /// Connection string of the device; quote it.
    #[arg(env = "IOTHUB_DEVICE_CONNECTION_STRING", hide_env_values = true)]
    // As text, because clap would repeat a faulty one in its error, key and all.
    connection_string: String,

    /// How many readings.
    #[arg(default_value_t = 10)]
    count: u64,

    /// Number of the first.
    #[arg(default_value_t = 1)]
    first: u64,

    /// PEM file with a root certificate to trust beside the system's.
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
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
    let connection_string = DeviceConnectionString::parse(&arguments.connection_string)?;
    let device = DeviceClient::builder(connection_string).trusted_roots(roots).open(Transport::Mqtt).await?;
    for number in arguments.first..arguments.first.saturating_add(arguments.count) {
        let temperature = 20 + number % 15;
        let reading = json!({ "number": number, "temperature": temperature });
        let message = TelemetryMessage::new(reading.to_string())
            .json()
            .property("temperatureAlert", (temperature > 30).to_string());
        device.send_telemetry(message).await?;
        println!("sent reading {number}");
    }
    device.close().await;
    Ok(())
}
