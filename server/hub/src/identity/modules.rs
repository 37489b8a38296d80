//! Create, read, update and delete modules (contract/rest.md 1.4, 2.2).

use std::collections::BTreeMap;

use crate::Hub;
use crate::device_session::DisconnectReason;
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::{CreateModule, DeleteModule, GetModule, ListModules, UpdateModule};
use crate::identity::edge::Host;
use crate::identity::module::{ModuleRecord, check_managed_by};
use crate::identity::registry::{module_not_found, new_identity_state};
use crate::identity::{AuthenticationMechanism, GenerationId, Module, ModuleSpec};
use crate::ids::{DeviceId, ETag, IdentityId, IfMatch, ModuleId};
use crate::limits;
use crate::state::{DeviceState, ModuleState};
use crate::time::Timestamp;
use crate::twin::TwinPatch;

impl Hub {
    /// Registers a module on a device that exists.
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess` to a device's own credential unless it is an edge device, here as below.
    /// `DeviceNotFound`, `ModuleAlreadyExistsOnDevice`, `TooManyModulesOnDevice`, `TooManyDevices`,
    /// `ArgumentInvalid`, `SystemModuleModifyUnauthorizedAccess` for ids that begin with `$`.
    pub fn create_module(&self, by: Admitted<CreateModule>, spec: &ModuleSpec) -> Result<Module, HubError> {
        let (device, id) = by.target();
        let created = self.add_module(Host::of(&by, device), id, spec, None, by.at());
        by.conclude(created)
    }

    /// Replaces the writable part of a module that exists; changing how it authenticates ends its session.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `ArgumentInvalid`.
    pub fn update_module(
        &self,
        by: Admitted<UpdateModule>,
        spec: &ModuleSpec,
        if_match: &IfMatch,
    ) -> Result<Module, HubError> {
        let (device, id) = by.target();
        let updated = self.change_module(Host::of(&by, device), id, spec, if_match, by.at());
        by.conclude(updated)
    }

    /// Removes a module with its twin; its session ends.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `SystemModuleModifyUnauthorizedAccess`.
    pub fn delete_module(&self, by: Admitted<DeleteModule>, if_match: &IfMatch) -> Result<(), HubError> {
        let (device, id) = by.target();
        let deleted = self.remove_module(Host::of(&by, device), id, if_match, by.at());
        by.conclude(deleted)
    }

    /// One module.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub fn module(&self, by: Admitted<GetModule>) -> Result<Module, HubError> {
        let (device, id) = by.target();
        let found = self.module_view(Host::of(&by, device), id);
        by.conclude(found)
    }

    /// Every module of a device, in order of their ids.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub fn modules(&self, by: Admitted<ListModules>) -> Result<Vec<Module>, HubError> {
        let device = by.target();
        let listed = self.module_views(Host::of(&by, device));
        by.conclude(listed)
    }

    /// The work of [`Self::module`].
    pub(crate) fn module_view(&self, host: Host<'_>, id: &ModuleId) -> Result<Module, HubError> {
        let cell = self.devices.get(host.device)?;
        let state = host.lock(&cell)?;
        state.module_view(host.device, id).ok_or_else(|| module_missing(host.device, id))
    }

    /// The work of [`Self::modules`].
    pub(crate) fn module_views(&self, host: Host<'_>) -> Result<Vec<Module>, HubError> {
        let cell = self.devices.get(host.device)?;
        Ok(host.lock(&cell)?.module_views(host.device))
    }

    /// The work of [`Self::create_module`], for single and bulk calls; `twin` is what the new twin begins with.
    pub(crate) fn add_module(
        &self,
        host: Host<'_>,
        id: &ModuleId,
        spec: &ModuleSpec,
        twin: Option<&TwinPatch>,
        at: Timestamp,
    ) -> Result<Module, HubError> {
        let device = host.device;
        let cell = self.devices.get(device)?;
        let mut state = host.lock(&cell)?;
        // Who may not make any module is told that first.
        check_not_system(id)?;
        if state.modules.contains_key(id) {
            return Err(HubError::new(
                ErrorCode::ModuleAlreadyExistsOnDevice,
                format!("A module with ID '{id}' is already registered on device '{device}'."),
            ));
        }
        check_room(device, state.modules.len() + 1)?;
        let record = ModuleRecord {
            generation_id: GenerationId::at(at),
            etag: self.entropy.number(),
            managed_by: check_managed_by(spec.managed_by.as_deref())?,
            authentication: AuthenticationMechanism::resolve(
                spec.authentication.as_ref(),
                None,
                &self.entropy,
            )?
            .into(),
        };
        let own = new_identity_state(twin, at)?;
        self.devices.census().add_modules(1)?;
        self.tell_created(&IdentityId::module(device.clone(), id.clone()), &own.twin, at);
        let module = ModuleState { record, own };
        let view = module.view(device, id);
        state.modules.insert(id.clone(), module);
        Ok(view)
    }

    /// The work of [`Self::update_module`].
    pub(crate) fn change_module(
        &self,
        host: Host<'_>,
        id: &ModuleId,
        spec: &ModuleSpec,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<Module, HubError> {
        let device = host.device;
        let cell = self.devices.get(device)?;
        let mut state = host.lock(&cell)?;
        let module = state.modules.get_mut(id).ok_or_else(|| module_missing(device, id))?;
        if_match.check(ETag::of_identity(module.record.etag).as_str())?;
        let managed_by = check_managed_by(spec.managed_by.as_deref())?;
        let authentication = AuthenticationMechanism::resolve(
            spec.authentication.as_ref(),
            Some(&module.record.authentication.mechanism()),
            &self.entropy,
        )?
        .into();
        module.record.managed_by = managed_by;
        module.record.etag = self.next_etag(module.record.etag);
        if module.record.authentication != authentication {
            module.record.authentication = authentication;
            module.own.end_own_credential(self, at, DisconnectReason::KeysChanged);
        }
        Ok(module.view(device, id))
    }

    /// The work of [`Self::delete_module`].
    pub(crate) fn remove_module(
        &self,
        host: Host<'_>,
        id: &ModuleId,
        if_match: &IfMatch,
        at: Timestamp,
    ) -> Result<(), HubError> {
        let device = host.device;
        let cell = self.devices.get(device)?;
        let mut state = host.lock(&cell)?;
        let module = state.modules.get_mut(id).ok_or_else(|| module_missing(device, id))?;
        check_not_system(id)?;
        if_match.check(ETag::of_identity(module.record.etag).as_str())?;
        module.own.delete(self, at, &IdentityId::module(device.clone(), id.clone()));
        state.modules.remove(id);
        self.devices.census().remove_modules(1);
        Ok(())
    }

    /// Tells of modules that come with their device.
    pub(crate) fn tell_modules_created(
        &self,
        device: &DeviceId,
        modules: &BTreeMap<ModuleId, ModuleState>,
        at: Timestamp,
    ) {
        for (id, module) in modules {
            self.tell_created(&IdentityId::module(device.clone(), id.clone()), &module.own.twin, at);
        }
    }

    /// Ends modules that go with their device, or with its edge capability.
    pub(crate) fn delete_modules(
        &self,
        device: &DeviceId,
        modules: &mut BTreeMap<ModuleId, ModuleState>,
        at: Timestamp,
    ) {
        for (id, module) in modules {
            module.own.delete(self, at, &IdentityId::module(device.clone(), id.clone()));
        }
    }
}

impl DeviceState {
    /// One of its modules.
    pub(crate) fn module_view(&self, device: &DeviceId, id: &ModuleId) -> Option<Module> {
        self.modules.get(id).map(|module| module.view(device, id))
    }

    /// Its modules in order of their ids.
    pub(crate) fn module_views(&self, device: &DeviceId) -> Vec<Module> {
        self.modules.iter().map(|(id, module)| module.view(device, id)).collect()
    }
}

impl ModuleState {
    fn view(&self, device: &DeviceId, id: &ModuleId) -> Module {
        self.record.view(device, id, self.own.attachment.presence())
    }
}

/// Whether a device may hold so many modules, those of the edge runtime included.
pub(crate) fn check_room(device: &DeviceId, modules: usize) -> Result<(), HubError> {
    if modules <= limits::MODULES_PER_DEVICE {
        return Ok(());
    }
    Err(HubError::new(
        ErrorCode::TooManyModulesOnDevice,
        format!("Device '{device}' holds its limit of {} modules.", limits::MODULES_PER_DEVICE),
    ))
}

fn check_not_system(id: &ModuleId) -> Result<(), HubError> {
    if id.is_system() {
        return Err(HubError::new(
            ErrorCode::SystemModuleModifyUnauthorizedAccess,
            format!("'{id}' is a system module; the hub makes and removes it with its edge device."),
        ));
    }
    Ok(())
}

fn module_missing(device: &DeviceId, id: &ModuleId) -> HubError {
    module_not_found(&IdentityId::module(device.clone(), id.clone()))
}

#[cfg(test)]
mod tests;
