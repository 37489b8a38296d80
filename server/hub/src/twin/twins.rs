//! The operations on twins. A desired change is pushed to the owner's session under the device's lock, so
//! notifications arrive in the order of the versions; so is the event of a change, if it is routed (ARCHITECTURE
//! section 4.2).

use std::sync::Arc;

use bytes::Bytes;

use crate::Hub;
use crate::device_session::{Delivery, Interest, Presence};
use crate::error::HubError;
use crate::events::MessageSource;
use crate::gate::operations::{GetTwin, PatchTwin, ReadOwnTwin, ReplaceTwin, UpdateReported};
use crate::gate::{Admitted, Operation};
use crate::identity::registry::module_not_found;
use crate::identity::{AuthenticationMechanism, DeviceScope, DeviceStatus, RareFields};
use crate::ids::{ETag, IdentityId, IfMatch};
use crate::routing::HubEvent;
use crate::state::{DeviceState, IdentityState};
use crate::time::Timestamp;
use crate::twin::document::Document;
use crate::twin::patch::{ReportedPatch, TwinPatch};
use crate::twin::stored::{Change, Mode};

/// A twin at one moment.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Whose twin.
    pub identity: IdentityId,
    /// Changes with tags and desired properties.
    pub etag: ETag,
    /// Grows by one with every change of any section.
    pub version: u64,
    /// The model the device announced, if it did.
    pub model_id: Option<Arc<str>>,
    /// What a twin shows of its identity.
    pub owner: TwinOwner,
    document: Document,
}

/// The sections as services see them, written outside the device's lock.
impl Twin {
    /// Bytes of the sections as a service gets them.
    fn size_bytes(&self) -> usize {
        let mut sections = Vec::new();
        self.write_tags(&mut sections);
        self.write_desired(&mut sections);
        self.write_reported(&mut sections);
        sections.len()
    }

    /// Appends the tags, a JSON object.
    pub fn write_tags(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.document.tags().unwrap_or(b"{}"));
    }

    /// Appends the desired properties, a JSON object with `$metadata` and `$version`.
    pub fn write_desired(&self, out: &mut Vec<u8>) {
        self.document.desired().write_for_service(out);
    }

    /// Appends the reported properties, a JSON object with `$metadata` and `$version`.
    pub fn write_reported(&self, out: &mut Vec<u8>) {
        self.document.reported().write_for_service(out);
    }
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
    /// Cloud-to-device messages that wait or are locked.
    pub pending_messages: usize,
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
        if let Ok(twin) = &shown {
            self.gate().meter(&by, || twin.size_bytes());
        }
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
        let change = Change { patch, mode: Mode::Merge, if_match, at: by.at() };
        self.change_twin(by, change)
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
        let change = Change { patch, mode: Mode::Replace, if_match, at: by.at() };
        self.change_twin(by, change)
    }

    fn change_twin<O: Operation<Target = IdentityId>>(
        &self,
        by: Admitted<O>,
        change: Change<'_>,
    ) -> Result<Twin, HubError> {
        let patch = change.patch;
        let changed = self.with_state(&by, |identity, state| {
            self.apply_change(identity, state, change)?;
            view(identity, state)
        });
        if changed.is_ok() {
            self.gate().meter(&by, || patch.size_bytes());
        }
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
        if let Ok(twin) = &read {
            self.gate().meter(&by, || twin.len());
        }
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
            let IdentityState { twin, attachment } = state.identity(identity)?;
            attachment.heard_on(connection, at)?;
            let version = twin.report(patch, expected_version, at)?;
            self.tell(HubEvent::UpdateTwin, identity, twin, at, || twin.told_of_report(patch, at));
            Ok(version)
        });
        if reported.is_ok() {
            self.gate().meter(&by, || patch.size_bytes());
        }
        by.conclude(reported)
    }

    /// Merges a patch into the twin of `identity`, for the calls that are admitted for more than one.
    pub(crate) fn merge_twin(
        &self,
        identity: &IdentityId,
        patch: &TwinPatch,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<(), HubError> {
        let cell = self.devices.get(&identity.device)?;
        let mut state = cell.lock(&identity.device)?;
        self.apply_change(identity, &mut state, Change { patch, mode: Mode::Merge, if_match, at })
    }

    /// Changes a twin, and tells its owner and whoever routes twin changes.
    fn apply_change(
        &self,
        identity: &IdentityId,
        state: &mut DeviceState,
        change: Change<'_>,
    ) -> Result<(), HubError> {
        let IdentityState { twin, attachment } = state.identity(identity)?;
        let Change { patch, mode, at, .. } = change;
        let is_merge = mode == Mode::Merge && self.is_wanted(MessageSource::TwinChange);
        let merged = is_merge.then(|| twin.spell_out(patch));
        let watching = attachment.session();
        let watching = watching.filter(|session| session.mailbox.wants(Interest::DesiredProperties));
        let version_before = twin.version();
        let told = twin.apply(change, watching.is_some())?;
        if let (Some(session), Some(told)) = (watching, told) {
            session.mailbox.push(Delivery::DesiredChanged(told));
        }
        match (mode, merged) {
            _ if twin.version() == version_before => {}
            (Mode::Replace, _) => {
                self.tell(HubEvent::ReplaceTwin, identity, twin, at, || twin.told(identity));
            }
            (Mode::Merge, Some(merged)) => {
                self.tell(HubEvent::UpdateTwin, identity, twin, at, || twin.told_of_patch(&merged, at));
            }
            (Mode::Merge, None) => {}
        }
        Ok(())
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

fn view(identity: &IdentityId, state: &DeviceState) -> Result<Twin, HubError> {
    let (own, etag, authentication) = match &identity.module {
        None => (&state.own, state.record.etag, &state.record.authentication),
        Some(module) => {
            let module = state.modules.get(module).ok_or_else(|| module_not_found(identity))?;
            (&module.own, module.record.etag, &module.record.authentication)
        }
    };
    let RareFields { status_reason, status_updated, .. } = state.record.rare_fields();
    let (device_scope, parent_scopes) = match &identity.module {
        None => state.record.scopes(&identity.device),
        Some(_) => (None, Vec::new()),
    };
    Ok(Twin {
        identity: identity.clone(),
        etag: own.twin.etag(),
        version: own.twin.version(),
        model_id: own.twin.model_id().cloned(),
        document: own.twin.document().clone(),
        owner: TwinOwner {
            etag: ETag::of_identity(etag),
            status: state.record.status,
            status_reason,
            status_updated,
            authentication: authentication.mechanism(),
            presence: own.attachment.presence(),
            pending_messages: if identity.is_module() { 0 } else { state.pending_messages() },
            iot_edge: state.record.iot_edge,
            device_scope,
            parent_scopes,
        },
    })
}

#[cfg(test)]
mod tests;
