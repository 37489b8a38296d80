//! Pauses between attempts: each twice as long as the one before, up to a limit.

use std::time::Duration;

use tokio::time::sleep;

/// The pause to come.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Waits, and doubles the next pause.
    pub(crate) async fn rest(&mut self) {
        let now = jittered(self.next);
        self.next = (self.next * 2).min(self.longest);
        sleep(now).await;
    }

    /// Begins with the shortest pause again.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Between half and all of a pause, so that a thousand clients do not come back in step.
fn jittered(pause: Duration) -> Duration {
    // The low bits of a random UUID; this crate needs randomness nowhere else.
    let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
    pause.mul_f64(0.5 + (low & 0xffff) as f64 / f64::from(0x2_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jittered_pause_stays_between_half_and_all_of_it() {
        let pause = Duration::from_secs(30);
        for _ in 0..1000 {
            let now = jittered(pause);
            assert!(now >= pause / 2 && now <= pause, "{now:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_until_they_are_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
        for longest in [1, 2, 3, 3] {
            let before = tokio::time::Instant::now();
            backoff.rest().await;
            let (paused, longest) = (before.elapsed(), Duration::from_secs(longest));
            assert!(paused >= longest / 2 && paused <= longest + Duration::from_millis(1), "{paused:?}");
        }
        backoff.reset();
        assert_eq!(backoff.next, Duration::from_secs(1));
    }
}
