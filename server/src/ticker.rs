//! Does on time what the hub has to do without being asked: sleeps until the earliest deadline, runs what is due.

use std::sync::Arc;
use std::time::Duration;

use hub::Hub;
use tokio_util::sync::CancellationToken;

/// Runs until `stop` is cancelled.
pub async fn run(hub: Arc<Hub>, stop: CancellationToken) {
    loop {
        let wait = match hub.next_deadline() {
            Some(due) => due.since(hub.clock().now()).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => hub.run_due(),
            // Only the length of the sleep has changed.
            () = hub.deadlines_changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The machine's clock may be set while we sleep by another.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
