//! Steps on many identities at once: bulk calls in every mode, key regeneration, statistics.

use std::cell::RefCell;
use std::collections::BTreeSet;

use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{BulkRegistry, GetDeviceStatistics, GetServiceStatistics, RegenerateKeys};
use hub::identity::{BulkChange, BulkRow, DeviceSpec, ImportMode, PolicyKey, RowId};
use hub::ids::IdentityId;
use hub::twin::{Arrays, TwinPatch};

use crate::caller::{Caller, Demand};
use crate::dice::Dice;
use crate::naive::{Naive, NaiveAuthentication};
use crate::naive_twin::NaivePatch;
use crate::world::World;
use crate::{documents, ids, registry, shown};

const MODES: &[ImportMode] = &[
    ImportMode::Create,
    ImportMode::Create,
    ImportMode::CreateOrUpdate,
    ImportMode::CreateOrUpdateIfMatchETag,
    ImportMode::Delete,
    ImportMode::DeleteIfMatchETag,
    ImportMode::Update,
    ImportMode::UpdateIfMatchETag,
    ImportMode::UpdateTwin,
    ImportMode::UpdateTwinIfMatchETag,
];

/// One random operation on many identities.
pub(crate) fn step(world: &mut World, dice: &mut Dice) {
    match dice.below(8) {
        0..=3 => bulk(world, dice),
        4 | 5 => regenerate(world, dice),
        _ => statistics(world, dice),
    }
}

/// A row as the model reads it.
#[derive(Debug)]
struct Row {
    id: RowId,
    change: Result<BulkChange, ErrorCode>,
    twin: Option<NaivePatch>,
    demand: Demand,
}

fn bulk(world: &mut World, dice: &mut Dice) {
    let count = dice.pick(&[0, 1, 1, 2, 3, 4, 5, 6]);
    let rows: Vec<_> = (0..count).map(|_| row(world, dice)).collect();
    let by = Caller::service(dice, None);
    world.log.step(format!("bulk by {by:?}: {rows:#?}"));
    let unreadable = |code: &ErrorCode| HubError::new(*code, "not readable");
    let real_rows = rows
        .iter()
        .map(|row| BulkRow { id: row.id.clone(), change: row.change.as_ref().map_err(unreadable).cloned() });
    // A call with a failed row answers with all its rows and still counts as failed.
    let failed = |errors: &[(RowId, ErrorCode)]| match errors {
        [] => Ok(()),
        _ => Err(ErrorCode::BulkRegistryOperationFailure),
    };
    let answer = RefCell::new(vec![]);
    let expected = RefCell::new(vec![]);
    world.both::<BulkRegistry, _, _>(
        &by,
        (),
        None,
        |hub, admitted| {
            let result = hub.bulk_registry(admitted, real_rows.collect())?;
            let errors = result.errors.iter().map(|row| (row.id.clone(), row.error.code()));
            answer.replace(errors.collect());
            failed(&answer.borrow()).map_err(|code| HubError::new(code, "some rows failed"))
        },
        |naive| {
            expected.replace(naive.bulk(&rows)?);
            failed(&expected.borrow())
        },
    );
    world.learn();
    assert_eq!(answer.into_inner(), expected.into_inner(), "the rows that failed");
}

fn row(world: &World, dice: &mut Dice) -> Row {
    let id = ids::identity(dice, &world.naive);
    let own = world.naive.identities.get(&id);
    let mode = dice.pick(MODES);
    let is_of_twin = mode == ImportMode::UpdateTwinIfMatchETag;
    let etag = match own {
        Some(own) if is_of_twin => Some(shown::twin_etag(own.twin.etag)),
        own => own.and_then(|own| own.etag.clone()),
    };
    let demand = Demand::of(dice, etag.as_deref());
    let body = if dice.one_in(2) { Some(documents::twin_body(dice)) } else { None };
    let twin =
        body.map(|body| (TwinPatch::parse(body.clone(), Arrays::Allowed), NaivePatch::read(&body, true)));
    let (twin, naive_twin) = match twin {
        Some((Ok(patch), Some(read))) => (Some(patch), Some(read)),
        Some((Ok(patch), None)) => panic!("the model calls it illegal: {patch:?}"),
        _ => (None, None),
    };
    let module = registry::module_spec(dice);
    let spec = match &id.module {
        None => registry::device_spec(dice, &world.naive),
        Some(_) => DeviceSpec { authentication: module.authentication, ..DeviceSpec::default() },
    };
    let change = BulkChange {
        mode,
        etag: if is_of_twin { None } else { demand.field() },
        spec,
        managed_by: module.managed_by,
        twin_etag: if is_of_twin { demand.field() } else { None },
        twin,
    };
    let change = if dice.one_in(30) { Err(ErrorCode::ArgumentInvalid) } else { Ok(change) };
    Row { id: row_id(dice, &id), change, twin: naive_twin, demand }
}

/// Rarely an id that breaks the rules.
fn row_id(dice: &mut Dice, id: &IdentityId) -> RowId {
    let device = if dice.one_in(30) { "a/b".to_owned() } else { id.device.to_string() };
    RowId { device, module: id.module.as_ref().map(ToString::to_string) }
}

impl Naive {
    /// The rows that fail, with their codes, in order.
    fn bulk(&mut self, rows: &[Row]) -> Result<Vec<(RowId, ErrorCode)>, ErrorCode> {
        if rows.is_empty() {
            return Err(ErrorCode::ArgumentInvalid);
        }
        let (mut seen, mut failed) = (BTreeSet::new(), vec![]);
        for row in rows {
            let done = row.change.as_ref().map_err(|code| *code).and_then(|change| {
                let id = once(&row.id, &mut seen)?;
                self.bulk_row(&id, change, row.twin.as_ref(), row.demanded(change.mode))
            });
            failed.extend(done.err().map(|code| (row.id.clone(), code)));
        }
        Ok(failed)
    }
}

impl Row {
    /// Only the modes that say so compare, and they need something to compare.
    fn demanded(&self, mode: ImportMode) -> Result<&Demand, ErrorCode> {
        let compares = matches!(
            mode,
            ImportMode::CreateOrUpdateIfMatchETag
                | ImportMode::DeleteIfMatchETag
                | ImportMode::UpdateIfMatchETag
                | ImportMode::UpdateTwinIfMatchETag
        );
        match (compares, self.demand.field()) {
            (false, _) => Ok(&Demand::ANY),
            (true, None) => Err(ErrorCode::ArgumentInvalid),
            (true, Some(_)) => Ok(&self.demand),
        }
    }
}

/// The identity of a row, the first time it occurs.
fn once(row: &RowId, seen: &mut BTreeSet<IdentityId>) -> Result<IdentityId, ErrorCode> {
    let id = IdentityId::parse(&row.device, row.module.as_deref()).map_err(|error| error.code())?;
    if seen.insert(id.clone()) { Ok(id) } else { Err(ErrorCode::DeviceDefinedMultipleTimes) }
}

fn regenerate(world: &mut World, dice: &mut Dice) {
    let which = dice.pick(&[PolicyKey::Both, PolicyKey::Primary, PolicyKey::Secondary]);
    let rows: Vec<_> = (0..dice.below(4)).map(|_| ids::identity(dice, &world.naive)).collect();
    let rows: Vec<_> = rows.iter().map(|id| row_id(dice, id)).collect();
    let by = Caller::service(dice, None);
    world.log.step(format!("regenerate {which:?} by {by:?}: {rows:?}"));
    let done = world.both::<RegenerateKeys, _, _>(
        &by,
        (),
        None,
        |hub, admitted| hub.regenerate_keys(admitted, which, rows.clone()),
        |naive| naive.regenerate_all(&rows, which),
    );
    world.learn();
    let Some((real, (rotated, errors))) = done else { return };
    let failed: Vec<_> = real.errors.iter().map(|row| (row.id.clone(), row.error.code())).collect();
    assert_eq!(failed, errors, "the rows that failed");
    let shown = real.rotated.iter().map(|row| {
        let (primary, secondary) = (row.keys.primary.to_base64(), row.keys.secondary.to_base64());
        let keys = NaiveAuthentication::Sas { primary: Some(primary), secondary: Some(secondary) };
        (row.identity.clone(), keys)
    });
    let stored =
        rotated.into_iter().map(|id| (id.clone(), world.naive.identities[&id].authentication.clone()));
    assert_eq!(shown.collect::<Vec<_>>(), stored.collect::<Vec<_>>(), "the new keys");
}

impl Naive {
    #[expect(clippy::type_complexity, reason = "who has new keys, and who has not and why")]
    fn regenerate_all(
        &mut self,
        rows: &[RowId],
        which: PolicyKey,
    ) -> Result<(Vec<IdentityId>, Vec<(RowId, ErrorCode)>), ErrorCode> {
        if rows.is_empty() {
            return Err(ErrorCode::ArgumentInvalid);
        }
        let (mut seen, mut rotated, mut failed) = (BTreeSet::new(), vec![], vec![]);
        for row in rows {
            match once(row, &mut seen).and_then(|id| self.regenerate(&id, which).map(|()| id)) {
                Ok(id) => rotated.push(id),
                Err(code) => failed.push((row.clone(), code)),
            }
        }
        Ok((rotated, failed))
    }
}

/// Both statistics equal a recount.
fn statistics(world: &mut World, dice: &mut Dice) {
    let by = Caller::service(dice, None);
    world.log.step(format!("statistics by {by:?}"));
    let devices = world.both::<GetDeviceStatistics, _, _>(
        &by,
        (),
        None,
        |hub, admitted| hub.device_statistics(admitted),
        |naive| Ok(naive.count_devices()),
    );
    if let Some((shown, expected)) = devices {
        assert_eq!((shown.total, shown.enabled, shown.disabled), expected);
    }
    let service = world.both::<GetServiceStatistics, _, _>(
        &by,
        (),
        None,
        |hub, admitted| hub.service_statistics(admitted),
        |naive| Ok(naive.count_connected()),
    );
    if let Some((shown, expected)) = service {
        assert_eq!(shown.connected_devices, expected);
    }
}

impl Naive {
    /// All, enabled, disabled.
    pub(crate) fn count_devices(&self) -> (usize, usize, usize) {
        let total = self.devices().count();
        let enabled = self.devices().filter(|(id, _)| self.is_enabled(id)).count();
        (total, enabled, total - enabled)
    }

    pub(crate) fn count_connected(&self) -> usize {
        self.devices().filter(|(_, own)| own.is_connected).count()
    }
}
