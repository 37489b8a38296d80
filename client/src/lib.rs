//! Azure IoT Hub for Rust.
mod byte_stream;
mod connection_string;
mod error;
mod identity_id;
mod sas;
mod time;
mod tls;
pub mod service;
pub use connection_string::{DeviceConnectionString, DeviceCredential, ServiceConnectionString, ServiceCredential};
pub use error::{Error, ErrorKind, HubError};
pub use identity_id::IdentityId;
pub use sas::{SasToken, SharedAccessKey};
pub use tls::{ClientCertificate, TrustedRoots};
