//! Registry steps: identities come, change and go.

use hub::gate::operations::{
    CreateDevice, CreateModule, DeleteDevice, DeleteModule, GetDevice, GetModule, ListDevices, ListModules,
    UpdateDevice, UpdateModule,
};
use hub::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec, DeviceStatus, ModuleSpec};
use hub::ids::{DeviceId, IdentityId, ModuleId};
use serde_json::Value;

use crate::caller::{Caller, Demand};
use crate::dice::Dice;
use crate::naive::{Naive, NaiveIdentity};
use crate::world::World;
use crate::{ids, shown};

/// One random operation on single identities.
pub(crate) fn step(world: &mut World, dice: &mut Dice) {
    match dice.below(20) {
        0..=4 => create_device(world, dice),
        5..=7 => update_device(world, dice),
        8 => delete_device(world, dice),
        9..=12 => create_module(world, dice),
        13 | 14 => update_module(world, dice),
        15 => delete_module(world, dice),
        16 => get(world, dice),
        17 | 18 => list(world, dice),
        _ if dice.one_in(20) => fill_with_modules(world, dice),
        _ => list(world, dice),
    }
}

fn create_device(world: &mut World, dice: &mut Dice) {
    let (id, spec) = (ids::device(dice), device_spec(dice, &world.naive));
    let by = Caller::service(dice, Some(&id.clone().into()));
    world.log.step(format!("create device {id} by {by:?}: {spec:?}"));
    let made = world.both::<CreateDevice, _, _>(
        &by,
        id.clone(),
        None,
        |hub, admitted| hub.create_device(admitted, &spec),
        |naive| naive.create_device(&id, &spec, None),
    );
    answered(world, &id.into(), made.map(|(device, ())| shown::device(&device)));
}

fn update_device(world: &mut World, dice: &mut Dice) {
    let (id, spec) = (ids::device(dice), device_spec(dice, &world.naive));
    let (identity, by) = (IdentityId::device(id.clone()), Caller::service(dice, Some(&id.clone().into())));
    let demand = Demand::of(dice, etag(&world.naive, &identity));
    world.log.step(format!("update device {id} {demand:?} by {by:?}: {spec:?}"));
    let made = world.both::<UpdateDevice, _, _>(
        &by,
        id.clone(),
        None,
        |hub, admitted| hub.update_device(admitted, &spec, &demand.parsed()),
        |naive| naive.update_device(&id, &spec, &demand),
    );
    answered(world, &identity, made.map(|(device, ())| shown::device(&device)));
}

fn delete_device(world: &mut World, dice: &mut Dice) {
    let id = ids::device(dice);
    let (identity, by) = (IdentityId::device(id.clone()), Caller::service(dice, Some(&id.clone().into())));
    let demand = Demand::of(dice, etag(&world.naive, &identity));
    world.log.step(format!("delete device {id} {demand:?} by {by:?}"));
    world.both::<DeleteDevice, _, _>(
        &by,
        id.clone(),
        None,
        |hub, admitted| hub.delete_device(admitted, &demand.parsed()),
        |naive| naive.delete_device(&id, &demand),
    );
}

fn create_module(world: &mut World, dice: &mut Dice) {
    let (id, spec) = (ids::module(dice), module_spec(dice));
    let by = Caller::service(dice, Some(&id));
    world.log.step(format!("create module {id} by {by:?}: {spec:?}"));
    register_module(world, &by, &id, &spec);
}

fn register_module(world: &mut World, by: &Caller, id: &IdentityId, spec: &ModuleSpec) {
    let made = world.both::<CreateModule, _, _>(
        by,
        pair(id),
        None,
        |hub, admitted| hub.create_module(admitted, spec),
        |naive| naive.create_module(id, spec, None),
    );
    answered(world, id, made.map(|(module, ())| shown::module(&module)));
}

fn update_module(world: &mut World, dice: &mut Dice) {
    let (id, spec) = (ids::module(dice), module_spec(dice));
    let by = Caller::service(dice, Some(&id));
    let demand = Demand::of(dice, etag(&world.naive, &id));
    world.log.step(format!("update module {id} {demand:?} by {by:?}: {spec:?}"));
    let made = world.both::<UpdateModule, _, _>(
        &by,
        pair(&id),
        None,
        |hub, admitted| hub.update_module(admitted, &spec, &demand.parsed()),
        |naive| naive.update_module(&id, &spec, &demand),
    );
    answered(world, &id, made.map(|(module, ())| shown::module(&module)));
}

fn delete_module(world: &mut World, dice: &mut Dice) {
    let id = ids::module(dice);
    let by = Caller::service(dice, Some(&id));
    let demand = Demand::of(dice, etag(&world.naive, &id));
    world.log.step(format!("delete module {id} {demand:?} by {by:?}"));
    world.both::<DeleteModule, _, _>(
        &by,
        pair(&id),
        None,
        |hub, admitted| hub.delete_module(admitted, &demand.parsed()),
        |naive| naive.delete_module(&id, &demand),
    );
}

/// One more module than a device takes.
fn fill_with_modules(world: &mut World, dice: &mut Dice) {
    let device = ids::identity(dice, &world.naive).device;
    world.log.step(format!("fill {device} with modules"));
    for n in 0..=50 {
        let module = ModuleId::parse(&format!("filler-{n}")).expect("a legal id");
        let id = IdentityId::module(device.clone(), module);
        register_module(world, &Caller::OWNER, &id, &ModuleSpec::default());
    }
}

/// By anybody: the invariants only ever look as the owner.
fn get(world: &mut World, dice: &mut Dice) {
    let id = ids::identity(dice, &world.naive);
    let by = Caller::service(dice, Some(&id));
    world.log.step(format!("get {id} by {by:?}"));
    let model = |naive: &mut Naive| naive.find(&id).map(|own| own.shown(&id));
    let same = if id.is_module() {
        let get =
            world.both::<GetModule, _, _>(&by, pair(&id), None, |hub, admitted| hub.module(admitted), model);
        get.map(|(module, expected)| (shown::module(&module), expected))
    } else {
        let target = id.device.clone();
        let get =
            world.both::<GetDevice, _, _>(&by, target, None, |hub, admitted| hub.device(admitted), model);
        get.map(|(device, expected)| (shown::device(&device), expected))
    };
    if let Some((shown, expected)) = same {
        assert_eq!(shown, expected);
    }
}

fn list(world: &mut World, dice: &mut Dice) {
    let (device, top) = (ids::device(dice), dice.pick(&[0, 1, 2, 1000, 1001, usize::MAX]));
    if dice.one_in(2) {
        let by = Caller::service(dice, Some(&device.clone().into()));
        world.log.step(format!("list modules of {device} by {by:?}"));
        let model = |naive: &mut Naive| {
            naive.find(&device.clone().into())?;
            let shown =
                |(id, own): (&ModuleId, _)| show(own, &IdentityId::module(device.clone(), id.clone()));
            Ok(naive.modules(&device).map(shown).collect::<Vec<_>>())
        };
        let listed = world.both::<ListModules, _, _>(
            &by,
            device.clone(),
            None,
            |hub, admitted| hub.modules(admitted),
            model,
        );
        if let Some((modules, expected)) = listed {
            assert_eq!(modules.iter().map(shown::module).collect::<Vec<_>>(), expected);
        }
    } else {
        let by = Caller::service(dice, None);
        world.log.step(format!("list {top} devices by {by:?}"));
        let model = |naive: &mut Naive| {
            let top = if (1..=1000).contains(&top) { top } else { 1000 };
            let shown = |(id, own): (&DeviceId, _)| show(own, &id.clone().into());
            Ok(naive.devices().take(top).map(shown).collect::<Vec<_>>())
        };
        let listed =
            world.both::<ListDevices, _, _>(&by, (), None, |hub, admitted| hub.devices(admitted, top), model);
        if let Some((devices, expected)) = listed {
            assert_eq!(devices.iter().map(shown::device).collect::<Vec<_>>(), expected);
        }
    }
}

fn show(own: &NaiveIdentity, id: &IdentityId) -> Value {
    own.shown(id)
}

/// The answer to a write shows what was written.
fn answered(world: &mut World, id: &IdentityId, answer: Option<Value>) {
    world.learn();
    if let Some(answer) = answer {
        assert_eq!(answer, world.naive.identities[id].shown(id), "the answer to the write");
    }
}

pub(crate) fn etag<'a>(naive: &'a Naive, id: &IdentityId) -> Option<&'a str> {
    naive.identities.get(id)?.etag.as_deref()
}

pub(crate) fn pair(id: &IdentityId) -> (DeviceId, ModuleId) {
    (id.device.clone(), id.module.clone().expect("a module"))
}

pub(crate) fn device_spec(dice: &mut Dice, naive: &Naive) -> DeviceSpec {
    DeviceSpec {
        authentication: authentication_spec(dice),
        status: dice.pick(&[None, None, Some(DeviceStatus::Enabled), Some(DeviceStatus::Disabled)]),
        status_reason: match dice.below(24) {
            0 => Some("r".repeat(129)),
            1 => Some("ü".repeat(128)),
            2 => Some(String::new()),
            _ => None,
        },
        iot_edge: dice.pick(&[None, None, None, None, Some(false), Some(true), Some(true)]),
        device_scope: if dice.one_in(4) { Some(scope(dice, naive)) } else { None },
        parent_scopes: match dice.below(20) {
            0 => Some(vec![]),
            1 => Some(vec![scope(dice, naive), scope(dice, naive)]),
            2..=4 => Some(vec![scope(dice, naive)]),
            _ => None,
        },
    }
}

pub(crate) fn module_spec(dice: &mut Dice) -> ModuleSpec {
    ModuleSpec { authentication: authentication_spec(dice), managed_by: dice.maybe(|_| "iotEdge".to_owned()) }
}

/// Mostly the scope of an edge device there is; else of one there was or never was, or no scope at all.
fn scope(dice: &mut Dice, naive: &Naive) -> String {
    let now = naive.edge_scopes();
    if !now.is_empty() && dice.one_in(2) {
        return dice.pick(&now);
    }
    let ever: Vec<_> = naive.scopes.iter().cloned().collect();
    match dice.below(6) {
        0..=2 if !ever.is_empty() => dice.pick(&ever),
        3 => "ms-azure-iot-edge://a-637541234567890123".to_owned(),
        4 => "no scope".to_owned(),
        _ => String::new(),
    }
}

/// Mostly nothing or something legal; each field may be absent, empty, good or bad.
fn authentication_spec(dice: &mut Dice) -> Option<AuthenticationSpec> {
    use AuthenticationType as T;
    if dice.one_in(2) {
        return None;
    }
    let keys =
        ["", "AAECAwQFBgcICQoLDA0ODw==", "Dw4NDAsKCQgHBgUEAwIBAA==", "AAECAwQFBgcICQoLDA0O", "no base64!"];
    let key = |dice: &mut Dice| {
        let choices = if dice.one_in(8) { &keys[..] } else { &keys[..3] };
        dice.maybe(|dice| dice.pick(choices).to_owned())
    };
    let print = |dice: &mut Dice| match dice.below(12) {
        0 => Some("ab".repeat(20)),
        1 => Some("0F".repeat(32)),
        2 => Some("ab".repeat(21)),
        3 => Some(String::new()),
        _ => None,
    };
    let same = key(dice);
    Some(AuthenticationSpec {
        kind: dice.pick(&[
            None,
            None,
            Some(T::Sas),
            Some(T::Sas),
            Some(T::SelfSigned),
            Some(T::CertificateAuthority),
            Some(T::None),
        ]),
        primary_key: same.clone(),
        secondary_key: if dice.one_in(6) { key(dice) } else { same },
        primary_thumbprint: print(dice),
        secondary_thumbprint: print(dice),
    })
}
