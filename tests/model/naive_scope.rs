//! Naive parents and children (contract/rest.md 2.6): scopes are plain text, looked up by comparing with everybody's.

use hub::error::ErrorCode;
use hub::identity::DeviceSpec;
use hub::ids::{DeviceId, IdentityId};

use crate::naive::{Naive, NaiveIdentity, NaiveKind};

/// What a caller wrote in the two fields: absent, nobody, or a scope.
#[derive(Debug)]
pub(crate) struct Wanted {
    own: Option<Option<String>>,
    parent: Option<Option<String>>,
}

impl Wanted {
    pub(crate) fn read(spec: &DeviceSpec) -> Result<Self, ErrorCode> {
        let read = |text: &String| match text.as_str() {
            "" => Ok(None),
            text if is_well_formed(text) => Ok(Some(text.to_owned())),
            _ => Err(ErrorCode::InvalidDeviceScope),
        };
        let parent = match spec.parent_scopes.as_deref() {
            None => None,
            Some([]) => Some(None),
            Some([parent]) => Some(read(parent)?),
            Some(_) => return Err(ErrorCode::ArgumentInvalid),
        };
        Ok(Self { own: spec.device_scope.as_ref().map(read).transpose()?, parent })
    }
}

/// `ms-azure-iot-edge://<deviceId>-<number>`; the steps invent nothing subtler.
fn is_well_formed(text: &str) -> bool {
    let number = text.strip_prefix("ms-azure-iot-edge://").and_then(|rest| rest.rsplit_once('-'));
    number.is_some_and(|(device, number)| !device.is_empty() && number.parse::<u64>().is_ok())
}

impl Naive {
    /// The scope of every edge device there is.
    pub(crate) fn edge_scopes(&self) -> Vec<String> {
        self.devices().filter(|(_, own)| own.is_edge()).map(|(id, own)| own.scope(id)).collect()
    }

    /// Who is above a device after a write; `id` names it if it exists already.
    pub(crate) fn parent_of(
        &self,
        wanted: &Wanted,
        id: Option<&DeviceId>,
        is_edge: bool,
    ) -> Result<Option<String>, ErrorCode> {
        let before = id.map(|id| &self.identities[&IdentityId::device(id.clone())]);
        let stored = before.and_then(NaiveIdentity::parent);
        let was_edge = before.is_some_and(NaiveIdentity::is_edge);
        let own = id.zip(before).map(|(id, before)| before.scope(id));
        let accept = |scope: &Option<String>| {
            let is_known = scope.as_ref().is_none_or(|scope| self.edge_scopes().contains(scope));
            if is_known || *scope == stored { Ok(scope.clone()) } else { Err(ErrorCode::InvalidDeviceScope) }
        };
        let is_own = |scope: &Option<String>| scope.is_some() && *scope == own;
        if is_edge {
            // Its own scope is the hub's to set; its parent stands in the other field.
            let tampers =
                was_edge && wanted.own.as_ref().is_some_and(|scope| scope.is_some() && !is_own(scope));
            return match &wanted.parent {
                _ if tampers => Err(ErrorCode::InvalidDeviceScope),
                None => Ok(stored),
                Some(parent) if is_own(parent) => Err(ErrorCode::InvalidDeviceScope),
                Some(parent) => accept(parent),
            };
        }
        // Both fields name a leaf's parent; whoever sends both back has changed one of them.
        let first = wanted.own.as_ref().filter(|scope| !(was_edge && is_own(scope)));
        let named: Vec<_> = first.into_iter().chain(&wanted.parent).collect();
        let changes: Vec<_> = named.iter().filter(|scope| ***scope != stored).collect();
        match (named.as_slice(), changes.as_slice()) {
            ([], _) => Ok(stored),
            ([one], _) => accept(one),
            ([one, other], _) if one == other => accept(one),
            (_, [change]) => accept(change),
            _ => Err(ErrorCode::InvalidDeviceScope),
        }
    }
}

impl NaiveIdentity {
    pub(crate) fn is_edge(&self) -> bool {
        matches!(self.kind, NaiveKind::Device { iot_edge: true, .. })
    }

    pub(crate) fn parent(&self) -> Option<String> {
        match &self.kind {
            NaiveKind::Device { parent, .. } => parent.clone(),
            NaiveKind::Module { .. } => None,
        }
    }

    /// The scope of the device itself, were it an edge device.
    pub(crate) fn scope(&self, id: &DeviceId) -> String {
        let generation_id = self.generation_id.as_deref().unwrap_or("not known yet");
        format!("ms-azure-iot-edge://{id}-{generation_id}")
    }
}
