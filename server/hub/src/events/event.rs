//! One event: where it lies, what it says, who sent it (contract/eventhubs.md 5, contract/mqtt.md 11).

use std::sync::Arc;

use bytes::Bytes;

use crate::identity::GenerationId;
use crate::ids::IdentityId;
use crate::telemetry::MessageProperties;
use crate::time::Timestamp;

/// A record in a partition; one copy of its data serves every event hub and every reader.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place.
    pub position: EventPosition,
    /// What it says.
    pub data: Arc<EventData>,
    /// Application properties that routing added on the way to this event hub, after the sender's own.
    pub enrichments: Option<Arc<[AddedProperty]>>,
}

/// What an enrichment adds to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedProperty {
    /// Its name.
    pub name: Box<str>,
    /// Its value for this event.
    pub value: Box<str>,
}

/// An event's place in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPosition {
    /// Grows by one from event to event, from 0.
    pub sequence_number: i64,
    /// Grows with what is written; never repeats.
    pub offset: u64,
    /// When it was appended; never earlier than the event before it, whatever the clock does.
    pub enqueued_at: Timestamp,
}

/// What an event says.
#[derive(Debug)]
pub struct EventData {
    /// Whom it is about; the sender, if it has one.
    pub identity: IdentityId,
    /// `iothub-message-source`.
    pub source: MessageSource,
    /// What the hub knows of the sender; `None` for the hub's own events.
    pub sender: Option<SenderStamps>,
    /// What the sender set.
    pub properties: MessageProperties,
    /// The body, unchanged.
    pub body: Bytes,
    /// `iothub-enqueuedtime`: when the hub accepted the message.
    pub accepted_at: Timestamp,
}

/// What the hub stamps on the message of a device or module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderStamps {
    /// `iothub-connection-auth-method`, JSON text.
    pub auth_method: &'static str,
    /// `iothub-connection-auth-generation-id`.
    pub generation_id: GenerationId,
    /// `dt-dataschema`, if the sender announced a model.
    pub model_id: Option<Arc<str>>,
}

/// Where an event comes from, as `iothub-message-source` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageSource {
    /// A device or module connected or disconnected.
    DeviceConnectionState,
    /// A job ended for a device.
    DeviceJobLifecycle,
    /// A device or module was made or removed.
    DeviceLifecycle,
    /// A digital twin changed.
    DigitalTwinChange,
    /// A message of a device or module.
    Telemetry,
    /// A twin changed.
    TwinChange,
}

impl MessageSource {
    /// The annotation's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceConnectionState => "deviceConnectionStateEvents",
            Self::DeviceJobLifecycle => "deviceJobLifecycleEvents",
            Self::DeviceLifecycle => "deviceLifecycleEvents",
            Self::DigitalTwinChange => "digitalTwinChangeEvents",
            Self::Telemetry => "Telemetry",
            Self::TwinChange => "twinChangeEvents",
        }
    }
}

impl AddedProperty {
    /// What it takes, for the retention by size.
    pub(crate) fn size_bytes(&self) -> usize {
        self.name.len() + self.value.len() + PROPERTY_OVERHEAD_BYTES
    }
}

impl EventData {
    /// The form event hubs keep and share.
    pub(crate) fn into_shared(mut self) -> Arc<Self> {
        if self.body.len() < COPIED_BODY_BYTES {
            self.body = Bytes::copy_from_slice(&self.body);
        }
        Arc::new(self)
    }

    /// What it takes, for the retention by size.
    pub(crate) fn size_bytes(&self) -> usize {
        let model_id = self.sender.as_ref().and_then(|sender| sender.model_id.as_deref());
        self.body.len()
            + self.properties.text_bytes()
            + self.properties.application.len() * PROPERTY_OVERHEAD_BYTES
            + model_id.map_or(0, str::len)
            + EVENT_OVERHEAD_BYTES
    }
}

/// What one event takes besides its texts and body; an estimate for the retention by size.
const EVENT_OVERHEAD_BYTES: usize = 512;
/// What one application property takes besides its texts; an estimate likewise.
const PROPERTY_OVERHEAD_BYTES: usize = 96;
/// Bodies below this are copied when they are kept: they may be a slice of a read buffer, and an event is kept for a
/// day and must not keep its neighbours' bytes with it.
const COPIED_BODY_BYTES: usize = 64 * 1024;
