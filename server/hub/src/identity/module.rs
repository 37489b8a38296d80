//! A module identity as callers see it and as they write it (contract/rest.md 2.2).

use crate::device_session::Presence;
use crate::error::HubError;
use crate::identity::authentication::{AuthenticationMechanism, AuthenticationSpec, StoredAuthentication};
use crate::identity::device::{GenerationId, check_chars};
use crate::ids::{DeviceId, ETag, ModuleId};
use crate::limits;

/// A module identity at one moment. It has no status of its own: a disabled device locks its modules out.
#[derive(Clone, Debug)]
pub struct Module {
    /// The device that hosts it.
    pub device: DeviceId,
    /// Its id on that device.
    pub id: ModuleId,
    /// Tells a re-created module from its predecessor.
    pub generation_id: GenerationId,
    /// Changes with every write to the identity.
    pub etag: ETag,
    /// Who manages it, such as `iotEdge`.
    pub managed_by: Option<Box<str>>,
    /// How it proves who it is.
    pub authentication: AuthenticationMechanism,
    /// Whether it is connected.
    pub presence: Presence,
}

/// The writable part of a module identity as a caller sent it.
#[derive(Clone, Debug, Default)]
pub struct ModuleSpec {
    /// Absent: generated keys on create, the stored ones on update.
    pub authentication: Option<AuthenticationSpec>,
    /// Who manages it; at most 128 characters.
    pub managed_by: Option<String>,
}

/// What the registry stores of a module besides its twin and session.
#[derive(Debug)]
pub(crate) struct ModuleRecord {
    pub(crate) generation_id: GenerationId,
    pub(crate) etag: u32,
    pub(crate) managed_by: Option<Box<str>>,
    pub(crate) authentication: StoredAuthentication,
}

impl ModuleRecord {
    pub(crate) fn view(&self, device: &DeviceId, id: &ModuleId, presence: Presence) -> Module {
        Module {
            device: device.clone(),
            id: id.clone(),
            generation_id: self.generation_id,
            etag: ETag::of_identity(self.etag),
            managed_by: self.managed_by.clone(),
            authentication: self.authentication.mechanism(),
            presence,
        }
    }
}

pub(crate) fn check_managed_by(managed_by: Option<&str>) -> Result<Option<Box<str>>, HubError> {
    check_chars("managedBy", managed_by, limits::MANAGED_BY_CHARS)
}
