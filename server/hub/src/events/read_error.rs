//! Why a reader of events is refused or ended (contract/eventhubs.md 4). The head that serves readers has a condition
//! for each.

use crate::error::{ErrorCode, HubError};
use crate::events::names::EventHubName;

/// Each message is for the developer of the reader; names are quoted from the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The event hub has no such group, or lost it.
    #[error("The event hub '{event_hub}' has no consumer group '{consumer_group}'.")]
    ConsumerGroupNotFound {
        /// Where it was looked for.
        event_hub: EventHubName,
        /// What was looked for.
        consumer_group: String,
    },
    /// A group is to be made on first use and cannot be.
    #[error("{}", .0.message())]
    ConsumerGroupRefused(HubError),
    /// A reader of the same or a higher owner level took the partition over.
    #[error("A reader with owner level {owner_level} took over this partition of the consumer group.")]
    Disowned {
        /// Of the reader that has it now.
        owner_level: i64,
    },
    /// The hub has no such event hub.
    #[error("There is no event hub '{event_hub}'.")]
    EventHubNotFound {
        /// What was looked for.
        event_hub: String,
    },
    /// A reader of a higher owner level has the partition, and this one has a lower level or none.
    #[error(
        "A reader with owner level {owner_level} owns this partition of the consumer group; read with that level or a higher one."
    )]
    OwnedByHigherLevel {
        /// Of the reader that has it.
        owner_level: i64,
    },
    /// The partition's id is no number below their count.
    #[error("The event hub '{event_hub}' has no partition '{partition}'; it has 0 to {}.", .partitions - 1)]
    PartitionOutOfRange {
        /// Where it was looked for.
        event_hub: EventHubName,
        /// What was looked for.
        partition: String,
        /// How many there are.
        partitions: u8,
    },
    /// As many readers without owner level as a consumer group may have on a partition.
    #[error(
        "{readers} readers without owner level read this partition of the consumer group; no more are allowed."
    )]
    TooManyReaders {
        /// How many there are.
        readers: usize,
    },
}

impl ReadError {
    /// What the journal notes.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::ConsumerGroupNotFound { .. } | Self::EventHubNotFound { .. } => ErrorCode::GenericNotFound,
            Self::ConsumerGroupRefused(error) => error.code(),
            Self::Disowned { .. } | Self::OwnedByHigherLevel { .. } | Self::TooManyReaders { .. } => {
                ErrorCode::GenericForbidden
            }
            Self::PartitionOutOfRange { .. } => ErrorCode::ArgumentInvalid,
        }
    }
}
