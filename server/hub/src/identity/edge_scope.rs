//! What an edge hub asks and does for the devices below its own (contract/rest.md 1.15): the identities in a scope,
//! page by page, and the modules of nested edge devices, which reach the hub through their parents only.
//!
//! Only `$edgeHub` of an edge device may, with its own credential, since the answers hold keys. For whom it speaks is
//! said by a chain of devices, each the child of the next, that leads to its own.

use crate::Hub;
use crate::error::{ErrorCode, HubError};
use crate::gate::operations::{ManageOnBehalf, ReadEdgeScope};
use crate::gate::{Admitted, Operation};
use crate::identity::edge::{Host, refused};
use crate::identity::{Device, DeviceScope, Module, ModuleSpec};
use crate::ids::{DeviceId, IdentityId, IfMatch, ModuleId};
use crate::limits;
use crate::state::DeviceState;

/// `leaf;edge;root`: devices from the one that is meant up to one that speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthChain {
    target: DeviceId,
    /// Above the target, nearest first.
    above: Vec<DeviceId>,
}

impl AuthChain {
    /// Reads a chain; a module in it (`edge/$edgeHub`) stands for its device.
    ///
    /// # Errors
    /// `ArgumentInvalid` for an empty chain, one of more than [`limits::AUTH_CHAIN_DEVICES`], and ids that are none.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let mut devices: Vec<DeviceId> = Vec::new();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let device = DeviceId::parse(part.split_once('/').map_or(part, |(device, _module)| device))?;
            if devices.last() != Some(&device) {
                devices.push(device);
            }
            if devices.len() > limits::AUTH_CHAIN_DEVICES {
                return Err(HubError::new(
                    ErrorCode::ArgumentInvalid,
                    format!("The authChain holds more than {} devices.", limits::AUTH_CHAIN_DEVICES),
                ));
            }
        }
        let mut devices = devices.into_iter();
        let target = devices
            .next()
            .ok_or_else(|| HubError::new(ErrorCode::ArgumentInvalid, "The authChain is empty."))?;
        Ok(Self { target, above: devices.collect() })
    }

    /// The device that is meant.
    pub const fn target(&self) -> &DeviceId {
        &self.target
    }
}

/// Identities in the scope of an edge device: itself, its children, and the modules of those that are edge devices.
#[derive(Clone, Debug, Default)]
pub struct ScopePage {
    /// In order of their ids.
    pub devices: Vec<Device>,
    /// In the order of their devices.
    pub modules: Vec<Module>,
    /// The last device of this page, if there are more.
    pub next_after: Option<DeviceId>,
}

impl Hub {
    /// A page of the scope of the edge device the chain begins with, or of the caller's own. A page has `size` devices,
    /// 1 to [`limits::EDGE_SCOPE_DEVICES`] (anything else counts as that), and ends earlier past
    /// [`limits::EDGE_SCOPE_MODULES`] modules.
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess` to anybody but an edge hub and for a chain that does not lead to it;
    /// `DeviceNotFound`; `ArgumentInvalid` when the target is no edge device.
    pub fn edge_scope(
        &self,
        by: Admitted<ReadEdgeScope>,
        chain: Option<&AuthChain>,
        size: usize,
        after: Option<&DeviceId>,
    ) -> Result<ScopePage, HubError> {
        let page = self.target_of(&by, chain).and_then(|target| {
            let scope = self.scope_of_edge(&target)?;
            Ok(self.page(&target, &scope, size, after))
        });
        by.conclude(page)
    }

    /// One identity in that scope: a device, or a module with its device.
    ///
    /// # Errors
    /// As [`Self::edge_scope`]; `InvalidDeviceScope` for an identity outside the scope or that does not exist: edgeHub
    /// forgets an identity when it is told 400, and only then.
    pub fn identity_in_edge_scope(
        &self,
        by: Admitted<ReadEdgeScope>,
        chain: Option<&AuthChain>,
        identity: &IdentityId,
    ) -> Result<ScopePage, HubError> {
        let found = self.target_of(&by, chain).and_then(|target| {
            let scope = self.scope_of_edge(&target)?;
            self.in_scope(&target, &scope, identity).ok_or_else(|| {
                HubError::new(
                    ErrorCode::InvalidDeviceScope,
                    format!("'{identity}' is not in the scope of '{target}'."),
                )
            })
        });
        by.conclude(found)
    }

    /// Creates or updates a module of the edge device the chain begins with; as for a device, `If-Match` decides which.
    ///
    /// # Errors
    /// As [`Self::edge_scope`], [`Self::create_module`] and [`Self::update_module`].
    pub fn put_module_on_behalf(
        &self,
        by: Admitted<ManageOnBehalf>,
        chain: &AuthChain,
        id: &ModuleId,
        spec: &ModuleSpec,
        if_match: &IfMatch,
    ) -> Result<Module, HubError> {
        let at = by.at();
        let put = self.edge_below(&by, chain).and_then(|device| match if_match {
            IfMatch::Absent => self.add_module(Host::edge(&device), id, spec, None, at),
            IfMatch::Any | IfMatch::OneOf(_) => {
                self.change_module(Host::edge(&device), id, spec, if_match, at)
            }
        });
        by.conclude(put)
    }

    /// Removes a module of the edge device the chain begins with.
    ///
    /// # Errors
    /// As [`Self::edge_scope`] and [`Self::delete_module`].
    pub fn delete_module_on_behalf(
        &self,
        by: Admitted<ManageOnBehalf>,
        chain: &AuthChain,
        id: &ModuleId,
    ) -> Result<(), HubError> {
        let at = by.at();
        let deleted = self
            .edge_below(&by, chain)
            .and_then(|device| self.remove_module(Host::edge(&device), id, &IfMatch::Absent, at));
        by.conclude(deleted)
    }

    /// A module of the edge device the chain begins with.
    ///
    /// # Errors
    /// As [`Self::edge_scope`] and [`Self::module`].
    pub fn module_on_behalf(
        &self,
        by: Admitted<ManageOnBehalf>,
        chain: &AuthChain,
        id: &ModuleId,
    ) -> Result<Module, HubError> {
        let found = self.edge_below(&by, chain).and_then(|device| self.module_view(Host::edge(&device), id));
        by.conclude(found)
    }

    /// Every module of the edge device the chain begins with.
    ///
    /// # Errors
    /// As [`Self::edge_scope`].
    pub fn modules_on_behalf(
        &self,
        by: Admitted<ManageOnBehalf>,
        chain: &AuthChain,
    ) -> Result<Vec<Module>, HubError> {
        let listed = self.edge_below(&by, chain).and_then(|device| self.module_views(Host::edge(&device)));
        by.conclude(listed)
    }

    /// The edge device the chain begins with, the caller having the right to speak for it.
    fn edge_below<O>(&self, by: &Admitted<O>, chain: &AuthChain) -> Result<DeviceId, HubError>
    where
        O: Operation<Target = (DeviceId, ModuleId)>,
    {
        let target = self.target_of(by, Some(chain))?;
        self.scope_of_edge(&target).map(|_is_edge| target)
    }

    /// The device that is meant, the caller being an edge hub and the chain, if there is one, leading to it.
    fn target_of<O>(&self, by: &Admitted<O>, chain: Option<&AuthChain>) -> Result<DeviceId, HubError>
    where
        O: Operation<Target = (DeviceId, ModuleId)>,
    {
        let (actor, module) = by.target();
        if !module.is_edge_hub() || !by.grant().is_of_module_on(actor) {
            return Err(refused(format!(
                "only $edgeHub of '{actor}' may ask for its scope, with its own key"
            )));
        }
        let Some(chain) = chain else { return Ok(actor.clone()) };
        let mut child = &chain.target;
        let mut above = chain.above.iter();
        while child != actor {
            let Some(parent) = above.next() else {
                return Err(refused(format!("the authChain does not lead to '{actor}'")));
            };
            self.check_link(child, parent)?;
            child = parent;
        }
        Ok(chain.target.clone())
    }

    /// One link of a chain: `child` lies below `parent`, and both may connect.
    fn check_link(&self, child: &DeviceId, parent: &DeviceId) -> Result<(), HubError> {
        let scope = self.scope_of_edge(parent)?;
        let cell = self.devices.get(child)?;
        let state = cell.lock(child)?;
        if state.record.parent() == Some(&scope) && state.is_enabled() {
            return Ok(());
        }
        Err(refused(format!("'{child}' is disabled or no child of '{parent}', as the authChain says it is")))
    }

    fn scope_of_edge(&self, device: &DeviceId) -> Result<DeviceScope, HubError> {
        let cell = self.devices.get(device)?;
        let state = cell.lock(device)?;
        if !state.record.iot_edge {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                format!("Device '{device}' is no edge device."),
            ));
        }
        Ok(DeviceScope::of(device.clone(), state.record.generation_id))
    }

    fn in_scope(&self, edge: &DeviceId, scope: &DeviceScope, identity: &IdentityId) -> Option<ScopePage> {
        let cell = self.devices.get(&identity.device).ok()?;
        let state = cell.lock(&identity.device).ok()?;
        if identity.device != *edge && state.record.parent() != Some(scope) {
            return None;
        }
        let mut modules = Vec::new();
        if let Some(id) = &identity.module {
            modules.push(state.module_view(&identity.device, id)?);
        }
        Some(ScopePage { devices: vec![state.view(&identity.device)], modules, next_after: None })
    }

    fn page(&self, edge: &DeviceId, scope: &DeviceScope, size: usize, after: Option<&DeviceId>) -> ScopePage {
        let is_in_scope =
            |id: &DeviceId, state: &DeviceState| id == edge || state.record.parent() == Some(scope);
        let size =
            if (1..=limits::EDGE_SCOPE_DEVICES).contains(&size) { size } else { limits::EDGE_SCOPE_DEVICES };
        // One more than the page holds tells whether there is another.
        let ids = self.devices.first_that(size + 1, after, is_in_scope);
        let mut page = ScopePage::default();
        for (index, id) in ids.iter().enumerate() {
            if index == size || page.modules.len() >= limits::EDGE_SCOPE_MODULES {
                page.next_after = index.checked_sub(1).and_then(|last| ids.get(last)).cloned();
                break;
            }
            let Ok(cell) = self.devices.get(id) else { continue };
            let Ok(state) = cell.lock(id) else { continue };
            page.devices.push(state.view(id));
            if state.record.iot_edge {
                page.modules.append(&mut state.module_views(id));
            }
        }
        page
    }
}

#[cfg(test)]
mod tests;
