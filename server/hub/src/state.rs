//! The map of devices and what lies behind each device's lock: identity, modules, twins, sessions
//! (ARCHITECTURE section 3). One lock per device orders everything that happens to it.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, MutexGuard};

use crate::c2d::Queue;
use crate::device_session::Attachment;
use crate::error::{ErrorCode, HubError};
use crate::identity::registry::{device_not_found, module_not_found};
use crate::identity::{Census, DeviceRecord, DeviceStatus, GenerationId, ModuleRecord, StoredAuthentication};
use crate::ids::{DeviceId, IdentityId, ModuleId};
use crate::twin::StoredTwin;

/// Every device of the hub.
#[derive(Debug)]
pub(crate) struct Devices {
    cells: DashMap<DeviceId, Arc<DeviceCell>>,
    census: Census,
}

/// A device and everything that belongs to it, behind one lock.
#[derive(Debug)]
pub(crate) struct DeviceCell(Mutex<DeviceState>);

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct DeviceState {
    /// Set by a delete while somebody may still hold the cell: nothing is written to a device that is gone.
    pub(crate) is_gone: bool,
    pub(crate) record: DeviceRecord,
    pub(crate) own: IdentityState,
    pub(crate) modules: BTreeMap<ModuleId, ModuleState>,
    /// Messages for the device; made with the first one.
    pub(crate) c2d: Option<Box<Queue>>,
}

/// A module beside its device.
#[derive(Debug)]
pub(crate) struct ModuleState {
    pub(crate) record: ModuleRecord,
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

    /// How `identity` authenticates, with the etag that moves when that changes and the session that may rest on it.
    pub(crate) fn credentials(
        &mut self,
        identity: &IdentityId,
    ) -> Result<(&mut StoredAuthentication, &mut u32, &mut IdentityState), HubError> {
        match &identity.module {
            None => Ok((&mut self.record.authentication, &mut self.record.etag, &mut self.own)),
            Some(module) => match self.modules.get_mut(module) {
                Some(ModuleState { record, own }) => Ok((&mut record.authentication, &mut record.etag, own)),
                None => Err(module_not_found(identity)),
            },
        }
    }

    /// Cloud-to-device messages that wait or are locked.
    pub(crate) fn pending_messages(&self) -> usize {
        self.c2d.as_ref().map_or(0, |queue| queue.len())
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.record.status == DeviceStatus::Enabled
    }
}

impl Devices {
    /// No device, and room for so many of them and their modules. Many shards, so that a pass over a million devices
    /// keeps each of them for less than a millisecond.
    pub(crate) fn new(identities_max: usize) -> Self {
        Self { cells: DashMap::with_shard_amount(SHARDS), census: Census::new(identities_max) }
    }

    /// Adds a device made by `make` unless there is one of that id. `announce` is told of it before anybody can find it.
    pub(crate) fn insert(
        &self,
        id: &DeviceId,
        make: impl FnOnce() -> Result<DeviceState, HubError>,
        announce: impl FnOnce(&DeviceState),
    ) -> Result<Arc<DeviceCell>, HubError> {
        let entry = self.cells.entry(id.clone());
        if let Entry::Occupied(occupied) = &entry
            && !occupied.get().lock_even_if_gone().is_gone
        {
            return Err(HubError::new(
                ErrorCode::DeviceAlreadyExists,
                format!("A device with ID '{id}' is already registered."),
            ));
        }
        let state = make()?;
        self.census.add_device(state.record.status, state.modules.len())?;
        announce(&state);
        Ok(Arc::clone(&entry.insert(Arc::new(DeviceCell::new(state)))))
    }

    /// The cell of a device; the map's guard lives only long enough to clone it.
    pub(crate) fn get(&self, id: &DeviceId) -> Result<Arc<DeviceCell>, HubError> {
        self.cells.get(id).map(|cell| Arc::clone(&cell)).ok_or_else(|| device_not_found(id))
    }

    /// Takes a device out of the map if its cell is still this one.
    pub(crate) fn remove(&self, id: &DeviceId, cell: &Arc<DeviceCell>) {
        self.cells.remove_if(id, |_, found| Arc::ptr_eq(found, cell));
    }

    /// The first `top` ids in their order. A heap of that size passes over the map, so nothing is kept for lists
    /// between them; a million ids take some hundred milliseconds, each shard of the map its part of that.
    pub(crate) fn first(&self, top: usize) -> Vec<DeviceId> {
        let mut first = BinaryHeap::with_capacity(top);
        for entry in &self.cells {
            if first.len() < top {
                first.push(entry.key().clone());
            } else if let Some(mut last) = first.peek_mut()
                && entry.key() < &*last
            {
                *last = entry.key().clone();
            }
        }
        first.into_sorted_vec()
    }

    /// The first `top` ids after `after` of the devices that `fits` accepts, in their order. A pass over the map like
    /// [`Self::first`]; a device is locked under its shard, as in [`Self::insert`].
    pub(crate) fn first_that(
        &self,
        top: usize,
        after: Option<&DeviceId>,
        fits: impl Fn(&DeviceId, &DeviceState) -> bool,
    ) -> Vec<DeviceId> {
        let mut first = BinaryHeap::new();
        for entry in &self.cells {
            let id = entry.key();
            let is_late = first.len() == top && first.peek().is_none_or(|last| id >= last);
            if is_late || after.is_some_and(|after| id <= after) {
                continue;
            }
            let state = entry.value().lock_even_if_gone();
            if !state.is_gone && fits(id, &state) {
                if first.len() == top {
                    first.pop();
                }
                first.push(id.clone());
            }
        }
        first.into_sorted_vec()
    }

    /// Every cell, in no order.
    pub(crate) fn all(&self) -> Vec<(DeviceId, Arc<DeviceCell>)> {
        self.cells.iter().map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect()
    }

    /// The running counts.
    pub(crate) const fn census(&self) -> &Census {
        &self.census
    }
}

const SHARDS: usize = 1024;
