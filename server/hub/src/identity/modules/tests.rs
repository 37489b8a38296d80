//! The rules of modules, one test each.

use super::*;
use crate::identity::{AuthenticationSpec, AuthenticationType};
use crate::testing::{hub, owner, register};

fn module(device: &str, module: &str) -> (DeviceId, ModuleId) {
    (DeviceId::parse(device).unwrap(), ModuleId::parse(module).unwrap())
}

#[test]
fn a_second_module_of_the_same_id_conflicts() {
    let (hub, _) = hub();
    register(&hub, "d", Some("m"));
    let again = hub.create_module(owner(&hub, module("d", "m")), &ModuleSpec::default()).unwrap_err();
    assert_eq!(again.code(), ErrorCode::ModuleAlreadyExistsOnDevice);
}

#[test]
fn a_device_takes_fifty_modules_and_no_more() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    for n in 0..limits::MODULES_PER_DEVICE {
        hub.create_module(owner(&hub, module("d", &format!("m{n}"))), &ModuleSpec::default()).unwrap();
    }
    let over = hub.create_module(owner(&hub, module("d", "over")), &ModuleSpec::default()).unwrap_err();
    assert_eq!(over.code(), ErrorCode::TooManyModulesOnDevice);
}

#[test]
fn system_modules_cannot_be_made_by_hand() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    let refused =
        hub.create_module(owner(&hub, module("d", "$edgeHub")), &ModuleSpec::default()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::SystemModuleModifyUnauthorizedAccess);
}

#[test]
fn managed_by_of_128_characters_is_kept_and_129_refused() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    let spec = |chars: usize| ModuleSpec { managed_by: Some("é".repeat(chars)), ..ModuleSpec::default() };
    hub.create_module(owner(&hub, module("d", "m")), &spec(limits::MANAGED_BY_CHARS)).unwrap();
    let over = spec(limits::MANAGED_BY_CHARS + 1);
    let refused = hub.update_module(owner(&hub, module("d", "m")), &over, &IfMatch::Any).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    let kept = hub.module(owner(&hub, module("d", "m"))).unwrap().managed_by.unwrap();
    assert_eq!(kept.chars().count(), limits::MANAGED_BY_CHARS);
}

#[test]
fn a_module_may_wait_for_its_keys_without_authentication() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    let none = AuthenticationSpec { kind: Some(AuthenticationType::None), ..AuthenticationSpec::default() };
    let spec = ModuleSpec { authentication: Some(none), ..ModuleSpec::default() };
    let created = hub.create_module(owner(&hub, module("d", "m")), &spec).unwrap();
    assert_eq!(created.authentication, AuthenticationMechanism::None);
}
