//! One partition: a log behind a lock, and the readers that wait for it to grow.
//!
//! A reader that finds nothing registers under the lock it looked under, so no append is missed; the next append takes
//! all who wait and wakes them. Who does not wait costs an append nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::events::event::{AddedProperty, Event, EventData, EventPosition};
use crate::events::log::{Log, StartPosition};
use crate::ids::DeviceId;
use crate::limits;
use crate::time::Timestamp;

/// How much an event hub keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRetention {
    /// How long an event is kept.
    pub time: Duration,
    /// What all partitions together may hold before the oldest events go.
    pub bytes: usize,
}

impl Default for EventRetention {
    fn default() -> Self {
        Self { time: Duration::from_secs(limits::EVENT_RETENTION_SECS), bytes: limits::EVENT_RETENTION_BYTES }
    }
}

#[derive(Debug)]
pub(crate) struct Partition {
    state: Mutex<State>,
    retention_time: Duration,
    retention_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    /// Each at most once, and only since the last append.
    waiting: Vec<Arc<Notify>>,
    /// Whether the deadline of the oldest event is set.
    is_expiry_set: bool,
}

/// What lies in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The sequence number of the oldest event kept; [`Self::end`] when none is.
    pub(crate) begin: i64,
    /// The sequence number the next event gets.
    pub(crate) end: i64,
    /// The newest event, even if retention took it since.
    pub(crate) last: Option<EventPosition>,
}

/// How far a reader got.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The sequence number it reads next.
    next: i64,
    /// The end of the log at which it registered; an append moves the end and forgets who waited.
    waits_at: Option<i64>,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) position: EventPosition,
    /// When [`Partition::expire`] has to run, if nobody has it on his list yet.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Partition {
    pub(crate) fn new(retention_time: Duration, retention_bytes: usize) -> Self {
        Self { state: Mutex::default(), retention_time, retention_bytes: retention_bytes as u64 }
    }

    pub(crate) fn append(&self, data: Arc<EventData>, enrichments: Option<Arc<[AddedProperty]>>) -> Appended {
        let mut state = self.state.lock();
        let position = state.log.append(data, enrichments);
        state.log.trim(self.retention_bytes);
        let is_expiry_new = !std::mem::replace(&mut state.is_expiry_set, true);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for reader in waiting {
            reader.notify_one();
        }
        let expires_at = is_expiry_new.then(|| position.enqueued_at.plus(self.retention_time));
        Appended { position, expires_at }
    }

    /// Drops what is past retention. What is left falls due at the instant returned, and the next append says nothing
    /// of it.
    pub(crate) fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        let mut state = self.state.lock();
        let expired = state.log.expire(self.retention_time, now);
        let oldest = state.log.oldest();
        state.is_expiry_set = oldest.is_some();
        drop(state);
        drop(expired);
        oldest.map(|oldest| oldest.enqueued_at.plus(self.retention_time))
    }

    /// Drops what is past retention, without a word about what falls due later.
    pub(crate) fn trim_to(&self, now: Timestamp) {
        let expired = self.state.lock().log.expire(self.retention_time, now);
        drop(expired);
    }

    /// Where a reader begins.
    pub(crate) fn cursor(&self, start: StartPosition) -> Cursor {
        Cursor { next: self.state.lock().log.seek(start), waits_at: None }
    }

    /// Reads on as [`Log::read`] does. If there is nothing, the next append notifies `wake`.
    pub(crate) fn read(
        &self,
        cursor: &mut Cursor,
        wake: &Arc<Notify>,
        max_events: usize,
        max_bytes: usize,
        into: &mut Vec<Event>,
    ) {
        let before = into.len();
        let mut state = self.state.lock();
        cursor.next = state.log.read(cursor.next, max_events, max_bytes, into);
        let end = state.log.end();
        if into.len() == before && cursor.next == end && cursor.waits_at != Some(end) {
            state.waiting.push(Arc::clone(wake));
            cursor.waits_at = Some(end);
        }
    }

    /// Takes back what a reader left when it found nothing.
    pub(crate) fn forget(&self, cursor: &Cursor, wake: &Arc<Notify>) {
        let mut state = self.state.lock();
        if cursor.waits_at == Some(state.log.end())
            && let Some(index) = state.waiting.iter().position(|waiting| Arc::ptr_eq(waiting, wake))
        {
            state.waiting.swap_remove(index);
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let state = self.state.lock();
        Bounds { begin: state.log.begin(), end: state.log.end(), last: state.log.last() }
    }

    pub(crate) fn newest(&self, limit: usize, device: Option<&DeviceId>) -> Vec<Event> {
        let state = self.state.lock();
        let of_device = |event: &&Event| device.is_none_or(|device| event.data.identity.device == *device);
        state.log.newest_first().filter(of_device).take(limit).cloned().collect()
    }
}
