//! Azure IoT Hub for Rust: the service side (identities, twins, reading telemetry) and the device and module side
//! (twins, telemetry), against the real hub or an emulator of it.
//!
//! Reading order:
//! - [`ServiceConnectionString`], [`DeviceConnectionString`], [`SharedAccessKey`], [`SasToken`]: who signs in, and how.
//! - [`TrustedRoots`], [`ClientCertificate`]: TLS.
//! - [`service`]: the registry and twins over HTTPS.
//! - [`events`]: reads what devices have sent, from the hub's Event Hubs-compatible endpoint.
//! - [`device`]: one client for devices and one for modules, over MQTT or AMQP, each by TCP or WebSocket.
//! - `byte_stream`, `mqtt`, `amqp`: the wires, private; `backoff` is the pause between attempts to use them.
//! - [`Error`]: what can go wrong, for programs and for people.
//!
//! Everything runs on tokio. TLS is rustls with ring; there is no OpenSSL and no process-wide state.

mod amqp;
mod backoff;
mod byte_stream;
mod connection_string;
pub mod device;
mod error;
pub mod events;
mod identity_id;
mod mqtt;
mod refusal;
mod sas;
pub mod service;
mod time;
mod tls;

pub use connection_string::{
    DeviceConnectionString, DeviceCredential, ServiceConnectionString, ServiceCredential,
};
pub use error::{Error, ErrorKind, HubError};
pub use identity_id::IdentityId;
pub use sas::{SasToken, SharedAccessKey};
pub use tls::{ClientCertificate, TrustedRoots};
