//! Sessions: the core's view of a connected identity. One at a time each; a newer one takes over
//! (ARCHITECTURE section 4.5, contract/mqtt.md 2.8 to 2.10, contract/amqp.md 5).

mod attachment;
mod connect;
mod mailbox;
mod presence;

pub(crate) use attachment::Attachment;
pub use attachment::{SavedSession, SavedSubscription};
pub(crate) use connect::SessionCore;
pub use connect::{ConnectionView, DeviceSession, SessionOptions};
pub(crate) use mailbox::Mailbox;
pub use mailbox::{Delivery, DesiredChange, DisconnectReason, Interest};
pub use presence::{ConnectionState, Presence};
