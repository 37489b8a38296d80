//! The wall clock, in the one unit SAS tokens need. Timers and time-outs use `tokio::time` instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC; 0 for a clock set before that, which makes every token look unexpired to
/// us and expired to the hub, so that the hub's answer names the problem.
pub(crate) fn unix_now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
