//! Routes and consumer groups through the admin API, and what then arrives where.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

async fn put(harness: &Harness, routing: Value) -> Answer {
    harness.admin("PUT /admin/routing", &routing.to_string()).await
}

fn route(source: &str, endpoint: &str) -> Value {
    json!({"name": source, "source": source, "condition": "true", "endpointNames": [endpoint], "isEnabled": true})
}

async fn events(harness: &Harness, query: &str) -> Vec<Value> {
    let events = harness.admin(&format!("GET /admin/events?{query}"), "").await.expect(StatusCode::OK);
    let mut events = events.as_array().unwrap().clone();
    events.reverse();
    events
}

/// `opType` of each event of an event hub, oldest first.
async fn told(harness: &Harness, query: &str) -> Vec<String> {
    let events = events(harness, query).await;
    events
        .iter()
        .map(|event| event["properties"]["opType"].as_str().unwrap_or("message").to_owned())
        .collect()
}

#[tokio::test]
async fn a_hub_nobody_configured_lets_messages_fall_back_to_the_built_in_endpoint() {
    let routing = Harness::new().admin("GET /admin/routing", "").await.expect(StatusCode::OK);
    let fallback = json!({"name": "$fallback", "source": "DeviceMessages", "condition": "true",
                          "endpointNames": ["events"], "isEnabled": true});
    assert_eq!(
        routing,
        json!({"endpoints": {"eventHubs": []}, "routes": [], "fallbackRoute": fallback, "enrichments": []})
    );
}

#[tokio::test]
async fn routing_is_replaced_whole_and_read_back_as_it_can_be_put_again() {
    let harness = Harness::new();
    let enrichment = json!({"key": "floor", "value": "$twin.tags.floor", "endpointNames": ["alerts"]});
    let given = json!({
        "endpoints": {"eventHubs": [{"name": "alerts", "connectionString": "ignored"}], "serviceBusQueues": []},
        "routes": [route("DeviceMessages", "alerts"), route("TwinChangeEvents", "events")],
        "fallbackRoute": {"source": "DeviceMessages", "endpointNames": ["events"], "isEnabled": false},
        "enrichments": [enrichment],
    });
    let shown = put(&harness, given.clone()).await.expect(StatusCode::OK);
    assert_eq!(shown["endpoints"], json!({"eventHubs": [{"name": "alerts"}]}));
    assert_eq!((&shown["routes"], &shown["enrichments"]), (&given["routes"], &given["enrichments"]));
    assert_eq!(shown["fallbackRoute"]["isEnabled"], false);
    assert_eq!(harness.admin("GET /admin/routing", "").await.json(), shown);
    assert_eq!(put(&harness, shown.clone()).await.expect(StatusCode::OK), shown);

    let emptied = put(&harness, json!({})).await.expect(StatusCode::OK);
    assert_eq!((&emptied["routes"], &emptied["enrichments"]), (&json!([]), &json!([])));
    assert_eq!(emptied["fallbackRoute"]["isEnabled"], true, "nothing written is nothing configured");
    assert_eq!(
        emptied["endpoints"]["eventHubs"],
        json!([{"name": "alerts"}]),
        "its events can still be read"
    );
}

#[tokio::test]
async fn routes_without_a_fallback_route_have_none_as_in_a_template() {
    let harness = Harness::new();
    let shown = put(&harness, json!({"routes": [route("TwinChangeEvents", "events")]})).await;
    assert_eq!(shown.expect(StatusCode::OK)["fallbackRoute"]["isEnabled"], false);
}

#[tokio::test]
async fn routing_that_cannot_work_is_refused_in_words_and_changes_nothing() {
    let harness = Harness::new();
    let with = |change: fn(&mut Value)| {
        let mut route = route("DeviceMessages", "events");
        change(&mut route);
        json!({ "routes": [route] })
    };
    let before = harness.admin("GET /admin/routing", "").await.json();
    for (routing, words) in [
        (with(|route| route["condition"] = json!("level > 3")), "'level > 3' is not supported yet"),
        (with(|route| route["source"] = json!("Telemetry")), "there is no source 'Telemetry'"),
        (with(|route| route["endpointNames"] = json!(["cold"])), "there is no endpoint 'cold'"),
        (
            with(|route| route["endpointNames"] = json!([1])),
            "Every element of 'endpointNames' must be a string",
        ),
        (with(|route| route["isEnabled"] = json!("yes")), "'isEnabled' must be a boolean"),
        (with(|route| route["name"] = Value::Null), "A member 'name' is missing"),
        (json!({"routes": {}}), "'routes' must be an array"),
        (json!({"routes": ["a"]}), "Every element of 'routes' must be an object"),
        (
            json!({"endpoints": {"serviceBusQueues": [{"name": "q"}]}}),
            "'serviceBusQueues' are not supported yet",
        ),
        (json!({"endpoints": {"eventHubs": [{"name": "a b"}]}}), "'a b' is no name of an event hub"),
        (json!({"endpoints": {"eventHubs": [{"name": "new"}, {"name": "events"}]}}), "'events'"),
        (json!({"fallbackRoute": {"condition": "false"}}), "'condition' of the fallback route is 'false'"),
        (
            json!({"fallbackRoute": {"endpointNames": ["cold"]}}),
            "'endpointNames' of the fallback route is 'cold'",
        ),
        (json!({"enrichments": [{"key": "k", "value": "$twin.id", "endpointNames": ["events"]}]}), "no path"),
    ] {
        let refusal = put(&harness, routing).await.refused(400, "ArgumentInvalid");
        assert!(refusal.contains(words), "{words}: {refusal}");
    }
    put(&harness, json!([])).await.refused(400, "ArgumentInvalid");
    assert_eq!(harness.admin("GET /admin/routing", "").await.json(), before);
}

#[tokio::test]
async fn the_hubs_own_events_arrive_where_they_are_routed_and_nowhere_else() {
    let harness = Harness::new();
    let routing = json!({
        "endpoints": {"eventHubs": [{"name": "life"}]},
        "routes": [route("DeviceLifecycleEvents", "life"), route("TwinChangeEvents", "events")],
        "enrichments": [{"key": "from", "value": "$iothubname", "endpointNames": ["life"]}],
    });
    put(&harness, routing).await.expect(StatusCode::OK);
    harness.create_device("d1").await;
    harness.create_module("d1", "m1").await;
    harness.owner("PATCH /twins/d1", &[], r#"{"tags":{"floor":1}}"#).await.expect(StatusCode::OK);
    harness.owner("PUT /twins/d1/modules/m1", &[], r#"{"tags":{"a":1}}"#).await.expect(StatusCode::OK);
    harness.owner("DELETE /devices/d1", &[("if-match", "*")], "").await.expect(StatusCode::NO_CONTENT);

    assert_eq!(told(&harness, "device=d1").await, ["updateTwin", "replaceTwin"]);
    let life =
        ["createDeviceIdentity", "createDeviceIdentity", "deleteDeviceIdentity", "deleteDeviceIdentity"];
    assert_eq!(told(&harness, "eventHub=LIFE&device=d1").await, life);

    let change = events(&harness, "").await.remove(0);
    let body: Value = serde_json::from_str(change["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({"version": 3, "tags": {"floor": 1}}));
    let mut properties = change["properties"].clone();
    assert_eq!(properties["operationTimestamp"], "2026-01-01T00:00:00.0000000Z");
    properties.as_object_mut().unwrap().remove("operationTimestamp");
    assert_eq!(
        properties,
        json!({"hubName": "iothub", "deviceId": "d1", "opType": "updateTwin",
               "iothub-message-schema": "twinChangeNotification"})
    );
    assert_eq!((&change["source"], change.get("authMethod")), (&json!("twinChangeEvents"), None));
    let system = &change["systemProperties"];
    assert_eq!((&system["contentType"], &system["userId"]), (&json!("application/json"), &json!("iothub")));

    let created = events(&harness, "eventHub=life").await.remove(1);
    assert_eq!((&created["moduleId"], &created["properties"]["moduleId"]), (&json!("m1"), &json!("m1")));
    assert_eq!(created["properties"]["from"], "iothub");
    harness.admin("GET /admin/events?eventHub=cold", "").await.refused(404, "GenericNotFound");
}

#[tokio::test]
async fn a_consumer_group_is_made_read_and_removed() {
    let harness = Harness::new();
    let call =
        async |verb: &str, path: &str| harness.admin(&format!("{verb} /admin/event-hubs/{path}"), "").await;
    let group = json!({"eventHub": "iothub", "name": "Pager"});
    assert_eq!(call("PUT", "events/consumer-groups/Pager").await.expect(StatusCode::CREATED), group);
    assert_eq!(call("GET", "iothub/consumer-groups/pager").await.expect(StatusCode::OK), group);
    assert_eq!(call("PUT", "IoTHub/consumer-groups/Pager").await.expect(StatusCode::OK), group);
    call("DELETE", "events/consumer-groups/PAGER").await.expect(StatusCode::NO_CONTENT);
    call("GET", "events/consumer-groups/pager").await.refused(404, "GenericNotFound");
    call("DELETE", "events/consumer-groups/pager").await.refused(404, "GenericNotFound");
    let default = call("GET", "events/consumer-groups/$default").await.expect(StatusCode::OK);
    assert_eq!(default["name"], "$Default");
}

#[tokio::test]
async fn a_consumer_group_that_cannot_be_is_refused() {
    let harness = Harness::new();
    let call =
        async |verb: &str, path: &str| harness.admin(&format!("{verb} /admin/event-hubs/{path}"), "").await;
    let refusal = call("PUT", "events/consumer-groups/a%20b").await.refused(400, "ArgumentInvalid");
    assert!(refusal.contains("'a b'"), "{refusal}");
    let refusal = call("PUT", "cold/consumer-groups/a").await.refused(404, "GenericNotFound");
    assert!(refusal.contains("no event hub 'cold'"), "{refusal}");
    call("DELETE", "events/consumer-groups/$Default").await.refused(400, "ArgumentInvalid");
    call("POST", "events/consumer-groups/a").await.refused(405, "GenericMethodNotAllowed");
}
