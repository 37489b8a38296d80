//! What edge devices and their hubs call, as aziot-identityd and edgeHub write it: contract/rest.md 1.15.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

/// The edge device `root` with the leaf `a` and the nested edge device `lower`, which has the leaf `b`.
struct Edge {
    harness: Harness,
    /// Of `$edgeHub` on `root`.
    hub_token: String,
    /// Of `root` itself.
    token: String,
}

impl Edge {
    async fn new() -> Self {
        let harness = Harness::new();
        let root = create(&harness, "root", json!({ "capabilities": { "iotEdge": true } })).await;
        let scope = root["deviceScope"].clone();
        create(&harness, "a", json!({ "deviceScope": scope })).await;
        let nested = json!({ "capabilities": { "iotEdge": true }, "parentScopes": [scope] });
        let lower = create(&harness, "lower", nested).await;
        create(&harness, "b", json!({ "deviceScope": lower["deviceScope"] })).await;
        create(&harness, "z", json!({})).await;
        let token = harness.own_token("localhost/devices/root", key(&root));
        // What identityd does on its first start: it gives the system modules their keys.
        let keys = json!({ "deviceId": "root", "moduleId": "$edgeHub", "authentication": { "type": "sas" } });
        let line = "PUT /devices/root/modules/%24edgeHub";
        let headers: &[_] = &[("authorization", token.as_str()), ("if-match", "*")];
        let hub = call(&harness, line, headers, &keys).await.expect(StatusCode::OK);
        let hub_token = harness.own_token("localhost/devices/root/modules/%24edgeHub", key(&hub));
        Self { harness, hub_token, token }
    }

    /// As `$edgeHub` of `root`; `path` is what follows the path of that module.
    async fn get(&self, path: &str) -> Answer {
        let line = format!("GET /devices/root/modules/$edgeHub/{path}");
        call(&self.harness, &line, &[("authorization", &self.hub_token)], &Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let line = format!("POST /devices/root/modules/$edgeHub/{path}");
        call(&self.harness, &line, &[("authorization", &self.hub_token)], &body).await
    }

    /// As `root` itself.
    async fn own(&self, line: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("authorization", self.token.as_str())]].concat();
        call(&self.harness, line, &headers, body).await
    }
}

async fn create(harness: &Harness, id: &str, mut members: Value) -> Value {
    members["deviceId"] = json!(id);
    harness.owner(&format!("PUT /devices/{id}"), &[], &members.to_string()).await.expect(StatusCode::OK)
}

async fn call(harness: &Harness, line: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let separator = if line.contains('?') { '&' } else { '?' };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    harness.raw(&format!("{line}{separator}api-version=2020-06-30-preview"), headers, &body).await
}

fn key(identity: &Value) -> &str {
    identity["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap()
}

/// The ids of a scope's devices and modules.
#[track_caller]
fn ids(answer: &Answer) -> (Vec<String>, Vec<String>) {
    let body = answer.expect(StatusCode::OK);
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["devices", "modules", "continuationLink"]);
    let list = |name: &str, id: &str| {
        let rows = body[name].as_array().unwrap();
        rows.iter().map(|row| row[id].as_str().unwrap().to_owned()).collect()
    };
    (list("devices", "deviceId"), list("modules", "moduleId"))
}

#[tokio::test]
async fn the_edge_hub_reads_its_scope_with_the_keys_in_it() {
    let edge = Edge::new().await;
    let answer = edge.get("devicesAndModulesInDeviceScope?deviceCount=100&continuationToken=").await;
    let (devices, modules) = ids(&answer);
    assert_eq!(devices, ["a", "lower", "root"]);
    assert_eq!(modules, ["$edgeAgent", "$edgeHub", "$edgeAgent", "$edgeHub"]);
    let body = answer.json();
    assert_eq!(body["continuationLink"], Value::Null);
    assert!(!key(&body["devices"][0]).is_empty());
    assert_eq!(body["modules"][3]["authentication"]["type"], "sas");
    assert_eq!(body["modules"][2]["authentication"]["type"], "none");
}

#[tokio::test]
async fn a_continuation_link_leads_to_the_next_page_as_it_is() {
    let edge = Edge::new().await;
    let mut pages = Vec::new();
    let mut path = "/devices/root/modules/$edgeHub/devicesAndModulesInDeviceScope?deviceCount=2\
                    &continuationToken=&api-version=2018-08-30-preview"
        .to_owned();
    loop {
        let headers = [("authorization", edge.hub_token.as_str())];
        let answer = edge.harness.raw(&format!("GET {path}"), &headers, "").await;
        pages.push(ids(&answer).0);
        match answer.json()["continuationLink"].as_str() {
            Some(link) => path = link.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, [vec!["a", "lower"], vec!["root"]]);
}

#[tokio::test]
async fn the_scope_of_a_nested_edge_device_is_read_by_its_chain_page_by_page() {
    let edge = Edge::new().await;
    let page = async |link: Value| {
        let body = json!({ "pageSize": 1, "continuationLink": link, "authChain": "lower;root" });
        edge.post("devicesAndModulesInTargetDeviceScope", body).await
    };
    let first = page(Value::Null).await;
    assert_eq!(ids(&first), (vec!["b".to_owned()], vec![]));
    let second = page(first.json()["continuationLink"].clone()).await;
    assert_eq!(ids(&second).0, ["lower"]);
    assert_eq!(second.json()["continuationLink"], Value::Null);
    let foreign = json!({ "pageSize": 1, "authChain": "z;root" });
    let refused = edge.post("devicesAndModulesInTargetDeviceScope", foreign).await;
    refused.refused(401, "IotHubUnauthorizedAccess");
    edge.post("devicesAndModulesInTargetDeviceScope", json!({ "pageSize": 1 }))
        .await
        .refused(400, "ArgumentNull");
}

#[tokio::test]
async fn one_identity_is_read_where_it_is_in_scope_and_400_where_it_is_not() {
    let edge = Edge::new().await;
    let device = edge.get("deviceAndModuleInDeviceScope?targetDeviceId=a&targetModuleId=").await;
    assert_eq!(ids(&device), (vec!["a".to_owned()], vec![]));
    let module =
        edge.get("deviceAndModuleInDeviceScope?targetDeviceId=root&targetModuleId=%24edgeAgent").await;
    assert_eq!(ids(&module), (vec!["root".to_owned()], vec!["$edgeAgent".to_owned()]));
    let below = json!({ "targetDeviceId": "b", "targetModuleId": null, "authChain": "lower;root" });
    assert_eq!(ids(&edge.post("getDeviceAndModuleOnBehalfOf", below).await).0, ["b"]);
    for outside in ["b", "z", "nobody"] {
        let answer = edge.get(&format!("deviceAndModuleInDeviceScope?targetDeviceId={outside}")).await;
        answer.refused(400, "InvalidDeviceScope");
    }
    edge.get("deviceAndModuleInDeviceScope").await.refused(400, "ArgumentInvalid");
}

#[tokio::test]
async fn only_the_edge_hubs_own_token_opens_a_scope() {
    let edge = Edge::new().await;
    let harness = &edge.harness;
    let path = "/devices/root/modules/$edgeHub/devicesAndModulesInDeviceScope";
    for token in [harness.policy_token("iothubowner"), harness.policy_token("device"), edge.token.clone()] {
        let answer = call(harness, &format!("GET {path}"), &[("authorization", &token)], &Value::Null).await;
        answer.refused(401, "IotHubUnauthorizedAccess");
    }
    let module = harness.create_module("root", "m").await;
    let token = harness.own_token("localhost/devices/root/modules/m", key(&module));
    for module in ["m", "$edgeHub"] {
        let line = format!("GET /devices/root/modules/{module}/devicesAndModulesInDeviceScope");
        let answer = call(harness, &line, &[("authorization", &token)], &Value::Null).await;
        answer.refused(401, "IotHubUnauthorizedAccess");
    }
}

#[tokio::test]
async fn modules_of_a_nested_edge_device_are_managed_through_its_parent() {
    let edge = Edge::new().await;
    let module = json!({ "deviceId": "lower", "moduleId": "m", "managedBy": "iotEdge" });
    let put = json!({ "authChain": "lower;root", "module": module });
    // edgeHub posts, the contract puts.
    let made = edge.post("putModuleOnBehalfOf", put.clone()).await.expect(StatusCode::OK);
    assert_eq!((&made["moduleId"], &made["managedBy"]), (&json!("m"), &json!("iotEdge")));
    edge.post("putModuleOnBehalfOf", put.clone()).await.refused(409, "ModuleAlreadyExistsOnDevice");
    let line = "PUT /devices/root/modules/$edgeHub/putModuleOnBehalfOf";
    let headers: &[_] = &[("authorization", edge.hub_token.as_str()), ("if-match", "*")];
    let updated = call(&edge.harness, line, headers, &put).await.expect(StatusCode::OK);
    assert_eq!(key(&updated), key(&made));
    let one = json!({ "authChain": "lower;root", "targetModuleId": "m" });
    assert_eq!(edge.post("getModuleOnBehalfOf", one.clone()).await.expect(StatusCode::OK)["moduleId"], "m");
    let all = json!({ "authChain": "lower;root" });
    let listed = edge.post("getModulesOnTargetDevice", all).await.expect(StatusCode::OK);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let delete = json!({ "authChain": "lower;root", "moduleId": "m" });
    assert_eq!(edge.post("deleteModuleOnBehalfOf", delete).await.status, StatusCode::NO_CONTENT);
    edge.post("getModuleOnBehalfOf", one).await.refused(404, "ModuleNotFound");
}

#[tokio::test]
async fn a_module_below_is_refused_where_chain_body_and_target_do_not_agree() {
    let edge = Edge::new().await;
    let module = |device: &str| json!({ "deviceId": device, "moduleId": "m" });
    for (body, status, code) in [
        (json!({ "authChain": "lower;root", "module": module("root") }), 400, "ArgumentInvalid"),
        (json!({ "authChain": "a;root", "module": module("a") }), 400, "ArgumentInvalid"),
        (json!({ "authChain": "z;root", "module": module("z") }), 401, "IotHubUnauthorizedAccess"),
        (json!({ "authChain": "lower", "module": module("lower") }), 401, "IotHubUnauthorizedAccess"),
        (json!({ "authChain": "lower;root" }), 400, "ArgumentNull"),
        (json!({ "module": module("lower") }), 400, "ArgumentNull"),
    ] {
        edge.post("putModuleOnBehalfOf", body).await.refused(status, code);
    }
}

#[tokio::test]
async fn an_edge_device_manages_its_own_modules_and_nothing_else_with_its_own_token() {
    let edge = Edge::new().await;
    let module = json!({ "deviceId": "root", "moduleId": "m" });
    let made = edge.own("PUT /devices/root/modules/m", &[], &module).await.expect(StatusCode::OK);
    assert_eq!(made["authentication"]["type"], "sas");
    let listed = edge.own("GET /devices/root/modules", &[], &Value::Null).await.expect(StatusCode::OK);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let one = edge.own("GET /devices/root/modules/m", &[], &Value::Null).await.expect(StatusCode::OK);
    assert_eq!(one["generationId"], made["generationId"]);
    let gone = edge.own("DELETE /devices/root/modules/m", &[("if-match", "*")], &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for line in [
        "GET /devices/root",
        "GET /devices/lower/modules",
        "GET /devices",
        "GET /twins/root",
        "DELETE /devices/root",
    ] {
        edge.own(line, &[], &Value::Null).await.refused(401, "IotHubUnauthorizedAccess");
    }
    // One that is no edge device manages none.
    let leaf = edge.harness.owner("GET /devices/a", &[], "").await.expect(StatusCode::OK);
    let token = edge.harness.own_token("localhost/devices/a", key(&leaf));
    for line in ["GET /devices/a/modules", "PUT /devices/a/modules/m"] {
        let body = json!({ "deviceId": "a", "moduleId": "m" });
        let answer = call(&edge.harness, line, &[("authorization", &token)], &body).await;
        answer.refused(401, "IotHubUnauthorizedAccess");
    }
}
