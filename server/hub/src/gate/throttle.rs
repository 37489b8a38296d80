//! Throttles: each class of operations has a rate of the whole hub (contract/rest.md 7).
//!
//! As the service describes it, what exceeds the rate for about a minute is let through at once, what goes on for
//! longer is delayed, and what would be delayed for too long is refused with 429. A throttle is one instant: until
//! when its allowance is spent. Taking a turn moves it on, so turns come in the order they were asked for; who has
//! to wait for one waits for a row of `Deadlines`, hence in hub time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{ErrorCode, HubError};
use crate::gate::rates::Rates;
use crate::limits;
use crate::time::{Clock, Deadline, Deadlines, Timestamp};

/// The classes of operations that have a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Devices that ask for messages over HTTPS.
    CloudToDeviceReceives,
    /// Messages that back ends send to devices.
    CloudToDeviceSends,
    /// Devices and modules that come online.
    Connections,
    /// Messages, or batches of them, that devices and modules send.
    DeviceToCloudSends,
    /// Direct methods, by payloads of 4 KB.
    DirectMethods,
    /// Reading and changing identities.
    IdentityRegistry,
    /// Twins read, by services and by devices.
    TwinReads,
    /// Twins changed, by services and by devices.
    TwinUpdates,
}

impl Throttle {
    /// Every throttle, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::CloudToDeviceReceives,
        Self::CloudToDeviceSends,
        Self::Connections,
        Self::DeviceToCloudSends,
        Self::DirectMethods,
        Self::IdentityRegistry,
        Self::TwinReads,
        Self::TwinUpdates,
    ];

    /// As the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloudToDeviceReceives => "cloud-to-device-receives",
            Self::CloudToDeviceSends => "cloud-to-device-sends",
            Self::Connections => "connections",
            Self::DeviceToCloudSends => "device-to-cloud-sends",
            Self::DirectMethods => "direct-methods",
            Self::IdentityRegistry => "identity-registry",
            Self::TwinReads => "twin-reads",
            Self::TwinUpdates => "twin-updates",
        }
    }
}

/// All throttles of a hub, and who waits for a turn.
#[derive(Debug)]
pub(super) struct Throttles {
    rates: Rates,
    buckets: [Bucket; Throttle::ALL.len()],
    deadlines: Arc<Deadlines>,
    queue: Mutex<Queue>,
}

/// Who waits. A turn that comes is a ticket called.
#[derive(Debug, Default)]
struct Queue {
    waiting: HashMap<u64, oneshot::Sender<()>>,
    last_ticket: u64,
    is_closed: bool,
}

impl Throttles {
    pub(super) fn new(rates: Rates, deadlines: Arc<Deadlines>) -> Self {
        let buckets = Throttle::ALL.map(|throttle| Bucket::new(rates.of(throttle).interval_ticks()));
        Self { rates, buckets, deadlines, queue: Mutex::default() }
    }

    /// Waits for a turn; returns when it came. Cancel-safe: who stops waiting gives the turn back.
    ///
    /// # Errors
    /// `ThrottlingException` when it would take too long or too many wait already, `ServiceUnavailable` when the hub
    /// stops meanwhile.
    pub(super) async fn turn(&self, throttle: Throttle, clock: &dyn Clock) -> Result<Timestamp, HubError> {
        let now = clock.now();
        let bucket = self.bucket(throttle);
        let at = bucket.take(now).map_err(|wait| self.refusal(throttle, wait))?;
        if at <= now {
            return Ok(now);
        }
        let Some(place) = self.line_up(bucket, at)? else {
            return Err(self.refusal(throttle, at.since(now)));
        };
        place.called().await?;
        Ok(clock.now())
    }

    /// Takes more of the allowance, for what turned out to be larger than one turn.
    pub(super) fn charge(&self, throttle: Throttle, turns: usize, now: Timestamp) {
        self.bucket(throttle).charge(turns, now);
    }

    /// Runs a `ThrottleTurn` row.
    pub(super) fn turn_due(&self, ticket: u64) {
        if let Some(caller) = self.queue.lock().waiting.remove(&ticket) {
            // Who gave up in this moment does not hear it.
            let _ = caller.send(());
        }
    }

    /// Sends everybody home, and lets nobody wait any more.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        queue.waiting.clear();
    }

    /// A place in the queue for a turn already taken; none when too many wait.
    fn line_up<'a>(&'a self, bucket: &'a Bucket, at: Timestamp) -> Result<Option<Place<'a>>, HubError> {
        let mut queue = self.queue.lock();
        if queue.is_closed || queue.waiting.len() >= limits::THROTTLE_WAITERS {
            let is_closed = queue.is_closed;
            drop(queue);
            bucket.give_back();
            return if is_closed { Err(stopping()) } else { Ok(None) };
        }
        queue.last_ticket += 1;
        let ticket = queue.last_ticket;
        let (caller, call) = oneshot::channel();
        queue.waiting.insert(ticket, caller);
        drop(queue);
        self.deadlines.push(at, Deadline::ThrottleTurn { ticket });
        Ok(Some(Place { throttles: self, bucket, at, ticket, call }))
    }

    const fn bucket(&self, throttle: Throttle) -> &Bucket {
        &self.buckets[throttle as usize]
    }

    fn refusal(&self, throttle: Throttle, wait: Duration) -> HubError {
        let (name, rate) = (throttle.as_str(), self.rates.of(throttle));
        HubError::new(
            ErrorCode::ThrottlingException,
            format!("The hub is asked for more than its {rate} of {name}, try again later."),
        )
        .with_reason(format!(
            "the throttle {name} is {rate} and has been exceeded for too long; raise it under [throttles] or \
             run without --throttling"
        ))
        .with_retry_after(wait)
    }
}

fn stopping() -> HubError {
    HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping.")
}

/// Somebody who waits for a turn.
struct Place<'a> {
    throttles: &'a Throttles,
    bucket: &'a Bucket,
    at: Timestamp,
    ticket: u64,
    call: oneshot::Receiver<()>,
}

impl Place<'_> {
    async fn called(mut self) -> Result<(), HubError> {
        (&mut self.call).await.map_err(|_closed| stopping())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Still in the queue means never called.
        if self.throttles.queue.lock().waiting.remove(&self.ticket).is_some() {
            self.throttles.deadlines.remove(self.at, Deadline::ThrottleTurn { ticket: self.ticket });
            self.bucket.give_back();
        }
    }
}

/// The allowance of one throttle.
#[derive(Debug)]
struct Bucket {
    interval_ticks: i64,
    /// Until when the allowance is spent, in ticks; up to a minute ago while some of it is left.
    spent_until: Mutex<i64>,
}

impl Bucket {
    const fn new(interval_ticks: i64) -> Self {
        Self { interval_ticks, spent_until: Mutex::new(i64::MIN) }
    }

    /// Takes the next turn and says when it is; or, if that is too far away, how far.
    fn take(&self, now: Timestamp) -> Result<Timestamp, Duration> {
        let mut spent_until = self.spent_until.lock();
        let turn_ticks = at_most_a_minute_ago(*spent_until, now).saturating_add(self.interval_ticks);
        let turn = Timestamp::from_ticks(turn_ticks);
        let wait = turn.since(now);
        if wait > limits::THROTTLE_WAIT {
            return Err(wait);
        }
        *spent_until = turn_ticks;
        Ok(turn)
    }

    fn charge(&self, turns: usize, now: Timestamp) {
        let ticks = self.interval_ticks.saturating_mul(i64::try_from(turns).unwrap_or(i64::MAX));
        let mut spent_until = self.spent_until.lock();
        *spent_until = at_most_a_minute_ago(*spent_until, now).saturating_add(ticks);
    }

    fn give_back(&self) {
        let mut spent_until = self.spent_until.lock();
        *spent_until = spent_until.saturating_sub(self.interval_ticks);
    }
}

/// What was not used a minute ago is lost.
fn at_most_a_minute_ago(spent_until: i64, now: Timestamp) -> i64 {
    let burst_ticks = i64::try_from(limits::THROTTLE_BURST.as_nanos() / 100).unwrap_or(i64::MAX);
    spent_until.max(now.ticks().saturating_sub(burst_ticks))
}

#[cfg(test)]
mod tests;
