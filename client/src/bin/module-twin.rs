//! App 2 of the tutorial "Get started with module identity and module twin": connects as a module, prints its twin,
//! reports some properties, and prints every change of the desired properties until it is interrupted.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use iothub_client::device::{DesiredChanges, ModuleClient, Transport};
use iothub_client::{ClientCertificate, DeviceConnectionString, Error, ErrorKind, TrustedRoots};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Connects to an IoT hub as a module and shows its twin at work.
///
/// Stops at Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "module-twin", version)]
struct Arguments {
    /// Connection string of the module, as create-identities prints it; quote it.
    #[arg(env = "IOTHUB_MODULE_CONNECTION_STRING", hide_env_values = true)]
    // As text, because clap would repeat a faulty one in its error, key and all.
    connection_string: String,

    /// How to talk to the hub.
    #[arg(short, long, default_value = "amqp", ignore_case = true)]
    transport: TransportName,

    /// PEM file with the module's certificate, for a connection string with x509=true.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// PEM file with the private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// PEM file with a root certificate to trust beside the system's.
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Port of the hub, where it is not the transport's own.
    #[arg(long)]
    port: Option<u16>,

    /// Stop after this many changes of the desired properties.
    #[arg(long, value_name = "N")]
    changes: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransportName {
    Amqp,
    #[value(alias = "AmqpWs")]
    AmqpWs,
    Mqtt,
    #[value(alias = "MqttWs")]
    MqttWs,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Amqp => Self::Amqp,
            TransportName::AmqpWs => Self::AmqpWs,
            TransportName::Mqtt => Self::Mqtt,
            TransportName::MqttWs => Self::MqttWs,
        }
    }
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
    // From here on a signal ends the story early, also while the hub is slow to answer.
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    let changes_wanted = arguments.changes;

    let module = tokio::select! {
        module = open(arguments) => module?,
        () = &mut interrupted => return Ok(()),
    };
    println!("client opened");
    let told = tokio::select! {
        told = tell(&module, changes_wanted) => told,
        () = &mut interrupted => Ok(()),
    };
    module.close().await;
    println!("client closed");
    told
}

async fn open(arguments: Arguments) -> Result<ModuleClient, Error> {
    let mut roots = TrustedRoots::system();
    if let Some(file) = &arguments.ca_file {
        roots = roots.and_pem_file(file)?;
    }
    let connection_string = DeviceConnectionString::parse(&arguments.connection_string)?;
    let mut builder = ModuleClient::builder(connection_string).trusted_roots(roots);
    if let (Some(cert), Some(key)) = (&arguments.cert, &arguments.key) {
        builder = builder.certificate(ClientCertificate::from_pem_files(cert, key)?);
    }
    if let Some(port) = arguments.port {
        builder = builder.port(port);
    }
    builder.open(arguments.transport.into()).await
}

async fn tell(module: &ModuleClient, changes_wanted: Option<u64>) -> Result<(), Error> {
    // Subscribed first and read then, so that no change falls between; one that is in both is shown once.
    let changes = module.desired_changes().await?;
    let twin = module.twin().await?;
    println!("twin contents:");
    let contents = json!({ "desired": twin.desired, "reported": twin.reported });
    println!("{contents:#}");
    // As in the tutorial, what is desired already counts as news to a program that has just started.
    show(&twin.desired);

    let update_time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let patch = json!({
        "updateTime": update_time,
        "firmwareVersion": "1.2.1",
        "weather": { "temperature": 72, "humidity": 17 },
    });
    module.update_reported(&patch).await?;
    println!("twin state reported");

    listen(module, changes, twin.desired_version(), changes_wanted).await
}

async fn listen(
    module: &ModuleClient,
    mut changes: DesiredChanges,
    mut seen: u64,
    changes_wanted: Option<u64>,
) -> Result<(), Error> {
    let mut shown = 0;
    while changes_wanted.is_none_or(|wanted| shown < wanted) {
        let (version, properties) = match changes.next().await {
            None => return module.twin().await.map(drop),
            Some(Ok(change)) => (change.version, change.properties),
            Some(Err(error)) if error.kind() == ErrorKind::MissedChanges => {
                let twin = module.twin().await?;
                (twin.desired_version(), twin.desired)
            }
            Some(Err(error)) => return Err(error),
        };
        if version > seen {
            seen = version;
            shown += 1;
            show(&properties);
        }
    }
    Ok(())
}

fn show(desired: &Value) {
    println!("new desired properties received:");
    println!("{desired}");
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}
