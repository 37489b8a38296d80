//! A device identity as callers see it and as they write it (contract/rest.md 2.1, 2.3).

use std::fmt;

use crate::device_session::Presence;
use crate::error::{ErrorCode, HubError};
use crate::identity::authentication::{AuthenticationMechanism, AuthenticationSpec, StoredAuthentication};
use crate::identity::scope::DeviceScope;
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
    /// Of an edge device its own scope, of any other its parent's.
    pub device_scope: Option<DeviceScope>,
    /// The scope of the edge device above it, none or one.
    pub parent_scopes: Vec<DeviceScope>,
    /// Whether it is connected.
    pub presence: Presence,
    /// Cloud-to-device messages that wait or are locked.
    pub pending_messages: usize,
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
    /// Absent: false on create, as stored on update.
    pub iot_edge: Option<bool>,
    /// Absent: as stored. Null and empty text both come as empty text and detach the device from its parent.
    pub device_scope: Option<String>,
    /// Absent: as stored. Null comes as an empty list and detaches the device from its parent; at most one.
    pub parent_scopes: Option<Vec<String>>,
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

impl GenerationId {
    /// Of an identity made now.
    pub(crate) const fn at(at: Timestamp) -> Self {
        Self(at.dotnet_ticks())
    }
}

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
    pub(crate) authentication: StoredAuthentication,
    pub(crate) iot_edge: bool,
    /// What few devices have; `None` when it would all be `None`.
    pub(crate) rare: Option<Box<RareFields>>,
}

/// The fields that few of a million devices have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RareFields {
    pub(crate) status_reason: Option<Box<str>>,
    pub(crate) status_updated: Option<Timestamp>,
    /// The edge device above it.
    pub(crate) parent: Option<DeviceScope>,
}

impl DeviceRecord {
    pub(crate) fn view(&self, id: &DeviceId, presence: Presence, pending_messages: usize) -> Device {
        let (device_scope, parent_scopes) = self.scopes(id);
        let RareFields { status_reason, status_updated, .. } = self.rare_fields();
        Device {
            id: id.clone(),
            generation_id: self.generation_id,
            etag: ETag::of_identity(self.etag),
            status: self.status,
            status_reason,
            status_updated,
            authentication: self.authentication.mechanism(),
            iot_edge: self.iot_edge,
            device_scope,
            parent_scopes,
            presence,
            pending_messages,
        }
    }

    pub(crate) fn rare_fields(&self) -> RareFields {
        self.rare.as_deref().cloned().unwrap_or_default()
    }

    pub(crate) fn set_rare_fields(&mut self, rare: RareFields) {
        self.rare = (rare != RareFields::default()).then(|| Box::new(rare));
    }

    pub(crate) fn parent(&self) -> Option<&DeviceScope> {
        self.rare.as_ref()?.parent.as_ref()
    }

    /// `deviceScope` and `parentScopes` as the registry and the twin show them.
    pub(crate) fn scopes(&self, id: &DeviceId) -> (Option<DeviceScope>, Vec<DeviceScope>) {
        let parent = self.parent();
        let own = self.iot_edge.then(|| DeviceScope::of(id.clone(), self.generation_id));
        (own.or_else(|| parent.cloned()), parent.cloned().into_iter().collect())
    }
}

pub(crate) fn check_status_reason(reason: Option<&str>) -> Result<Option<Box<str>>, HubError> {
    check_chars("statusReason", reason, limits::STATUS_REASON_CHARS)
}

pub(crate) fn check_chars(
    name: &str,
    text: Option<&str>,
    limit: usize,
) -> Result<Option<Box<str>>, HubError> {
    match text {
        Some(text) if text.chars().count() > limit => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("{name} is longer than {limit} characters."),
        )),
        text => Ok(text.map(Into::into)),
    }
}
