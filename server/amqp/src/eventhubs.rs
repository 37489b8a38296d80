//! The nodes of event hubs (contract/eventhubs.md): readers of partitions, questions about them, and the way there.
//!
//! - [`selector`]: where a reader wants to begin.
//! - [`message`]: an event as readers get it.
//! - [`management`]: what event hubs and partitions say of themselves.
//! - [`redirect`]: where those are sent who ask for the built-in event hub by its old name.

pub(crate) mod management;
pub(crate) mod message;
pub(crate) mod redirect;
pub(crate) mod selector;
