//! The operations on twins. A desired change is pushed to the owner's session under the device's lock, so
//! notifications arrive in the order of the versions (ARCHITECTURE section 4.2).

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::Hub;
use crate::device_session::{Delivery, Interest, Presence};
use crate::error::HubError;
use crate::gate::operations::{GetTwin, PatchTwin, ReadOwnTwin, ReplaceTwin, UpdateReported};
use crate::gate::{Admitted, Operation};
use crate::identity::registry::module_not_found;
use crate::identity::{AuthenticationMechanism, DeviceScope, DeviceStatus};
use crate::ids::{ETag, IdentityId, IfMatch};
use crate::state::DeviceState;
use crate::time::Timestamp;
use crate::twin::patch::{ReportedPatch, TwinPatch};
use crate::twin::stored::Mode;

/// A twin at one moment, its sections as the JSON services see.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Whose twin.
    pub identity: IdentityId,
    /// Changes with tags and desired properties.
    pub etag: ETag,
    /// Grows by one with every change of any section.
    pub version: u64,
    /// The model the device announced, or empty.
    pub model_id: Box<str>,
    /// A JSON object.
    pub tags: Box<RawValue>,
    /// A JSON object with `$metadata` and `$version`.
    pub desired: Box<RawValue>,
    /// A JSON object with `$metadata` and `$version`.
    pub reported: Box<RawValue>,
    /// What a twin shows of its identity.
    pub owner: TwinOwner,
}

/// The identity fields a twin shows (contract/rest.md 3.1).
#[derive(Clone, Debug)]
pub struct TwinOwner {
    /// The identity's etag, shown as `deviceEtag`.
    pub etag: ETag,
    /// The device's status.
    pub status: DeviceStatus,
    /// The device's status reason.
    pub status_reason: Option<Box<str>>,
    /// When the device's status last changed.
    pub status_updated: Option<Timestamp>,
    /// How the identity authenticates.
    pub authentication: AuthenticationMechanism,
    /// Whether the identity is connected.
    pub presence: Presence,
    /// Whether the device is an IoT Edge device.
    pub iot_edge: bool,
    /// The device's scope; a module shows none.
    pub device_scope: Option<DeviceScope>,
    /// The scope of the device's parent; a module shows none.
    pub parent_scopes: Vec<DeviceScope>,
}

impl Hub {
    /// The twin as services see it.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub fn twin(&self, by: Admitted<GetTwin>) -> Result<Twin, HubError> {
        let shown = self.with_state(&by, |identity, state| view(identity, state));
        by.conclude(shown)
    }

    /// Merges a patch into tags and desired properties; null deletes.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `ArgumentInvalid` past a limit.
    pub fn patch_twin(
        &self,
        by: Admitted<PatchTwin>,
        patch: &TwinPatch,
        if_match: &IfMatch,
    ) -> Result<Twin, HubError> {
        let at = by.at();
        let changed =
            self.with_state(&by, |identity, state| change(identity, state, patch, Mode::Merge, if_match, at));
        by.conclude(changed)
    }

    /// Replaces the sections that are present.
    ///
    /// # Errors
    /// As [`Self::patch_twin`].
    pub fn replace_twin(
        &self,
        by: Admitted<ReplaceTwin>,
        patch: &TwinPatch,
        if_match: &IfMatch,
    ) -> Result<Twin, HubError> {
        let at = by.at();
        let changed = self
            .with_state(&by, |identity, state| change(identity, state, patch, Mode::Replace, if_match, at));
        by.conclude(changed)
    }

    /// The twin as its owner reads it: `{"desired":{..},"reported":{..}}` with versions, without metadata.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub fn read_own_twin(&self, by: Admitted<ReadOwnTwin>) -> Result<Bytes, HubError> {
        let (at, connection) = (by.at(), by.connection());
        let read = self.with_state(&by, |identity, state| {
            let own = state.identity(identity)?;
            own.attachment.heard_on(connection, at)?;
            Ok(own.twin.for_device())
        });
        by.conclude(read)
    }

    /// Merges what the owner reports, if the reported properties have the version it expects; returns their new
    /// `$version` (contract/mqtt.md 7.2).
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `ArgumentInvalid` past the size limit.
    pub fn update_reported(
        &self,
        by: Admitted<UpdateReported>,
        patch: &ReportedPatch,
        expected_version: Option<u64>,
    ) -> Result<u64, HubError> {
        let (at, connection) = (by.at(), by.connection());
        let reported = self.with_state(&by, |identity, state| {
            let own = state.identity(identity)?;
            own.attachment.heard_on(connection, at)?;
            own.twin.report(patch, expected_version, at)
        });
        by.conclude(reported)
    }

    /// Merges a patch into the twin of `identity`, for the calls that are admitted for more than one.
    pub(crate) fn merge_twin(
        &self,
        identity: &IdentityId,
        patch: &TwinPatch,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<Twin, HubError> {
        let cell = self.devices.get(&identity.device)?;
        let mut state = cell.lock(&identity.device)?;
        change(identity, &mut state, patch, Mode::Merge, if_match, at)
    }

    /// Runs `act` under the lock of the operation's device.
    fn with_state<O: Operation<Target = IdentityId>, T>(
        &self,
        by: &Admitted<O>,
        act: impl FnOnce(&IdentityId, &mut DeviceState) -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let identity = by.target();
        let cell = self.devices.get(&identity.device)?;
        let mut state = cell.lock(&identity.device)?;
        act(identity, &mut state)
    }
}

fn change(
    identity: &IdentityId,
    state: &mut DeviceState,
    patch: &TwinPatch,
    mode: Mode,
    if_match: &IfMatch,
    at: Timestamp,
) -> Result<Twin, HubError> {
    let own = state.identity(identity)?;
    if let Some(change) = own.twin.apply(patch, mode, if_match, at)? {
        let session = own.attachment.session();
        if let Some(session) = session.filter(|session| session.mailbox.wants(Interest::DesiredProperties)) {
            session.mailbox.push(Delivery::DesiredChanged(change));
        }
    }
    view(identity, state)
}

fn view(identity: &IdentityId, state: &DeviceState) -> Result<Twin, HubError> {
    let (own, etag, authentication) = match &identity.module {
        None => (&state.own, state.record.etag, &state.record.authentication),
        Some(module) => {
            let module = state.modules.get(module).ok_or_else(|| module_not_found(identity))?;
            (&module.own, module.record.etag, &module.record.authentication)
        }
    };
    let (device_scope, parent_scopes) = match &identity.module {
        None => state.record.scopes(&identity.device),
        Some(_) => (None, Vec::new()),
    };
    Ok(Twin {
        identity: identity.clone(),
        etag: own.twin.etag(),
        version: own.twin.version(),
        model_id: own.twin.model_id().unwrap_or_default().into(),
        tags: own.twin.tags_json(),
        desired: own.twin.desired_json(),
        reported: own.twin.reported_json(),
        owner: TwinOwner {
            etag: ETag::of_identity(etag),
            status: state.record.status,
            status_reason: state.record.status_reason.clone(),
            status_updated: state.record.status_updated,
            authentication: authentication.clone(),
            presence: own.attachment.presence(),
            iot_edge: state.record.iot_edge,
            device_scope,
            parent_scopes,
        },
    })
}

#[cfg(test)]
mod tests;
