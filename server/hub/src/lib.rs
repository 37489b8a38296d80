//! The core of the emulated IoT hub: all state, all decisions, no protocol.
pub mod access;
pub mod entropy;
pub mod error;
pub mod ids;
pub mod limits;
pub mod time;
