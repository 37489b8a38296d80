//! The naive registry: contract/rest.md 1.2 to 1.6 and 2.

use hub::device_session::DisconnectReason;
use hub::error::ErrorCode;
use hub::identity::{BulkChange, DeviceSpec, DeviceStatus, ImportMode, ModuleSpec, PolicyKey};
use hub::ids::{DeviceId, IdentityId, ModuleId};

use crate::caller::Demand;
use crate::naive::{Naive, NaiveAuthentication, NaiveIdentity, NaiveKind};
use crate::naive_authentication::resolve;
use crate::naive_message::NaiveQueue;
use crate::naive_scope::Wanted;
use crate::naive_twin::{NaivePatch, NaiveTwin};

impl Naive {
    pub(crate) fn create_device(
        &mut self,
        id: &DeviceId,
        spec: &DeviceSpec,
        twin: Option<&NaivePatch>,
    ) -> Result<(), ErrorCode> {
        let wanted = Wanted::read(spec)?;
        let device = IdentityId::device(id.clone());
        if self.identities.contains_key(&device) {
            return Err(ErrorCode::DeviceAlreadyExists);
        }
        let is_edge = spec.iot_edge == Some(true);
        let parent = self.parent_of(&wanted, None, is_edge)?;
        let authentication = for_device(resolve(spec.authentication.as_ref(), None)?)?;
        let kind = NaiveKind::Device {
            is_enabled: spec.status != Some(DeviceStatus::Disabled),
            status_reason: short(spec.status_reason.as_ref())?,
            status_updated: None,
            iot_edge: is_edge,
            parent,
        };
        let twin = self.new_twin(twin)?;
        self.insert(device, authentication, twin, kind);
        if is_edge {
            self.add_system_modules(id);
        }
        Ok(())
    }

    pub(crate) fn update_device(
        &mut self,
        id: &DeviceId,
        spec: &DeviceSpec,
        demand: &Demand,
    ) -> Result<(), ErrorCode> {
        let (now, wanted, device) = (self.now, Wanted::read(spec)?, IdentityId::device(id.clone()));
        demand.check(self.find(&device)?.etag.as_deref())?;
        let reason = short(spec.status_reason.as_ref())?;
        let own = &self.identities[&device];
        let authentication = for_device(resolve(spec.authentication.as_ref(), Some(&own.authentication))?)?;
        let was_edge = own.is_edge();
        let is_edge = spec.iot_edge.unwrap_or(was_edge);
        let new_parent = self.parent_of(&wanted, Some(id), is_edge)?;
        match (was_edge, is_edge) {
            (false, true) if self.modules(id).count() > 48 => return Err(ErrorCode::TooManyModulesOnDevice),
            (false, true) => self.add_system_modules(id),
            (true, false) if self.modules(id).any(|(module, _)| !is_system(module)) => {
                return Err(ErrorCode::ArgumentInvalid);
            }
            (true, false) => {
                for module in self.family(id).into_iter().filter(IdentityId::is_module) {
                    self.delete(&module);
                }
            }
            _ => {}
        }
        let enable = spec.status != Some(DeviceStatus::Disabled);
        let own = self.find(&device)?;
        let NaiveKind::Device { is_enabled, status_reason, status_updated, iot_edge, parent } = &mut own.kind
        else {
            unreachable!("{id} is a device")
        };
        if *is_enabled != enable {
            *status_updated = Some(now);
        }
        (*is_enabled, *status_reason, *iot_edge, *parent) = (enable, reason, is_edge, new_parent);
        self.write(&device, authentication);
        if !enable {
            for identity in self.family(id) {
                self.end(&identity, DisconnectReason::IdentityDisabled);
            }
        }
        Ok(())
    }

    pub(crate) fn delete_device(&mut self, id: &DeviceId, demand: &Demand) -> Result<(), ErrorCode> {
        demand.check(self.find(&IdentityId::device(id.clone()))?.etag.as_deref())?;
        for identity in self.family(id) {
            self.delete(&identity);
        }
        Ok(())
    }

    pub(crate) fn create_module(
        &mut self,
        id: &IdentityId,
        spec: &ModuleSpec,
        twin: Option<&NaivePatch>,
    ) -> Result<(), ErrorCode> {
        self.find(&IdentityId::device(id.device.clone()))?;
        check_not_system(id)?;
        if self.identities.contains_key(id) {
            return Err(ErrorCode::ModuleAlreadyExistsOnDevice);
        }
        if self.modules(&id.device).count() >= 50 {
            return Err(ErrorCode::TooManyModulesOnDevice);
        }
        let authentication = resolve(spec.authentication.as_ref(), None)?;
        let kind = NaiveKind::Module { managed_by: short(spec.managed_by.as_ref())? };
        let twin = self.new_twin(twin)?;
        self.insert(id.clone(), authentication, twin, kind);
        Ok(())
    }

    pub(crate) fn update_module(
        &mut self,
        id: &IdentityId,
        spec: &ModuleSpec,
        demand: &Demand,
    ) -> Result<(), ErrorCode> {
        let module = self.find(id)?;
        demand.check(module.etag.as_deref())?;
        let authentication = resolve(spec.authentication.as_ref(), Some(&module.authentication))?;
        module.kind = NaiveKind::Module { managed_by: short(spec.managed_by.as_ref())? };
        self.write(id, authentication);
        Ok(())
    }

    pub(crate) fn delete_module(&mut self, id: &IdentityId, demand: &Demand) -> Result<(), ErrorCode> {
        self.find(id)?;
        check_not_system(id)?;
        demand.check(self.find(id)?.etag.as_deref())?;
        self.delete(id);
        Ok(())
    }

    /// One row of a bulk call: each mode is one of the single operations.
    pub(crate) fn bulk_row(
        &mut self,
        id: &IdentityId,
        change: &BulkChange,
        twin: Option<&NaivePatch>,
        demand: Result<&Demand, ErrorCode>,
    ) -> Result<(), ErrorCode> {
        use ImportMode as M;
        let module = ModuleSpec {
            authentication: change.spec.authentication.clone(),
            managed_by: change.managed_by.clone(),
        };
        let create = |naive: &mut Self| match id.is_module() {
            false => naive.create_device(&id.device, &change.spec, twin),
            true => naive.create_module(id, &module, twin),
        };
        let update = |naive: &mut Self| match id.is_module() {
            false => naive.update_device(&id.device, &change.spec, demand?),
            true => naive.update_module(id, &module, demand?),
        };
        match change.mode {
            M::Create => create(self),
            M::CreateOrUpdate | M::CreateOrUpdateIfMatchETag => match create(self) {
                Err(ErrorCode::DeviceAlreadyExists | ErrorCode::ModuleAlreadyExistsOnDevice) => update(self),
                done => done,
            },
            M::Update | M::UpdateIfMatchETag => update(self),
            M::Delete | M::DeleteIfMatchETag if id.is_module() => self.delete_module(id, demand?),
            M::Delete | M::DeleteIfMatchETag => self.delete_device(&id.device, demand?),
            M::UpdateTwin | M::UpdateTwinIfMatchETag => match twin {
                None => Err(ErrorCode::ArgumentInvalid),
                Some(patch) => self.change_twin(id, patch, false, demand?),
            },
        }
    }

    /// New keys for one identity of type sas; the hub chooses them.
    pub(crate) fn regenerate(&mut self, id: &IdentityId, which: PolicyKey) -> Result<(), ErrorCode> {
        let NaiveAuthentication::Sas { primary, secondary } = self.find(id)?.authentication.clone() else {
            return Err(ErrorCode::ArgumentInvalid);
        };
        let keys = match which {
            PolicyKey::Both => NaiveAuthentication::GENERATED,
            PolicyKey::Primary => NaiveAuthentication::Sas { primary: None, secondary },
            PolicyKey::Secondary => NaiveAuthentication::Sas { primary, secondary: None },
        };
        self.write(id, keys);
        Ok(())
    }

    /// The etag moves; a session that rests on a credential that is no more ends.
    fn write(&mut self, id: &IdentityId, authentication: NaiveAuthentication) {
        let own = self.identities.get_mut(id).expect("it was just written");
        own.etag = None;
        let is_changed = own.authentication != authentication;
        own.authentication = authentication;
        let live = own.live.and_then(|handle| self.sessions.get(&handle));
        if is_changed && live.is_some_and(|session| session.is_own_credential) {
            self.end(id, DisconnectReason::KeysChanged);
        }
    }

    fn new_twin(&self, content: Option<&NaivePatch>) -> Result<NaiveTwin, ErrorCode> {
        let mut twin = NaiveTwin::born(self.now);
        if let Some(content) = content {
            twin.apply(content, false, self.now).map_err(|()| ErrorCode::ArgumentInvalid)?;
        }
        Ok(twin)
    }

    fn add_system_modules(&mut self, device: &DeviceId) {
        for module in ["$edgeAgent", "$edgeHub"] {
            let id = IdentityId::module(device.clone(), ModuleId::parse(module).expect("a legal id"));
            let kind = NaiveKind::Module { managed_by: None };
            self.insert(id, NaiveAuthentication::None, NaiveTwin::born(self.now), kind);
        }
    }

    fn insert(
        &mut self,
        id: IdentityId,
        authentication: NaiveAuthentication,
        twin: NaiveTwin,
        kind: NaiveKind,
    ) {
        let identity = NaiveIdentity {
            generation_id: None,
            etag: None,
            last_etag: String::new(),
            authentication,
            twin,
            is_connected: false,
            state_updated: None,
            last_activity: None,
            live: None,
            saved: None,
            messages: NaiveQueue::default(),
            kind,
        };
        self.identities.insert(id, identity);
    }

    /// Only an edge device manages its modules itself.
    pub(crate) fn check_host(&mut self, device: &IdentityId) -> Result<(), ErrorCode> {
        if self.find(device)?.is_edge() { Ok(()) } else { Err(ErrorCode::IotHubUnauthorizedAccess) }
    }

    fn delete(&mut self, identity: &IdentityId) {
        self.end(identity, DisconnectReason::IdentityDeleted);
        self.identities.remove(identity);
    }
}

fn is_system(module: &ModuleId) -> bool {
    module.as_str().starts_with('$')
}

fn check_not_system(id: &IdentityId) -> Result<(), ErrorCode> {
    let is_system = id.module.as_ref().is_some_and(is_system);
    if is_system { Err(ErrorCode::SystemModuleModifyUnauthorizedAccess) } else { Ok(()) }
}

/// Only modules may be without authentication.
fn for_device(authentication: NaiveAuthentication) -> Result<NaiveAuthentication, ErrorCode> {
    if authentication == NaiveAuthentication::None {
        Err(ErrorCode::ArgumentInvalid)
    } else {
        Ok(authentication)
    }
}

/// `statusReason` and `managedBy` take 128 characters.
fn short(text: Option<&String>) -> Result<Option<String>, ErrorCode> {
    match text {
        Some(text) if text.chars().count() > 128 => Err(ErrorCode::ArgumentInvalid),
        text => Ok(text.cloned()),
    }
}
