//! Few ids, so that steps meet: what one makes the next changes and the third removes.

use hub::ids::{DeviceId, IdentityId, ModuleId};

use crate::dice::Dice;
use crate::naive::Naive;

const DEVICES: &[&str] = &["a", "A", "b-:.+%_#*?!(),=@;$'", "c"];
const MODULES: &[&str] = &["a", "m", "$edgeAgent", "$edgeHub"];

pub(crate) fn device(dice: &mut Dice) -> DeviceId {
    DeviceId::parse(dice.pick(DEVICES)).expect("a legal id")
}

pub(crate) fn module(dice: &mut Dice) -> IdentityId {
    let module = ModuleId::parse(dice.pick(MODULES)).expect("a legal id");
    IdentityId::module(device(dice), module)
}

/// Mostly somebody who is registered.
pub(crate) fn identity(dice: &mut Dice, naive: &Naive) -> IdentityId {
    let known: Vec<_> = naive.identities.keys().cloned().collect();
    if known.is_empty() || dice.one_in(12) {
        return if dice.one_in(2) { module(dice) } else { IdentityId::device(device(dice)) };
    }
    dice.pick(&known)
}

/// Everybody there could be, and somebody there never is.
pub(crate) fn all_devices() -> impl Iterator<Item = DeviceId> {
    DEVICES.iter().chain(&["nobody"]).map(|id| DeviceId::parse(id).expect("a legal id"))
}
