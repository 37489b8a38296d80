//! What must hold after every step, whatever it was (ARCHITECTURE section 7): the hub shows exactly what the model
//! has, nothing survives its identity, nobody has two sessions, and nothing due is forgotten.

use std::collections::BTreeMap;

use hub::error::ErrorCode;
use hub::gate::operations::{
    GetDevice, GetDeviceStatistics, GetModule, GetServiceStatistics, GetTwin, ListDevices, ListModules,
};
use hub::ids::IdentityId;

use crate::world::{SeenTwin, World};
use crate::{ids, registry, replay, shown, twins};

pub(crate) fn check(world: &mut World) {
    let mut seen = std::mem::take(&mut world.seen);
    identities_and_twins_are_the_models(world, &mut seen);
    world.seen = seen;
    what_is_deleted_is_gone(world);
    live_sessions_are_the_models(world);
    statistics_equal_a_recount(world);
    nothing_that_ends_is_forgotten(world);
    every_will_went_out_once(world);
    replay::check(world);
}

fn identities_and_twins_are_the_models(world: &World, seen: &mut BTreeMap<IdentityId, SeenTwin>) {
    let devices =
        world.look::<ListDevices, _>((), |hub, by| hub.devices(by, 1000)).expect("a list never fails");
    let listed: Vec<_> = devices.into_iter().map(|device| device.id).collect();
    let expected: Vec<_> = world.naive.devices().map(|(id, _)| id.clone()).collect();
    assert_eq!(listed, expected, "the devices");
    for (id, own) in &world.naive.identities {
        let shown = if id.is_module() {
            shown::module(
                &world.look::<GetModule, _>(registry::pair(id), |hub, by| hub.module(by)).expect("it exists"),
            )
        } else {
            shown::device(
                &world.look::<GetDevice, _>(id.device.clone(), |hub, by| hub.device(by)).expect("it exists"),
            )
        };
        assert_eq!(shown, own.shown(id), "the identity {id}");
        let twin = world.look::<GetTwin, _>(id.clone(), |hub, by| hub.twin(by)).expect("it exists");
        // Documents are compared when either side says they changed: most of the time they did not.
        let version = (own.generation_id.clone(), own.twin.version, shown::written(&twin));
        if seen.get(id) == Some(&version) {
            assert_eq!(shown::twin_head(&twin), twins::expected_head(&world.naive, id), "the twin of {id}");
            continue;
        }
        assert_eq!(shown::twin(&twin), twins::expected(&world.naive, id), "the twin of {id}");
        seen.insert(id.clone(), version);
    }
}

fn what_is_deleted_is_gone(world: &World) {
    for device in ids::all_devices() {
        let expected: Vec<_> = world.naive.modules(&device).map(|(id, _)| id.clone()).collect();
        match world.look::<ListModules, _>(device.clone(), |hub, by| hub.modules(by)) {
            Ok(modules) => {
                let ids: Vec<_> = modules.into_iter().map(|module| module.id).collect();
                assert_eq!(ids, expected, "the modules of {device}");
            }
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::DeviceNotFound);
                let id = IdentityId::device(device);
                assert!(!world.naive.identities.contains_key(&id), "the hub lost {id}");
                assert!(
                    world.look::<GetTwin, _>(id.clone(), |hub, by| hub.twin(by)).is_err(),
                    "a twin of nobody"
                );
                assert!(world.hub.authentication(&id).is_err(), "{id} is gone and could still authenticate");
            }
        }
    }
}

/// One session an identity at most, since the model has no room for a second.
fn live_sessions_are_the_models(world: &World) {
    let mut live: Vec<_> =
        world.hub.connections().into_iter().map(|view| (view.connection.0, view.identity)).collect();
    live.sort();
    let of_model = world.naive.identities.iter().filter_map(|(id, own)| Some((own.live?, id.clone())));
    let mut expected: Vec<_> =
        of_model.map(|(handle, id)| (world.naive.sessions[&handle].connection, id)).collect();
    expected.sort();
    assert_eq!(live, expected, "the live sessions");
}

fn statistics_equal_a_recount(world: &World) {
    let devices = world.look::<GetDeviceStatistics, _>((), |hub, by| hub.device_statistics(by));
    let devices = devices.expect("statistics never fail");
    assert_eq!(
        (devices.total, devices.enabled, devices.disabled),
        world.naive.count_devices(),
        "the statistics"
    );
    let service = world.look::<GetServiceStatistics, _>((), |hub, by| hub.service_statistics(by));
    let connected = service.expect("statistics never fail").connected_devices;
    assert_eq!(connected, world.naive.count_connected(), "the connected devices");
}

/// The ticker sleeps until the next deadline: a later one would let a session outlive its credential and a caller
/// its patience.
fn nothing_that_ends_is_forgotten(world: &World) {
    let ends = world.naive.identities.values().filter_map(|own| world.naive.sessions[&own.live?].ends_at);
    let calls = world.naive.calls.open.values().map(|call| call.due);
    let messages = world.naive.identities.values().filter_map(|own| own.messages.due);
    if let Some(earliest) = ends.chain(calls).chain(messages).min() {
        let next = world.hub.next_deadline();
        assert!(
            next.is_some_and(|next| next <= earliest),
            "something ends at {earliest}, the ticker runs at {next:?}"
        );
    }
}

fn every_will_went_out_once(world: &World) {
    let events = world.hub.events().newest(usize::MAX, None);
    let mut wills: Vec<_> = events.iter().map(|(_, event)| event.data.identity.clone()).collect();
    wills.sort();
    let mut expected = world.naive.wills.clone();
    expected.sort();
    assert_eq!(wills, expected, "the Wills");
    for partition in 0..4 {
        let mut numbers: Vec<_> = events
            .iter()
            .filter(|(of, _)| *of == partition)
            .map(|(_, event)| event.position.sequence_number)
            .collect();
        numbers.sort_unstable();
        let gapless = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(gapless, "partition {partition} has gaps: {numbers:?}");
    }
}
