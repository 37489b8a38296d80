//! Key regeneration, one test per rule of contract/rest.md 1.6.

use super::*;
use crate::device_session::Delivery;
use crate::gate::operations::{CreateDevice, GetDevice};
use crate::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec};
use crate::ids::DeviceId;
use crate::limits;
use crate::testing::{connect, hub, options, owner, policy_grant, register};

fn row(device: &str, module: Option<&str>) -> RowId {
    RowId { device: device.into(), module: module.map(Into::into) }
}

fn keys(hub: &Hub, identity: &IdentityId) -> SymmetricKeys {
    let AuthenticationMechanism::Sas(keys) = hub.authentication(identity).unwrap().mechanism else {
        panic!("not sas")
    };
    keys
}

#[test]
fn only_the_named_key_is_made_anew() {
    for (which, primary, secondary) in [
        (PolicyKey::Primary, true, false),
        (PolicyKey::Secondary, false, true),
        (PolicyKey::Both, true, true),
    ] {
        let (hub, _) = hub();
        for identity in [register(&hub, "d", None), register(&hub, "e", Some("m"))] {
            let before = keys(&hub, &identity);
            let id = row(identity.device.as_str(), identity.module.as_ref().map(|module| module.as_str()));
            let done = hub.regenerate_keys(owner(&hub, ()), which, vec![id]).unwrap();
            let after = keys(&hub, &identity);
            assert_eq!(before.primary != after.primary, primary, "{which:?}");
            assert_eq!(before.secondary != after.secondary, secondary, "{which:?}");
            assert_eq!(done.rotated, [RotatedKeys { identity, keys: after }]);
            assert!(done.errors.is_empty());
        }
    }
}

#[test]
fn the_etag_moves_with_the_keys() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    let device = || hub.device(owner::<GetDevice>(&hub, DeviceId::parse("d").unwrap())).unwrap();
    let before = device();
    hub.regenerate_keys(owner(&hub, ()), PolicyKey::Both, vec![row("d", None)]).unwrap();
    assert_ne!(before.etag, device().etag);
}

#[test]
fn rows_fail_alone_and_are_named() {
    let (hub, _) = hub();
    register(&hub, "good", None);
    let by_certificate = AuthenticationSpec {
        kind: Some(AuthenticationType::CertificateAuthority),
        ..AuthenticationSpec::default()
    };
    let spec = DeviceSpec { authentication: Some(by_certificate), ..DeviceSpec::default() };
    hub.create_device(owner::<CreateDevice>(&hub, DeviceId::parse("x509").unwrap()), &spec).unwrap();
    let rows = vec![
        row("x509", None),
        row("nobody", None),
        row("good", Some("m")),
        row("good", None),
        row("good", None),
        row("a b", None),
    ];
    let done = hub.regenerate_keys(owner(&hub, ()), PolicyKey::Primary, rows.clone()).unwrap();
    assert_eq!(done.rotated.len(), 1);
    let errors: Vec<_> = done.errors.iter().map(|error| (&error.id, error.error.code())).collect();
    assert_eq!(
        errors,
        [
            (&rows[0], ErrorCode::ArgumentInvalid),
            (&rows[1], ErrorCode::DeviceNotFound),
            (&rows[2], ErrorCode::ModuleNotFound),
            (&rows[4], ErrorCode::DeviceDefinedMultipleTimes),
            (&rows[5], ErrorCode::ArgumentInvalid),
        ]
    );
}

#[test]
fn more_than_a_hundred_rows_are_refused_whole() {
    let (hub, _) = hub();
    let rows = (0..=limits::BULK_ROWS).map(|n| row(&n.to_string(), None)).collect();
    let refused = hub.regenerate_keys(owner(&hub, ()), PolicyKey::Both, rows).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooManyDevices);
}

#[tokio::test]
async fn a_session_on_its_own_key_ends_and_one_on_a_policys_lives() {
    let (hub, _) = hub();
    let (own, by_policy) = (register(&hub, "own", None), register(&hub, "policy", None));
    let ended = connect(&hub, &own, options(1)).unwrap();
    let grant = policy_grant(&hub, "device");
    let lives =
        hub.connect(crate::testing::admit(&hub, &grant, by_policy.clone()).unwrap(), options(2)).unwrap();
    let rows = vec![row("own", None), row("policy", None)];
    hub.regenerate_keys(owner(&hub, ()), PolicyKey::Secondary, rows).unwrap();
    assert_eq!(ended.next().await, Delivery::Closed(DisconnectReason::KeysChanged));
    assert_eq!(hub.connections().len(), 1);
    assert_eq!(lives.identity(), &by_policy);
}
