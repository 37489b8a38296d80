//! Edge devices: the two system modules that come and go with the capability, and the scope it brings
//! (contract/rest.md 1.2, 2.3, 2.6).

use std::collections::BTreeMap;

use parking_lot::MutexGuard;

use crate::Hub;
use crate::error::{ErrorCode, HubError};
use crate::gate::{Admitted, Operation};
use crate::identity::module::ModuleRecord;
use crate::identity::modules::check_room;
use crate::identity::registry::empty_identity_state;
use crate::identity::scope::NamedScopes;
use crate::identity::{AuthenticationMechanism, DeviceScope, GenerationId};
use crate::ids::{DeviceId, ModuleId};
use crate::state::{DeviceCell, DeviceState, ModuleState};
use crate::time::Timestamp;

impl Hub {
    /// `$edgeAgent` and `$edgeHub` as an edge device is born with them: they accept no credential before the edge
    /// runtime gives them one.
    pub(crate) fn system_modules(&self, at: Timestamp) -> BTreeMap<ModuleId, ModuleState> {
        let module = |id| {
            let record = ModuleRecord {
                generation_id: GenerationId::at(at),
                etag: self.entropy.number(),
                managed_by: None,
                authentication: AuthenticationMechanism::None.into(),
            };
            (id, ModuleState { record, own: empty_identity_state(at) })
        };
        ModuleId::of_edge_runtime().into_iter().map(module).collect()
    }

    /// Makes a device an edge device or an ordinary one. The latter only while it hosts no module of its own
    /// (unverified, contract/rest.md 2.3): they would lose the runtime that runs them.
    pub(crate) fn set_iot_edge(
        &self,
        id: &DeviceId,
        state: &mut DeviceState,
        iot_edge: bool,
        at: Timestamp,
    ) -> Result<(), HubError> {
        match (state.record.iot_edge, iot_edge) {
            (false, true) => {
                let mut system = self.system_modules(at);
                check_room(id, state.modules.len() + system.len())?;
                self.devices.census().add_modules(system.len())?;
                self.tell_modules_created(id, &system, at);
                state.modules.append(&mut system);
            }
            (true, false) => {
                if let Some(module) = state.modules.keys().find(|module| !module.is_system()) {
                    return Err(HubError::new(
                        ErrorCode::ArgumentInvalid,
                        format!("Device '{id}' must stay an edge device while it hosts module '{module}'."),
                    ));
                }
                self.delete_modules(id, &mut state.modules, at);
                self.devices.census().remove_modules(state.modules.len());
                state.modules.clear();
            }
            (false, false) | (true, true) => {}
        }
        state.record.iot_edge = iot_edge;
        Ok(())
    }
}

/// The device whose modules somebody reads or changes, and what it has to be for that. It is looked at under the
/// device's lock, so that it cannot cease to be one in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<'a> {
    pub(crate) device: &'a DeviceId,
    must_be_edge: bool,
}

impl<'a> Host<'a> {
    /// For those who may touch the modules of every device.
    pub(crate) const fn any(device: &'a DeviceId) -> Self {
        Self { device, must_be_edge: false }
    }

    /// For those who speak for an edge device.
    pub(crate) const fn edge(device: &'a DeviceId) -> Self {
        Self { device, must_be_edge: true }
    }

    /// For whoever is admitted: a device manages modules with its own credential if it is an edge device, its runtime
    /// being the one that does (contract/rest.md 1.15).
    pub(crate) fn of<O: Operation>(by: &Admitted<O>, device: &'a DeviceId) -> Self {
        Self { device, must_be_edge: by.grant().is_of_device(device) }
    }

    pub(crate) fn lock<'c>(&self, cell: &'c DeviceCell) -> Result<MutexGuard<'c, DeviceState>, HubError> {
        let state = cell.lock(self.device)?;
        if state.record.iot_edge || !self.must_be_edge {
            return Ok(state);
        }
        drop(state);
        Err(refused(format!(
            "device '{}' is no edge device, so it may not manage modules itself",
            self.device
        )))
    }
}

/// An edge device or its hub asks for more than it may. Logged here: the gate had to let it in.
pub(crate) fn refused(reason: String) -> HubError {
    tracing::warn!(code = ErrorCode::IotHubUnauthorizedAccess.number(), "refused: {reason}");
    HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized").with_reason(reason)
}

impl DeviceState {
    /// The parent of this device after an update that named `scopes`.
    pub(crate) fn parent_after(
        &self,
        id: &DeviceId,
        scopes: NamedScopes,
        iot_edge: bool,
    ) -> Result<Option<DeviceScope>, HubError> {
        let own = DeviceScope::of(id.clone(), self.record.generation_id);
        let stored = self.record.parent();
        match (self.record.iot_edge, iot_edge) {
            (was_edge, true) => scopes.parent_of_edge(&own, was_edge, stored),
            (true, false) => scopes.without_own(&own).parent_of_leaf(stored),
            (false, false) => scopes.parent_of_leaf(stored),
        }
    }
}

#[cfg(test)]
mod tests;
