//! The log: one line per event on stderr, for people or as JSON. Standard output is left to what commands print.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogFormat;

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not understood.
    #[error("log-level '{0}' is wrong: error, warn, info, debug, trace, or targets such as info,mqtt=trace")]
    Level(String),
    /// Somebody set one up before.
    #[error("the log is set up already")]
    Twice,
}

/// Sends the process' log to stderr.
///
/// # Errors
/// [`LogError`].
pub fn init(level: &str, format: LogFormat) -> Result<(), LogError> {
    let filter: Targets = level.parse().map_err(|_| LogError::Level(level.to_owned()))?;
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        LogFormat::Human => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(|_| LogError::Twice)
}
