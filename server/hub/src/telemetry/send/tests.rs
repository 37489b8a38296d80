//! What the hub takes in and how it stamps it.

use bytes::Bytes;

use super::*;
use crate::access::Permissions;
use crate::gate::operations::SendTelemetry;
use crate::testing::{admit, hub, identity_grant, policy_grant, register};

fn message(body: usize) -> DeviceMessage {
    DeviceMessage { body: Bytes::from(vec![b'x'; body]), ..DeviceMessage::default() }
}

fn by(hub: &Hub, identity: &IdentityId) -> Admitted<SendTelemetry> {
    admit(hub, &identity_grant(identity, None), identity.clone()).unwrap()
}

#[test]
fn what_is_acknowledged_is_readable_with_its_stamps() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", Some("m"));
    hub.send_telemetry(by(&hub, &identity), message(3)).unwrap();
    let (_, event) = hub.events().newest(1, Some(&identity.device)).remove(0);
    assert_eq!(
        (event.position.sequence_number, event.data.body.as_ref(), &event.data.identity),
        (0, &b"xxx"[..], &identity)
    );
    assert_eq!(
        event.data.sender.as_ref().unwrap().auth_method,
        r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
    );
    assert_eq!(event.data.accepted_at, hub.clock().now());
}

#[test]
fn a_policy_token_stamps_the_hub_as_scope() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let grant = policy_grant(&hub, "device");
    assert!(grant.permissions.contains(Permissions::DEVICE_CONNECT));
    hub.send_telemetry(admit(&hub, &grant, identity).unwrap(), message(1)).unwrap();
    assert!(
        hub.events().newest(1, None)[0]
            .1
            .data
            .sender
            .as_ref()
            .unwrap()
            .auth_method
            .starts_with(r#"{"scope":"hub""#)
    );
}

#[test]
fn a_message_of_256_kib_with_its_properties_is_taken_and_one_byte_more_refused() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let mut full = message(limits::TELEMETRY_BYTES - 8);
    full.properties.application.push(("name".into(), Some("four".into())));
    assert!(hub.send_telemetry(by(&hub, &identity), full.clone()).is_ok());
    full.properties.message_id = Some("1".into());
    let refused = hub.send_telemetry(by(&hub, &identity), full).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
    assert_eq!(hub.events().newest(10, None).len(), 1);
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    hub.send_telemetry_batch(by(&hub, &identity), vec![message(1), message(2)]).unwrap();
    let bodies: Vec<_> =
        hub.events().newest(10, None).iter().map(|(_, event)| event.data.body.len()).collect();
    assert_eq!(bodies, [2, 1]);
    let half = limits::TELEMETRY_BYTES / 2 + 1;
    assert!(hub.send_telemetry_batch(by(&hub, &identity), vec![message(half), message(half)]).is_err());
    assert!(hub.send_telemetry_batch(by(&hub, &identity), vec![message(0); 501]).is_err());
    assert_eq!(hub.events().newest(10, None).len(), 2);
}
