//! Cloud-to-device messages: one queue per device, locks, settlement, feedback (contract/amqp.md 4.2 and 4.3,
//! contract/mqtt.md 6.1, contract/rest.md 1.14).
//!
//! Reading order: `message` is what travels, `queue` holds the rules of one device's queue without knowing the
//! hub, `calls` are the operations, `feedback` is the hub-wide queue of what became of messages.

mod calls;
mod feedback;
mod message;
mod queue;

pub(crate) use feedback::Feedback;
pub use feedback::{FeedbackBatch, FeedbackRecord};
pub use message::{Acknowledgement, CloudToDeviceMessage, LockToken, Outcome};
pub(crate) use queue::Queue;
pub use queue::{LockedMessage, Settlement};
