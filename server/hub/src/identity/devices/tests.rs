//! The registry's rules, one test each.

use std::time::Duration;

use super::*;
use crate::access::SymmetricKey;
use crate::c2d::CloudToDeviceMessage;
use crate::device_session::{ConnectionState, Delivery};
use crate::error::ErrorCode;
use crate::gate::operations::{GetTwin, SendCloudToDevice};
use crate::identity::ModuleSpec;
use crate::identity::{AuthenticationSpec, AuthenticationType};
use crate::ids::{IdentityId, ModuleId};
use crate::testing::{connect, connect_until, hub, identity_grant, options, owner, register};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn module(device: &str, module: &str) -> (DeviceId, ModuleId) {
    (id(device), ModuleId::parse(module).unwrap())
}

fn disabled() -> DeviceSpec {
    DeviceSpec { status: Some(DeviceStatus::Disabled), ..DeviceSpec::default() }
}

#[test]
fn creating_a_device_twice_conflicts_and_changes_nothing() {
    let (hub, _) = hub();
    let first = hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).unwrap();
    let again = hub.create_device(owner(&hub, id("d")), &disabled()).unwrap_err();
    assert_eq!(again.code(), ErrorCode::DeviceAlreadyExists);
    let stored = hub.device(owner(&hub, id("d"))).unwrap();
    assert_eq!((stored.etag, stored.status), (first.etag, DeviceStatus::Enabled));
}

#[test]
fn an_update_with_a_stale_etag_changes_nothing() {
    let (hub, _) = hub();
    let created = hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).unwrap();
    let fresh = IfMatch::parse(Some(created.etag.as_str()));
    let updated = hub.update_device(owner(&hub, id("d")), &disabled(), &fresh).unwrap();
    assert_ne!(updated.etag, created.etag);
    let stale = hub.update_device(owner(&hub, id("d")), &DeviceSpec::default(), &fresh).unwrap_err();
    assert_eq!(stale.code(), ErrorCode::PreconditionFailed);
    assert_eq!(hub.device(owner(&hub, id("d"))).unwrap().status, DeviceStatus::Disabled);
}

#[test]
fn updating_or_deleting_what_does_not_exist_is_not_found() {
    let (hub, _) = hub();
    let update = hub.update_device(owner(&hub, id("d")), &DeviceSpec::default(), &IfMatch::Any);
    assert_eq!(update.unwrap_err().code(), ErrorCode::DeviceNotFound);
    let delete = hub.delete_device(owner(&hub, id("d")), &IfMatch::Any);
    assert_eq!(delete.unwrap_err().code(), ErrorCode::DeviceNotFound);
    register(&hub, "d", None);
    let update = hub.update_module(owner(&hub, module("d", "m")), &ModuleSpec::default(), &IfMatch::Any);
    assert_eq!(update.unwrap_err().code(), ErrorCode::ModuleNotFound);
}

#[test]
fn the_status_time_moves_only_when_the_status_does() {
    let (hub, clock) = hub();
    hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).unwrap();
    let same = hub.update_device(owner(&hub, id("d")), &DeviceSpec::default(), &IfMatch::Any).unwrap();
    assert_eq!(same.status_updated, None);
    clock.advance(Duration::from_secs(5));
    let changed = hub.update_device(owner(&hub, id("d")), &disabled(), &IfMatch::Any).unwrap();
    assert_eq!(changed.status_updated, Some(hub.clock().now()));
}

#[test]
fn a_module_needs_its_device_and_goes_with_it() {
    let (hub, _) = hub();
    let orphan = hub.create_module(owner(&hub, module("d", "m")), &ModuleSpec::default()).unwrap_err();
    assert_eq!(orphan.code(), ErrorCode::DeviceNotFound);
    let identity = register(&hub, "d", Some("m"));
    hub.delete_device(owner(&hub, id("d")), &IfMatch::Any).unwrap();
    assert_eq!(hub.twin(owner::<GetTwin>(&hub, identity)).unwrap_err().code(), ErrorCode::DeviceNotFound);
    hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).unwrap();
    assert!(hub.modules(owner(&hub, id("d"))).unwrap().is_empty());
}

#[test]
fn a_list_is_ordered_and_an_absurd_top_counts_as_a_thousand() {
    let (hub, _) = hub();
    for device in ["b", "a", "c"] {
        register(&hub, device, None);
    }
    let ids = |top| -> Vec<_> {
        hub.devices(owner(&hub, ()), top).unwrap().into_iter().map(|d| d.id.to_string()).collect()
    };
    assert_eq!(ids(2), ["a", "b"]);
    assert_eq!(ids(0), ["a", "b", "c"]);
    assert_eq!(ids(usize::MAX), ["a", "b", "c"]);
}

#[test]
fn a_recreated_device_has_another_generation() {
    let (hub, clock) = hub();
    let first = hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).unwrap();
    hub.delete_device(owner(&hub, id("d")), &IfMatch::Any).unwrap();
    clock.advance(Duration::from_secs(1));
    let second = hub.create_device(owner(&hub, id("d")), &DeviceSpec::default()).unwrap();
    assert_ne!(first.generation_id, second.generation_id);
}

#[test]
fn a_status_reason_of_128_characters_is_kept_and_129_refused() {
    let (hub, _) = hub();
    let spec = |chars: usize| DeviceSpec { status_reason: Some("é".repeat(chars)), ..DeviceSpec::default() };
    hub.create_device(owner(&hub, id("d")), &spec(128)).unwrap();
    let refused = hub.update_device(owner(&hub, id("d")), &spec(129), &IfMatch::Any).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    assert_eq!(hub.device(owner(&hub, id("d"))).unwrap().status_reason.unwrap().chars().count(), 128);
}

#[test]
fn a_refused_create_leaves_no_device_behind() {
    let (hub, _) = hub();
    let bad = AuthenticationSpec { primary_key: Some("short".into()), ..AuthenticationSpec::default() };
    let spec = DeviceSpec { authentication: Some(bad), ..DeviceSpec::default() };
    assert!(hub.create_device(owner(&hub, id("d")), &spec).is_err());
    assert_eq!(hub.device(owner(&hub, id("d"))).unwrap_err().code(), ErrorCode::DeviceNotFound);
}

#[tokio::test]
async fn disabling_a_device_ends_its_session_and_its_modules() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    let device = IdentityId::device(id("d"));
    let sessions = [connect(&hub, &device, options(1)).unwrap(), connect(&hub, &module, options(2)).unwrap()];
    hub.update_device(owner(&hub, id("d")), &disabled(), &IfMatch::Any).unwrap();
    for session in &sessions {
        assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::IdentityDisabled));
    }
    let refused = connect(&hub, &module, options(3)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::IotHubUnauthorizedAccess);
}

#[tokio::test]
async fn deleting_a_device_ends_every_session_on_it() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    let session = connect(&hub, &module, options(1)).unwrap();
    hub.delete_device(owner(&hub, id("d")), &IfMatch::Any).unwrap();
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::IdentityDeleted));
}

#[test]
fn a_deleted_identity_leaves_nothing_behind_that_falls_due() {
    let (hub, _) = hub();
    let years = Some(hub.clock().now().plus(Duration::from_secs(10 * 365 * 24 * 3600)));
    let of_module = register(&hub, "d", Some("m"));
    let of_device = IdentityId::device(id("d"));
    let sessions = [&of_device, &of_module].map(|who| connect_until(&hub, who, options(1), years).unwrap());
    let message = CloudToDeviceMessage::default();
    hub.send_cloud_to_device(owner::<SendCloudToDevice>(&hub, id("d")), message).unwrap();
    assert_eq!(hub.deadlines.len(), 3);

    hub.delete_module(owner(&hub, module("d", "m")), &IfMatch::Any).unwrap();
    assert_eq!(hub.deadlines.len(), 2);
    hub.delete_device(owner(&hub, id("d")), &IfMatch::Any).unwrap();
    assert_eq!(hub.deadlines.len(), 0);
    // Their heads have not heard of it yet.
    for session in sessions {
        session.renew(identity_grant(session.identity(), years));
    }
    assert_eq!(hub.deadlines.len(), 0);
}

#[test]
fn an_identity_that_is_deleted_after_it_left_leaves_nothing_behind_either() {
    let (hub, _) = hub();
    let years = Some(hub.clock().now().plus(Duration::from_secs(10 * 365 * 24 * 3600)));
    for (device, module) in [("d", None), ("e", Some("$edgeAgent"))] {
        register(&hub, device, None);
        let edge = |iot_edge| DeviceSpec { iot_edge: Some(iot_edge), ..DeviceSpec::default() };
        hub.update_device(owner(&hub, id(device)), &edge(module.is_some()), &IfMatch::Any).unwrap();
        let identity = IdentityId::parse(device, module).unwrap();
        connect_until(&hub, &identity, options(1), years).unwrap().end();
        assert_eq!(hub.deadlines.len(), 1);
        // The modules of the edge runtime go with the capability.
        hub.update_device(owner(&hub, id(device)), &edge(false), &IfMatch::Any).unwrap();
        hub.delete_device(owner(&hub, id(device)), &IfMatch::Any).unwrap();
        assert_eq!(hub.deadlines.len(), 0, "{identity}");
    }
}

#[tokio::test]
async fn new_keys_end_a_session_and_writing_the_same_keys_does_not() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = connect(&hub, &device, options(1)).unwrap();
    let AuthenticationMechanism::Sas(keys) = hub.authentication(&device).unwrap().mechanism else {
        panic!("sas")
    };
    let keys_spec = |primary: &SymmetricKey| DeviceSpec {
        authentication: Some(AuthenticationSpec {
            kind: Some(AuthenticationType::Sas),
            primary_key: Some(primary.to_base64()),
            secondary_key: Some(keys.secondary.to_base64()),
            ..AuthenticationSpec::default()
        }),
        ..DeviceSpec::default()
    };
    let same = hub.update_device(owner(&hub, id("d")), &keys_spec(&keys.primary), &IfMatch::Any).unwrap();
    assert_eq!(same.presence.state, ConnectionState::Connected);
    let rolled = hub.update_device(owner(&hub, id("d")), &keys_spec(&keys.secondary), &IfMatch::Any).unwrap();
    assert_eq!(rolled.presence.state, ConnectionState::Disconnected);
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::KeysChanged));
}

#[test]
fn a_device_must_prove_who_it_is_in_some_way() {
    let (hub, _) = hub();
    let none = AuthenticationSpec { kind: Some(AuthenticationType::None), ..AuthenticationSpec::default() };
    let spec = DeviceSpec { authentication: Some(none), ..DeviceSpec::default() };
    let refused = hub.create_device(owner(&hub, id("d")), &spec).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    register(&hub, "d", None);
    assert!(hub.update_device(owner(&hub, id("d")), &spec, &IfMatch::Any).is_err());
}

#[test]
fn a_device_being_deleted_is_in_nobodys_way() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    // As a delete leaves it between its two locks: marked, still in the map.
    let gone = hub.devices.get(&id("d")).unwrap();
    gone.lock(&id("d")).unwrap().is_gone = true;
    hub.create_device(owner(&hub, id("d")), &disabled()).unwrap();
    hub.devices.remove(&id("d"), &gone);
    assert_eq!(hub.device(owner(&hub, id("d"))).unwrap().status, DeviceStatus::Disabled);
}

/// A million of them, each with its twin, are to fit in 700 MB: what only some devices have stands behind a pointer.
#[test]
fn a_device_at_rest_takes_208_bytes_beside_its_twin_and_id() {
    assert!(size_of::<DeviceState>() <= 208, "{} bytes", size_of::<DeviceState>());
}
