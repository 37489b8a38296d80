//! Whether an identity is connected, and since when.

use crate::time::Timestamp;

/// Connected or not, as the registry shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// A session is live.
    Connected,
    /// None is.
    #[default]
    Disconnected,
}

/// The registry's connection fields; times are `None` until first set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether a session is live.
    pub state: ConnectionState,
    /// When that last changed.
    pub state_updated: Option<Timestamp>,
    /// When the identity last connected, sent or received.
    pub last_activity: Option<Timestamp>,
}
