//! The daily quota: so many messages from 00:00 UTC to 00:00 UTC (contract/rest.md 7).
//!
//! Whatever succeeded counts, in chunks of 4 KB, in the free tier of 0.5 KB, and at least as one message; once the
//! day's messages are used up, metered operations are refused.

use parking_lot::Mutex;

use crate::error::{ErrorCode, HubError};
use crate::gate::tier::Tier;
use crate::time::Timestamp;

/// The messages of the day.
#[derive(Debug)]
pub(super) struct DailyQuota {
    messages: u64,
    metered_bytes: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// Days since 1970.
    day: i64,
    messages: u64,
}

impl DailyQuota {
    pub(super) fn new(messages: u64, tier: Tier) -> Self {
        Self { messages, metered_bytes: tier.metered_bytes(), used: Mutex::default() }
    }

    /// Whether the day has a message left.
    ///
    /// # Errors
    /// `IotHubQuotaExceeded`.
    pub(super) fn check(&self, at: Timestamp) -> Result<(), HubError> {
        if self.used.lock().on(day(at)) < self.messages {
            return Ok(());
        }
        Err(HubError::new(
            ErrorCode::IotHubQuotaExceeded,
            format!("The hub has used the {} messages of its day, which ends at 00:00 UTC.", self.messages),
        )
        .with_reason(format!(
            "the daily quota of {} messages is used up; raise it with --messages-per-day or run without \
             --daily-quota",
            self.messages
        )))
    }

    /// Counts one message of this size.
    pub(super) fn count(&self, bytes: usize, at: Timestamp) {
        let chunks = chunks(bytes, self.metered_bytes);
        let mut used = self.used.lock();
        let before = used.on(day(at));
        used.messages = before.saturating_add(u64::try_from(chunks).unwrap_or(u64::MAX));
    }
}

impl Used {
    /// What was used on `day`; a later day begins anew, an earlier one does not.
    fn on(&mut self, day: i64) -> u64 {
        if day > self.day {
            *self = Self { day, messages: 0 };
        }
        self.messages
    }
}

/// How many chunks a payload takes; an empty one takes one.
pub(super) fn chunks(bytes: usize, chunk_bytes: usize) -> usize {
    bytes.div_ceil(chunk_bytes).max(1)
}

fn day(at: Timestamp) -> i64 {
    at.unix_secs().div_euclid(24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[test]
    fn the_last_message_of_a_day_is_taken_and_the_next_is_not() {
        let quota = DailyQuota::new(2, Tier::Standard);
        quota.count(1, at(DAY));
        assert!(quota.check(at(DAY)).is_ok());
        quota.count(1, at(DAY));
        assert_eq!(quota.check(at(DAY)).unwrap_err().code(), ErrorCode::IotHubQuotaExceeded);
    }

    #[test]
    fn a_day_begins_at_midnight_utc_and_not_a_second_before() {
        let quota = DailyQuota::new(1, Tier::Standard);
        quota.count(0, at(20 * DAY + 5));
        assert!(quota.check(at(21 * DAY - 1)).is_err());
        assert!(quota.check(at(21 * DAY)).is_ok());
    }

    #[test]
    fn a_message_counts_by_chunks_and_an_empty_one_counts_once() {
        assert_eq!(chunks(0, 4096), 1);
        assert_eq!(chunks(4096, 4096), 1);
        assert_eq!(chunks(4097, 4096), 2);
        let used = |tier, bytes| {
            let quota = DailyQuota::new(u64::MAX, tier);
            quota.count(bytes, at(0));
            quota.used.into_inner().messages
        };
        assert_eq!(used(Tier::Standard, 6 * 1024), 2);
        assert_eq!(used(Tier::Basic, 4096), 1);
        assert_eq!(used(Tier::Free, 4096), 8);
    }
}
