//! Create, read, update and delete identities. Deleting, disabling and re-keying end live sessions inside the
//! same lock, so no session outlives the right to it (contract/rest.md 1.2, 1.4, 2.3).

use std::collections::BTreeMap;

use crate::Hub;
use crate::device_session::{Attachment, DisconnectReason};
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::{
    CreateDevice, CreateModule, DeleteDevice, DeleteModule, GetDevice, GetModule, ListDevices, ListModules,
    UpdateDevice, UpdateModule,
};
pub(crate) use crate::identity::device::DeviceRecord;
use crate::identity::device::check_status_reason;
pub(crate) use crate::identity::module::ModuleRecord;
use crate::identity::{
    Authentication, AuthenticationMechanism, Device, DeviceSpec, DeviceStatus, GenerationId, Module,
    ModuleSpec,
};
use crate::ids::{DeviceId, ETag, IdentityId, IfMatch, ModuleId};
use crate::limits;
use crate::state::{DeviceState, IdentityState, ModuleState};
use crate::time::Timestamp;
use crate::twin::StoredTwin;

impl Hub {
    /// Registers a device with an empty twin.
    ///
    /// # Errors
    /// `DeviceAlreadyExists`, `ArgumentInvalid` for keys, thumbprints or a reason against the rules, `TooManyDevices`.
    pub fn create_device(&self, by: Admitted<CreateDevice>, spec: &DeviceSpec) -> Result<Device, HubError> {
        let (id, at) = (by.target().clone(), by.at());
        let created = self.devices.insert(&id, || {
            Ok(DeviceState {
                is_gone: false,
                record: DeviceRecord {
                    generation_id: GenerationId(at.dotnet_ticks()),
                    etag: self.entropy.number(),
                    status: spec.status.unwrap_or(DeviceStatus::Enabled),
                    status_reason: check_status_reason(spec.status_reason.as_deref())?,
                    status_updated: None,
                    authentication: AuthenticationMechanism::resolve(
                        spec.authentication.as_ref(),
                        None,
                        &self.entropy,
                    )?,
                    iot_edge: spec.iot_edge.unwrap_or(false),
                },
                own: new_identity_state(at),
                modules: BTreeMap::new(),
            })
        });
        by.conclude(created.and_then(|cell| {
            let state = cell.lock(&id)?;
            Ok(state.record.view(&id, state.own.attachment.presence()))
        }))
    }

    /// Replaces the writable part of a device that exists. Disabling it ends its sessions and those of its
    /// modules; changing how it authenticates ends its own.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`, `ArgumentInvalid`.
    pub fn update_device(
        &self,
        by: Admitted<UpdateDevice>,
        spec: &DeviceSpec,
        if_match: &IfMatch,
    ) -> Result<Device, HubError> {
        let (id, at) = (by.target().clone(), by.at());
        let update = || {
            let cell = self.devices.get(&id)?;
            let mut state = cell.lock(&id)?;
            let DeviceState { record, own, modules, .. } = &mut *state;
            if_match.check(&ETag::of_identity(record.etag))?;
            let status_reason = check_status_reason(spec.status_reason.as_deref())?;
            let authentication = AuthenticationMechanism::resolve(
                spec.authentication.as_ref(),
                Some(&record.authentication),
                &self.entropy,
            )?;
            let status = spec.status.unwrap_or(DeviceStatus::Enabled);
            if status != record.status {
                record.status = status;
                record.status_updated = Some(at);
            }
            record.status_reason = status_reason;
            record.iot_edge = spec.iot_edge.unwrap_or(false);
            record.etag = self.next_etag(record.etag);
            if record.authentication != authentication {
                record.authentication = authentication;
                own.attachment.end_own_credential(self, at, DisconnectReason::KeysChanged);
            }
            if status == DeviceStatus::Disabled {
                own.attachment.end(self, at, DisconnectReason::IdentityDisabled);
                for module in modules.values_mut() {
                    module.own.attachment.end(self, at, DisconnectReason::IdentityDisabled);
                }
            }
            Ok(record.view(&id, own.attachment.presence()))
        };
        by.conclude(update())
    }

    /// Removes a device with its twin, its modules and theirs; all their sessions end.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`.
    pub fn delete_device(&self, by: Admitted<DeleteDevice>, if_match: &IfMatch) -> Result<(), HubError> {
        let (id, at) = (by.target().clone(), by.at());
        let delete = || {
            let cell = self.devices.get(&id)?;
            let mut state = cell.lock(&id)?;
            if_match.check(&ETag::of_identity(state.record.etag))?;
            state.is_gone = true;
            state.own.attachment.end(self, at, DisconnectReason::IdentityDeleted);
            for module in state.modules.values_mut() {
                module.own.attachment.end(self, at, DisconnectReason::IdentityDeleted);
            }
            let identities = 1 + state.modules.len();
            drop(state);
            self.devices.remove(&id, &cell);
            self.devices.release_identities(identities);
            Ok(())
        };
        by.conclude(delete())
    }

    /// One device.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub fn device(&self, by: Admitted<GetDevice>) -> Result<Device, HubError> {
        let id = by.target().clone();
        let get = || {
            let cell = self.devices.get(&id)?;
            let state = cell.lock(&id)?;
            Ok(state.record.view(&id, state.own.attachment.presence()))
        };
        by.conclude(get())
    }

    /// The first `top` devices in order of their ids; 1 to 1000, anything else counts as 1000.
    ///
    /// # Errors
    /// None of its own.
    pub fn devices(&self, by: Admitted<ListDevices>, top: usize) -> Result<Vec<Device>, HubError> {
        let top = if (1..=limits::LIST_ROWS).contains(&top) { top } else { limits::LIST_ROWS };
        let devices = self.devices.first(top).into_iter().filter_map(|(id, cell)| {
            let state = cell.lock(&id).ok()?;
            Some(state.record.view(&id, state.own.attachment.presence()))
        });
        by.conclude(Ok(devices.collect()))
    }

    /// Registers a module on a device that exists.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleAlreadyExistsOnDevice`, `TooManyModulesOnDevice`, `ArgumentInvalid`,
    /// `SystemModuleModifyUnauthorizedAccess` for ids that begin with `$`.
    pub fn create_module(&self, by: Admitted<CreateModule>, spec: &ModuleSpec) -> Result<Module, HubError> {
        let ((device, id), at) = (by.target().clone(), by.at());
        let create = || {
            check_not_system(&id)?;
            let cell = self.devices.get(&device)?;
            let mut state = cell.lock(&device)?;
            if state.modules.contains_key(&id) {
                return Err(HubError::new(
                    ErrorCode::ModuleAlreadyExistsOnDevice,
                    format!("A module with ID '{id}' is already registered on device '{device}'."),
                ));
            }
            if state.modules.len() >= limits::MODULES_PER_DEVICE {
                return Err(HubError::new(
                    ErrorCode::TooManyModulesOnDevice,
                    format!("Device '{device}' holds its limit of {} modules.", limits::MODULES_PER_DEVICE),
                ));
            }
            let record = ModuleRecord {
                generation_id: GenerationId(at.dotnet_ticks()),
                etag: self.entropy.number(),
                managed_by: spec.managed_by.as_deref().map(Into::into),
                authentication: AuthenticationMechanism::resolve(
                    spec.authentication.as_ref(),
                    None,
                    &self.entropy,
                )?,
            };
            self.devices.reserve_identity()?;
            let own = new_identity_state(at);
            let view = record.view(&device, &id, own.attachment.presence());
            state.modules.insert(id, ModuleState { record, own });
            Ok(view)
        };
        by.conclude(create())
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
        let ((device, id), at) = (by.target().clone(), by.at());
        let update = || {
            let cell = self.devices.get(&device)?;
            let mut state = cell.lock(&device)?;
            let module = state.modules.get_mut(&id).ok_or_else(|| module_missing(&device, &id))?;
            if_match.check(&ETag::of_identity(module.record.etag))?;
            let authentication = AuthenticationMechanism::resolve(
                spec.authentication.as_ref(),
                Some(&module.record.authentication),
                &self.entropy,
            )?;
            module.record.managed_by = spec.managed_by.as_deref().map(Into::into);
            module.record.etag = self.next_etag(module.record.etag);
            if module.record.authentication != authentication {
                module.record.authentication = authentication;
                module.own.attachment.end_own_credential(self, at, DisconnectReason::KeysChanged);
            }
            Ok(module.record.view(&device, &id, module.own.attachment.presence()))
        };
        by.conclude(update())
    }

    /// Removes a module with its twin; its session ends.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `PreconditionFailed`, `SystemModuleModifyUnauthorizedAccess`.
    pub fn delete_module(&self, by: Admitted<DeleteModule>, if_match: &IfMatch) -> Result<(), HubError> {
        let ((device, id), at) = (by.target().clone(), by.at());
        let delete = || {
            check_not_system(&id)?;
            let cell = self.devices.get(&device)?;
            let mut state = cell.lock(&device)?;
            let module = state.modules.get_mut(&id).ok_or_else(|| module_missing(&device, &id))?;
            if_match.check(&ETag::of_identity(module.record.etag))?;
            module.own.attachment.end(self, at, DisconnectReason::IdentityDeleted);
            state.modules.remove(&id);
            self.devices.release_identities(1);
            Ok(())
        };
        by.conclude(delete())
    }

    /// One module.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub fn module(&self, by: Admitted<GetModule>) -> Result<Module, HubError> {
        let (device, id) = by.target().clone();
        let get = || {
            let cell = self.devices.get(&device)?;
            let state = cell.lock(&device)?;
            let module = state.modules.get(&id).ok_or_else(|| module_missing(&device, &id))?;
            Ok(module.record.view(&device, &id, module.own.attachment.presence()))
        };
        by.conclude(get())
    }

    /// Every module of a device, in order of their ids.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub fn modules(&self, by: Admitted<ListModules>) -> Result<Vec<Module>, HubError> {
        let device = by.target().clone();
        let list = || {
            let cell = self.devices.get(&device)?;
            let state = cell.lock(&device)?;
            let view = |(id, module): (&ModuleId, &ModuleState)| {
                module.record.view(&device, id, module.own.attachment.presence())
            };
            Ok(state.modules.iter().map(view).collect())
        };
        by.conclude(list())
    }

    /// How an identity proves who it is; what the authenticator judges a credential by. Not an operation: it runs
    /// before there is a grant.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub fn authentication(&self, identity: &IdentityId) -> Result<Authentication, HubError> {
        let cell = self.devices.get(&identity.device)?;
        let state = cell.lock(&identity.device)?;
        let mechanism = match &identity.module {
            None => state.record.authentication.clone(),
            Some(module) => match state.modules.get(module) {
                Some(module) => module.record.authentication.clone(),
                None => return Err(module_not_found(identity)),
            },
        };
        Ok(Authentication { mechanism, device_is_enabled: state.is_enabled() })
    }

    /// A random etag that is not the one before.
    fn next_etag(&self, before: u32) -> u32 {
        match self.entropy.number() {
            same if same == before => before.wrapping_add(1),
            fresh => fresh,
        }
    }
}

fn new_identity_state(at: Timestamp) -> IdentityState {
    IdentityState { twin: StoredTwin::new(at), attachment: Attachment::default() }
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

pub(crate) fn device_not_found(id: &DeviceId) -> HubError {
    HubError::new(ErrorCode::DeviceNotFound, format!("Device '{id}' is not registered."))
}

pub(crate) fn module_not_found(identity: &IdentityId) -> HubError {
    HubError::new(ErrorCode::ModuleNotFound, format!("Module '{identity}' is not registered."))
}

#[cfg(test)]
mod tests;
