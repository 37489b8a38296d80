//! `serve`: runs the hub, says on standard output where it is and what to type next, and drains on a signal.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::app::App;
use crate::config::{Config, Origin};
use crate::endpoints::reachable;
use crate::{drain, observe};

use super::connection_string;

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    observe::init(&config.log_level, *config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(config));
    // What drain could not end in time does not hold the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: &Config) -> anyhow::Result<ExitCode> {
    let mut signals = drain::Signals::listen()?;
    let app = App::start(config).await?;
    super::print(&banner(config, &app)?)?;
    tracing::info!(hub = %app.hub.name(), "ready");
    signals.asked_to_stop().await;
    tracing::info!("stopping");
    tokio::select! {
        () = app.stop(drain::PATIENCE) => tracing::info!("stopped"),
        () = signals.asked_to_stop() => tracing::warn!("asked to stop twice: not waiting for connections to close"),
    }
    Ok(ExitCode::SUCCESS)
}

fn banner(config: &Config, app: &App) -> anyhow::Result<String> {
    let (host, at) = (config.host_name(), &app.endpoints);
    let mut text = String::new();
    writeln!(text, "iothub-emulator {}: hub '{}' is ready.\n", env!("CARGO_PKG_VERSION"), app.hub.name())?;
    for (what, addresses) in [
        ("HTTPS, WebSocket", &at.https),
        ("MQTT", &at.mqtts),
        ("AMQP", &at.amqps),
        ("AMQP without TLS", &at.amqp),
        ("admin (HTTP)", &at.admin),
    ] {
        writeln!(text, "  {what:<18}{}", listed(addresses))?;
    }
    writeln!(text, "\nService connection string:\n  {}", connection_string::of_policy(config, &host, None)?)?;
    if config.policies.origin == Origin::Default {
        writeln!(text, "Its key is the public development key, the same on every machine.")?;
    }
    if !host.contains('.') {
        writeln!(text, "Java and C need a HostName with a dot: put 127.0.0.1 for {host}.")?;
    }
    writeln!(text, "\nNext, in another terminal (Node; the README has the other SDKs):")?;
    if let Some(admin) = at.admin.first().copied().map(reachable) {
        writeln!(text, "  curl -s http://{admin}/ca.pem -o root.pem")?;
    }
    writeln!(text, "  export NODE_EXTRA_CA_CERTS=$PWD/root.pem")?;
    writeln!(
        text,
        "  export IOTHUB_CONNECTION_STRING='{}'",
        connection_string::of_policy(config, &host, None)?
    )?;
    writeln!(text, "\nCtrl-C stops it.")?;
    Ok(text)
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
