//! Many identities in one call: each row is one of the single operations, and a row that fails undoes no other
//! (contract/rest.md 1.3).

use std::collections::HashSet;

use crate::Hub;
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::BulkRegistry;
use crate::identity::edge::Host;
use crate::identity::{DeviceSpec, ModuleSpec};
use crate::ids::{IdentityId, IfMatch};
use crate::limits;
use crate::time::Timestamp;
use crate::twin::TwinPatch;

/// One row of a bulk request.
#[derive(Clone, Debug)]
pub struct BulkRow {
    /// Which identity.
    pub id: RowId,
    /// What to do with it; an error when the row's own fields could not be read, which fails this row alone.
    pub change: Result<BulkChange, HubError>,
}

/// The ids of a row as the caller wrote them: an id against the grammar comes back in the row's error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowId {
    /// The device.
    pub device: String,
    /// The module; `None` for the device itself.
    pub module: Option<String>,
}

/// What a row does. Of a module row only `authentication` of the spec counts.
#[derive(Clone, Debug, Default)]
pub struct BulkChange {
    /// The operation.
    pub mode: ImportMode,
    /// Demanded by the modes that compare the identity's etag; quoted, bare or `*`.
    pub etag: Option<String>,
    /// The identity's writable fields, for the modes that write it.
    pub spec: DeviceSpec,
    /// Of a module row: who manages it.
    pub managed_by: Option<String>,
    /// Demanded by the mode that compares the twin's etag; quoted, bare or `*`.
    pub twin_etag: Option<String>,
    /// Tags and desired properties: what a created twin begins with, what the twin modes merge. Updates of the
    /// identity leave the twin alone.
    pub twin: Option<TwinPatch>,
}

/// The operations of a bulk row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImportMode {
    /// Fails on an identity that exists.
    Create,
    /// Creates or updates.
    #[default]
    CreateOrUpdate,
    /// Creates, or updates if the etag is the stored one.
    CreateOrUpdateIfMatchETag,
    /// Fails on an identity that does not exist.
    Delete,
    /// As delete, if the etag is the stored one.
    DeleteIfMatchETag,
    /// Fails on an identity that does not exist.
    Update,
    /// As update, if the etag is the stored one.
    UpdateIfMatchETag,
    /// Merges into the twin.
    UpdateTwin,
    /// As update of the twin, if its etag is the stored one.
    UpdateTwinIfMatchETag,
}

/// What a bulk request did. Rows that are not named here were done.
#[derive(Clone, Debug, Default)]
pub struct BulkResult {
    /// The rows that failed, in the order of the request.
    pub errors: Vec<RowError>,
}

impl BulkResult {
    /// Whether every row was done.
    pub const fn is_successful(&self) -> bool {
        self.errors.is_empty()
    }
}

/// A row that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Which identity.
    pub id: RowId,
    /// What was to be done; `None` when the row could not be read or has no mode.
    pub mode: Option<ImportMode>,
    /// Why it was not.
    pub error: HubError,
}

impl Hub {
    /// Does every row, one after another. An id that occurs again fails there; its first row counts.
    ///
    /// # Errors
    /// `TooManyDevices` past [`limits::BULK_ROWS`] rows, `ArgumentInvalid` for none. All else is the error of a row:
    /// what the single operation fails with, `DeviceDefinedMultipleTimes`, or what is wrong with the row itself.
    pub fn bulk_registry(
        &self,
        by: Admitted<BulkRegistry>,
        rows: Vec<BulkRow>,
    ) -> Result<BulkResult, HubError> {
        if let Err(error) = check_rows(rows.len()) {
            return by.conclude(Err(error));
        }
        let (at, mut result, mut identity) = (by.at(), BulkResult::default(), RowId::distinct());
        for BulkRow { id, change } in rows {
            let mode = change.as_ref().ok().map(|change| change.mode);
            let done = change.and_then(|change| self.change_row(&identity(&id)?, &change, at));
            if let Err(error) = done {
                result.errors.push(RowError { id, mode, error });
            }
        }
        Ok(by.conclude_with(result, |result| {
            (!result.is_successful()).then_some(ErrorCode::BulkRegistryOperationFailure)
        }))
    }

    fn change_row(&self, id: &IdentityId, change: &BulkChange, at: Timestamp) -> Result<(), HubError> {
        if id.is_module() {
            self.gate.standard("A module identity")?;
        }
        if change.twin.is_some() {
            self.gate.standard("A device twin")?;
        }
        match change.mode {
            ImportMode::Create => self.add_row(id, change, at),
            ImportMode::CreateOrUpdate | ImportMode::CreateOrUpdateIfMatchETag => {
                match self.add_row(id, change, at) {
                    Err(error) if is_conflict(&error) => self.update_row(id, change, at),
                    done => done,
                }
            }
            ImportMode::Delete | ImportMode::DeleteIfMatchETag => {
                let if_match = change.if_match()?;
                match &id.module {
                    None => self.remove_device(&id.device, &if_match, at),
                    Some(module) => self.remove_module(Host::any(&id.device), module, &if_match, at),
                }
            }
            ImportMode::Update | ImportMode::UpdateIfMatchETag => self.update_row(id, change, at),
            ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatchETag => {
                let Some(patch) = &change.twin else {
                    return Err(HubError::new(
                        ErrorCode::ArgumentInvalid,
                        "A row that updates a twin needs tags or properties.",
                    ));
                };
                self.merge_twin(id, patch, &change.if_match()?, at)
            }
        }
    }

    fn add_row(&self, id: &IdentityId, change: &BulkChange, at: Timestamp) -> Result<(), HubError> {
        let twin = change.twin.as_ref();
        match &id.module {
            None => self.add_device(&id.device, &change.spec, twin, at).map(drop),
            Some(module) => {
                self.add_module(Host::any(&id.device), module, &change.module_spec(), twin, at).map(drop)
            }
        }
    }

    fn update_row(&self, id: &IdentityId, change: &BulkChange, at: Timestamp) -> Result<(), HubError> {
        let if_match = change.if_match()?;
        match &id.module {
            None => self.change_device(&id.device, &change.spec, &if_match, at).map(drop),
            Some(module) => self
                .change_module(Host::any(&id.device), module, &change.module_spec(), &if_match, at)
                .map(drop),
        }
    }
}

impl BulkChange {
    /// What the row's mode demands of the stored version.
    fn if_match(&self) -> Result<IfMatch, HubError> {
        let (name, etag) = match self.mode {
            ImportMode::CreateOrUpdateIfMatchETag
            | ImportMode::DeleteIfMatchETag
            | ImportMode::UpdateIfMatchETag => ("eTag", &self.etag),
            ImportMode::UpdateTwinIfMatchETag => ("twinETag", &self.twin_etag),
            ImportMode::Create
            | ImportMode::CreateOrUpdate
            | ImportMode::Delete
            | ImportMode::Update
            | ImportMode::UpdateTwin => return Ok(IfMatch::Any),
        };
        match etag.as_deref() {
            None | Some("") => Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                format!("The import mode compares {name}, and the row has none."),
            )),
            etag => Ok(IfMatch::parse(etag)),
        }
    }

    fn module_spec(&self) -> ModuleSpec {
        ModuleSpec { authentication: self.spec.authentication.clone(), managed_by: self.managed_by.clone() }
    }
}

impl RowId {
    /// Reads the ids of one request after another, refusing those it has seen.
    pub(crate) fn distinct() -> impl FnMut(&Self) -> Result<IdentityId, HubError> {
        let mut seen = HashSet::new();
        move |row| {
            let identity = IdentityId::parse(&row.device, row.module.as_deref())?;
            if seen.insert(identity.clone()) {
                return Ok(identity);
            }
            Err(HubError::new(
                ErrorCode::DeviceDefinedMultipleTimes,
                format!("'{identity}' occurs more than once in the request; its first row counts."),
            ))
        }
    }
}

pub(crate) fn check_rows(rows: usize) -> Result<(), HubError> {
    match rows {
        0 => Err(HubError::new(ErrorCode::ArgumentInvalid, "The request names no device.")),
        1..=limits::BULK_ROWS => Ok(()),
        _ => Err(HubError::new(
            ErrorCode::TooManyDevices,
            format!("{rows} rows in one request; at most {} are allowed.", limits::BULK_ROWS),
        )),
    }
}

fn is_conflict(error: &HubError) -> bool {
    matches!(error.code(), ErrorCode::DeviceAlreadyExists | ErrorCode::ModuleAlreadyExistsOnDevice)
}

#[cfg(test)]
mod tests;
