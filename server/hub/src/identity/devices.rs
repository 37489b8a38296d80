//! Create, read, update and delete devices. Deleting, disabling and re-keying end live sessions inside the
//! same lock, so no session outlives the right to it (contract/rest.md 1.2, 2.3).

use crate::Hub;
use crate::device_session::DisconnectReason;
use crate::error::HubError;
use crate::gate::Admitted;
use crate::gate::operations::{CreateDevice, DeleteDevice, GetDevice, ListDevices, UpdateDevice};
use crate::identity::device::{DeviceRecord, RareFields, check_status_reason};
use crate::identity::registry::new_identity_state;
use crate::identity::{
    AuthenticationMechanism, Device, DeviceScope, DeviceSpec, DeviceStatus, GenerationId,
    StoredAuthentication,
};
use crate::ids::{DeviceId, ETag, IfMatch};
use crate::limits;
use crate::state::DeviceState;
use crate::time::Timestamp;
use crate::twin::TwinPatch;

impl Hub {
    /// Registers a device with an empty twin; an edge device with its system modules.
    ///
    /// # Errors
    /// `DeviceAlreadyExists`, `ArgumentInvalid` for keys, thumbprints or a reason against the rules,
    /// `InvalidDeviceScope`, `TooManyDevices`.
    pub fn create_device(&self, by: Admitted<CreateDevice>, spec: &DeviceSpec) -> Result<Device, HubError> {
        let created = self.add_device(by.target(), spec, None, by.at());
        by.conclude(created)
    }

    /// Replaces the writable part of a device that exists. Disabling it ends its sessions and those of its
    /// modules; changing how it authenticates ends its own.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`, `ArgumentInvalid`, `InvalidDeviceScope`; `TooManyDevices` and
    /// `TooManyModulesOnDevice` when it becomes an edge device.
    pub fn update_device(
        &self,
        by: Admitted<UpdateDevice>,
        spec: &DeviceSpec,
        if_match: &IfMatch,
    ) -> Result<Device, HubError> {
        let updated = self.change_device(by.target(), spec, if_match, by.at());
        by.conclude(updated)
    }

    /// Removes a device with its twin, its modules and theirs; all their sessions end.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`.
    pub fn delete_device(&self, by: Admitted<DeleteDevice>, if_match: &IfMatch) -> Result<(), HubError> {
        let deleted = self.remove_device(by.target(), if_match, by.at());
        by.conclude(deleted)
    }

    /// One device.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub fn device(&self, by: Admitted<GetDevice>) -> Result<Device, HubError> {
        let id = by.target();
        let found = self.devices.get(id).and_then(|cell| Ok(cell.lock(id)?.view(id)));
        by.conclude(found)
    }

    /// The first `top` devices in order of their ids; 1 to 1000, anything else counts as 1000.
    ///
    /// # Errors
    /// None of its own.
    pub fn devices(&self, by: Admitted<ListDevices>, top: usize) -> Result<Vec<Device>, HubError> {
        let top = if (1..=limits::LIST_ROWS).contains(&top) { top } else { limits::LIST_ROWS };
        let view = |id: DeviceId| Some(self.devices.get(&id).ok()?.lock(&id).ok()?.view(&id));
        let devices = self.devices.first(top).into_iter().filter_map(view).collect();
        by.conclude(Ok(devices))
    }

    /// The work of [`Self::create_device`], for single and bulk calls; `twin` is what the new twin begins with.
    pub(crate) fn add_device(
        &self,
        id: &DeviceId,
        spec: &DeviceSpec,
        twin: Option<&TwinPatch>,
        at: Timestamp,
    ) -> Result<Device, HubError> {
        self.check_tier(spec)?;
        let scopes = self.named_scopes(spec)?;
        let make = || {
            let generation_id = GenerationId::at(at);
            let iot_edge = spec.iot_edge.unwrap_or(false);
            let parent = if iot_edge {
                scopes.parent_of_edge(&DeviceScope::of(id.clone(), generation_id), false, None)?
            } else {
                scopes.parent_of_leaf(None)?
            };
            let authentication =
                AuthenticationMechanism::resolve(spec.authentication.as_ref(), None, &self.entropy)?;
            authentication.check_for_device()?;
            let mut record = DeviceRecord {
                generation_id,
                etag: self.entropy.number(),
                status: spec.status.unwrap_or(DeviceStatus::Enabled),
                authentication: authentication.into(),
                iot_edge,
                rare: None,
            };
            let status_reason = check_status_reason(spec.status_reason.as_deref())?;
            record.set_rare_fields(RareFields { status_reason, status_updated: None, parent });
            Ok(DeviceState {
                is_gone: false,
                record,
                own: new_identity_state(twin, at)?,
                modules: if iot_edge { self.system_modules(at) } else { Default::default() },
                c2d: None,
            })
        };
        let cell = self.devices.insert(id, make, |state| {
            self.tell_created(&id.clone().into(), &state.own.twin, at);
            self.tell_modules_created(id, &state.modules, at);
        })?;
        Ok(cell.lock(id)?.view(id))
    }

    fn check_tier(&self, spec: &DeviceSpec) -> Result<(), HubError> {
        if spec.iot_edge == Some(true) { self.gate.standard("IoT Edge") } else { Ok(()) }
    }

    /// The work of [`Self::update_device`]. What can fail comes first, so a refused update changes nothing.
    pub(crate) fn change_device(
        &self,
        id: &DeviceId,
        spec: &DeviceSpec,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<Device, HubError> {
        self.check_tier(spec)?;
        let scopes = self.named_scopes(spec)?;
        let cell = self.devices.get(id)?;
        let mut state = cell.lock(id)?;
        if_match.check(ETag::of_identity(state.record.etag).as_str())?;
        let status_reason = check_status_reason(spec.status_reason.as_deref())?;
        let authentication = AuthenticationMechanism::resolve(
            spec.authentication.as_ref(),
            Some(&state.record.authentication.mechanism()),
            &self.entropy,
        )?;
        authentication.check_for_device()?;
        let authentication = StoredAuthentication::from(authentication);
        let iot_edge = spec.iot_edge.unwrap_or(state.record.iot_edge);
        let parent = state.parent_after(id, scopes, iot_edge)?;
        self.set_iot_edge(id, &mut state, iot_edge, at)?;

        let DeviceState { record, own, modules, .. } = &mut *state;
        let status = spec.status.unwrap_or(DeviceStatus::Enabled);
        let mut status_updated = record.rare_fields().status_updated;
        if status != record.status {
            record.status = status;
            status_updated = Some(at);
            self.devices.census().change_status(status);
        }
        record.set_rare_fields(RareFields { status_reason, status_updated, parent });
        record.etag = self.next_etag(record.etag);
        if record.authentication != authentication {
            record.authentication = authentication;
            own.end_own_credential(self, at, DisconnectReason::KeysChanged);
        }
        if status == DeviceStatus::Disabled {
            own.end_session(self, at, DisconnectReason::IdentityDisabled);
            for module in modules.values_mut() {
                module.own.end_session(self, at, DisconnectReason::IdentityDisabled);
            }
        }
        Ok(state.view(id))
    }

    /// The work of [`Self::delete_device`].
    pub(crate) fn remove_device(
        &self,
        id: &DeviceId,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<(), HubError> {
        let cell = self.devices.get(id)?;
        let mut state = cell.lock(id)?;
        if_match.check(ETag::of_identity(state.record.etag).as_str())?;
        state.is_gone = true;
        self.delete_modules(id, &mut state.modules, at);
        state.own.delete(self, at, &id.clone().into());
        self.drop_queue(&mut state, id);
        self.devices.census().remove_device(state.record.status, state.modules.len());
        drop(state);
        self.devices.remove(id, &cell);
        Ok(())
    }
}

impl DeviceState {
    pub(crate) fn view(&self, id: &DeviceId) -> Device {
        self.record.view(id, self.own.attachment.presence(), self.pending_messages())
    }
}

#[cfg(test)]
mod tests;
