//! The events of one partition in their order: grows at one end, is trimmed at the other by age and size.
//!
//! Kept in segments, so that an append costs the same however much is kept and what is too old is given back in
//! pieces. An event's size is how far its offset is from the next one's, so nothing is kept to know it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::events::event::{AddedProperty, Event, EventData, EventPosition};
use crate::time::Timestamp;

/// Where a reader begins (contract/eventhubs.md 4.1). What is older than retention means the oldest event kept, what is
/// beyond the end means the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// The oldest event kept.
    Earliest,
    /// Only what is appended from now on.
    Latest,
    /// By offset: at `value` or the first after it; after it if not `inclusive`.
    Offset {
        /// The offset.
        value: u64,
        /// Whether the event with just this offset is read too.
        inclusive: bool,
    },
    /// By sequence number, likewise.
    SequenceNumber {
        /// The sequence number.
        value: i64,
        /// Whether the event with just this number is read too.
        inclusive: bool,
    },
    /// By the time of the append, likewise, in whole milliseconds: readers know no finer ones.
    EnqueuedTime {
        /// The time.
        at: Timestamp,
        /// Whether events of just this millisecond are read too.
        inclusive: bool,
    },
}

/// A log. Every segment but the first, trimmed one and the last, growing one is full.
#[derive(Debug, Default)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    next_sequence_number: i64,
    next_offset: u64,
    last: Option<EventPosition>,
}

#[derive(Debug)]
struct Segment {
    events: VecDeque<Event>,
}

/// Events that retention took, for the caller to drop when it holds no lock.
#[derive(Debug)]
pub(crate) struct Expired(#[expect(dead_code, reason = "only to be dropped")] Vec<Segment>);

impl Log {
    pub(crate) fn append(
        &mut self,
        data: Arc<EventData>,
        enrichments: Option<Arc<[AddedProperty]>>,
    ) -> EventPosition {
        let earliest = self.last.map_or(data.accepted_at, |last| last.enqueued_at);
        let position = EventPosition {
            sequence_number: self.next_sequence_number,
            offset: self.next_offset,
            enqueued_at: data.accepted_at.max(earliest),
        };
        self.next_sequence_number += 1;
        let added = enrichments.iter().flat_map(|added| added.iter()).map(AddedProperty::size_bytes);
        self.next_offset += (data.size_bytes() + added.sum::<usize>()) as u64;
        self.last = Some(position);
        let event = Event { position, data, enrichments };
        match self.segments.back_mut() {
            Some(segment) if position.sequence_number % SEGMENT_EVENTS != 0 => {
                segment.events.push_back(event)
            }
            _ => self.segments.push_back(Segment { events: VecDeque::from([event]) }),
        }
        position
    }

    /// Drops the oldest events until at most `retention_bytes` are left; the newest always stays.
    pub(crate) fn trim(&mut self, retention_bytes: u64) {
        while let Some(oldest) = self.oldest()
            && self.next_offset - oldest.offset > retention_bytes
            && self.begin() + 1 < self.end()
        {
            self.pop_oldest();
        }
    }

    /// Takes the events out that are as old as `retention` at `now`.
    pub(crate) fn expire(&mut self, retention: Duration, now: Timestamp) -> Expired {
        let is_expired = |event: &Event| event.position.enqueued_at.plus(retention) <= now;
        let whole = self.segments.partition_point(|segment| segment.events.back().is_some_and(is_expired));
        let mut expired: Vec<_> = self.segments.drain(..whole).collect();
        if let Some(first) = self.segments.front_mut() {
            let some = first.events.partition_point(is_expired);
            expired.push(Segment { events: first.events.drain(..some).collect() });
        }
        Expired(expired)
    }

    /// Appends to `into` what lies from `from` on: at most `max_events`, and none after the one with which they take
    /// `max_bytes` together. Returns where to read on.
    pub(crate) fn read(&self, from: i64, max_events: usize, max_bytes: usize, into: &mut Vec<Event>) -> i64 {
        let from = from.max(self.begin());
        let Some((first, mut skipped)) = self.find(from) else { return from };
        let first_offset = self.segments[first].events[skipped].position.offset;
        let limit = first_offset.saturating_add(max_bytes.max(1) as u64);
        let before = into.len();
        for segment in self.segments.range(first..) {
            let room = max_events - (into.len() - before);
            let within = segment.events.partition_point(|event| event.position.offset < limit);
            let until = within.min(skipped.saturating_add(room)).max(skipped);
            into.extend(segment.events.range(skipped..until).cloned());
            if until < segment.events.len() {
                break;
            }
            skipped = 0;
        }
        from + i64::try_from(into.len() - before).expect("a log holds fewer events than there are numbers")
    }

    /// The sequence number a reader begins with.
    pub(crate) fn seek(&self, start: StartPosition) -> i64 {
        match start {
            StartPosition::Earliest => self.begin(),
            StartPosition::Latest => self.end(),
            StartPosition::Offset { value, inclusive } => {
                self.first_after(|event| event.offset < value || (!inclusive && event.offset == value))
            }
            StartPosition::SequenceNumber { value, inclusive } => {
                let first = if inclusive { value } else { value.saturating_add(1) };
                first.clamp(self.begin(), self.end())
            }
            StartPosition::EnqueuedTime { at, inclusive } => {
                let at = at.unix_millis();
                self.first_after(|event| {
                    let millis = event.enqueued_at.unix_millis();
                    millis < at || (!inclusive && millis == at)
                })
            }
        }
    }

    /// The sequence number of the oldest event kept; [`Self::end`] when none is.
    pub(crate) fn begin(&self) -> i64 {
        self.oldest().map_or(self.next_sequence_number, |oldest| oldest.sequence_number)
    }

    /// The sequence number the next event gets.
    pub(crate) const fn end(&self) -> i64 {
        self.next_sequence_number
    }

    /// The newest event's place, even if retention took it since.
    pub(crate) const fn last(&self) -> Option<EventPosition> {
        self.last
    }

    /// The place of the oldest event kept.
    pub(crate) fn oldest(&self) -> Option<EventPosition> {
        Some(self.segments.front()?.events.front()?.position)
    }

    /// What is kept, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Event> {
        self.segments.iter().rev().flat_map(|segment| segment.events.iter().rev())
    }

    /// The sequence number of the first event of which `is_before` no longer holds.
    fn first_after(&self, is_before: impl Fn(&EventPosition) -> bool) -> i64 {
        let is_before = |event: &Event| is_before(&event.position);
        let index = self.segments.partition_point(|segment| segment.events.back().is_some_and(is_before));
        let found = self
            .segments
            .get(index)
            .and_then(|segment| segment.events.get(segment.events.partition_point(is_before)));
        found.map_or_else(|| self.end(), |event| event.position.sequence_number)
    }

    /// The segment that holds the event of that number, and how many are before it there.
    fn find(&self, number: i64) -> Option<(usize, usize)> {
        let first = self.oldest()?.sequence_number;
        let index = usize::try_from(number / SEGMENT_EVENTS - first / SEGMENT_EVENTS).ok()?;
        let segment = self.segments.get(index)?;
        let skipped = usize::try_from(number - segment.events.front()?.position.sequence_number).ok()?;
        (skipped < segment.events.len()).then_some((index, skipped))
    }

    fn pop_oldest(&mut self) {
        if let Some(first) = self.segments.front_mut() {
            first.events.pop_front();
            if first.events.is_empty() {
                self.segments.pop_front();
            }
        }
    }
}

/// Events of a full segment: some tens of KiB with their positions.
const SEGMENT_EVENTS: i64 = 512;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
