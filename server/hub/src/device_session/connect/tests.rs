//! How sessions begin, are renewed, are taken over and end.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::device_session::{ConnectionState, DisconnectReason, SavedSubscription};
use crate::gate::operations::{GetDevice, UpdateDevice};
use crate::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec};
use crate::ids::IfMatch;
use crate::testing::{
    admit, connect, connect_until, hub, identity_grant, options, owner, policy_grant, register,
};

fn will(text: &'static str) -> Option<DeviceMessage> {
    Some(DeviceMessage { body: Bytes::from_static(text.as_bytes()), ..DeviceMessage::default() })
}

fn state(hub: &Hub, identity: &IdentityId) -> ConnectionState {
    hub.device(owner::<GetDevice>(hub, identity.device.clone())).unwrap().presence.state
}

fn saved(filter: &str) -> SavedSession {
    let created_at = Timestamp::from_unix_secs(0);
    SavedSession { subscriptions: vec![SavedSubscription { filter: filter.into(), qos: 1, created_at }] }
}

#[test]
fn an_identity_is_connected_while_its_session_lives() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = connect(&hub, &device, options(1)).unwrap();
    assert_eq!(state(&hub, &device), ConnectionState::Connected);
    assert_eq!(hub.connections().len(), 1);
    drop(session);
    assert_eq!(state(&hub, &device), ConnectionState::Disconnected);
    assert!(hub.connections().is_empty());
}

#[test]
fn an_unknown_identity_cannot_connect() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    for (device, module, code) in
        [("e", None, ErrorCode::DeviceNotFound), ("d", Some("m"), ErrorCode::ModuleNotFound)]
    {
        let identity = IdentityId::parse(device, module).unwrap();
        assert_eq!(connect(&hub, &identity, options(1)).unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_newer_session_takes_over_and_the_old_one_cannot_disconnect_it() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let old = connect(&hub, &device, options(1)).unwrap();
    let new = connect(&hub, &device, options(2)).unwrap();
    assert_eq!(old.next().await, Delivery::Closed(DisconnectReason::TakenOver));
    drop(old);
    assert_eq!(state(&hub, &device), ConnectionState::Connected);
    assert_eq!(hub.connections()[0].connection, ConnectionId(2));
    drop(new);
}

#[test]
fn a_keep_alive_counts_as_activity_only_while_its_session_lives() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let active =
        || hub.device(owner::<GetDevice>(&hub, device.device.clone())).unwrap().presence.last_activity;
    let old = connect(&hub, &device, options(1)).unwrap();
    clock.advance(Duration::from_secs(1));
    old.touch();
    assert_eq!(active(), Some(hub.clock().now()));
    let new = connect(&hub, &device, options(2)).unwrap();
    clock.advance(Duration::from_secs(1));
    let before = active();
    old.touch();
    assert_eq!(active(), before);
    drop(new);
}

#[test]
fn a_will_is_sent_once_when_the_connection_is_lost_and_not_after_a_goodbye() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let lost = connect(&hub, &device, SessionOptions { will: will("lost"), ..options(1) }).unwrap();
    drop(lost);
    let polite = connect(&hub, &device, SessionOptions { will: will("polite"), ..options(2) }).unwrap();
    polite.end();
    let overtaken = connect(&hub, &device, SessionOptions { will: will("overtaken"), ..options(3) }).unwrap();
    let last = connect(&hub, &device, options(4)).unwrap();
    drop((overtaken, last));
    let events = hub.events().newest(10, None);
    let bodies: Vec<_> = events.iter().map(|(_, event)| event.data.body.clone()).collect();
    assert_eq!(bodies, [Bytes::from("overtaken"), Bytes::from("lost")]);
    let mark = ("iothub-MessageType".to_owned(), Some("Will".to_owned()));
    assert!(events[0].1.data.properties.application.contains(&mark));
}

#[tokio::test]
async fn an_expired_credential_ends_the_session_after_its_grace_and_not_before() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let expires_at = hub.clock().now().plus(Duration::from_secs(60));
    let grace = Duration::from_secs(600);
    let session = connect_until(
        &hub,
        &device,
        SessionOptions { credential_grace: grace, ..options(1) },
        Some(expires_at),
    );
    let session = session.unwrap();
    assert_eq!(hub.next_deadline(), Some(expires_at.plus(grace)));
    clock.advance(Duration::from_secs(659));
    hub.run_due();
    assert_eq!(state(&hub, &device), ConnectionState::Connected);
    clock.advance(Duration::from_secs(1));
    hub.run_due();
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::CredentialsExpired));
    assert_eq!(state(&hub, &device), ConnectionState::Disconnected);
}

/// The grant a head holds that authenticated the device just now.
fn proven(hub: &Hub, device: &IdentityId) -> Arc<Grant> {
    let revision = hub.authentication(device).unwrap().mechanism.revision();
    Arc::new(Grant { revision: Some(revision), ..(*identity_grant(device, None)).clone() })
}

fn update(hub: &Hub, device: &IdentityId, change: &DeviceSpec) {
    let by = owner::<UpdateDevice>(hub, device.device.clone());
    hub.update_device(by, change, &IfMatch::Any).unwrap();
}

fn new_keys() -> DeviceSpec {
    let authentication = AuthenticationSpec {
        kind: Some(AuthenticationType::Sas),
        primary_key: Some(String::new()),
        secondary_key: Some(String::new()),
        ..AuthenticationSpec::default()
    };
    DeviceSpec { authentication: Some(authentication), ..DeviceSpec::default() }
}

#[test]
fn a_credential_proven_before_the_keys_changed_connects_no_more() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let connect_by = |grant: &Arc<Grant>| {
        hub.connect(admit::<Connect>(&hub, grant, device.clone()).unwrap(), options(1)).map(drop)
    };
    let grant = proven(&hub, &device);
    update(&hub, &device, &DeviceSpec { status_reason: Some("no keys".into()), ..DeviceSpec::default() });
    assert_eq!(connect_by(&grant), Ok(()));
    update(&hub, &device, &new_keys());
    assert_eq!(connect_by(&grant).unwrap_err().code(), ErrorCode::IotHubUnauthorizedAccess);
    assert_eq!(state(&hub, &device), ConnectionState::Disconnected);
    assert_eq!(connect_by(&proven(&hub, &device)), Ok(()));
    let policy = policy_grant(&hub, "device");
    update(&hub, &device, &new_keys());
    assert_eq!(connect_by(&policy), Ok(()));
}

#[tokio::test]
async fn renewing_with_a_credential_proven_before_the_keys_changed_ends_the_session() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let (stale, policy) = (proven(&hub, &device), policy_grant(&hub, "device"));
    let by = admit::<Connect>(&hub, &policy, device.clone()).unwrap();
    let session = hub.connect(by, options(1)).unwrap();
    update(&hub, &device, &new_keys());
    session.renew(proven(&hub, &device));
    assert_eq!(state(&hub, &device), ConnectionState::Connected);
    session.renew(stale);
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::KeysChanged));
    assert_eq!(state(&hub, &device), ConnectionState::Disconnected);
}

#[tokio::test]
async fn renewal_moves_the_end_of_a_session() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let at = |secs| hub.clock().now().plus(Duration::from_secs(secs));
    let session = connect_until(&hub, &device, options(1), Some(at(60))).unwrap();
    let renewed_until = at(120);
    session.renew(identity_grant(&device, Some(renewed_until)));
    clock.advance(Duration::from_secs(60));
    hub.run_due();
    assert_eq!(state(&hub, &device), ConnectionState::Connected);
    assert_eq!(hub.next_deadline(), Some(renewed_until));
    clock.advance(Duration::from_secs(60));
    hub.run_due();
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::CredentialsExpired));
}

#[test]
fn reconnecting_for_ever_keeps_one_expiry_row_an_identity() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    for n in 0..1000 {
        let expires_at = hub.clock().now().plus(Duration::from_secs(10_000 - 5 * n));
        connect_until(&hub, &device, options(n), Some(expires_at)).unwrap().end();
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(hub.deadlines.len(), 1);
    clock.advance(Duration::from_secs(10_000));
    hub.run_due();
    assert_eq!(hub.next_deadline(), None);
}

#[test]
fn kept_subscriptions_survive_a_reconnect_and_a_clean_session_forgets_them() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let keep = |n| SessionOptions { keep_saved: true, ..options(n) };
    let first = connect(&hub, &device, keep(1)).unwrap();
    assert!(!first.is_resumed());
    first.save(saved("$iothub/twin/res/#"));
    drop(first);
    let second = connect(&hub, &device, keep(2)).unwrap();
    assert!(second.is_resumed());
    assert_eq!(*second.saved(), saved("$iothub/twin/res/#"));
    drop(second);
    drop(connect(&hub, &device, options(3)).unwrap());
    assert!(!connect(&hub, &device, keep(4)).unwrap().is_resumed());
}

#[test]
fn a_session_that_was_taken_over_cannot_overwrite_kept_subscriptions() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let keep = |n| SessionOptions { keep_saved: true, ..options(n) };
    let old = connect(&hub, &device, keep(1)).unwrap();
    let new = connect(&hub, &device, keep(2)).unwrap();
    new.save(saved("new/#"));
    old.save(saved("old/#"));
    drop((old, new));
    assert_eq!(*connect(&hub, &device, keep(3)).unwrap().saved(), saved("new/#"));
}

#[tokio::test]
async fn stopping_tells_every_session() {
    let (hub, _) = hub();
    let session = connect(&hub, &register(&hub, "d", Some("m")), options(1)).unwrap();
    hub.stop();
    assert_eq!(session.next().await, Delivery::Closed(DisconnectReason::HubStopping));
}

#[test]
fn an_announced_model_shows_in_the_twin() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let model_id = Some("dtmi:com:example:Thermostat;1".to_owned());
    drop(connect(&hub, &device, SessionOptions { model_id, ..options(1) }).unwrap());
    let twin = hub.twin(owner(&hub, device)).unwrap();
    assert_eq!(twin.model_id.as_deref(), Some("dtmi:com:example:Thermostat;1"));
    assert_eq!(twin.version, 2, "no section changed");
}
