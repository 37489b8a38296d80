//! The command line (PRODUCT section 1). Commands print what was asked for on standard output and nothing else;
//! what goes wrong goes to standard error, with exit code 1 (2 for a command line that makes no sense).

mod cert;
mod connection_string;
mod healthcheck;
mod request;
mod serve;
mod show_config;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use hub::ids::IdentityId;

use crate::config::{Config, Options};

/// A local Azure IoT Hub
///
/// Without a command it runs the hub, as `serve` does.
#[derive(Debug, Parser)]
#[command(name = "iothub-emulator", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub in the foreground until SIGTERM or Ctrl-C
    Serve,
    /// Exit 0 if the running emulator is ready, 1 if not
    Healthcheck,
    /// Print a connection string: of a policy, a device, a module or the event hub
    ConnectionString(connection_string::Arguments),
    /// The root certificate, and certificates for devices
    #[command(subcommand)]
    Cert(cert::Command),
    /// Print the effective configuration and where each value comes from
    Config,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// The device or module a command is about.
#[derive(Args, Debug)]
struct IdentityArguments {
    /// Id of the device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Id of the module on that device
    #[arg(long, value_name = "ID", requires = "device")]
    module: Option<String>,
}

impl IdentityArguments {
    fn identity(&self) -> anyhow::Result<Option<IdentityId>> {
        let Some(device) = &self.device else { return Ok(None) };
        IdentityId::parse(device, self.module.as_deref())
            .map(Some)
            .map_err(|error| anyhow::anyhow!("{}", error.message()))
    }
}

/// Runs the program with the process' arguments and environment.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli, &matches) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    if let Some(Command::Completions { shell }) = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "iothub-emulator", &mut script);
        return print(&String::from_utf8_lossy(&script));
    }
    let is_from_environment = |id: &str| {
        let is_option = matches.try_contains_id(id).unwrap_or(false);
        is_option && matches.value_source(id) == Some(ValueSource::EnvVariable)
    };
    let config = Config::resolve(cli.options, &is_from_environment)?;
    match cli.command {
        None | Some(Command::Serve | Command::Completions { .. }) => serve::run(&config),
        Some(Command::Healthcheck) => healthcheck::run(&config),
        Some(Command::ConnectionString(arguments)) => print(&connection_string::text(&config, &arguments)?),
        Some(Command::Cert(command)) => print(&cert::run(&config, &command)?),
        Some(Command::Config) => print(&show_config::text(&config)),
    }
}

/// What a command has to say. A reader that closed the pipe early has what it wanted.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Commands that talk to the running emulator do so one request at a time.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
