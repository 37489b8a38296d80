//! What the protocol tests talk to and talk with: an emulator in this process on free ports, and clients that are
//! as close to the wire as the misuse they are made for.
//!
//! - [`emulator`]: starts one, knows its ports, makes identities through its REST API.
//! - [`certificates`]: what people mint with OpenSSL, and what programs mint.
//! - [`tls`], [`http`], [`mqtt`], [`amqp`]: clients; [`websocket`] carries the last two over HTTPS, as a
//!   [`byte_stream`].
//! - [`sas`]: tokens, signed here and not by the code under test.
//! - [`neighbours`]: two well-behaved clients that must not notice what others do.
//! - [`watch`]: time limits, and panics of tasks nobody waits for.

pub(crate) mod amqp;
pub(crate) mod byte_stream;
pub(crate) mod certificates;
pub(crate) mod emulator;
pub(crate) mod http;
pub(crate) mod mqtt;
pub(crate) mod neighbours;
pub(crate) mod sas;
pub(crate) mod tls;
pub(crate) mod watch;
pub(crate) mod websocket;

pub(crate) use amqp::Amqp;
pub(crate) use emulator::{Emulator, Port};
pub(crate) use mqtt::Mqtt;
pub(crate) use neighbours::Neighbours;
