//! The orderly end: stop accepting, tell every session, wait a while, cut.

use std::time::Duration;

use hub::Hub;
use tokio_util::task::TaskTracker;

use crate::listen::Lifecycle;

/// Resolves when the process is asked to end, by SIGTERM, SIGINT or Ctrl-C.
///
/// # Errors
/// When the system does not let us listen for signals.
pub async fn asked_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Ends every task: politely, and after `patience` regardless.
pub(crate) async fn run(hub: &Hub, lifecycle: &Lifecycle, upgraded: &TaskTracker, patience: Duration) {
    lifecycle.closing.cancel();
    // Sessions first: an AMQP link that is told why is better than a connection that just closes.
    hub.stop();
    lifecycle.drain.cancel();
    lifecycle.tasks.close();
    upgraded.close();
    let everybody = async {
        lifecycle.tasks.wait().await;
        upgraded.wait().await;
    };
    if tokio::time::timeout(patience, everybody).await.is_err() {
        tracing::debug!("some connections did not leave in time");
    }
    lifecycle.cut.cancel();
    lifecycle.tasks.wait().await;
}

/// Ours: shorter than the ten seconds Docker waits before it kills.
pub const PATIENCE: Duration = Duration::from_secs(5);
