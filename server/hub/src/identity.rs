//! The identity registry: devices, their modules and how each proves who it is (contract/rest.md 1.2 to 1.6, 2).
//!
//! In reading order: `device`, `module`, `authentication` and `scope` are what callers see and send; `devices` and
//! `modules` the operations on one of them, `edge` what the edge capability adds and `edge_scope` what an edge hub may
//! ask of what lies below its device; `bulk` and `keys` the operations on
//! many, `statistics` the counts; `registry` what all of them share.

mod authentication;
mod bulk;
mod device;
mod devices;
mod edge;
mod edge_scope;
mod keys;
mod module;
mod modules;
pub(crate) mod registry;
mod scope;
mod statistics;

pub(crate) use authentication::StoredAuthentication;
pub use authentication::{
    Authentication, AuthenticationMechanism, AuthenticationRevision, AuthenticationSpec, AuthenticationType,
    Thumbprint, Thumbprints,
};
pub use bulk::{BulkChange, BulkResult, BulkRow, ImportMode, RowError, RowId};
pub use device::{Device, DeviceSpec, DeviceStatus, GenerationId};
pub(crate) use device::{DeviceRecord, RareFields};
pub use edge_scope::{AuthChain, ScopePage};
pub use keys::{KeyRegeneration, PolicyKey, RotatedKeys};
pub(crate) use module::ModuleRecord;
pub use module::{Module, ModuleSpec};
pub use scope::DeviceScope;
pub(crate) use statistics::Census;
pub use statistics::{DeviceStatistics, ServiceStatistics};
