//! Direct methods on their link pair (contract/amqp.md 3, 4.4).

use std::time::Duration;

use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::Performative;
use fe2o3_amqp_types::primitives::{OrderedMap, Uuid, Value};
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::InvokeMethod;
use hub::ids::IdentityId;
use hub::method::{MethodCall, MethodName, MethodResponse};
use tokio::task::JoinHandle;

use crate::raw::{self, Raw, Received, data, ids, open, receiver, section, sender};
use crate::world::World;
use crate::{HOUR, world};

const D1: &str = "/devices/d1/methods/devicebound";
const M1: &str = "/devices/d1/modules/m1/methods/devicebound";

type Invoked = JoinHandle<Result<MethodResponse, HubError>>;

/// Calls a method; a connect timeout of zero demands that the client listens already.
async fn invoke(world: &World, identity: &IdentityId, payload: &str, connect_timeout: Duration) -> Invoked {
    let call = MethodCall {
        name: MethodName::parse("reboot").unwrap(),
        payload: payload.to_owned().into(),
        response_timeout: Duration::from_secs(30),
        connect_timeout,
    };
    let by = world.owner::<InvokeMethod>(identity.clone()).await;
    let hub = std::sync::Arc::clone(&world.hub);
    tokio::spawn(async move { hub.invoke_method(by, call).await })
}

/// The same of a client that listens.
async fn call(world: &World, identity: &IdentityId, payload: &str) -> Invoked {
    invoke(world, identity, payload, Duration::ZERO).await
}

/// What became of a call. The clock stands still, so one that reached nobody would wait for ever.
async fn ended(invoked: Invoked) -> Result<MethodResponse, HubError> {
    tokio::time::timeout(raw::PATIENCE, invoked).await.expect("the call goes on").unwrap()
}

async fn answered(invoked: Invoked) -> (i32, Option<String>) {
    let MethodResponse { status, payload } = ended(invoked).await.unwrap();
    (status, payload.map(|payload| String::from_utf8(payload.to_vec()).unwrap()))
}

async fn refused(invoked: Invoked) -> ErrorCode {
    ended(invoked).await.unwrap_err().code()
}

/// A client of a device with the CBS pair at 0, its method sender at 2 and its receiver, with credit, at 3.
async fn listening(world: &World, identity: &IdentityId, address: &str) -> Raw {
    let mut client = Raw::authenticated(world.connect(), &world.token(identity, HOUR)).await;
    client.attach_pair(2, address).await;
    synced(&mut client, 3, 1000).await;
    client
}

/// Gives credit and waits until the server has seen it.
async fn synced(client: &mut Raw, handle: u32, credit: u32) {
    let mut flow = raw::flow(handle, credit);
    flow.echo = true;
    client.send(0, &flow, &[]).await;
    client
        .until(|frame| match frame {
            Performative::Flow(flow) => flow.handle.as_ref().filter(|found| found.0 == handle).map(drop),
            _ => None,
        })
        .await;
}

/// A response; what is `None` is left out.
fn response(correlation_id: Value, status: Option<Value>, body: Option<&[u8]>) -> Vec<u8> {
    let status = status.map(|status| {
        let key = Value::String("IoThub-status".into());
        section(0x74, &Value::Map(OrderedMap::from_iter([(key, status)])))
    });
    [ids(Value::Null, correlation_id), status.unwrap_or_default(), body.map(data).unwrap_or_default()]
        .concat()
}

fn ok(request: &Received) -> Vec<u8> {
    response(request.message.correlation_id().unwrap(), Some(Value::Int(200)), Some(b"{}"))
}

async fn rejected(client: &mut Raw, id: u32) -> Value {
    match client.outcome(id).await {
        DeliveryState::Rejected(rejected) => {
            serde_amqp::to_value(&rejected.error.unwrap().condition).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn symbol(text: &str) -> Value {
    Value::Symbol(text.into())
}

#[tokio::test]
async fn a_request_has_a_uuid_and_a_name_and_its_answer_reaches_the_caller() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    let invoked = call(&world, &device, r#"{"delay": 5}"#).await;
    let request = client.message(3).await;
    let Some(Value::Uuid(id)) = request.message.correlation_id() else { panic!("{:?}", request.message) };
    let id = uuid::Uuid::from_bytes(id.into_inner());
    assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
    assert_eq!(request.message.application("IoThub-methodname"), Some(Value::String("reboot".into())));
    assert_eq!(request.message.section(0x75), Some(&Value::Binary(br#"{"delay": 5}"#.to_vec().into())));
    assert_eq!(request.transfer.settled, Some(false));
    let correlation_id = request.message.correlation_id().unwrap();
    let answer = response(correlation_id, Some(Value::Int(404)), Some(br#"{"why": [null]}"#));
    let id = client.transfer(2, &answer).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    assert_eq!(answered(invoked).await, (404, Some(r#"{"why": [null]}"#.to_owned())));
}

#[tokio::test]
async fn every_payload_arrives_as_it_was_given_null_as_four_bytes() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    for payload in ["null", "\"\"", "{}", "0", r#"{"a":{"b":[1,{"c":null}]}}"#] {
        let invoked = call(&world, &device, payload).await;
        let request = client.message(3).await;
        let sent = Value::Binary(payload.as_bytes().to_vec().into());
        assert_eq!(request.message.section(0x75), Some(&sent), "{payload}");
        let id = request.message.correlation_id().unwrap();
        client.transfer(2, &response(id, Some(Value::Int(200)), Some(payload.as_bytes()))).await;
        assert_eq!(answered(invoked).await, (200, Some(payload.to_owned())));
    }
}

#[tokio::test]
async fn a_response_may_have_its_id_as_text_any_integer_as_status_and_no_body() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    for (status, body, expected) in [
        (Value::Int(-7), Some(&b"1"[..]), (-7, Some("1"))),
        (Value::Byte(100), Some(b""), (100, None)),
        (Value::Long(500), None, (500, None)),
        (Value::Ushort(200), None, (200, None)),
    ] {
        let invoked = call(&world, &device, "null").await;
        let Some(Value::Uuid(id)) = client.message(3).await.message.correlation_id() else {
            panic!("no uuid")
        };
        let id = uuid::Uuid::from_bytes(id.into_inner()).to_string();
        client.transfer(2, &response(Value::String(id), Some(status), body)).await;
        assert_eq!(answered(invoked).await, (expected.0, expected.1.map(str::to_owned)));
    }
}

#[tokio::test]
async fn a_settled_response_gets_no_disposition() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    let invoked = call(&world, &device, "null").await;
    let answer = ok(&client.message(3).await);
    let mut settled = client.next_transfer(2);
    settled.settled = Some(true);
    client.send(0, &settled, &answer).await;
    assert_eq!(answered(invoked).await.0, 200);
    let unsettled = client.transfer(2, &answer).await;
    let first = client
        .until(|frame| match frame {
            Performative::Disposition(disposition) => Some(disposition.first),
            _ => None,
        })
        .await;
    assert_eq!(first, unsettled);
}

#[tokio::test]
async fn a_malformed_response_is_rejected_and_harms_no_other() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    let invoked = call(&world, &device, "null").await;
    let request = client.message(3).await;
    let id = || request.message.correlation_id().unwrap();
    let status = || Some(Value::Int(200));
    let too_large = vec![b' '; 200 * 1024];
    for (answer, condition) in [
        (response(Value::Null, status(), Some(b"1")), "com.microsoft:argument-error"),
        (response(Value::Ulong(7), status(), Some(b"1")), "com.microsoft:argument-error"),
        (response(id(), None, Some(b"1")), "com.microsoft:argument-error"),
        (response(id(), Some(Value::String("200".into())), Some(b"1")), "com.microsoft:argument-error"),
        (response(id(), Some(Value::Long(1 << 40)), Some(b"1")), "com.microsoft:argument-error"),
        (data(b"{}"), "com.microsoft:argument-error"),
        (b"no message at all".to_vec(), "amqp:decode-error"),
        (response(id(), status(), Some(&too_large)), "amqp:link:message-size-exceeded"),
    ] {
        let mut transfer = client.next_transfer(2);
        let mut parts = answer.chunks(60_000).peekable();
        while let Some(part) = parts.next() {
            transfer.more = parts.peek().is_some();
            client.send(0, &transfer, part).await;
        }
        assert_eq!(rejected(&mut client, transfer.delivery_id.unwrap()).await, symbol(condition));
    }
    client.transfer(2, &ok(&request)).await;
    assert_eq!(answered(invoked).await.0, 200);
}

#[tokio::test]
async fn a_response_to_nothing_is_accepted_and_ignored() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    let invoked = call(&world, &device, "null").await;
    let request = client.message(3).await;
    for id in [Value::Uuid(Uuid::from([7; 16])), Value::String("reboot-1".into())] {
        let id = client.transfer(2, &response(id, Some(Value::Int(500)), Some(b"1"))).await;
        assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
    }
    client.transfer(2, &ok(&request)).await;
    assert_eq!(answered(invoked).await.0, 200);
    // A second answer to the same request is one to nothing, too.
    let id = client.transfer(2, &ok(&request)).await;
    assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
}

#[tokio::test]
async fn a_client_listens_from_its_first_credit_until_its_receiver_is_gone() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(sender(2, D1)).await.unwrap();
    client.attach(receiver(3, D1)).await.unwrap();
    assert_eq!(refused(call(&world, &device, "null").await).await, ErrorCode::DeviceNotOnline);
    synced(&mut client, 3, 0).await;
    assert_eq!(refused(call(&world, &device, "null").await).await, ErrorCode::DeviceNotOnline);

    let waiting = invoke(&world, &device, "null", Duration::from_secs(300)).await;
    synced(&mut client, 3, 10).await;
    let answer = ok(&client.message(3).await);
    client.transfer(2, &answer).await;
    assert_eq!(answered(waiting).await.0, 200);

    client.send(0, &raw::detach(3), &[]).await;
    client
        .until(|frame| match frame {
            Performative::Detach(detach) => Some(detach.error.is_none()),
            _ => None,
        })
        .await;
    assert_eq!(refused(call(&world, &device, "null").await).await, ErrorCode::DeviceNotOnline);
}

#[tokio::test]
async fn a_newer_receiver_takes_over_and_listens_once_it_has_credit() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = listening(&world, &device, D1).await;
    client.attach(receiver(4, D1)).await.unwrap();
    assert_eq!(client.detached(3).await.0, "amqp:link:stolen");
    assert_eq!(refused(call(&world, &device, "null").await).await, ErrorCode::DeviceNotOnline);
    synced(&mut client, 4, 10).await;
    let invoked = call(&world, &device, "null").await;
    let answer = ok(&client.message(4).await);
    client.transfer(2, &answer).await;
    assert_eq!(answered(invoked).await.0, 200);
    // The older link's end, which the client confirms late, ends nothing of the newer one.
    client.send(0, &raw::detach(3), &[]).await;
    synced(&mut client, 4, 10).await;
    let invoked = call(&world, &device, "null").await;
    let answer = ok(&client.message(4).await);
    client.transfer(2, &answer).await;
    assert_eq!(answered(invoked).await.0, 200);
}

#[tokio::test]
async fn a_request_waits_for_credit_and_answers_may_come_in_any_order() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(sender(2, D1)).await.unwrap();
    client.attach(receiver(3, D1)).await.unwrap();
    synced(&mut client, 3, 1).await;
    let first = call(&world, &device, "1").await;
    let one = client.message(3).await;
    let second = call(&world, &device, "2").await;
    // The answer to an echo comes behind everything that could be sent.
    let mut flow = raw::flow(3, 0);
    (flow.delivery_count, flow.echo) = (Some(1), true);
    client.send(0, &flow, &[]).await;
    loop {
        match client.next().await.unwrap().performative {
            Some(Performative::Flow(flow)) if flow.handle.is_some() => break,
            Some(Performative::Transfer(_)) => panic!("a request was sent without credit"),
            _ => {}
        }
    }
    let mut flow = raw::flow(3, 1);
    flow.delivery_count = Some(1);
    client.send(0, &flow, &[]).await;
    let two = client.message(3).await;
    for (request, status) in [(&two, 202), (&one, 201)] {
        let id = request.message.correlation_id().unwrap();
        client.transfer(2, &response(id, Some(Value::Int(status)), None)).await;
    }
    assert_eq!(answered(first).await.0, 201);
    assert_eq!(answered(second).await.0, 202);
}

#[tokio::test]
async fn requests_that_find_no_credit_are_kept_up_to_a_mebibyte() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(sender(2, D1)).await.unwrap();
    client.attach(receiver(3, D1)).await.unwrap();
    synced(&mut client, 3, 1).await;
    let large = format!("\"{}\"", "x".repeat(120 * 1024));
    let mut calls = vec![call(&world, &device, &large).await];
    client.message(3).await;
    for _ in 0..9 {
        calls.push(call(&world, &device, &large).await);
    }
    assert_eq!(client.detached(3).await.0, "amqp:resource-limit-exceeded");
    assert_eq!(refused(call(&world, &device, "1").await).await, ErrorCode::DeviceNotOnline);
    let still_there =
        client.transfer(2, &response(Value::String("x".into()), Some(Value::Int(1)), None)).await;
    assert!(matches!(client.outcome(still_there).await, DeliveryState::Accepted(_)));
}

#[tokio::test]
async fn devices_and_modules_share_a_connection_and_answer_only_for_themselves() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let module = world.module("d1", "m1").await;
    let mut client = listening(&world, &device, D1).await;
    assert_eq!(client.put_token(0, &world.policy_token("device", HOUR)).await.0, 200);
    client.attach_pair(4, M1).await;
    synced(&mut client, 5, 1000).await;
    let of_device = call(&world, &device, "\"device\"").await;
    let to_device = client.message(3).await;
    let of_module = call(&world, &module, "\"module\"").await;
    let to_module = client.message(5).await;
    assert_eq!(to_device.message.json(), "device");
    assert_eq!(to_module.message.json(), "module");
    // An answer on the other identity's link is one to nothing.
    let stray = client.transfer(2, &ok(&to_module)).await;
    assert!(matches!(client.outcome(stray).await, DeliveryState::Accepted(_)));
    for (handle, request, status) in [(4, &to_module, 202), (2, &to_device, 201)] {
        let id = request.message.correlation_id().unwrap();
        client.transfer(handle, &response(id, Some(Value::Int(status)), None)).await;
    }
    assert_eq!((answered(of_device).await.0, answered(of_module).await.0), (201, 202));
}

#[tokio::test]
async fn settlement_modes_are_echoed_and_kept() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    // C# attaches settled, Java and Node unsettled (contract/amqp.md 3).
    for (handle, mode, settled) in
        [(2, SenderSettleMode::Settled, true), (4, SenderSettleMode::Unsettled, false)]
    {
        for mut attach in [sender(handle, D1), receiver(handle + 1, D1)] {
            attach.snd_settle_mode = mode.clone();
            let reply = client.attach(attach).await.unwrap();
            assert_eq!(
                (reply.snd_settle_mode, reply.rcv_settle_mode),
                (mode.clone(), ReceiverSettleMode::First)
            );
        }
        synced(&mut client, handle + 1, 10).await;
        let invoked = call(&world, &device, "null").await;
        let request = client.message(handle + 1).await;
        assert_eq!(request.transfer.settled, Some(settled));
        assert_eq!(request.transfer.delivery_tag.as_ref().unwrap().len(), 16);
        client.transfer(handle, &ok(&request)).await;
        assert_eq!(answered(invoked).await.0, 200);
    }
}

#[tokio::test]
async fn a_payload_of_128_kib_is_split_for_a_client_with_small_frames() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let small = fe2o3_amqp_types::performatives::Open { max_frame_size: 4096.into(), ..open() };
    let mut client = Raw::open_with(world.connect(), small).await;
    client.attach_pair(0, "$cbs").await;
    client.put_token(0, &world.token(&device, HOUR)).await;
    client.attach_pair(2, D1).await;
    synced(&mut client, 3, 10).await;
    let payload = format!("\"{}\"", "x".repeat(128 * 1024 - 2));
    let invoked = call(&world, &device, &payload).await;
    let request = client.message(3).await;
    assert!(request.frames > 32);
    assert_eq!(request.message.section(0x75), Some(&Value::Binary(payload.into_bytes().into())));
    client.transfer(2, &ok(&request)).await;
    assert_eq!(answered(invoked).await.0, 200);
}
