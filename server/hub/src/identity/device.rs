//! A device identity as callers see it and as they write it (contract/rest.md 2.1, 2.3).

use std::fmt;

use crate::device_session::Presence;
use crate::error::{ErrorCode, HubError};
use crate::identity::authentication::{AuthenticationMechanism, AuthenticationSpec};
use crate::ids::{DeviceId, ETag};
use crate::limits;
use crate::time::Timestamp;

/// A device identity at one moment.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Tells a re-created device from its predecessor.
    pub generation_id: GenerationId,
    /// Changes with every write to the identity.
    pub etag: ETag,
    /// Whether it may connect.
    pub status: DeviceStatus,
    /// Why, in the operator's words.
    pub status_reason: Option<Box<str>>,
    /// When `status` last changed; `None` when it never did.
    pub status_updated: Option<Timestamp>,
    /// How it proves who it is.
    pub authentication: AuthenticationMechanism,
    /// Whether it is an IoT Edge device.
    pub iot_edge: bool,
    /// Whether it is connected.
    pub presence: Presence,
}

/// The writable part of a device identity as a caller sent it.
#[derive(Clone, Debug, Default)]
pub struct DeviceSpec {
    /// Absent: generated keys on create, the stored ones on update.
    pub authentication: Option<AuthenticationSpec>,
    /// Absent: enabled.
    pub status: Option<DeviceStatus>,
    /// At most 128 characters.
    pub status_reason: Option<String>,
    /// Absent: false.
    pub iot_edge: Option<bool>,
}

/// Whether a device, and with it its modules, may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStatus {
    /// Refused at connect; a live session ends.
    Disabled,
    /// The default.
    Enabled,
}

/// An 18-digit decimal that looks like .NET ticks; new each time an identity is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationId(pub(crate) i64);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the registry stores of a device besides its twin, modules and session.
#[derive(Debug)]
pub(crate) struct DeviceRecord {
    pub(crate) generation_id: GenerationId,
    pub(crate) etag: u32,
    pub(crate) status: DeviceStatus,
    pub(crate) status_reason: Option<Box<str>>,
    pub(crate) status_updated: Option<Timestamp>,
    pub(crate) authentication: AuthenticationMechanism,
    pub(crate) iot_edge: bool,
}

impl DeviceRecord {
    pub(crate) fn view(&self, id: &DeviceId, presence: Presence) -> Device {
        Device {
            id: id.clone(),
            generation_id: self.generation_id,
            etag: ETag::of_identity(self.etag),
            status: self.status,
            status_reason: self.status_reason.clone(),
            status_updated: self.status_updated,
            authentication: self.authentication.clone(),
            iot_edge: self.iot_edge,
            presence,
        }
    }
}

pub(crate) fn check_status_reason(reason: Option<&str>) -> Result<Option<Box<str>>, HubError> {
    match reason {
        Some(reason) if reason.chars().count() > limits::STATUS_REASON_CHARS => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("statusReason is longer than {} characters.", limits::STATUS_REASON_CHARS),
        )),
        reason => Ok(reason.map(Into::into)),
    }
}
