//! A reader: a cursor on one partition and a place in a consumer group. It pulls; what it has not read yet costs
//! nothing, and once retention has passed it, it continues at the oldest event.

use std::sync::Arc;

use crate::events::consumer_group::ReaderPlace;
use crate::events::event::{Event, EventPosition};
use crate::events::event_hub::EventHub;
use crate::events::log::StartPosition;
use crate::events::partition::Cursor;
use crate::events::read_error::ReadError;

/// Who wants to read what, as the request names it.
#[derive(Clone, Copy, Debug)]
pub struct ReaderRequest<'a> {
    /// The event hub's name.
    pub event_hub: &'a str,
    /// The consumer group's name.
    pub consumer_group: &'a str,
    /// The partition's id.
    pub partition: &'a str,
    /// Where to begin.
    pub start: StartPosition,
    /// The owner level ("epoch"): with one, a reader has the partition of its group alone.
    pub owner_level: Option<i64>,
}

/// Reads events. Dropping it frees its place.
#[derive(Debug)]
pub struct EventReader {
    event_hub: Arc<EventHub>,
    consumer_group: Box<str>,
    partition: u8,
    place: Arc<ReaderPlace>,
    cursor: Cursor,
}

impl EventReader {
    pub(crate) const fn new(
        event_hub: Arc<EventHub>,
        consumer_group: Box<str>,
        partition: u8,
        place: Arc<ReaderPlace>,
        cursor: Cursor,
    ) -> Self {
        Self { event_hub, consumer_group, partition, place, cursor }
    }

    /// Appends the next events to `into`: at most `max_events`, and none after the one with which they take
    /// `max_bytes` together. When there is nothing, the next append notifies the reader's `wake`.
    pub fn read(&mut self, max_events: usize, max_bytes: usize, into: &mut Vec<Event>) {
        let partition = self.event_hub.partition(self.partition);
        partition.read(&mut self.cursor, &self.place.wake, max_events, max_bytes, into);
    }

    /// Why the reader may not go on, once that is so; its `wake` is notified when it happens.
    pub fn ended(&self) -> Option<&ReadError> {
        self.place.ended.get()
    }

    /// The newest event of the partition, for runtime metrics.
    pub fn last_enqueued(&self) -> Option<EventPosition> {
        self.event_hub.partition(self.partition).bounds().last
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.event_hub.partition(self.partition).forget(&self.cursor, &self.place.wake);
        self.event_hub.leave(&self.consumer_group, self.partition, &self.place);
    }
}
