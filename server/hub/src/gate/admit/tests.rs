//! Who is admitted, in which tier, within which quota, and who waits.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::Hub;
use crate::gate::Scale;
use crate::gate::operations::{
    Connect, CreateDevice, GetModule, GetTwin, InvokeMethod, ListDevices, ReadOwnTwin, SendTelemetry,
};
use crate::identity::{BulkChange, BulkRow, DeviceSpec, RowId};
use crate::ids::{DeviceId, IdentityId};
use crate::telemetry::DeviceMessage;
use crate::testing::{admit, hub, hub_with, identity_grant, owner, policy_grant, register};
use crate::twin::{Arrays, ReportedPatch, TwinPatch};

#[test]
fn a_policy_without_the_right_is_refused_with_401_and_journalled() {
    let (hub, _) = hub();
    let grant = policy_grant(&hub, "registryRead");
    let refused = admit::<CreateDevice>(&hub, &grant, DeviceId::parse("d").unwrap()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::IotHubUnauthorizedAccess);
    let entry = &hub.journal().recent(1, None)[0];
    assert_eq!(entry.operation, "CreateDevice");
    assert_eq!(entry.outcome, Outcome::Refused(ErrorCode::IotHubUnauthorizedAccess));
}

#[test]
fn registry_write_implies_no_service_connect() {
    let (hub, _) = hub();
    let grant = policy_grant(&hub, "registryReadWrite");
    assert!(admit::<CreateDevice>(&hub, &grant, DeviceId::parse("d").unwrap()).is_ok());
    assert!(admit::<GetTwin>(&hub, &grant, IdentityId::parse("d", None).unwrap()).is_err());
}

#[test]
fn a_module_may_call_methods_of_its_device_and_its_siblings_and_a_device_may_not() {
    let (hub, _) = hub();
    let identity = |device, module| IdentityId::parse(device, module).unwrap();
    let invoke = |by: &IdentityId, on: IdentityId| {
        admit::<InvokeMethod>(&hub, &identity_grant(by, None), on).map(drop)
    };
    let module = identity("d", Some("m"));
    for on in [identity("d", None), identity("d", Some("other")), module.clone()] {
        assert!(invoke(&module, on).is_ok());
    }
    assert!(invoke(&module, identity("e", None)).is_err());
    assert!(invoke(&module, identity("e", Some("m"))).is_err());
    assert!(invoke(&identity("d", None), identity("d", None)).is_err());
    assert!(invoke(&identity("d", None), identity("d", Some("m"))).is_err());
    assert!(admit::<GetTwin>(&hub, &identity_grant(&module, None), identity("d", None)).is_err());
}

#[test]
fn device_connect_does_not_invoke_methods_and_service_connect_does() {
    let (hub, _) = hub();
    let device = IdentityId::parse("d", None).unwrap();
    let invoke = |policy| admit::<InvokeMethod>(&hub, &policy_grant(&hub, policy), device.clone());
    assert_eq!(invoke("device").unwrap_err().code(), ErrorCode::IotHubUnauthorizedAccess);
    assert!(invoke("service").is_ok());
}

#[test]
fn a_token_for_one_device_cannot_list_all() {
    let (hub, _) = hub();
    let mut grant = (*policy_grant(&hub, "iothubowner")).clone();
    assert!(admit::<ListDevices>(&hub, &Arc::new(grant.clone()), ()).is_ok());
    grant.scope = crate::access::Scope::Identity(IdentityId::parse("d", None).unwrap());
    assert!(admit::<ListDevices>(&hub, &Arc::new(grant), ()).is_err());
}

#[test]
fn an_operation_admitted_but_never_done_is_journalled_as_abandoned() {
    let (hub, _) = hub();
    drop(admit::<ListDevices>(&hub, &policy_grant(&hub, "iothubowner"), ()).unwrap());
    assert_eq!(hub.journal().recent(1, None)[0].outcome, Outcome::Abandoned);
}

#[test]
fn the_basic_tier_has_devices_and_neither_modules_nor_twins() {
    let (hub, _) = hub_with(|config| config.tier = Tier::Basic);
    let owner = policy_grant(&hub, "iothubowner");
    let (device, module) =
        (IdentityId::parse("d", None).unwrap(), IdentityId::parse("d", Some("m")).unwrap());
    assert!(admit::<CreateDevice>(&hub, &owner, device.device.clone()).is_ok());
    assert!(admit::<Connect>(&hub, &identity_grant(&device, None), device.clone()).is_ok());

    let lacks = |refused: HubError| {
        assert_eq!(refused.code(), ErrorCode::OperationNotAvailableInCurrentTier);
        assert!(refused.reason().contains("--tier basic"), "{}", refused.reason());
    };
    lacks(admit::<GetTwin>(&hub, &owner, device).unwrap_err());
    lacks(admit::<Connect>(&hub, &identity_grant(&module, None), module.clone()).unwrap_err());
    let target = (module.device.clone(), module.module.clone().unwrap());
    lacks(admit::<GetModule>(&hub, &owner, target).unwrap_err());
    lacks(hub.gate().standard("A device twin").unwrap_err());
    let entry = &hub.journal().recent(1, Some(&module))[0];
    assert_eq!(entry.outcome, Outcome::Refused(ErrorCode::OperationNotAvailableInCurrentTier));
}

#[test]
fn the_free_tier_has_what_the_standard_tier_has() {
    let (hub, _) = hub_with(|config| config.tier = Tier::Free);
    let module = IdentityId::parse("d", Some("m")).unwrap();
    assert!(admit::<GetTwin>(&hub, &policy_grant(&hub, "iothubowner"), module).is_ok());
    assert!(hub.gate().standard("A device twin").is_ok());
}

#[test]
fn who_has_no_right_is_told_so_before_he_learns_of_tiers() {
    let (hub, _) = hub_with(|config| config.tier = Tier::Basic);
    let refused =
        admit::<GetTwin>(&hub, &policy_grant(&hub, "registryRead"), IdentityId::parse("d", None).unwrap());
    assert_eq!(refused.unwrap_err().code(), ErrorCode::IotHubUnauthorizedAccess);
}

#[test]
fn the_free_tier_holds_500_identities_and_not_one_more() {
    let (hub, _) = hub_with(|config| config.tier = Tier::Free);
    for n in 0..limits::IDENTITIES_FREE {
        register(&hub, &format!("d{n}"), None);
    }
    let by = owner::<CreateDevice>(&hub, DeviceId::parse("one-more").unwrap());
    let refused = hub.create_device(by, &DeviceSpec::default()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooManyDevices);
}

fn send(hub: &Hub, identity: &IdentityId, bytes: usize) -> Result<(), HubError> {
    let by = admit::<SendTelemetry>(hub, &identity_grant(identity, None), identity.clone())?;
    let message = DeviceMessage { body: vec![b'x'; bytes].into(), ..DeviceMessage::default() };
    hub.send_telemetry(by, message).map(drop)
}

#[test]
fn messages_count_by_4_kb_until_the_day_is_used_up_and_a_new_one_begins() {
    let (hub, clock) = hub_with(|config| config.messages_per_day = Some(3));
    let identity = register(&hub, "d", None);
    send(&hub, &identity, 0).unwrap();
    send(&hub, &identity, 4097).unwrap();
    let refused = send(&hub, &identity, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::IotHubQuotaExceeded);
    assert!(admit::<ListDevices>(&hub, &policy_grant(&hub, "iothubowner"), ()).is_ok(), "that is no message");
    clock.advance(Duration::from_secs(24 * 60 * 60));
    send(&hub, &identity, 1).unwrap();
}

#[test]
fn a_message_that_was_refused_counts_for_nothing() {
    let (hub, _) = hub_with(|config| config.messages_per_day = Some(1));
    let identity = register(&hub, "d", None);
    assert!(send(&hub, &identity, limits::TELEMETRY_BYTES + 1).is_err());
    send(&hub, &identity, 1).unwrap();
}

#[test]
fn a_throttled_operation_waits_in_hub_time_and_is_admitted_when_its_turn_comes() {
    let mut rates = Scale::default().rates();
    rates.set(Throttle::DeviceToCloudSends, "12/min".parse().unwrap());
    let (hub, clock) = hub_with(|config| config.throttles = Some(rates));
    let identity = register(&hub, "d", None);
    for _ in 0..12 {
        send(&hub, &identity, 1).unwrap();
    }
    let grant = identity_grant(&identity, None);
    let details = Details { protocol: ProtocolLabel("test"), connection: None };
    let mut next = pin!(hub.gate().admit::<SendTelemetry>(&grant, identity, details));
    let context = &mut Context::from_waker(Waker::noop());
    assert!(next.as_mut().poll(context).is_pending());
    let due = hub.next_deadline().unwrap();
    assert_eq!(due, clock.now().plus(Duration::from_secs(5)));
    clock.advance(Duration::from_secs(5));
    hub.run_due();
    let Poll::Ready(Ok(admitted)) = next.as_mut().poll(context) else { panic!("the turn has come") };
    assert_eq!(admitted.at(), due);
}

#[test]
fn nothing_is_throttled_or_counted_unless_switched_on() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    for _ in 0..10_000 {
        send(&hub, &identity, 0).unwrap();
    }
}

#[test]
fn the_basic_tier_has_no_edge_devices_and_no_twins_or_modules_in_bulk() {
    let (hub, _) = hub_with(|config| config.tier = Tier::Basic);
    let edge = DeviceSpec { iot_edge: Some(true), ..DeviceSpec::default() };
    let refused = hub.create_device(owner(&hub, DeviceId::parse("edge").unwrap()), &edge).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OperationNotAvailableInCurrentTier);

    let twin = TwinPatch::parse(serde_json::json!({"tags": {"a": 1}}), Arrays::Allowed).unwrap();
    let row = |device: &str, module: Option<&str>, twin| BulkRow {
        id: RowId { device: device.to_owned(), module: module.map(str::to_owned) },
        change: Ok(BulkChange { twin, ..BulkChange::default() }),
    };
    let rows = vec![row("d", None, None), row("d", Some("m"), None), row("e", None, Some(twin))];
    let result = hub.bulk_registry(owner(&hub, ()), rows).unwrap();
    let failed: Vec<_> = result.errors.iter().map(|row| (row.id.device.as_str(), row.error.code())).collect();
    let code = ErrorCode::OperationNotAvailableInCurrentTier;
    assert_eq!(failed, [("d", code), ("e", code)]);
}

#[test]
fn reading_and_changing_twins_counts_as_messages_too() {
    let (hub, _) = hub_with(|config| config.messages_per_day = Some(3));
    let identity = register(&hub, "d", None);
    let device = identity_grant(&identity, None);
    hub.twin(owner(&hub, identity.clone())).unwrap();
    let large = serde_json::json!({ "a": "x".repeat(4090) }).to_string();
    let patch = ReportedPatch::parse(large.as_bytes(), Arrays::Allowed).unwrap();
    hub.update_reported(admit(&hub, &device, identity.clone()).unwrap(), &patch, None).unwrap();
    let refused = admit::<ReadOwnTwin>(&hub, &device, identity).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::IotHubQuotaExceeded);
}
