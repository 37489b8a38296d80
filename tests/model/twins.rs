//! Twin steps: services read and change twins; owners read theirs and report, on a live connection, on one that is
//! over, and on none.

use std::sync::Arc;

use hub::Hub;
use hub::gate::operations::{GetTwin, PatchTwin, ReadOwnTwin, ReplaceTwin, UpdateReported};
use hub::ids::IdentityId;
use hub::twin::{Arrays, ReportedPatch, TwinPatch};
use serde_json::{Value, json};

use crate::caller::{Caller, Demand};
use crate::dice::Dice;
use crate::naive::{Naive, NaiveSession};
use crate::naive_twin::{NaivePatch, is_legal};
use crate::world::World;
use crate::{documents, ids, shown};

/// One random twin operation.
pub(crate) fn step(world: &mut World, dice: &mut Dice) {
    match dice.below(10) {
        0 => get(world, dice),
        1..=3 => change(world, dice, false),
        4 | 5 => change(world, dice, true),
        6 => read_own(world, dice),
        7 if dice.one_in(12) => flood(world, dice),
        _ => report(world, dice),
    }
}

fn get(world: &mut World, dice: &mut Dice) {
    let id = ids::identity(dice, &world.naive);
    let by = Caller::service(dice, Some(&id));
    world.log.step(format!("get twin {id} by {by:?}"));
    let got = world.both::<GetTwin, _, _>(
        &by,
        id.clone(),
        None,
        |hub, admitted| hub.twin(admitted),
        |naive| naive.find(&id).map(|_| ()),
    );
    if let Some((twin, ())) = got {
        assert_eq!(shown::twin(&twin), expected(&world.naive, &id));
    }
}

fn change(world: &mut World, dice: &mut Dice, replace: bool) {
    let (id, body) = (ids::identity(dice, &world.naive), documents::twin_body(dice));
    let by = Caller::service(dice, Some(&id));
    let etag = world.naive.identities.get(&id).map(|own| shown::twin_etag(own.twin.etag));
    let demand = Demand::of(dice, etag.as_deref());
    let arrays = !dice.one_in(8);
    let verb = if replace { "replace" } else { "patch" };
    world.log.step(format!("{verb} twin {id} {demand:?} by {by:?}, arrays {arrays}: {body}"));
    match (TwinPatch::parse(body.clone(), allowed(arrays)), NaivePatch::read(&body, arrays)) {
        (Ok(patch), Some(read)) => apply(world, &by, &id, (&patch, &read), replace, &demand),
        (Err(_), None) => {}
        (patch, read) => panic!("is it legal?\n  hub: {patch:?}\nmodel: {read:?}"),
    }
}

const fn allowed(arrays: bool) -> Arrays {
    if arrays { Arrays::Allowed } else { Arrays::Refused }
}

fn apply(
    world: &mut World,
    by: &Caller,
    id: &IdentityId,
    (patch, read): (&TwinPatch, &NaivePatch),
    replace: bool,
    demand: &Demand,
) {
    let if_match = demand.parsed();
    let model = |naive: &mut Naive| naive.change_twin(id, read, replace, demand);
    let changed = if replace {
        let real = |hub: &Arc<Hub>, admitted| hub.replace_twin(admitted, patch, &if_match);
        world.both::<ReplaceTwin, _, _>(by, id.clone(), None, real, model)
    } else {
        let real = |hub: &Arc<Hub>, admitted| hub.patch_twin(admitted, patch, &if_match);
        world.both::<PatchTwin, _, _>(by, id.clone(), None, real, model)
    };
    if let Some((twin, ())) = changed {
        assert_eq!(shown::twin(&twin), expected(&world.naive, id), "the answer to the change");
    }
}

/// More changes than the mailbox of somebody who listens holds.
fn flood(world: &mut World, dice: &mut Dice) {
    let listens = |(handle, session): (&usize, &NaiveSession)| {
        let listens = session.wants_desired && session.closed.is_none() && world.naive.is_live(*handle);
        listens.then(|| session.identity.clone())
    };
    let listeners: Vec<_> = world.naive.sessions.iter().filter_map(listens).collect();
    if listeners.is_empty() {
        return;
    }
    let (id, demand) = (dice.pick(&listeners), Demand::ANY);
    // Exactly full, or one too many.
    let waiting = world.naive.sessions[&world.naive.identities[&id].live.expect("it listens")].unread.len();
    let count = 128 - waiting + dice.below(2);
    for n in 0..count {
        let body = json!({"properties": {"desired": {"flood": n}}});
        world.log.step(format!("patch twin {id} {demand:?}: {body}"));
        let patch = TwinPatch::parse(body.clone(), Arrays::Allowed).expect("a legal patch");
        let read = NaivePatch::read(&body, true).expect("a legal patch");
        apply(world, &Caller::OWNER, &id, (&patch, &read), n % 7 == 0, &demand);
    }
}

fn read_own(world: &mut World, dice: &mut Dice) {
    let (id, connection) = owner(world, dice);
    let by = Caller::device(dice, &id);
    world.log.step(format!("{id} reads its twin on {connection:?} by {by:?}"));
    let read = world.both::<ReadOwnTwin, _, _>(
        &by,
        id.clone(),
        connection,
        |hub, admitted| hub.read_own_twin(admitted),
        |naive| naive.read_own_twin(&id, connection),
    );
    if let Some((bytes, expected)) = read {
        assert_eq!(serde_json::from_slice::<Value>(&bytes).expect("the core writes JSON"), expected);
    }
}

fn report(world: &mut World, dice: &mut Dice) {
    let (id, connection) = owner(world, dice);
    let (by, body) = (Caller::device(dice, &id), documents::patch(dice));
    let stored = world.naive.identities.get(&id).map_or(1, |own| own.twin.reported.version);
    let (for_version, arrays) =
        (dice.pick(&[None, None, None, Some(stored), Some(stored + 1)]), !dice.one_in(8));
    world
        .log
        .step(format!("{id} reports {for_version:?} on {connection:?} by {by:?}, arrays {arrays}: {body}"));
    let parsed = ReportedPatch::parse(body.to_string().as_bytes(), allowed(arrays));
    let patch = match (parsed, is_legal(&body, arrays)) {
        (Ok(patch), true) => patch,
        (Err(_), false) => return,
        (patch, is_legal) => panic!("is it legal? hub: {patch:?}, model: {is_legal}"),
    };
    let reported = world.both::<UpdateReported, _, _>(
        &by,
        id.clone(),
        connection,
        |hub, admitted| hub.update_reported(admitted, &patch, for_version),
        |naive| naive.update_reported(&id, connection, &body, for_version),
    );
    if let Some((version, expected)) = reported {
        assert_eq!(version, expected);
    }
}

/// An identity and the connection it speaks on: mostly its own live one.
pub(crate) fn owner(world: &World, dice: &mut Dice) -> (IdentityId, Option<u64>) {
    let sessions: Vec<_> =
        world.naive.sessions.values().map(|s| (s.identity.clone(), Some(s.connection))).collect();
    if sessions.is_empty() || dice.one_in(6) {
        return (ids::identity(dice, &world.naive), dice.pick(&[None, None, Some(0)]));
    }
    dice.pick(&sessions)
}

/// The twin as the model has it.
pub(crate) fn expected(naive: &Naive, id: &IdentityId) -> Value {
    naive.identities[id].twin_shown(id, &naive.identities[&IdentityId::device(id.device.clone())])
}

/// The same without its documents.
pub(crate) fn expected_head(naive: &Naive, id: &IdentityId) -> Value {
    naive.identities[id].twin_head_shown(id, &naive.identities[&IdentityId::device(id.device.clone())])
}
