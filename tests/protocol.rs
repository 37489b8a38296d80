//! The protocol tier: an emulator in this process, real TLS, real sockets, and clients that misbehave. Proves what
//! the units cannot: that limits hold where they are put together, and that nobody suffers for what others do.
//!
//! - [`garbage`], [`slow`], [`mqtt_misuse`], [`amqp_misuse`], [`amqp_links`],
//!   [`amqp_floods`], [`websocket_misuse`]: bad input on every port.
//! - [`rest_input`], [`rest_access`], [`admin_input`]: bad input and rights on the REST API and the admin API.
//! - [`x509`], [`x509_refusals`]: certificates, accepted and refused.
//! - [`take_over`], [`ends`], [`expiry`]: one live session per identity, and what ends it; [`saved_sessions`]: what
//!   it leaves behind.
//! - [`amqp_spelling`]: AMQP in every legal encoding.
//! - [`cloud_to_device`]: messages from a back end to a device, whatever that speaks; [`websocket_stream`]: MQTT in
//!   WebSocket frames.
//! - [`event_readers`]: telemetry read over every way to it; [`routes`]: what happens, told to readers of event hubs.
//! - [`tiers`], [`throttles`]: what a tier lacks, and what is delayed or refused once rates and quota are enforced.
//! - [`life`]: start, readiness, limits of connections, drain.

mod harness;

#[path = "protocol/admin_input.rs"]
mod admin_input;
#[path = "protocol/amqp_floods.rs"]
mod amqp_floods;
#[path = "protocol/amqp_links.rs"]
mod amqp_links;
#[path = "protocol/amqp_misuse.rs"]
mod amqp_misuse;
#[path = "protocol/amqp_spelling.rs"]
mod amqp_spelling;
#[path = "protocol/cloud_to_device.rs"]
mod cloud_to_device;
#[path = "protocol/ends.rs"]
mod ends;
#[path = "protocol/event_readers.rs"]
mod event_readers;
#[path = "protocol/expiry.rs"]
mod expiry;
#[path = "protocol/garbage.rs"]
mod garbage;
#[path = "protocol/life.rs"]
mod life;
#[path = "protocol/mqtt_misuse.rs"]
mod mqtt_misuse;
#[path = "protocol/rest_access.rs"]
mod rest_access;
#[path = "protocol/rest_input.rs"]
mod rest_input;
#[path = "protocol/routes.rs"]
mod routes;
#[path = "protocol/saved_sessions.rs"]
mod saved_sessions;
#[path = "protocol/slow.rs"]
mod slow;
#[path = "protocol/take_over.rs"]
mod take_over;
#[path = "protocol/throttles.rs"]
mod throttles;
#[path = "protocol/tiers.rs"]
mod tiers;
#[path = "protocol/websocket_misuse.rs"]
mod websocket_misuse;
#[path = "protocol/websocket_stream.rs"]
mod websocket_stream;
#[path = "protocol/x509.rs"]
mod x509;
#[path = "protocol/x509_refusals.rs"]
mod x509_refusals;
