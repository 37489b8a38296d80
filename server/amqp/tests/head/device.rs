//! Telemetry and twin links (contract/amqp.md 3, 4.1, 4.5).

use std::sync::Arc;

use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::primitives::{Symbol, Uuid, Value};
use hub::gate::operations::{GetTwin, PatchTwin};
use hub::identity::AuthenticationType;
use hub::ids::{IdentityId, IfMatch};
use hub::twin::{Arrays, TwinPatch};
use serde_json::json;

use crate::raw::{Raw, data, open, receiver, section, sender, twin_request};
use crate::world::World;
use crate::{HOUR, world};

const REPORTED: &str = "/properties/reported";
const DESIRED: &str = "/notifications/twin/properties/desired";

pub(crate) async fn device_client(world: &World, identity: &IdentityId) -> Raw {
    Raw::authenticated(world.connect(), &world.token(identity, HOUR)).await
}

pub(crate) async fn patch_desired(world: &World, identity: &IdentityId, desired: serde_json::Value) {
    let patch = TwinPatch::parse(json!({ "properties": { "desired": desired } }), Arrays::Allowed).unwrap();
    let by = world.owner::<PatchTwin>(identity.clone()).await;
    world.hub.patch_twin(by, &patch, &IfMatch::Absent).unwrap();
}

#[tokio::test]
async fn a_message_is_accepted_and_stored_under_the_links_identity() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let application = [("k", "v"), ("iothub-connection-device-id", "someone-else")]
        .map(|(key, value)| (Value::String(key.into()), Value::String(value.into())));
    let application = section(0x74, &Value::Map(application.into_iter().collect()));
    let id = client.transfer(2, &[application, data(b"hel"), data(b"lo")].concat()).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    let events = world.hub.events().newest(10, None);
    let [(_, event)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.data.identity, device);
    assert_eq!(event.data.body, "hello");
    assert_eq!(event.data.properties.application, [("k".to_owned(), Some("v".to_owned()))]);
}

#[tokio::test]
async fn a_batch_is_stored_message_by_message_and_settled_once() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let mut transfer = client.next_transfer(2);
    transfer.message_format = Some(0x8001_3700);
    client.send(0, &transfer, &[data(&data(b"1")), data(&data(b"2")), data(&data(b"3"))].concat()).await;
    assert!(matches!(client.outcome(transfer.delivery_id.unwrap()).await, DeliveryState::Accepted(_)));
    assert_eq!(world.hub.events().newest(10, None).len(), 3);
}

#[tokio::test]
async fn a_message_of_256_kib_in_many_frames_is_accepted_and_a_larger_one_rejected() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    for (bytes, accepted) in [(256 * 1024, true), (256 * 1024 + 1, false), (600 * 1024, false)] {
        let message = data(&vec![b'x'; bytes]);
        let mut transfer = client.next_transfer(2);
        let mut parts = message.chunks(60_000).peekable();
        while let Some(part) = parts.next() {
            transfer.more = parts.peek().is_some();
            client.send(0, &transfer, part).await;
        }
        match client.outcome(transfer.delivery_id.unwrap()).await {
            DeliveryState::Accepted(_) => assert!(accepted, "{bytes} bytes"),
            DeliveryState::Rejected(rejected) => {
                assert!(!accepted, "{bytes} bytes");
                let condition = serde_amqp::to_value(&rejected.error.unwrap().condition).unwrap();
                assert_eq!(condition, Value::Symbol("amqp:link:message-size-exceeded".into()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.hub.events().newest(10, None).len(), 1);
}

#[tokio::test]
async fn twenty_thousand_messages_pass_through_one_session() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let message = data(b"x");
    for _ in 0..40 {
        let mut last = 0;
        for _ in 0..500 {
            last = client.transfer(2, &message).await;
        }
        assert!(matches!(client.outcome(last).await, DeliveryState::Accepted(_)));
    }
    let stored: u64 = {
        let newest = world.hub.events().newest(1, Some(&device.device));
        newest[0].1.position.sequence_number as u64 + 1
    };
    assert_eq!(stored, 20_000);
}

#[tokio::test]
async fn sending_without_credit_ends_the_link() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let mut transfer = client.next_transfer(2);
    transfer.more = true;
    client.send(0, &transfer, &data(b"never finished")).await;
    // Unfinished messages use up credit as finished ones do; aborted ones are not topped up.
    for _ in 0..1001 {
        transfer.aborted = true;
        client.send(0, &transfer, &[]).await;
        transfer = client.next_transfer(2);
        transfer.more = true;
        client.send(0, &transfer, &data(b"never finished")).await;
    }
    assert_eq!(client.detached(2).await.0, "amqp:link:transfer-limit-exceeded");
}

#[tokio::test]
async fn the_attach_reply_tells_a_sender_how_large_messages_may_be_and_gives_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    let attach = sender(2, "/devices/d1/messages/events");
    let reply = client.attach(attach.clone()).await.unwrap();
    assert!(reply.max_message_size.unwrap() >= 256 * 1024);
    assert_eq!((reply.source, reply.target), (attach.source, attach.target));
    let credit = client
        .until(|frame| match frame {
            fe2o3_amqp_types::performatives::Performative::Flow(flow) => Some(flow.clone()),
            _ => None,
        })
        .await;
    assert_eq!(
        (credit.handle.unwrap().0, credit.delivery_count, credit.link_credit),
        (2, Some(0), Some(1000))
    );
    let reply = client.attach(receiver(3, "/devices/d1/twin")).await.unwrap();
    assert_eq!(reply.initial_delivery_count, Some(0));
}

#[tokio::test]
async fn a_twin_is_read_patched_and_watched() {
    let (world, _) = world();
    world.device("d1").await;
    let module = world.module("d1", "m1").await;
    patch_desired(&world, &module, json!({ "interval": 5 })).await;
    let mut client = device_client(&world, &module).await;
    client.attach_pair(2, "/devices/d1/modules/m1/twin").await;

    let id = Value::Uuid(Uuid::from([9; 16]));
    client.transfer(2, &twin_request("GET", "", id.clone(), b" ")).await;
    let reply = client.message(3).await.message;
    assert_eq!((reply.correlation_id(), reply.annotation("status")), (Some(id), Some(Value::Int(200))));
    assert_eq!(
        reply.json(),
        json!({ "desired": { "interval": 5, "$version": 2 }, "reported": { "$version": 1 } })
    );

    let id = Value::String("Patch7".into());
    client.transfer(2, &twin_request("PATCH", REPORTED, id.clone(), br#"{"interval":5}"#)).await;
    let reply = client.message(3).await.message;
    assert_eq!((reply.correlation_id(), reply.annotation("status")), (Some(id), Some(Value::Int(204))));
    assert_eq!(reply.annotation("version"), Some(Value::Long(2)));
    let mut reported = Vec::new();
    world.hub.twin(world.owner::<GetTwin>(module.clone()).await).unwrap().write_reported(&mut reported);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&reported).unwrap()["interval"], 5);

    client.transfer(2, &twin_request("PUT", DESIRED, Value::String("Put1".into()), b" ")).await;
    assert_eq!(client.message(3).await.message.annotation("status"), Some(Value::Int(200)));
    patch_desired(&world, &module, json!({ "interval": 9 })).await;
    let notification = client.message(3).await.message;
    assert_eq!(notification.correlation_id(), None);
    assert_eq!(notification.annotation("status"), None);
    assert_eq!(notification.json(), json!({ "interval": 9, "$version": 3 }));

    client.transfer(2, &twin_request("DELETE", DESIRED, Value::String("Delete1".into()), b" ")).await;
    assert_eq!(client.message(3).await.message.annotation("status"), Some(Value::Int(200)));
    patch_desired(&world, &module, json!({ "interval": 10 })).await;
    client.transfer(2, &twin_request("GET", "", Value::String("Get2".into()), b" ")).await;
    let reply = client.message(3).await.message;
    assert_eq!(reply.correlation_id(), Some(Value::String("Get2".into())));
}

#[tokio::test]
async fn twin_errors_carry_a_json_body() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach_pair(2, "/devices/d1/twin").await;
    for (request, status) in [
        (twin_request("PATCH", REPORTED, Value::Null, b"no json"), 400),
        (twin_request("PATCH", REPORTED, Value::Null, br#"{"a":[[null]]}"#), 400),
        (twin_request("POST", "", Value::Null, b"{}"), 400),
        (data(b"{}"), 400),
    ] {
        client.transfer(2, &request).await;
        let reply = client.message(3).await.message;
        assert_eq!(reply.annotation("status"), Some(Value::Int(status)));
        assert_eq!(reply.json()["errorCode"].as_i64().unwrap() / 1000, i64::from(status));
    }
}

#[tokio::test]
async fn arrays_are_reported_on_links_of_an_api_version_from_2019_10_01_on() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(receiver(3, "/devices/d1/twin")).await.unwrap();
    client.credit(3, 10).await;
    for (handle, version, expected) in
        [(2, Some("2018-06-30"), 400), (4, Some("2019-10-01"), 204), (5, None, 204)]
    {
        let mut requests = sender(handle, "/devices/d1/twin");
        requests.properties = version.map(|version| {
            let (name, version) = (Symbol::from("com.microsoft:api-version"), Symbol::from(version));
            Fields::from_iter([(name, Value::Symbol(version))])
        });
        client.attach(requests).await.unwrap();
        client.transfer(handle, &twin_request("PATCH", REPORTED, Value::Null, br#"{"a":[1]}"#)).await;
        let reply = client.message(3).await.message;
        assert_eq!(reply.annotation("status"), Some(Value::Int(expected)), "{version:?}");
    }
}

#[tokio::test]
async fn a_patch_for_another_version_than_the_current_one_is_refused() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach_pair(2, "/devices/d1/twin").await;
    for (version, status) in [
        (Value::Int(2), 412),
        (Value::Int(1), 204),
        (Value::Ulong(1), 412),
        (Value::Long(2), 204),
        (Value::Null, 204),
        (Value::String("4".into()), 400),
    ] {
        let annotations = [
            ("operation", Value::String("PATCH".into())),
            ("resource", Value::String(REPORTED.into())),
            ("version", version.clone()),
        ];
        let annotations = annotations.map(|(name, value)| (Value::Symbol(name.into()), value));
        let annotations = section(0x72, &Value::Map(annotations.into_iter().collect()));
        client.transfer(2, &[annotations, data(br#"{"a":1}"#)].concat()).await;
        let reply = client.message(3).await.message;
        assert_eq!(reply.annotation("status"), Some(Value::Int(status)), "{version:?}");
        if status == 412 {
            assert_eq!(reply.json()["errorCode"], 412_001);
        }
    }
}

#[tokio::test]
async fn a_twin_reply_waits_for_its_link_and_for_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/twin")).await.unwrap();
    let id = client.transfer(2, &twin_request("PUT", DESIRED, Value::String("early".into()), b"")).await;
    client.outcome(id).await;
    let mut replies = receiver(3, "/devices/d1/twin");
    replies.snd_settle_mode = SenderSettleMode::Settled;
    client.attach(replies).await.unwrap();
    client.credit(3, 1).await;
    let reply = client.message(3).await;
    assert_eq!(reply.message.correlation_id(), Some(Value::String("early".into())));
    assert_eq!(reply.transfer.settled, Some(true));
    assert_eq!(reply.transfer.delivery_tag.unwrap().len(), 16);
}

#[tokio::test]
async fn a_twin_larger_than_the_peers_frames_is_split() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let text = "y".repeat(3900);
    patch_desired(&world, &device, json!({ "a": text, "b": text, "c": text })).await;
    let small = fe2o3_amqp_types::performatives::Open { max_frame_size: 4096.into(), ..open() };
    let mut client = Raw::open_with(world.connect(), small).await;
    client.attach_pair(0, "$cbs").await;
    client.put_token(0, &world.token(&device, HOUR)).await;
    client.attach_pair(2, "/devices/d1/twin").await;
    client.transfer(2, &twin_request("GET", "", Value::String("1".into()), b" ")).await;
    let reply = client.message(3).await;
    assert_eq!(reply.frames, 3);
    assert_eq!(reply.message.json()["desired"]["c"], json!(text));
}

#[tokio::test]
async fn no_transfer_is_sent_past_the_sessions_window() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach_pair(2, "/devices/d1/twin").await;
    let mut narrow = crate::raw::flow(3, 1000);
    // One put-token reply went out before on this session.
    (narrow.next_incoming_id, narrow.incoming_window) = (Some(1), 1);
    client.send(0, &narrow, &[]).await;
    for name in ["first", "second"] {
        client.transfer(2, &twin_request("GET", "", Value::String(name.into()), b" ")).await;
    }
    assert_eq!(client.message(3).await.message.correlation_id(), Some(Value::String("first".into())));
    let mut echo = crate::raw::flow(3, 1000);
    (echo.next_incoming_id, echo.incoming_window, echo.echo) = (Some(2), 0, true);
    client.send(0, &echo, &[]).await;
    loop {
        match client.next().await.unwrap().performative {
            Some(fe2o3_amqp_types::performatives::Performative::Flow(flow)) if flow.handle.is_some() => break,
            Some(fe2o3_amqp_types::performatives::Performative::Transfer(_)) => {
                panic!("a transfer without a window")
            }
            _ => {}
        }
    }
    let mut wide = crate::raw::flow(3, 1000);
    (wide.next_incoming_id, wide.incoming_window) = (Some(2), 10);
    client.send(0, &wide, &[]).await;
    assert_eq!(client.message(3).await.message.correlation_id(), Some(Value::String("second".into())));
}

#[tokio::test]
async fn a_client_that_subscribes_and_never_gives_credit_loses_the_link() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/twin")).await.unwrap();
    client.attach(receiver(3, "/devices/d1/twin")).await.unwrap();
    let id = client.transfer(2, &twin_request("PUT", DESIRED, Value::Null, b" ")).await;
    client.outcome(id).await;
    for number in 0..129 {
        patch_desired(&world, &device, json!({ "number": number })).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.detached(3).await.0, "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn draining_uses_up_the_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    client.attach_pair(2, "/devices/d1/twin").await;
    let mut drain = crate::raw::flow(3, 50);
    drain.drain = true;
    client.send(0, &drain, &[]).await;
    let answer = client
        .until(|frame| match frame {
            fe2o3_amqp_types::performatives::Performative::Flow(flow) if flow.drain => Some(flow.clone()),
            _ => None,
        })
        .await;
    assert_eq!((answer.link_credit, answer.delivery_count), (Some(0), Some(50)));
}

#[tokio::test]
async fn only_the_links_of_the_contract_can_be_attached() {
    let (world, _) = world();
    let device = world.device("d1").await;
    world.module("d1", "m1").await;
    let mut client = device_client(&world, &device).await;
    assert_eq!(client.put_token(0, &world.policy_token("iothubowner", HOUR)).await.0, 200);
    client.attach(receiver(2, "/devices/d1/modules/m1/messages/events")).await.unwrap();
    for (handle, attach, condition) in [
        (3, sender(3, "/devices/d1/messages/devicebound"), "amqp:not-allowed"),
        (4, sender(4, "/devices/d1/modules/m1/messages/devicebound"), "amqp:not-allowed"),
        (5, receiver(5, "/devices/d1/messages/events"), "amqp:not-allowed"),
        (6, receiver(6, "/messages/devicebound"), "amqp:not-allowed"),
        (10, sender(10, "/messages/serviceBound/feedback"), "amqp:not-allowed"),
        (11, sender(11, "/messages/serviceBound/filenotifications"), "amqp:not-allowed"),
        (12, sender(12, "/messages/events"), "amqp:unauthorized-access"),
        (13, receiver(13, "test"), "amqp:not-allowed"),
        (7, sender(7, "/nothing/here"), "amqp:not-found"),
        (8, sender(8, "/devices/nobody/twin"), "amqp:not-found"),
        (9, sender(9, "/devices/d1/modules/nobody/twin"), "amqp:not-found"),
    ] {
        assert_eq!(client.attach(attach).await.unwrap_err().0, condition, "handle {handle}");
    }
    // Refused handles may be used again once both sides detached them.
    client.send(0, &crate::raw::detach(3), &[]).await;
    client.attach(sender(3, "/devices/d1/messages/events")).await.unwrap();
}

/// Java counts as connected only once this link is open, too (contract/amqp.md 7).
#[tokio::test]
async fn devices_and_modules_may_wait_for_cloud_to_device_messages() {
    let (world, _) = world();
    let device = world.device("d1").await;
    world.module("d1", "m1").await;
    let mut client = device_client(&world, &device).await;
    assert_eq!(client.put_token(0, &world.policy_token("device", HOUR)).await.0, 200);
    for (handle, address) in
        [(2, "/devices/d1/messages/devicebound"), (3, "/devices/d1/modules/m1/messages/deviceBound")]
    {
        let mut attach = receiver(handle, address);
        attach.rcv_settle_mode = ReceiverSettleMode::Second;
        let reply = client.attach(attach.clone()).await.unwrap();
        assert_eq!((reply.source, reply.rcv_settle_mode), (attach.source, ReceiverSettleMode::Second));
        assert_eq!(reply.initial_delivery_count, Some(0));
        client.credit(handle, 50).await;
    }
    assert_eq!(world.hub.connections().len(), 2);
}

#[tokio::test]
async fn the_service_side_needs_service_connect() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = device_client(&world, &device).await;
    let (condition, _) = client.attach(receiver(2, "/messages/serviceBound/feedback")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}

/// A certificate for the fixed date of these tests.
fn certificate_params(common_name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2025, 1, 1), rcgen::date_time_ymd(2027, 1, 1));
    params
}

#[tokio::test]
async fn a_certificate_of_a_registered_authority_connects_the_module_it_names() {
    let (world, _) = world();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = certificate_params("authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    world.authorities.add("authority", &authority.pem(), true).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &authority_key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = certificate_params("d1/m1").signed_by(&leaf_key, &issuer).unwrap();
    world.device("d1").await;
    world.module_with("d1", "m1", AuthenticationType::CertificateAuthority).await;
    world.module_with("d1", "m2", AuthenticationType::CertificateAuthority).await;
    let peer = Arc::new(auth::PeerCertificates::new(vec![leaf.der().to_vec()]));
    let mut client = Raw::open(world.connect_with(Some(peer)).0).await;
    client.attach_pair(0, "/devices/d1/modules/m1/twin").await;
    client.transfer(0, &twin_request("GET", "", Value::String("1".into()), b" ")).await;
    assert_eq!(client.message(1).await.message.annotation("status"), Some(Value::Int(200)));
    let (condition, _) = client.attach(sender(2, "/devices/d1/modules/m2/twin")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_certificate_connects_its_device_without_cbs() {
    let (world, _) = world();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = certificate_params("x1").self_signed(&key).unwrap();
    let facts = auth::certificate::CertificateFacts::of(certificate.der()).unwrap();
    world
        .device_with(
            "x1",
            hub::identity::AuthenticationSpec {
                kind: Some(AuthenticationType::SelfSigned),
                primary_thumbprint: Some(facts.sha256),
                ..Default::default()
            },
        )
        .await;
    world.device("d1").await;
    let peer = Arc::new(auth::PeerCertificates::new(vec![certificate.der().to_vec()]));
    let mut client = Raw::open(world.connect_with(Some(peer)).0).await;
    client.attach(sender(0, "/devices/x1/messages/events")).await.unwrap();
    let id = client.transfer(0, &data(b"with a certificate")).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    let (condition, _) = client.attach(sender(1, "/devices/d1/messages/events")).await.unwrap_err();
    assert_eq!(condition, "amqp:unauthorized-access");
}
