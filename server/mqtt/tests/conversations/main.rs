//! The MQTT head in front of a real hub, over an in-memory stream: whole conversations, read top to bottom.
//! `>` what the client sends, a line what it gets; `contract/mqtt.md` sections 2 to 8.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod connect;
mod deliveries;
mod framing;
mod harness;
mod messages;
mod methods;
mod misuse;
mod rules;
mod sdks;
mod subscriptions;
mod telemetry;
mod transcript;
mod twin;
