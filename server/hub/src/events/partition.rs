//! One partition: a log that grows at one end and is trimmed at the other by age and size.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::identity::GenerationId;
use crate::ids::{DeviceId, IdentityId};
use crate::limits;
use crate::telemetry::MessageProperties;
use crate::time::Timestamp;

/// What one event takes besides its texts and body; an estimate for the retention by size.
const EVENT_OVERHEAD_BYTES: usize = 512;
/// What one application property takes besides its texts; an estimate likewise.
const PROPERTY_OVERHEAD_BYTES: usize = 96;
/// Bodies below this are copied when they are kept: they may be a slice of a read buffer, and an event is kept for a
/// day and must not keep its neighbours' bytes with it.
const COPIED_BODY_BYTES: usize = 64 * 1024;

/// An event's place in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPosition {
    /// Grows by one from event to event, from 0.
    pub sequence_number: u64,
    /// Grows with what is written; never repeats.
    pub offset: u64,
    /// When it was appended.
    pub enqueued_at: Timestamp,
}

/// Where an event comes from, as `iothub-message-source` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageSource {
    /// A message of a device or module.
    Telemetry,
}

impl MessageSource {
    /// The annotation's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
        }
    }
}

/// A record in a partition; one copy of its data serves every reader.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place.
    pub position: EventPosition,
    /// What it says.
    pub data: Arc<EventData>,
}

/// What an event says.
#[derive(Debug)]
pub struct EventData {
    /// The sender.
    pub identity: IdentityId,
    /// `iothub-connection-auth-method`, JSON text.
    pub auth_method: &'static str,
    /// `iothub-connection-auth-generation-id`.
    pub generation_id: GenerationId,
    /// `dt-dataschema`, if the sender announced a model.
    pub model_id: Option<Arc<str>>,
    /// `iothub-message-source`.
    pub source: MessageSource,
    /// What the sender set.
    pub properties: MessageProperties,
    /// The body, unchanged.
    pub body: Bytes,
    /// `iothub-enqueuedtime`: when the hub accepted the message.
    pub accepted_at: Timestamp,
}

impl EventData {
    /// What it takes, for the retention by size.
    fn size_bytes(&self) -> usize {
        self.body.len()
            + self.properties.text_bytes()
            + self.properties.application.len() * PROPERTY_OVERHEAD_BYTES
            + self.model_id.as_ref().map_or(0, |model_id| model_id.len())
            + EVENT_OVERHEAD_BYTES
    }
}

#[derive(Debug)]
pub(crate) struct Partition {
    log: Mutex<Log>,
    retention_bytes: usize,
}

#[derive(Debug, Default)]
struct Log {
    events: VecDeque<(usize, Event)>,
    bytes: usize,
    next_sequence_number: u64,
    next_offset: u64,
}

impl Partition {
    pub(crate) fn new(retention_bytes: usize) -> Self {
        Self { log: Mutex::default(), retention_bytes }
    }

    pub(crate) fn append(&self, mut data: EventData) -> EventPosition {
        if data.body.len() < COPIED_BODY_BYTES {
            data.body = Bytes::copy_from_slice(&data.body);
        }
        let bytes = data.size_bytes();
        let enqueued_at = data.accepted_at;
        let data = Arc::new(data);
        let mut log = self.log.lock();
        let position =
            EventPosition { sequence_number: log.next_sequence_number, offset: log.next_offset, enqueued_at };
        log.next_sequence_number += 1;
        log.next_offset += bytes as u64;
        log.bytes += bytes;
        log.events.push_back((bytes, Event { position, data }));
        log.trim(enqueued_at, self.retention_bytes);
        position
    }

    pub(crate) fn newest(&self, limit: usize, device: Option<&DeviceId>) -> Vec<Event> {
        let log = self.log.lock();
        let of_device = |event: &&Event| device.is_none_or(|device| event.data.identity.device == *device);
        log.events.iter().rev().map(|(_, event)| event).filter(of_device).take(limit).cloned().collect()
    }
}

impl Log {
    /// Drops the oldest events past retention; the newest always stays.
    fn trim(&mut self, now: Timestamp, retention_bytes: usize) {
        let retention = Duration::from_secs(limits::EVENT_RETENTION_SECS);
        while let Some((bytes, oldest)) = self.events.front() {
            let is_old = now.since(oldest.position.enqueued_at) > retention;
            if self.events.len() == 1 || !(is_old || self.bytes > retention_bytes) {
                break;
            }
            self.bytes -= bytes;
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: usize, at: i64) -> EventData {
        EventData {
            identity: IdentityId::parse("d", None).unwrap(),
            auth_method: "{}",
            generation_id: GenerationId(1),
            model_id: None,
            source: MessageSource::Telemetry,
            properties: MessageProperties::default(),
            body: Bytes::from(vec![0; body]),
            accepted_at: Timestamp::from_unix_secs(at),
        }
    }

    #[test]
    fn sequence_numbers_have_no_gaps_and_offsets_never_repeat() {
        let partition = Partition::new(usize::MAX);
        let positions: Vec<_> = (0..3).map(|n| partition.append(event(n, 0))).collect();
        assert_eq!(positions.iter().map(|p| p.sequence_number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(positions.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    }

    #[test]
    fn size_trims_the_oldest_and_never_the_newest() {
        let partition = Partition::new(3000);
        for _ in 0..10 {
            partition.append(event(1000, 0));
        }
        let kept = partition.newest(usize::MAX, None);
        assert_eq!(kept.iter().map(|e| e.position.sequence_number).collect::<Vec<_>>(), [9]);
        partition.append(event(100, 0));
        assert_eq!(partition.newest(usize::MAX, None).len(), 2);
    }

    #[test]
    fn properties_count_for_retention_like_bodies_do() {
        let partition = Partition::new(3000);
        for _ in 0..10 {
            let mut event = event(0, 0);
            event.properties.message_id = Some("m".repeat(1000));
            event.properties.application = vec![(String::new(), None); 20];
            partition.append(event);
        }
        assert_eq!(partition.newest(usize::MAX, None).len(), 1);
    }

    #[test]
    fn age_trims_what_is_past_retention() {
        let partition = Partition::new(usize::MAX);
        partition.append(event(1, 0));
        partition.append(event(1, 86_401));
        assert_eq!(partition.newest(usize::MAX, None).len(), 1);
    }
}
