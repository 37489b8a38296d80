//! Device-to-cloud messages: what a client sends and how the hub stamps it (contract/mqtt.md 5, 11).

mod message;
mod send;

pub use message::{DeviceMessage, MessageProperties};
