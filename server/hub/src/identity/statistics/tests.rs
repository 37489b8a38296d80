//! The counts against a count of what is there, after every step of random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::device_session::{ConnectionState, DeviceSession};
use crate::identity::{DeviceSpec, ModuleSpec};
use crate::ids::{DeviceId, IdentityId, IfMatch, ModuleId};
use crate::limits;
use crate::testing::{connect, hub, options, owner};

/// One step on one of four devices; `module` steps are on its module `m`.
#[derive(Clone, Debug)]
enum Step {
    Create { disabled: bool, iot_edge: bool },
    Update { disabled: bool, iot_edge: bool },
    Delete,
    CreateModule,
    DeleteModule,
    Connect { module: bool, kept: usize },
    Disconnect { kept: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<(bool, bool)>().prop_map(|(disabled, iot_edge)| Step::Create { disabled, iot_edge }),
        2 => any::<(bool, bool)>().prop_map(|(disabled, iot_edge)| Step::Update { disabled, iot_edge }),
        1 => Just(Step::Delete),
        2 => Just(Step::CreateModule),
        1 => Just(Step::DeleteModule),
        4 => (any::<bool>(), 0_usize..6).prop_map(|(module, kept)| Step::Connect { module, kept }),
        2 => (0_usize..6).prop_map(|kept| Step::Disconnect { kept }),
    ]
}

fn spec(disabled: bool, iot_edge: bool) -> DeviceSpec {
    let status = if disabled { DeviceStatus::Disabled } else { DeviceStatus::Enabled };
    DeviceSpec { status: Some(status), iot_edge: Some(iot_edge), ..DeviceSpec::default() }
}

/// What the counts must be, from the identities themselves.
fn counted(hub: &Hub) -> (usize, DeviceStatistics, ServiceStatistics) {
    let devices = hub.devices(owner(hub, ()), limits::LIST_ROWS).unwrap();
    let modules: usize =
        devices.iter().map(|device| hub.modules(owner(hub, device.id.clone())).unwrap().len()).sum();
    let disabled = devices.iter().filter(|device| device.status == DeviceStatus::Disabled).count();
    let is_connected =
        |device: &&crate::identity::Device| device.presence.state == ConnectionState::Connected;
    (
        devices.len() + modules,
        DeviceStatistics { total: devices.len(), enabled: devices.len() - disabled, disabled },
        ServiceStatistics { connected_devices: devices.iter().filter(is_connected).count() },
    )
}

proptest! {
    #[test]
    fn the_counts_never_drift(steps in prop::collection::vec((0_usize..4, step()), 1..80)) {
        let (hub, _) = hub();
        let module = ModuleId::parse("m").unwrap();
        // Sessions a head still holds, live or long taken over.
        let mut held: BTreeMap<usize, DeviceSession> = BTreeMap::new();
        for (device, step) in steps {
            let device = DeviceId::parse(&format!("d{device}")).unwrap();
            let in_module = (device.clone(), module.clone());
            // Refusals are part of the history; the counts must hold after them too.
            let _refused = match step {
                Step::Create { disabled, iot_edge } => {
                    hub.create_device(owner(&hub, device), &spec(disabled, iot_edge)).map(drop)
                }
                Step::Update { disabled, iot_edge } => {
                    hub.update_device(owner(&hub, device), &spec(disabled, iot_edge), &IfMatch::Any).map(drop)
                }
                Step::Delete => hub.delete_device(owner(&hub, device), &IfMatch::Any),
                Step::CreateModule => hub.create_module(owner(&hub, in_module), &ModuleSpec::default()).map(drop),
                Step::DeleteModule => hub.delete_module(owner(&hub, in_module), &IfMatch::Any),
                Step::Connect { module: is_module, kept } => {
                    let module = is_module.then(|| module.clone());
                    connect(&hub, &IdentityId { device, module }, options(1))
                        .map(|session| drop(held.insert(kept, session)))
                }
                Step::Disconnect { kept } => {
                    drop(held.remove(&kept));
                    Ok(())
                }
            };
            let shown = (
                hub.devices.census().counts().identities,
                hub.device_statistics(owner(&hub, ())).unwrap(),
                hub.service_statistics(owner(&hub, ())).unwrap(),
            );
            prop_assert_eq!(shown, counted(&hub));
        }
    }
}

#[test]
fn the_last_identity_is_counted_and_one_more_refused() {
    let identities_max = limits::IDENTITIES;
    let census =
        Census(Mutex::new(Counts { identities: identities_max - 3, identities_max, ..Counts::default() }));
    census.add_device(DeviceStatus::Enabled, 2).unwrap();
    assert_eq!(census.add_modules(1).unwrap_err().code(), ErrorCode::TooManyDevices);
    let refused = census.add_device(DeviceStatus::Disabled, 0).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooManyDevices);
    let Counts { identities, devices, disabled, .. } = census.counts();
    assert_eq!((identities, devices, disabled), (limits::IDENTITIES, 1, 0));
    census.remove_modules(1);
    census.add_modules(1).unwrap();
}
