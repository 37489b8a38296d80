//! What is read: an event with what the hub says of it (contract/eventhubs.md 5), and what event hubs and partitions
//! say of themselves (section 3).

use std::time::SystemTime;

use bytes::Bytes;

/// An event in a partition.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The partition it was read from.
    pub partition: String,
    /// Its number there, from 0.
    pub sequence_number: i64,
    /// Its place there; not to be calculated with.
    pub offset: String,
    /// When the event hub took it.
    pub enqueued_at: SystemTime,
    /// What was sent.
    pub body: Bytes,
    /// The sender's name for it.
    pub message_id: Option<String>,
    /// What it belongs to.
    pub correlation_id: Option<String>,
    /// The type of the body, such as `application/json`.
    pub content_type: Option<String>,
    /// The encoding of the body, such as `utf-8`.
    pub content_encoding: Option<String>,
    /// The sender's own properties, in order; one without a value has none.
    pub properties: Vec<(String, Option<String>)>,
    /// What the hub says of it beyond the fields here, where it is text: `iothub-connection-device-id` and others.
    pub annotations: Vec<(String, String)>,
}

/// What an event hub says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHubProperties {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// The names of its partitions.
    pub partition_ids: Vec<String>,
}

/// What a partition says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProperties {
    /// Its name.
    pub id: String,
    /// The number of the oldest event there still is.
    pub beginning_sequence_number: i64,
    /// The number of the newest event; -1 when there never was one.
    pub last_enqueued_sequence_number: i64,
    /// Its offset.
    pub last_enqueued_offset: String,
    /// When it came.
    pub last_enqueued_at: SystemTime,
    /// Whether there is nothing to read.
    pub is_empty: bool,
}

impl Event {
    /// The device that sent it, or that it is about.
    #[must_use]
    pub fn device_id(&self) -> Option<&str> {
        self.annotation("iothub-connection-device-id")
    }

    /// The module of that device, if it was one.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.annotation("iothub-connection-module-id")
    }

    /// What sort of event it is: `Telemetry`, `twinChangeEvents`, `deviceLifecycleEvents` or another.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.annotation("iothub-message-source")
    }

    /// One of the sender's own properties, if it has a value.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(other, _)| other == name).and_then(|(_, value)| value.as_deref())
    }

    /// One of the hub's annotations, if it is text.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}
