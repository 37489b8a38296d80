//! What devices and modules have alike in the registry: how they are looked up to judge a credential, their etags,
//! and the words for their absence.

use crate::Hub;
use crate::device_session::Attachment;
use crate::error::{ErrorCode, HubError};
use crate::identity::Authentication;
use crate::ids::{DeviceId, IdentityId, IfMatch};
use crate::state::IdentityState;
use crate::time::Timestamp;
use crate::twin::{Change, Mode, StoredTwin, TwinPatch};

impl Hub {
    /// How an identity proves who it is; what the authenticator judges a credential by. Not an operation: it runs
    /// before there is a grant.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`.
    pub fn authentication(&self, identity: &IdentityId) -> Result<Authentication, HubError> {
        let cell = self.devices.get(&identity.device)?;
        let state = cell.lock(&identity.device)?;
        let mechanism = match &identity.module {
            None => state.record.authentication.mechanism(),
            Some(module) => match state.modules.get(module) {
                Some(module) => module.record.authentication.mechanism(),
                None => return Err(module_not_found(identity)),
            },
        };
        Ok(Authentication { mechanism, device_is_enabled: state.is_enabled() })
    }

    /// A random etag that is not the one before.
    pub(crate) fn next_etag(&self, before: u32) -> u32 {
        match self.entropy.number() {
            same if same == before => before.wrapping_add(1),
            fresh => fresh,
        }
    }
}

/// A fresh identity with an empty twin, never connected.
pub(crate) fn empty_identity_state(at: Timestamp) -> IdentityState {
    IdentityState { twin: StoredTwin::new(at), attachment: Attachment::default() }
}

/// The same with a twin that begins with `content`.
pub(crate) fn new_identity_state(
    content: Option<&TwinPatch>,
    at: Timestamp,
) -> Result<IdentityState, HubError> {
    let mut state = empty_identity_state(at);
    if let Some(content) = content {
        let change = Change { patch: content, mode: Mode::Merge, if_match: &IfMatch::Absent, at };
        state.twin.apply(change, false)?;
    }
    Ok(state)
}

pub(crate) fn device_not_found(id: &DeviceId) -> HubError {
    HubError::new(ErrorCode::DeviceNotFound, format!("Device '{id}' is not registered."))
}

pub(crate) fn module_not_found(identity: &IdentityId) -> HubError {
    HubError::new(ErrorCode::ModuleNotFound, format!("Module '{identity}' is not registered."))
}
