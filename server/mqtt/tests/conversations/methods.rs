//! Direct methods; `contract/mqtt.md 8`.

use std::time::Duration;

use bytes::Bytes;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::InvokeMethod;
use hub::method::{MethodCall, MethodName, MethodResponse};
use tokio::task::JoinHandle;

use crate::harness::*;

const METHODS: &str = "$iothub/methods/POST/#";

type Caller = JoinHandle<Result<MethodResponse, HubError>>;

impl Bench {
    /// Begins a call that waits `connect_secs` for the device, and half a minute for its answer.
    async fn call(&self, id: &str, name: &str, payload: &'static str, connect_secs: u64) -> Caller {
        let by = self.owner::<InvokeMethod>(identity(id)).await;
        let call = MethodCall {
            name: MethodName::parse(name).unwrap(),
            payload: Bytes::from_static(payload.as_bytes()),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(connect_secs),
        };
        let hub = std::sync::Arc::clone(&self.hub);
        tokio::spawn(async move { hub.invoke_method(by, call).await })
    }
}

async fn listening(bench: &Bench, id: &str) -> Client {
    let mut client = bench.online(id).await;
    client.send(&Subscribe(1, &[(METHODS, 1)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [1]");
    client
}

/// Reads a request of this method and this payload; its rid is what comes back.
async fn asked(client: &mut Client, name: &str, payload: &str) -> String {
    let request = client.next().await;
    let rid = request.strip_prefix(&format!("PUBLISH $iothub/methods/POST/{name}/?$rid="));
    let (rid, body) = rid.unwrap_or_else(|| panic!("{request}")).split_once(' ').unwrap();
    assert_eq!(body, payload);
    assert!(rid.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{rid}");
    rid.into()
}

fn body(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

async fn code(caller: Caller) -> ErrorCode {
    caller.await.unwrap().unwrap_err().code()
}

#[tokio::test]
async fn a_device_and_a_module_are_called_and_their_answers_come_back_as_they_are() {
    let bench = Bench::new().await;
    for id in ["d", "d/m"] {
        let mut client = listening(&bench, id).await;
        for (payload, answer, expected) in [
            ("null", "", None),
            ("\"\"", "null", body("null")),
            ("{}", "\"\"", body("\"\"")),
            ("{\"k1\": 1.0}", "{ }", body("{ }")),
        ] {
            let caller = bench.call(id, "reboot", payload, 0).await;
            let rid = asked(&mut client, "reboot", payload).await;
            client.send(&Publish(9, &format!("$iothub/methods/res/404/?$rid={rid}"), answer)).await;
            assert_eq!(client.next().await, "PUBACK 9");
            let answered = caller.await.unwrap().unwrap();
            assert_eq!(answered, MethodResponse { status: 404, payload: expected });
        }
    }
}

#[tokio::test]
async fn a_caller_waits_for_the_device_to_connect_and_to_subscribe() {
    let bench = Bench::new().await;
    let waiting = bench.call("d", "reboot", "{}", 60).await;
    let mut client = bench.online("d").await;
    client.send(&PINGREQ).await;
    assert_eq!(client.next().await, "PINGRESP");
    assert_eq!(code(bench.call("d", "reboot", "{}", 0).await).await, ErrorCode::DeviceNotOnline);
    client.send(&Subscribe(1, &[("$iothub/methods/POST/reboot/#", 0)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [0]");
    let rid = asked(&mut client, "reboot", "{}").await;
    client.send(&Publish(0, &format!("$iothub/methods/res/-1/?$rid={rid}"), "7")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), MethodResponse { status: -1, payload: body("7") });
}

#[tokio::test]
async fn a_kept_session_listens_again_without_subscribing_and_a_clean_one_does_not() {
    let bench = Bench::new().await;
    listening(&bench, "d").await.leave().await;
    let waiting = bench.call("d", "reboot", "1", 60).await;
    let mut client = bench.accept();
    client.send(&bench.connect("d")).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 1");
    let rid = asked(&mut client, "reboot", "1").await;
    client.send(&Publish(0, &format!("$iothub/methods/res/200/?$rid={rid}"), "")).await;
    assert!(waiting.await.unwrap().is_ok());
    client.leave().await;

    let mut client = bench.accept();
    client.send(&Connect { clean_session: true, ..bench.connect("d") }).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 0");
    assert_eq!(code(bench.call("d", "reboot", "1", 0).await).await, ErrorCode::DeviceNotOnline);
}

#[tokio::test]
async fn an_unsubscribed_device_is_not_online_for_methods() {
    let bench = Bench::new().await;
    let mut client = listening(&bench, "d").await;
    client.send(&Unsubscribe(2, METHODS)).await;
    assert_eq!(client.next().await, "UNSUBACK 2");
    assert_eq!(code(bench.call("d", "reboot", "1", 0).await).await, ErrorCode::DeviceNotOnline);
}

#[tokio::test]
async fn many_calls_are_answered_in_whatever_order_the_device_likes() {
    let bench = Bench::new().await;
    let mut client = listening(&bench, "d").await;
    let mut calls = Vec::new();
    for n in 0..50 {
        let name = format!("m{n}");
        let caller = bench.call("d", &name, "{}", 0).await;
        calls.push((caller, asked(&mut client, &name, "{}").await));
    }
    for (n, (_, rid)) in calls.iter().enumerate().rev() {
        client.send(&Publish(0, &format!("$iothub/methods/res/{n}/?$rid={rid}"), "")).await;
    }
    for (n, (caller, _)) in calls.into_iter().enumerate() {
        assert_eq!(caller.await.unwrap().unwrap().status, i32::try_from(n).unwrap());
    }
}

#[tokio::test]
async fn late_unknown_and_repeated_answers_are_acknowledged_and_change_nothing() {
    let bench = Bench::new().await;
    let mut client = listening(&bench, "d").await;
    let late = bench.call("d", "slow", "1", 0).await;
    let rid = asked(&mut client, "slow", "1").await;
    bench.clock.advance(Duration::from_secs(30));
    bench.hub.run_due();
    assert_eq!(code(late).await, ErrorCode::GatewayTimeout);
    for (packet_id, rid) in [(2, rid.as_str()), (3, rid.as_str()), (4, "ffffffff"), (5, "no-hex"), (6, "1/")]
    {
        client.send(&Publish(packet_id, &format!("$iothub/methods/res/200/?$rid={rid}"), "{}")).await;
        assert_eq!(client.next().await, format!("PUBACK {packet_id}"));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_fails_the_call_and_not_the_connection() {
    let bench = Bench::new().await;
    let mut client = listening(&bench, "d").await;
    let too_long = format!("\"{}\"", "a".repeat(128 * 1024));
    for answer in ["{", "hello", &too_long] {
        let caller = bench.call("d", "reboot", "1", 0).await;
        let rid = asked(&mut client, "reboot", "1").await;
        client.send(&Publish(2, &format!("$iothub/methods/res/200/?$rid={rid}"), answer)).await;
        assert_eq!(client.next().await, "PUBACK 2");
        assert_eq!(code(caller).await, ErrorCode::GenericBadGateway);
    }
}

#[tokio::test]
async fn a_device_that_goes_away_or_is_taken_over_ends_the_call() {
    let bench = Bench::new().await;
    let mut client = listening(&bench, "d").await;
    let caller = bench.call("d", "reboot", "1", 60).await;
    asked(&mut client, "reboot", "1").await;
    client.vanish().await;
    assert_eq!(code(caller).await, ErrorCode::DeviceConnectionClosedRemotely);

    let mut old = listening(&bench, "d").await;
    let caller = bench.call("d", "reboot", "1", 60).await;
    let rid = asked(&mut old, "reboot", "1").await;
    let mut new = bench.online("d").await;
    assert_eq!(code(caller).await, ErrorCode::DeviceConnectionClosedRemotely);
    new.send(&Publish(2, &format!("$iothub/methods/res/200/?$rid={rid}"), "1")).await;
    assert_eq!(new.next().await, "PUBACK 2");
    old.assert_closed().await;
}

#[tokio::test]
async fn a_malformed_answer_closes_the_connection() {
    let bench = Bench::new().await;
    for topic in
        ["$iothub/methods/res/ok/?$rid=1", "$iothub/methods/res/200/", "$iothub/methods/POST/m/?$rid=1"]
    {
        let mut client = listening(&bench, "d").await;
        client.send(&Publish(2, topic, "{}")).await;
        client.assert_closed().await;
    }
}
