//! Who may ask for a scope, what is in it, and how far a chain reaches (contract/rest.md 1.15).

use super::*;
use crate::gate::operations::{CreateDevice, CreateModule, GetModule, ListModules, UpdateDevice};
use crate::identity::{DeviceSpec, DeviceStatus};
use crate::testing::{admit, hub, identity_grant, owner, policy_grant};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn edge_hub(device: &str) -> (DeviceId, ModuleId) {
    (id(device), ModuleId::parse("$edgeHub").unwrap())
}

/// Registers a device below another; the scope it has or is in.
fn create(hub: &Hub, device: &str, iot_edge: bool, parent: Option<&str>) -> String {
    let parent_scopes = parent.map(|parent| vec![parent.to_owned()]);
    let spec = DeviceSpec { iot_edge: Some(iot_edge), parent_scopes, ..DeviceSpec::default() };
    let made = hub.create_device(owner::<CreateDevice>(hub, id(device)), &spec).unwrap();
    made.device_scope.map(|scope| scope.to_string()).unwrap_or_default()
}

/// `root` with the leaf `a` and the edge device `lower`, which has the leaf `b`; `z` belongs to nobody.
fn tree(hub: &Hub) {
    let root = create(hub, "root", true, None);
    create(hub, "a", false, Some(&root));
    let lower = create(hub, "lower", true, Some(&root));
    create(hub, "b", false, Some(&lower));
    create(hub, "z", false, None);
}

/// The operation as `$edgeHub` of a device, with that module's own credential.
fn by<O: Operation<Target = (DeviceId, ModuleId)>>(hub: &Hub, device: &str) -> Admitted<O> {
    let (device, module) = edge_hub(device);
    let grant = identity_grant(&IdentityId::module(device.clone(), module.clone()), None);
    admit(hub, &grant, (device, module)).unwrap()
}

fn chain(text: &str) -> AuthChain {
    AuthChain::parse(text).unwrap()
}

fn names(page: &ScopePage) -> (Vec<String>, Vec<String>) {
    let devices = page.devices.iter().map(|device| device.id.to_string());
    let modules = page.modules.iter().map(|module| format!("{}/{}", module.device, module.id));
    (devices.collect(), modules.collect())
}

fn scope(hub: &Hub, actor: &str, of: Option<&str>) -> Result<ScopePage, HubError> {
    hub.edge_scope(by(hub, actor), of.map(chain).as_ref(), 0, None)
}

#[test]
fn a_scope_is_the_edge_device_its_children_and_the_modules_of_edge_devices() {
    let (hub, _) = hub();
    tree(&hub);
    let of_root = scope(&hub, "root", None).unwrap();
    let modules = ["lower/$edgeAgent", "lower/$edgeHub", "root/$edgeAgent", "root/$edgeHub"];
    assert_eq!(
        names(&of_root),
        (["a", "lower", "root"].map(String::from).into(), modules.map(String::from).into())
    );
    assert_eq!(of_root.next_after, None);
    let of_lower = scope(&hub, "root", Some("lower;root")).unwrap();
    assert_eq!(names(&of_lower).0, ["b", "lower"]);
    assert_eq!(names(&scope(&hub, "lower", None).unwrap()), names(&of_lower));
}

#[test]
fn a_page_ends_where_it_is_asked_to_and_the_next_begins_there() {
    let (hub, _) = hub();
    let root = create(&hub, "m", true, None);
    (0..5).for_each(|n| drop(create(&hub, &format!("d{n}"), false, Some(&root))));
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = hub.edge_scope(by(&hub, "m"), None, 3, after.as_ref()).unwrap();
        pages.push(names(&page).0);
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec!["d0", "d1", "d2"], vec!["d3", "d4", "m"]]);
}

#[test]
fn a_page_ends_early_past_its_limit_of_modules() {
    let (hub, _) = hub();
    let root = create(&hub, "root", true, None);
    let edges = limits::EDGE_SCOPE_MODULES / limits::MODULES_PER_DEVICE + 1;
    for n in 0..edges {
        let device = format!("e{n:02}");
        create(&hub, &device, true, Some(&root));
        for m in 2..limits::MODULES_PER_DEVICE {
            let target = (id(&device), ModuleId::parse(&m.to_string()).unwrap());
            hub.create_module(owner::<CreateModule>(&hub, target), &ModuleSpec::default()).unwrap();
        }
    }
    let page = scope(&hub, "root", None).unwrap();
    assert_eq!((page.modules.len(), page.devices.len()), (limits::EDGE_SCOPE_MODULES, edges - 1));
    let rest = hub.edge_scope(by(&hub, "root"), None, 0, page.next_after.as_ref()).unwrap();
    assert_eq!(
        (names(&rest).0, rest.next_after),
        (vec![format!("e{:02}", edges - 1), "root".to_owned()], None)
    );
}

#[test]
fn only_the_edge_hub_with_its_own_credential_may_ask() {
    let (hub, _) = hub();
    tree(&hub);
    let code = |by: Admitted<ReadEdgeScope>| hub.edge_scope(by, None, 0, None).map_err(|error| error.code());
    let policy = admit(&hub, &policy_grant(&hub, "iothubowner"), edge_hub("root")).unwrap();
    assert_eq!(code(policy).unwrap_err(), ErrorCode::IotHubUnauthorizedAccess);
    let agent = (id("root"), ModuleId::parse("$edgeAgent").unwrap());
    let grant = identity_grant(&IdentityId::module(agent.0.clone(), agent.1.clone()), None);
    assert_eq!(code(admit(&hub, &grant, agent).unwrap()).unwrap_err(), ErrorCode::IotHubUnauthorizedAccess);
    assert!(admit::<ReadEdgeScope>(&hub, &grant, edge_hub("root")).is_err());
    assert!(code(by(&hub, "root")).is_ok());
}

#[test]
fn a_chain_has_to_lead_from_child_to_parent_to_the_caller() {
    let (hub, _) = hub();
    tree(&hub);
    for good in ["root", "lower;root", "lower/$edgeHub;lower;root", "lower;root;above", "lower;root;"] {
        assert!(scope(&hub, "root", Some(good)).is_ok(), "{good}");
    }
    for (bad, code) in [
        ("lower", ErrorCode::IotHubUnauthorizedAccess),
        ("z;root", ErrorCode::IotHubUnauthorizedAccess),
        ("b;root", ErrorCode::IotHubUnauthorizedAccess),
        ("nobody;root", ErrorCode::DeviceNotFound),
        ("a;root", ErrorCode::ArgumentInvalid),
    ] {
        assert_eq!(scope(&hub, "root", Some(bad)).unwrap_err().code(), code, "{bad}");
    }
    assert_eq!(
        scope(&hub, "lower", Some("root;lower")).unwrap_err().code(),
        ErrorCode::IotHubUnauthorizedAccess
    );
    let disabled = DeviceSpec { status: Some(DeviceStatus::Disabled), ..DeviceSpec::default() };
    hub.update_device(owner::<UpdateDevice>(&hub, id("lower")), &disabled, &IfMatch::Any).unwrap();
    let cut = scope(&hub, "root", Some("lower;root")).unwrap_err();
    assert_eq!(cut.code(), ErrorCode::IotHubUnauthorizedAccess);
}

#[test]
fn a_chain_of_six_devices_is_read_and_seven_empty_and_misspelled_ones_are_not() {
    assert!(AuthChain::parse("1;2;3;4;5;6").is_ok());
    for bad in ["1;2;3;4;5;6;7", "", ";", "a b;root"] {
        assert_eq!(AuthChain::parse(bad).unwrap_err().code(), ErrorCode::ArgumentInvalid, "{bad:?}");
    }
}

#[test]
fn one_identity_is_found_in_the_scope_it_is_in_and_only_there() {
    let (hub, _) = hub();
    tree(&hub);
    let find = |of: Option<&str>, device: &str, module: Option<&str>| {
        let identity = IdentityId::parse(device, module).unwrap();
        let found = hub.identity_in_edge_scope(by(&hub, "root"), of.map(chain).as_ref(), &identity);
        found.map(|page| names(&page)).map_err(|error| error.code())
    };
    assert_eq!(find(None, "a", None).unwrap(), (vec!["a".to_owned()], vec![]));
    assert_eq!(find(Some("lower;root"), "b", None).unwrap().0, ["b"]);
    assert_eq!(find(None, "root", Some("$edgeAgent")).unwrap().1, ["root/$edgeAgent"]);
    for (of, device, module) in [
        (None, "b", None),
        (None, "z", None),
        (None, "nobody", None),
        (None, "a", Some("none")),
        (Some("lower;root"), "a", None),
    ] {
        assert_eq!(find(of, device, module).unwrap_err(), ErrorCode::InvalidDeviceScope, "{device}");
    }
}

#[test]
fn an_edge_hub_manages_the_modules_of_edge_devices_below_it() {
    let (hub, _) = hub();
    tree(&hub);
    let (lower, module) = (chain("lower;root"), ModuleId::parse("m").unwrap());
    let put = |chain: &AuthChain, if_match: &IfMatch| {
        hub.put_module_on_behalf(by(&hub, "root"), chain, &module, &ModuleSpec::default(), if_match)
            .map_err(|error| error.code())
    };
    assert_eq!(put(&lower, &IfMatch::Any).unwrap_err(), ErrorCode::ModuleNotFound);
    assert_eq!(put(&lower, &IfMatch::Absent).unwrap().device, id("lower"));
    assert_eq!(put(&lower, &IfMatch::Absent).unwrap_err(), ErrorCode::ModuleAlreadyExistsOnDevice);
    assert!(put(&lower, &IfMatch::Any).is_ok());
    assert_eq!(hub.module_on_behalf(by(&hub, "root"), &lower, &module).unwrap().id, module);
    assert_eq!(hub.modules_on_behalf(by(&hub, "root"), &lower).unwrap().len(), 3);
    hub.delete_module_on_behalf(by(&hub, "root"), &lower, &module).unwrap();
    assert_eq!(hub.modules_on_behalf(by(&hub, "root"), &lower).unwrap().len(), 2);
    assert_eq!(put(&chain("a;root"), &IfMatch::Absent).unwrap_err(), ErrorCode::ArgumentInvalid);
    assert_eq!(put(&chain("z;root"), &IfMatch::Absent).unwrap_err(), ErrorCode::IotHubUnauthorizedAccess);
}

#[test]
fn an_edge_device_manages_its_own_modules_with_its_own_credential_and_another_device_does_not() {
    let (hub, _) = hub();
    create(&hub, "e", true, None);
    create(&hub, "d", false, None);
    let own = |device: &str| identity_grant(&id(device).into(), None);
    let target = |device: &str| (id(device), ModuleId::parse("m").unwrap());
    let add = |device: &str| {
        let by = admit::<CreateModule>(&hub, &own(device), target(device)).unwrap();
        hub.create_module(by, &ModuleSpec::default()).map(drop).map_err(|error| error.code())
    };
    add("e").unwrap();
    assert_eq!(add("d").unwrap_err(), ErrorCode::IotHubUnauthorizedAccess);
    let list = |device: &str| hub.modules(admit::<ListModules>(&hub, &own(device), id(device)).unwrap());
    assert_eq!(list("e").unwrap().len(), 3);
    assert_eq!(list("d").unwrap_err().code(), ErrorCode::IotHubUnauthorizedAccess);
    assert!(hub.module(admit::<GetModule>(&hub, &own("e"), target("e")).unwrap()).is_ok());
    assert!(admit::<GetModule>(&hub, &own("e"), target("d")).is_err());
    let module = identity_grant(&IdentityId::parse("e", Some("m")).unwrap(), None);
    assert!(admit::<ListModules>(&hub, &module, id("e")).is_err());
}
