//! Regeneration of symmetric keys, up to a hundred identities at a time (contract/rest.md 1.6).

use crate::Hub;
use crate::access::SymmetricKeys;
use crate::device_session::DisconnectReason;
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::RegenerateKeys;
use crate::identity::AuthenticationMechanism;
use crate::identity::bulk::{RowError, RowId, check_rows};
use crate::ids::IdentityId;
use crate::time::Timestamp;

/// Which keys are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKey {
    /// Both.
    Both,
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

/// What a regeneration did, row by row.
#[derive(Clone, Debug, Default)]
pub struct KeyRegeneration {
    /// The identities with new keys, in the order asked for.
    pub rotated: Vec<RotatedKeys>,
    /// The rows that kept theirs.
    pub errors: Vec<RowError>,
}

/// An identity's keys after the regeneration, the kept one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedKeys {
    /// Whose they are.
    pub identity: IdentityId,
    /// Both of them.
    pub keys: SymmetricKeys,
}

impl Hub {
    /// Makes new keys for identities of type sas. A session that rests on a key of its own ends.
    ///
    /// # Errors
    /// `TooManyDevices` past [`crate::limits::BULK_ROWS`] rows, `ArgumentInvalid` for none. Per row `DeviceNotFound`,
    /// `ModuleNotFound`, `DeviceDefinedMultipleTimes`, and `ArgumentInvalid` for another type than sas.
    pub fn regenerate_keys(
        &self,
        by: Admitted<RegenerateKeys>,
        policy_key: PolicyKey,
        rows: Vec<RowId>,
    ) -> Result<KeyRegeneration, HubError> {
        let at = by.at();
        let outcome = check_rows(rows.len()).map(|()| {
            let mut regeneration = KeyRegeneration::default();
            let mut seen = RowId::distinct();
            for id in rows {
                match seen(&id).and_then(|identity| self.rotate_keys(identity, policy_key, at)) {
                    Ok(rotated) => regeneration.rotated.push(rotated),
                    Err(error) => regeneration.errors.push(RowError { id, mode: None, error }),
                }
            }
            regeneration
        });
        by.conclude(outcome)
    }

    fn rotate_keys(
        &self,
        identity: IdentityId,
        policy_key: PolicyKey,
        at: Timestamp,
    ) -> Result<RotatedKeys, HubError> {
        let cell = self.devices.get(&identity.device)?;
        let mut state = cell.lock(&identity.device)?;
        let (authentication, etag, own) = state.credentials(&identity)?;
        let AuthenticationMechanism::Sas(mut keys) = authentication.mechanism() else {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                format!("'{identity}' has no symmetric keys; its authentication is of another type."),
            ));
        };
        let (primary, secondary) = match policy_key {
            PolicyKey::Both => (true, true),
            PolicyKey::Primary => (true, false),
            PolicyKey::Secondary => (false, true),
        };
        if primary {
            keys.primary = self.entropy.key();
        }
        if secondary {
            keys.secondary = self.entropy.key();
        }
        *authentication = AuthenticationMechanism::Sas(keys.clone()).into();
        *etag = self.next_etag(*etag);
        own.end_own_credential(self, at, DisconnectReason::KeysChanged);
        Ok(RotatedKeys { identity, keys })
    }
}

#[cfg(test)]
mod tests;
