//! The built-in event hub: what devices say, kept in partitions until retention takes it (contract/eventhubs.md,
//! ARCHITECTURE section 4.1).

mod event_hub;
mod partition;

pub use event_hub::EventHub;
pub use partition::{Event, EventData, EventPosition, MessageSource};
