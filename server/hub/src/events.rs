//! What devices say and what happens to them, kept in event hubs until retention takes it (contract/eventhubs.md,
//! ARCHITECTURE section 4.1): the built-in event hub under the hub's own name, and further ones beside it.
//!
//! Reading order: `event` is what is kept; `log` keeps it in order; `partition` lets appends and waiting readers meet
//! there; `consumer_group` says who may read; `event_hub` holds the partitions and groups of one name, `reader` is a
//! cursor on one partition; `calls` is what heads ask of the hub.

mod calls;
mod consumer_group;
mod event;
mod event_hub;
mod event_hubs;
mod log;
mod names;
mod partition;
mod read_error;
mod reader;

pub use event::{AddedProperty, Event, EventData, EventPosition, MessageSource, SenderStamps};
pub use event_hub::{EventHub, EventHubProperties, PartitionProperties};
pub use event_hubs::{EventHubConfig, EventHubs};
pub use log::StartPosition;
pub use names::{ConsumerGroupName, EventHubName};
pub use partition::EventRetention;
pub use read_error::ReadError;
pub use reader::{EventReader, ReaderRequest};
