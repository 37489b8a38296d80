//! The nodes of the service side (contract/amqp.md 3, 4.2, 4.3): messages for devices in, feedback on them out.
//!
//! - [`send`]: `messages/devicebound`, from a delivery to what the core queues.
//! - [`feedback`]: `messages/serviceBound/feedback`, batches of records under a lock.
//!
//! `messages/serviceBound/filenotifications` carries nothing yet: there are no uploads to tell of.

pub(crate) mod feedback;
pub(crate) mod send;

use crate::address::ServiceNode;

/// What a link of the service side is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceLink {
    /// The client reads what became of its messages.
    Feedback,
    /// The client waits for news of uploads.
    FileNotifications,
    /// The client sends messages for devices.
    Send,
}

impl ServiceLink {
    /// What a basic hub lacks with these links.
    pub(crate) const STANDARD_FEATURE: &str = "Cloud-to-device messaging";
    /// Largest delivery a client may send on them; said on all, because some clients look for it on all.
    pub(crate) const MESSAGE_BYTES_MAX: usize = send::DELIVERY_BYTES_MAX;

    /// The link a node and a direction make; `None` where the pair has no meaning.
    pub(crate) const fn of(node: ServiceNode, client_receives: bool) -> Option<Self> {
        match (node, client_receives) {
            (ServiceNode::DeviceBound, false) => Some(Self::Send),
            (ServiceNode::Feedback, true) => Some(Self::Feedback),
            (ServiceNode::FileNotifications, true) => Some(Self::FileNotifications),
            (ServiceNode::DeviceBound, true)
            | (ServiceNode::Feedback | ServiceNode::FileNotifications, false) => None,
        }
    }
}
