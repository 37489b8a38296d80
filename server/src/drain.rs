//! The orderly end: stop accepting, tell every session, wait a while, cut.

use std::time::Duration;

use hub::Hub;

use crate::listen::Lifecycle;

/// The system's requests to end: SIGTERM, SIGINT or Ctrl-C.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// From here on such a request no longer ends the process by itself, so this comes before anybody is told that
    /// the process is ready.
    ///
    /// # Errors
    /// When the system does not let us listen for signals.
    pub fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Resolves at the next request.
    pub async fn asked_to_stop(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Ends every task: politely, and after `patience` regardless.
pub(crate) async fn run(hub: &Hub, lifecycle: &Lifecycle, patience: Duration) {
    lifecycle.closing.cancel();
    // Sessions first: an AMQP link that is told why is better than a connection that just closes.
    hub.stop();
    lifecycle.drain.cancel();
    lifecycle.tasks.close();
    if tokio::time::timeout(patience, lifecycle.tasks.wait()).await.is_err() {
        tracing::debug!("some connections did not leave in time");
    }
    lifecycle.cut.cancel();
    lifecycle.tasks.wait().await;
}

/// Ours: shorter than the ten seconds Docker waits before it kills.
pub const PATIENCE: Duration = Duration::from_secs(5);
