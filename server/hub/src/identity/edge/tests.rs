//! Edge devices, their system modules and the scopes of parents and children (contract/rest.md 2.3, 2.6).

use super::*;
use crate::device_session::{Delivery, DisconnectReason};
use crate::gate::operations::GetTwin;
use crate::identity::{AuthenticationSpec, AuthenticationType, Device, DeviceSpec, Module, ModuleSpec};
use crate::ids::{IdentityId, IfMatch};
use crate::limits;
use crate::testing::{connect, hub, options, owner};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn module(device: &str, module: &str) -> (DeviceId, ModuleId) {
    (id(device), ModuleId::parse(module).unwrap())
}

fn edge(iot_edge: bool) -> DeviceSpec {
    DeviceSpec { iot_edge: Some(iot_edge), ..DeviceSpec::default() }
}

fn create(hub: &Hub, device: &str, spec: &DeviceSpec) -> Result<Device, HubError> {
    hub.create_device(owner(hub, id(device)), spec)
}

fn update(hub: &Hub, device: &str, spec: &DeviceSpec) -> Result<Device, HubError> {
    hub.update_device(owner(hub, id(device)), spec, &IfMatch::Any)
}

fn modules(hub: &Hub, device: &str) -> Vec<Module> {
    hub.modules(owner(hub, id(device))).unwrap()
}

fn module_ids(hub: &Hub, device: &str) -> Vec<String> {
    modules(hub, device).iter().map(|module| module.id.to_string()).collect()
}

fn text(device: &Device) -> (Option<String>, Vec<String>) {
    let parents = device.parent_scopes.iter().map(ToString::to_string).collect();
    (device.device_scope.as_ref().map(ToString::to_string), parents)
}

fn scope_of(device: &Device) -> String {
    text(device).0.unwrap()
}

fn scoped(device_scope: Option<&str>, parent_scopes: Option<&[&str]>) -> DeviceSpec {
    DeviceSpec {
        device_scope: device_scope.map(Into::into),
        parent_scopes: parent_scopes.map(|scopes| scopes.iter().map(|&scope| scope.into()).collect()),
        ..DeviceSpec::default()
    }
}

#[test]
fn an_edge_device_is_born_with_its_scope_and_two_modules_without_authentication() {
    let (hub, _) = hub();
    let device = create(&hub, "e", &edge(true)).unwrap();
    assert_eq!(scope_of(&device), format!("ms-azure-iot-edge://e-{}", device.generation_id));
    assert!(device.parent_scopes.is_empty());
    assert_eq!(module_ids(&hub, "e"), ["$edgeAgent", "$edgeHub"]);
    assert!(modules(&hub, "e").iter().all(|it| it.authentication == AuthenticationMechanism::None));
    let plain = create(&hub, "d", &edge(false)).unwrap();
    assert_eq!(text(&plain), (None, vec![]));
    assert!(modules(&hub, "d").is_empty());
}

#[test]
fn system_modules_are_updated_by_hand_but_not_removed_and_go_with_the_device() {
    let (hub, _) = hub();
    create(&hub, "e", &edge(true)).unwrap();
    let keys = AuthenticationSpec { kind: Some(AuthenticationType::Sas), ..AuthenticationSpec::default() };
    let spec = ModuleSpec { authentication: Some(keys), ..ModuleSpec::default() };
    let updated = hub.update_module(owner(&hub, module("e", "$edgeHub")), &spec, &IfMatch::Any).unwrap();
    assert_eq!(updated.authentication.kind(), AuthenticationType::Sas);
    let deleted = hub.delete_module(owner(&hub, module("e", "$edgeHub")), &IfMatch::Any).unwrap_err();
    assert_eq!(deleted.code(), ErrorCode::SystemModuleModifyUnauthorizedAccess);
    hub.delete_device(owner(&hub, id("e")), &IfMatch::Any).unwrap();
    create(&hub, "e", &edge(false)).unwrap();
    assert!(modules(&hub, "e").is_empty());
}

#[tokio::test]
async fn the_capability_comes_and_goes_with_the_modules_and_stays_when_left_out() {
    let (hub, _) = hub();
    create(&hub, "d", &edge(false)).unwrap();
    let became = update(&hub, "d", &edge(true)).unwrap();
    assert_eq!(module_ids(&hub, "d"), ["$edgeAgent", "$edgeHub"]);
    let kept = update(&hub, "d", &DeviceSpec::default()).unwrap();
    assert_eq!((kept.iot_edge, text(&kept)), (true, text(&became)));
    let agent = IdentityId::parse("d", Some("$edgeAgent")).unwrap();
    let session = connect(&hub, &agent, options(1)).unwrap();
    // A caller sends back the scope it read; it must not be taken for a parent.
    let back = DeviceSpec { device_scope: Some(scope_of(&became)), ..edge(false) };
    assert_eq!(text(&update(&hub, "d", &back).unwrap()), (None, vec![]));
    assert!(modules(&hub, "d").is_empty());
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::IdentityDeleted));
}

#[test]
fn a_device_with_modules_of_its_own_stays_an_edge_device() {
    let (hub, _) = hub();
    create(&hub, "e", &edge(true)).unwrap();
    hub.create_module(owner(&hub, module("e", "m")), &ModuleSpec::default()).unwrap();
    assert_eq!(update(&hub, "e", &edge(false)).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    assert_eq!(module_ids(&hub, "e"), ["$edgeAgent", "$edgeHub", "m"]);
    hub.delete_module(owner(&hub, module("e", "m")), &IfMatch::Any).unwrap();
    assert!(!update(&hub, "e", &edge(false)).unwrap().iot_edge);
}

#[test]
fn system_modules_take_two_of_the_fifty_places() {
    let (hub, _) = hub();
    create(&hub, "d", &edge(false)).unwrap();
    let add = |n: usize| hub.create_module(owner(&hub, module("d", &n.to_string())), &ModuleSpec::default());
    (0..limits::MODULES_PER_DEVICE - 1).for_each(|n| drop(add(n).unwrap()));
    let refused = update(&hub, "d", &edge(true)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooManyModulesOnDevice);
    assert!(!hub.device(owner(&hub, id("d"))).unwrap().iot_edge);
    hub.delete_module(owner(&hub, module("d", "0")), &IfMatch::Any).unwrap();
    assert!(update(&hub, "d", &edge(true)).unwrap().iot_edge);
}

#[test]
fn a_leaf_names_its_parent_in_either_field_and_shows_it_in_both() {
    let (hub, _) = hub();
    let parent = scope_of(&create(&hub, "e", &edge(true)).unwrap());
    let both = (Some(parent.clone()), vec![parent.clone()]);
    for (device, spec) in [
        ("a", scoped(Some(&parent), None)),
        ("b", scoped(None, Some(&[&parent]))),
        ("c", scoped(Some(&parent), Some(&[&parent]))),
        ("csharp", scoped(Some(&parent), Some(&[]))),
        ("null", scoped(Some(""), Some(&[&parent]))),
    ] {
        assert_eq!(text(&create(&hub, device, &spec).unwrap()), both, "{device}");
        let twin = hub.twin(owner::<GetTwin>(&hub, id(device).into())).unwrap();
        assert_eq!(twin.owner.device_scope.map(|scope| scope.to_string()), both.0, "{device}");
        assert_eq!(twin.owner.parent_scopes.len(), 1);
    }
}

#[test]
fn a_leaf_is_detached_by_emptying_either_field_and_kept_by_leaving_both_out() {
    let (hub, _) = hub();
    let parent = scope_of(&create(&hub, "e", &edge(true)).unwrap());
    let both = (Some(parent.clone()), vec![parent.clone()]);
    create(&hub, "d", &scoped(Some(&parent), None)).unwrap();
    assert_eq!(text(&update(&hub, "d", &DeviceSpec::default()).unwrap()), both);
    assert_eq!(text(&update(&hub, "d", &scoped(Some(&parent), Some(&[&parent]))).unwrap()), both);
    for detach in [
        scoped(Some(""), None),
        scoped(None, Some(&[])),
        scoped(Some(""), Some(&[&parent])),
        scoped(Some(&parent), Some(&[])),
        scoped(Some(""), Some(&[])),
    ] {
        assert_eq!(text(&update(&hub, "d", &scoped(Some(&parent), None)).unwrap()), both);
        assert_eq!(text(&update(&hub, "d", &detach).unwrap()), (None, vec![]), "{detach:?}");
    }
}

#[test]
fn a_leaf_moves_to_another_parent_when_one_field_changes_and_not_when_both_disagree() {
    let (hub, _) = hub();
    let [one, two, three] = ["e1", "e2", "e3"].map(|e| scope_of(&create(&hub, e, &edge(true)).unwrap()));
    create(&hub, "d", &scoped(Some(&one), None)).unwrap();
    assert_eq!(scope_of(&update(&hub, "d", &scoped(Some(&two), Some(&[&one]))).unwrap()), two);
    assert_eq!(scope_of(&update(&hub, "d", &scoped(Some(&two), Some(&[&one]))).unwrap()), one);
    let disagree = update(&hub, "d", &scoped(Some(&two), Some(&[&three]))).unwrap_err();
    assert_eq!(disagree.code(), ErrorCode::InvalidDeviceScope);
    let many = update(&hub, "d", &scoped(None, Some(&[&two, &three]))).unwrap_err();
    assert_eq!(many.code(), ErrorCode::ArgumentInvalid);
    assert_eq!(scope_of(&hub.device(owner(&hub, id("d"))).unwrap()), one);
}

#[test]
fn a_scope_that_is_no_registered_edge_device_is_refused() {
    let (hub, clock) = hub();
    let plain = create(&hub, "plain", &edge(false)).unwrap();
    let gone = scope_of(&create(&hub, "e", &edge(true)).unwrap());
    hub.delete_device(owner(&hub, id("e")), &IfMatch::Any).unwrap();
    clock.advance(std::time::Duration::from_secs(1));
    create(&hub, "e", &edge(true)).unwrap();
    for bad in [
        "9d4ff3b5-6a4b-4a5f-9d4c-0c9a5d1d7d11".to_owned(),
        "ms-azure-iot-edge://nobody-637541234567890123".to_owned(),
        format!("ms-azure-iot-edge://plain-{}", plain.generation_id),
        gone,
    ] {
        let refused = create(&hub, "d", &scoped(Some(&bad), None)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidDeviceScope, "{bad}");
        let refused = create(&hub, "d", &scoped(None, Some(&[&bad]))).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidDeviceScope, "{bad}");
    }
}

#[test]
fn children_of_a_deleted_parent_keep_its_scope_and_can_still_be_updated() {
    let (hub, _) = hub();
    let parent = scope_of(&create(&hub, "e", &edge(true)).unwrap());
    create(&hub, "d", &scoped(Some(&parent), None)).unwrap();
    hub.delete_device(owner(&hub, id("e")), &IfMatch::Any).unwrap();
    let sent_back = scoped(Some(&parent), Some(&[&parent]));
    assert_eq!(scope_of(&update(&hub, "d", &sent_back).unwrap()), parent);
    update(&hub, "d", &scoped(Some(""), None)).unwrap();
    assert_eq!(update(&hub, "d", &sent_back).unwrap_err().code(), ErrorCode::InvalidDeviceScope);
}

#[test]
fn a_nested_edge_device_has_its_own_scope_and_its_parents() {
    let (hub, _) = hub();
    let top = scope_of(&create(&hub, "top", &edge(true)).unwrap());
    let nested = DeviceSpec { iot_edge: Some(true), ..scoped(None, Some(&[&top])) };
    let lower = create(&hub, "lower", &nested).unwrap();
    let own = format!("ms-azure-iot-edge://lower-{}", lower.generation_id);
    assert_eq!(text(&lower), (Some(own.clone()), vec![top]));
    assert_eq!(text(&update(&hub, "lower", &scoped(Some(&own), Some(&[]))).unwrap()), (Some(own), vec![]));
}

#[test]
fn an_edge_devices_own_scope_is_the_hubs_to_make() {
    let (hub, _) = hub();
    let top = scope_of(&create(&hub, "top", &edge(true)).unwrap());
    let device = create(&hub, "e", &edge(true)).unwrap();
    for harmless in [scoped(Some(""), None), scoped(Some(&scope_of(&device)), None)] {
        assert_eq!(text(&update(&hub, "e", &harmless).unwrap()), text(&device));
    }
    for refused in [scoped(Some(&top), None), scoped(None, Some(&[&scope_of(&device)]))] {
        let error = update(&hub, "e", &refused).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidDeviceScope, "{refused:?}");
    }
    // Exported from another hub, an identity still carries that hub's scope.
    let imported =
        DeviceSpec { iot_edge: Some(true), ..scoped(Some("ms-azure-iot-edge://i-637541234567890123"), None) };
    let made = create(&hub, "i", &imported).unwrap();
    assert_eq!(scope_of(&made), format!("ms-azure-iot-edge://i-{}", made.generation_id));
}

#[test]
fn a_scope_reads_back_as_written_and_only_so() {
    let text = "ms-azure-iot-edge://edge-of-7-637541234567890123";
    let scope = DeviceScope::parse(text).unwrap();
    assert_eq!((scope.device().as_str(), scope.to_string().as_str()), ("edge-of-7", text));
    for bad in [
        "ms-azure-iot-edge://e",
        "ms-azure-iot-edge://-1",
        "ms-azure-iot-edge://e-",
        "ms-azure-iot-edge://e-01",
        "ms-azure-iot-edge://e-+1",
        "ms-azure-iot-edge://a b-1",
        "ms-azure-iot-edge://e-99999999999999999999",
        "MS-AZURE-IOT-EDGE://e-1",
        "e-1",
        "",
    ] {
        assert_eq!(DeviceScope::parse(bad).unwrap_err().code(), ErrorCode::InvalidDeviceScope, "{bad}");
    }
}
