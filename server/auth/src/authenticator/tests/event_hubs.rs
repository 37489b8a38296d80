//! What Event Hubs clients present (contract/eventhubs.md 2): keys as text, resources of event hubs, keys themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hub::access::EventsPath;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

/// As the Python, Node, .NET, Java and Go clients of Event Hubs do: keyed with the text of the key.
fn event_hubs_token(bench: &Bench, resource: &str, key: &str, policy: &str) -> String {
    let (sr, se) = (utf8_percent_encode(resource, NON_ALPHANUMERIC), bench.in_an_hour().unix_secs());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{sr}\n{se}").as_bytes());
    let sig = BASE64.encode(mac.finalize().into_bytes());
    let sig = utf8_percent_encode(&sig, NON_ALPHANUMERIC);
    format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}&skn={policy}")
}

fn key(bench: &Bench, policy: &str) -> String {
    let found = bench.hub.policies().iter().find(|found| found.name.as_str() == policy).unwrap();
    found.keys.secondary.to_base64()
}

fn path(text: &str) -> EventsPath {
    EventsPath::parse(text, &HubName::parse("test").unwrap()).unwrap()
}

#[test]
fn a_policys_key_signs_as_text_and_decoded_and_another_does_neither() {
    let bench = Bench::new();
    let token = event_hubs_token(&bench, "sb://localhost/test", &key(&bench, "service"), "service");
    assert!(bench.token(&token, None, None).is_ok());
    assert!(bench.token(&bench.policy_token("service", "sb://localhost/test"), None, None).is_ok());
    let token = event_hubs_token(&bench, "sb://localhost/test", &key(&bench, "device"), "service");
    refused(bench.token(&token, None, None), "neither of its keys");
}

#[test]
fn a_devices_key_signs_decoded_only() {
    let bench = Bench::with_sas_identities();
    let token = event_hubs_token(&bench, "localhost/devices/d1", &base64(DEVICE_KEY), "");
    let d1 = identity("d1", None);
    refused(bench.token(&token, Some(&d1), None), "neither its primary nor its secondary key");
    assert!(bench.token(&bench.signed("localhost/devices/d1", DEVICE_KEY), Some(&d1), None).is_ok());
}

#[test]
fn a_token_for_an_event_hub_reaches_no_further_than_its_resource() {
    let bench = Bench::new();
    for scheme in ["sb://", "amqp://", "amqps://", "https://", ""] {
        for (below, reached, not_reached) in [
            ("/test", "test/ConsumerGroups/$Default/Partitions/0", "other"),
            ("/TEST/", "test/$management", "test2/$management"),
            ("/messages/events", "test/$management", "other/$management"),
            (
                "/test/consumergroups/a",
                "test/ConsumerGroups/A/Partitions/3",
                "test/ConsumerGroups/b/Partitions/3",
            ),
            (
                "/test/ConsumerGroups/a/Partitions/1",
                "test/ConsumerGroups/a/Partitions/1",
                "test/ConsumerGroups/a/Partitions/11",
            ),
            ("/test/$management", "test/$management", "test/ConsumerGroups/a/Partitions/1"),
        ] {
            let resource = format!("{scheme}localhost{below}");
            let token = event_hubs_token(&bench, &resource, &key(&bench, "service"), "service");
            let granted = bench.token(&token, None, None).unwrap();
            assert!(granted.covers_events(&path(reached)), "{resource} and {reached}");
            assert!(!granted.covers_events(&path(not_reached)), "{resource} and {not_reached}");
            assert!(!granted.covers(&identity("d1", None)), "{resource} and a device");
        }
        let token =
            event_hubs_token(&bench, &format!("{scheme}localhost"), &key(&bench, "service"), "service");
        assert_eq!(bench.token(&token, None, None).unwrap().scope, Scope::Hub, "{scheme}");
    }
}

#[test]
fn a_token_for_a_part_of_an_event_hub_opens_nothing_of_the_hub_itself() {
    let bench = Bench::new();
    let token = event_hubs_token(&bench, "sb://localhost/test", &key(&bench, "iothubowner"), "iothubowner");
    let grant = bench.token(&token, None, None).unwrap();
    let mut admission =
        pin!(bench.hub.gate().admit::<hub::gate::operations::ListDevices>(&grant, (), DETAILS));
    let Poll::Ready(Err(error)) = admission.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("admitted")
    };
    assert_eq!(error.code(), ErrorCode::IotHubUnauthorizedAccess);
}

#[test]
fn a_policys_key_is_a_password_and_a_wrong_one_or_a_wrong_policy_is_not() {
    let bench = Bench::new();
    let login =
        |policy: &str, password: &str| bench.authenticator.authenticate_policy_key(policy, password, DETAILS);
    let granted = login("service", &key(&bench, "service")).unwrap();
    assert_eq!((granted.scope.clone(), granted.expires_at), (Scope::Hub, None));
    assert_eq!(granted.permissions, Permissions::SERVICE_CONNECT);
    refused(login("service", &key(&bench, "device")), "neither a SAS token nor a key of policy 'service'");
    refused(login("service", ""), "neither a SAS token nor a key");
    refused(login("nobody", &key(&bench, "service")), "no shared access policy 'nobody'");
}
