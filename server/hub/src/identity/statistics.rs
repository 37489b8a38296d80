//! How many identities there are and how many devices are connected (contract/rest.md 1.5). Counted where they
//! change, under the locks that make the change, so the numbers hold at every moment and cost nothing to read.

use parking_lot::Mutex;

use crate::Hub;
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::{GetDeviceStatistics, GetServiceStatistics};
use crate::identity::DeviceStatus;

/// The devices of the registry at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// All of them.
    pub total: usize,
    /// Those that may connect.
    pub enabled: usize,
    /// Those that may not.
    pub disabled: usize,
}

/// The connections of the hub at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceStatistics {
    /// Devices with a live session; modules do not count.
    pub connected_devices: usize,
}

impl Hub {
    /// How many devices there are.
    ///
    /// # Errors
    /// None of its own.
    pub fn device_statistics(&self, by: Admitted<GetDeviceStatistics>) -> Result<DeviceStatistics, HubError> {
        let Counts { devices, disabled, .. } = self.devices.census().counts();
        by.conclude(Ok(DeviceStatistics { total: devices, enabled: devices - disabled, disabled }))
    }

    /// How many devices are connected.
    ///
    /// # Errors
    /// None of its own.
    pub fn service_statistics(
        &self,
        by: Admitted<GetServiceStatistics>,
    ) -> Result<ServiceStatistics, HubError> {
        by.conclude(Ok(ServiceStatistics { connected_devices: self.devices.census().counts().connected }))
    }
}

/// The running counts. The innermost lock: nothing else is locked under it.
#[derive(Debug)]
pub(crate) struct Census(Mutex<Counts>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Devices and modules.
    identities: usize,
    /// How many of them the hub holds.
    identities_max: usize,
    devices: usize,
    disabled: usize,
    /// Devices with a live session.
    connected: usize,
}

impl Census {
    /// Nobody yet, and room for so many devices and modules.
    pub(crate) fn new(identities_max: usize) -> Self {
        Self(Mutex::new(Counts { identities_max, ..Counts::default() }))
    }

    fn counts(&self) -> Counts {
        *self.0.lock()
    }

    /// A device comes, with its system modules if it is an edge device; or the hub is full.
    pub(crate) fn add_device(&self, status: DeviceStatus, modules: usize) -> Result<(), HubError> {
        let mut counts = self.0.lock();
        counts.add_identities(1 + modules)?;
        counts.devices += 1;
        counts.disabled += usize::from(status == DeviceStatus::Disabled);
        Ok(())
    }

    /// A device goes with its modules.
    pub(crate) fn remove_device(&self, status: DeviceStatus, modules: usize) {
        let mut counts = self.0.lock();
        counts.identities -= 1 + modules;
        counts.devices -= 1;
        counts.disabled -= usize::from(status == DeviceStatus::Disabled);
    }

    /// A device was of one status and is now of another.
    pub(crate) fn change_status(&self, to: DeviceStatus) {
        let mut counts = self.0.lock();
        match to {
            DeviceStatus::Disabled => counts.disabled += 1,
            DeviceStatus::Enabled => counts.disabled -= 1,
        }
    }

    /// Modules come, or the hub is full.
    pub(crate) fn add_modules(&self, modules: usize) -> Result<(), HubError> {
        self.0.lock().add_identities(modules)
    }

    /// Modules go.
    pub(crate) fn remove_modules(&self, modules: usize) {
        self.0.lock().identities -= modules;
    }

    /// A device's session begins.
    pub(crate) fn device_connected(&self) {
        self.0.lock().connected += 1;
    }

    /// A device's session ends.
    pub(crate) fn device_disconnected(&self) {
        self.0.lock().connected -= 1;
    }
}

impl Counts {
    fn add_identities(&mut self, more: usize) -> Result<(), HubError> {
        if self.identities + more > self.identities_max {
            return Err(HubError::new(
                ErrorCode::TooManyDevices,
                format!("The hub holds its limit of {} devices and modules.", self.identities_max),
            ));
        }
        self.identities += more;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
