//! Every call a device or module makes for itself times every fault its request can have (contract/rest.md 1.15, 1.16):
//! the status and code of the contract, and nothing changed afterwards. As [`crate::faults`] for the service's API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, VERSION};

struct Call {
    line: &'static str,
    /// A JSON body that is needed; others take any bytes or none.
    body: Option<&'static str>,
    /// Whether only `$edgeHub` may, with its own key; the others are for policies too that act as devices.
    is_of_edge_hub: bool,
}

const fn device(line: &'static str) -> Call {
    Call { line, body: None, is_of_edge_hub: false }
}

const fn edge_hub(line: &'static str, body: Option<&'static str>) -> Call {
    Call { line, body, is_of_edge_hub: true }
}

const CHAIN: Option<&str> = Some(r#"{"authChain":"e"}"#);
const MODULE: Option<&str> = Some(r#"{"authChain":"e","module":{"deviceId":"e","moduleId":"m"}}"#);

#[rustfmt::skip]
const CALLS: &[Call] = &[
    device("POST /devices/e/messages/events"),
    device("POST /devices/e/modules/$edgeHub/messages/events"),
    device("GET /devices/e/messages/deviceBound"),
    device("DELETE /devices/e/messages/deviceBound/00000000-0000-4000-8000-000000000000"),
    device("POST /devices/e/messages/deviceBound/00000000-0000-4000-8000-000000000000/abandon"),
    edge_hub("GET /devices/e/modules/$edgeHub/devicesAndModulesInDeviceScope", None),
    edge_hub("GET /devices/e/modules/$edgeHub/deviceAndModuleInDeviceScope?targetDeviceId=e", None),
    edge_hub("POST /devices/e/modules/$edgeHub/devicesAndModulesInTargetDeviceScope", CHAIN),
    edge_hub("POST /devices/e/modules/$edgeHub/getDeviceAndModuleOnBehalfOf", Some(r#"{"authChain":"e","targetDeviceId":"e"}"#)),
    edge_hub("PUT /devices/e/modules/$edgeHub/putModuleOnBehalfOf", MODULE),
    edge_hub("POST /devices/e/modules/$edgeHub/putModuleOnBehalfOf", MODULE),
    edge_hub("POST /devices/e/modules/$edgeHub/getModuleOnBehalfOf", Some(r#"{"authChain":"e","targetModuleId":"$edgeHub"}"#)),
    edge_hub("POST /devices/e/modules/$edgeHub/getModulesOnTargetDevice", CHAIN),
    edge_hub("POST /devices/e/modules/$edgeHub/deleteModuleOnBehalfOf", Some(r#"{"authChain":"e","moduleId":"m"}"#)),
];

const CODE: &str = "IotHubUnauthorizedAccess";

/// A hub with the edge device `e` and the token of its hub.
struct World {
    harness: Harness,
    edge_hub: String,
    before: Vec<Value>,
}

impl World {
    async fn new() -> Self {
        let harness = Harness::new();
        let body = json!({ "deviceId": "e", "capabilities": { "iotEdge": true } }).to_string();
        harness.owner("PUT /devices/e", &[], &body).await.expect(StatusCode::OK);
        let keys = json!({ "deviceId": "e", "moduleId": "$edgeHub", "authentication": { "type": "sas" } });
        let module = harness
            .owner("PUT /devices/e/modules/$edgeHub", &[("if-match", "*")], &keys.to_string())
            .await
            .expect(StatusCode::OK);
        let key = module["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
        let edge_hub = harness.own_token("localhost/devices/e/modules/$edgeHub", key);
        let before = snapshot(&harness).await;
        Self { harness, edge_hub, before }
    }

    /// A token that gets this call in.
    fn good(&self, call: &Call) -> String {
        if call.is_of_edge_hub { self.edge_hub.clone() } else { self.harness.policy_token("device") }
    }

    async fn call(&self, call: &Call, token: &str, body: &str) -> Answer {
        self.harness.raw(&versioned(call.line), &[("authorization", token)], body).await
    }

    async fn nothing_changed(&self) {
        assert_eq!(snapshot(&self.harness).await, self.before);
        assert!(self.harness.hub.events().newest(1, None).is_empty());
    }
}

fn versioned(line: &str) -> String {
    format!("{line}{}{VERSION}", if line.contains('?') { '&' } else { '?' })
}

async fn snapshot(harness: &Harness) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/devices", "/devices/e/modules"] {
        all.push(harness.owner(&format!("GET {path}"), &[], "").await.expect(StatusCode::OK));
    }
    all
}

#[tokio::test]
async fn every_call_gets_in_without_a_fault() {
    let world = World::new().await;
    for call in CALLS {
        let answer = world.call(call, &world.good(call), call.body.unwrap_or_default()).await;
        let settles_nothing = call.line.contains("00000000") && answer.status.as_u16() == 412;
        // The second of the two that put finds the module of the first.
        let is_there = answer.status.as_u16() == 409 && call.line.starts_with("POST");
        assert!(answer.status.is_success() || settles_nothing || is_there, "{}: {}", call.line, answer.text);
    }
}

#[tokio::test]
async fn no_call_is_done_without_the_right_credential() {
    let world = World::new().await;
    for call in CALLS {
        let body = call.body.unwrap_or_default();
        world.harness.raw(&versioned(call.line), &[], body).await.refused(401, CODE);
        let good = world.good(call);
        let forged = good.replacen("sig=", "sig=AAAA", 1);
        let expired = good.replacen("se=", "se=1", 1);
        let mut bad = vec![forged, expired, "Bearer x".to_owned()];
        bad.extend(["service", "registryReadWrite"].map(|policy| world.harness.policy_token(policy)));
        if call.is_of_edge_hub {
            bad.extend(["device", "iothubowner"].map(|policy| world.harness.policy_token(policy)));
        }
        for token in bad {
            world.call(call, &token, body).await.refused(401, CODE);
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn no_call_is_done_without_an_api_version_or_with_an_impossible_id() {
    let world = World::new().await;
    for call in CALLS {
        let (good, body) = (world.good(call), call.body.unwrap_or_default());
        let headers = [("authorization", good.as_str())];
        world.harness.raw(call.line, &headers, body).await.refused(400, "InvalidProtocolVersion");
        for illegal in ["a%20b", "%ff", "a%2Fb", &"i".repeat(129)] {
            let line = versioned(&call.line.replacen("/e/", &format!("/{illegal}/"), 1));
            world.harness.raw(&line, &headers, body).await.refused(400, "ArgumentInvalid");
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_body_that_has_to_be_json_is_refused_when_it_is_not() {
    let world = World::new().await;
    for call in CALLS.iter().filter(|call| call.body.is_some()) {
        let good = world.good(call);
        for (body, code) in [
            ("", "ArgumentNull"),
            ("null", "ArgumentNull"),
            ("{}", "ArgumentNull"),
            ("[]", "ArgumentInvalid"),
            ("{\"authChain\":", "IotHubFormatError"),
            ("{\"authChain\":7}", "ArgumentInvalid"),
            ("{\"authChain\":null}", "ArgumentNull"),
        ] {
            world.call(call, &good, body).await.refused(400, code);
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_verb_no_call_has_is_405() {
    let world = World::new().await;
    for call in CALLS {
        let (verb, path) = call.line.split_once(' ').unwrap();
        let answer = world.harness.raw(&format!("TRACE {path}"), &[], "").await;
        answer.refused(405, "GenericMethodNotAllowed");
        let allowed: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        assert!(allowed.contains(&verb), "{}: {allowed:?}", call.line);
    }
}
