//! The identity registry: devices, their modules and how each proves who it is (contract/rest.md 1.2, 1.4, 2).

mod authentication;
mod device;
mod module;
pub(crate) mod registry;

pub use authentication::{
    Authentication, AuthenticationMechanism, AuthenticationSpec, AuthenticationType, Thumbprint, Thumbprints,
};
pub use device::{Device, DeviceSpec, DeviceStatus, GenerationId};
pub use module::{Module, ModuleSpec};
