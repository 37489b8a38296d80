//! The map of devices and what lies behind each device's lock: identity, modules, twins, sessions
//! (ARCHITECTURE section 3). One lock per device orders everything that happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, MutexGuard};

use crate::device_session::Attachment;
use crate::error::{ErrorCode, HubError};
use crate::identity::registry::{device_not_found, module_not_found};
use crate::identity::{DeviceStatus, GenerationId, registry};
use crate::ids::{DeviceId, IdentityId, ModuleId};
use crate::limits;
use crate::twin::StoredTwin;

/// Every device of the hub.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    cells: DashMap<DeviceId, Arc<DeviceCell>>,
    identities: AtomicUsize,
}

/// A device and everything that belongs to it, behind one lock.
#[derive(Debug)]
pub(crate) struct DeviceCell(Mutex<DeviceState>);

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct DeviceState {
    /// Set by a delete while somebody may still hold the cell: nothing is written to a device that is gone.
    pub(crate) is_gone: bool,
    pub(crate) record: registry::DeviceRecord,
    pub(crate) own: IdentityState,
    pub(crate) modules: BTreeMap<ModuleId, ModuleState>,
}

/// A module beside its device.
#[derive(Debug)]
pub(crate) struct ModuleState {
    pub(crate) record: registry::ModuleRecord,
    pub(crate) own: IdentityState,
}

/// What devices and modules have alike.
#[derive(Debug)]
pub(crate) struct IdentityState {
    pub(crate) twin: StoredTwin,
    pub(crate) attachment: Attachment,
}

impl DeviceCell {
    pub(crate) const fn new(state: DeviceState) -> Self {
        Self(Mutex::new(state))
    }

    /// Locks a device that still exists.
    pub(crate) fn lock(&self, id: &DeviceId) -> Result<MutexGuard<'_, DeviceState>, HubError> {
        let state = self.0.lock();
        if state.is_gone { Err(device_not_found(id)) } else { Ok(state) }
    }

    /// Locks a device whether it exists or not; for the end of a session.
    pub(crate) fn lock_even_if_gone(&self) -> MutexGuard<'_, DeviceState> {
        self.0.lock()
    }
}

impl DeviceState {
    /// The part that `identity` names.
    pub(crate) fn identity(&mut self, identity: &IdentityId) -> Result<&mut IdentityState, HubError> {
        match &identity.module {
            None => Ok(&mut self.own),
            Some(module) => match self.modules.get_mut(module) {
                Some(state) => Ok(&mut state.own),
                None => Err(module_not_found(identity)),
            },
        }
    }

    /// The generation of the device or module that `identity` names.
    pub(crate) fn generation_id(&self, identity: &IdentityId) -> Result<GenerationId, HubError> {
        match &identity.module {
            None => Ok(self.record.generation_id),
            Some(module) => match self.modules.get(module) {
                Some(state) => Ok(state.record.generation_id),
                None => Err(module_not_found(identity)),
            },
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.record.status == DeviceStatus::Enabled
    }
}

impl Devices {
    /// Adds a device made by `make` unless there is one of that id.
    pub(crate) fn insert(
        &self,
        id: &DeviceId,
        make: impl FnOnce() -> Result<DeviceState, HubError>,
    ) -> Result<Arc<DeviceCell>, HubError> {
        match self.cells.entry(id.clone()) {
            Entry::Occupied(_) => Err(HubError::new(
                ErrorCode::DeviceAlreadyExists,
                format!("A device with ID '{id}' is already registered."),
            )),
            Entry::Vacant(vacant) => {
                let state = make()?;
                self.reserve_identity()?;
                Ok(Arc::clone(&vacant.insert(Arc::new(DeviceCell::new(state)))))
            }
        }
    }

    /// The cell of a device; the map's guard lives only long enough to clone it.
    pub(crate) fn get(&self, id: &DeviceId) -> Result<Arc<DeviceCell>, HubError> {
        self.cells.get(id).map(|cell| Arc::clone(&cell)).ok_or_else(|| device_not_found(id))
    }

    /// Takes a device out of the map if its cell is still this one.
    pub(crate) fn remove(&self, id: &DeviceId, cell: &Arc<DeviceCell>) {
        self.cells.remove_if(id, |_, found| Arc::ptr_eq(found, cell));
    }

    /// The first `top` devices in order of their ids.
    pub(crate) fn first(&self, top: usize) -> Vec<(DeviceId, Arc<DeviceCell>)> {
        let mut ids: Vec<DeviceId> = self.cells.iter().map(|entry| entry.key().clone()).collect();
        ids.sort_unstable();
        ids.into_iter().take(top).filter_map(|id| self.get(&id).ok().map(|cell| (id, cell))).collect()
    }

    /// Every cell, in no order.
    pub(crate) fn all(&self) -> Vec<(DeviceId, Arc<DeviceCell>)> {
        self.cells.iter().map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect()
    }

    /// Counts one more device or module, up to the hub's limit.
    pub(crate) fn reserve_identity(&self) -> Result<(), HubError> {
        let reserve = |count| (count < limits::IDENTITIES).then_some(count + 1);
        match self.identities.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve) {
            Ok(_) => Ok(()),
            Err(_) => Err(HubError::new(
                ErrorCode::TooManyDevices,
                format!("The hub holds its limit of {} devices and modules.", limits::IDENTITIES),
            )),
        }
    }

    pub(crate) fn release_identities(&self, count: usize) {
        self.identities.fetch_sub(count, Ordering::Relaxed);
    }
}
