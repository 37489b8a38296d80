//! The nodes of devices and modules (contract/amqp.md 3).
//!
//! - [`cloud_to_device`]: `messages/devicebound`, messages under a lock, and what the device makes of them.
//! - [`links`]: which link of an identity is which, and when its session begins and ends.
//! - [`methods`]: `methods/devicebound`, requests on one link and responses on the other.
//! - [`telemetry`]: `messages/events`, device-to-cloud messages single and in batches.
//! - [`twin`]: `twin`, requests on one link and replies and notifications on the other.

pub(crate) mod cloud_to_device;
pub(crate) mod links;
pub(crate) mod methods;
pub(crate) mod telemetry;
pub(crate) mod twin;
