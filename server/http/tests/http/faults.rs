//! Every call of the service's API times every fault a request can have (contract/rest.md 0, 1, 4): the status and
//! code of the contract, a status its OpenAPI operation documents, and nothing changed afterwards.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::Value;

use crate::harness::{Answer, Harness, VERSION, request};

/// A call that succeeds on a hub with the device `d` and its module `m`, and how it may fail.
struct Call {
    operation: &'static str,
    line: &'static str,
    body: Option<&'static str>,
    /// A policy that lacks the right.
    without_right: &'static str,
    /// The same on an identity that does not exist, and the code that says so.
    unknown: Option<(&'static str, &'static str)>,
    takes_if_match: bool,
}

const SERVICE: &str = "service";
const REGISTRY: &str = "registryReadWrite";
const READ: &str = "registryRead";

const fn read(operation: &'static str, line: &'static str, without_right: &'static str) -> Call {
    Call { operation, line, body: None, without_right, unknown: None, takes_if_match: false }
}

const fn write(
    operation: &'static str,
    line: &'static str,
    body: &'static str,
    without_right: &'static str,
) -> Call {
    Call { body: Some(body), ..read(operation, line, without_right) }
}

impl Call {
    const fn but_unknown(mut self, line: &'static str, code: &'static str) -> Self {
        self.unknown = Some((line, code));
        self
    }

    const fn with_if_match(mut self) -> Self {
        self.takes_if_match = true;
        self
    }

    fn needs_body(&self) -> bool {
        self.body.is_some()
    }
}

const DEVICE_BODY: &str = r#"{"deviceId":"d"}"#;
const MODULE_BODY: &str = r#"{"deviceId":"d","moduleId":"m"}"#;
const BULK_BODY: &str = r#"[{"id":"n","importMode":"create"}]"#;
const KEYS_BODY: &str = r#"{"policyKey":"both","devices":[{"id":"d"}]}"#;
const METHOD_BODY: &str = r#"{"methodName":"reboot"}"#;
const TWIN_BODY: &str = r#"{"tags":{"floor":3}}"#;

const CALLS: &[Call] = &[
    read("listDevices", "GET /devices", SERVICE),
    write("bulkRegistry", "POST /devices", BULK_BODY, READ),
    write("regenerateKeys", "POST /devices/keys/regenerate", KEYS_BODY, READ),
    read("deviceStatistics", "GET /statistics/devices", SERVICE),
    read("serviceStatistics", "GET /statistics/service", "device"),
    read("getDevice", "GET /devices/d", SERVICE).but_unknown("GET /devices/x", "DeviceNotFound"),
    write("putDevice", "PUT /devices/d", DEVICE_BODY, READ)
        .but_unknown("PUT /devices/x", "DeviceNotFound")
        .with_if_match(),
    read("deleteDevice", "DELETE /devices/d", READ)
        .but_unknown("DELETE /devices/x", "DeviceNotFound")
        .with_if_match(),
    read("listModules", "GET /devices/d/modules", SERVICE)
        .but_unknown("GET /devices/x/modules", "DeviceNotFound"),
    read("getModule", "GET /devices/d/modules/m", SERVICE)
        .but_unknown("GET /devices/d/modules/x", "ModuleNotFound"),
    write("putModule", "PUT /devices/d/modules/m", MODULE_BODY, READ)
        .but_unknown("PUT /devices/d/modules/x", "ModuleNotFound")
        .with_if_match(),
    read("deleteModule", "DELETE /devices/d/modules/m", READ)
        .but_unknown("DELETE /devices/d/modules/x", "ModuleNotFound")
        .with_if_match(),
    read("getDeviceTwin", "GET /twins/d", REGISTRY).but_unknown("GET /twins/x", "DeviceNotFound"),
    write("patchDeviceTwin", "PATCH /twins/d", TWIN_BODY, REGISTRY)
        .but_unknown("PATCH /twins/x", "DeviceNotFound")
        .with_if_match(),
    write("replaceDeviceTwin", "PUT /twins/d", TWIN_BODY, REGISTRY)
        .but_unknown("PUT /twins/x", "DeviceNotFound")
        .with_if_match(),
    write("invokeDeviceMethod", "POST /twins/d/methods", METHOD_BODY, REGISTRY),
    write("invokeModuleMethod", "POST /twins/d/modules/m/methods", METHOD_BODY, REGISTRY),
    read("purgeMessages", "DELETE /devices/d/commands", REGISTRY)
        .but_unknown("DELETE /devices/x/commands", "DeviceNotFound"),
    read("sendCloudToDevice", "POST /devices/d/messages/deviceBound", REGISTRY)
        .but_unknown("POST /devices/x/messages/deviceBound", "DeviceNotFound"),
    read("receiveFeedback", "GET /messages/serviceBound/feedback", "device"),
    read(
        "completeFeedback",
        "DELETE /messages/serviceBound/feedback/00000000-0000-4000-8000-000000000000",
        REGISTRY,
    ),
    read(
        "abandonFeedback",
        "POST /messages/serviceBound/feedback/00000000-0000-4000-8000-000000000000/abandon",
        REGISTRY,
    ),
    read("getModuleTwin", "GET /twins/d/modules/m", REGISTRY)
        .but_unknown("GET /twins/d/modules/x", "ModuleNotFound"),
    write("patchModuleTwin", "PATCH /twins/d/modules/m", TWIN_BODY, REGISTRY)
        .but_unknown("PATCH /twins/d/modules/x", "ModuleNotFound")
        .with_if_match(),
    write("replaceModuleTwin", "PUT /twins/d/modules/m", TWIN_BODY, REGISTRY)
        .but_unknown("PUT /twins/d/modules/x", "ModuleNotFound")
        .with_if_match(),
];

/// A hub with `d` and `d/m`, what it stores, and which statuses each call documents.
struct World {
    harness: Harness,
    document: Value,
    before: Vec<Value>,
}

impl World {
    async fn new() -> Self {
        let harness = Harness::new();
        harness.create_device("d").await;
        harness.create_module("d", "m").await;
        let document = harness.admin("GET /service/openapi.json", "").await.expect(StatusCode::OK);
        let before = snapshot(&harness).await;
        Self { harness, document, before }
    }

    fn operation(&self, id: &str) -> &Value {
        let paths = self.document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|item| item.as_object().unwrap().values());
        operations
            .into_iter()
            .find(|operation| operation["operationId"] == id)
            .unwrap_or_else(|| panic!("{id}"))
    }

    /// A documented refusal; its text.
    #[track_caller]
    fn refused(&self, call: &Call, fault: &str, answer: &Answer, status: u16, code: &str) -> String {
        let documented = &self.operation(call.operation)["responses"];
        assert!(documented.get(status.to_string()).is_some(), "{}: {status} is undocumented", call.operation);
        assert_eq!(answer.status.as_u16(), status, "{} with {fault}: {}", call.operation, answer.text);
        answer.refused(status, code)
    }

    /// What the owner is told.
    async fn owner(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let token = self.harness.policy_token("iothubowner");
        let headers = [headers, &[("authorization", token.as_str())]].concat();
        Answer::to(&self.harness.api, request(&versioned(line), &headers, body.into())).await
    }

    async fn nothing_changed(&self) {
        assert_eq!(snapshot(&self.harness).await, self.before);
    }
}

async fn snapshot(harness: &Harness) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/devices", "/devices/d/modules", "/twins/d", "/twins/d/modules/m"] {
        all.push(harness.owner(&format!("GET {path}"), &[], "").await.expect(StatusCode::OK));
    }
    all
}

fn versioned(line: &str) -> String {
    let separator = if line.contains('?') { '&' } else { '?' };
    format!("{line}{separator}{VERSION}")
}

#[tokio::test]
async fn the_table_has_every_documented_call() {
    let world = World::new().await;
    let paths = world.document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|item| item.as_object().unwrap().values());
    let documented: BTreeSet<_> =
        operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    let listed: BTreeSet<_> = CALLS.iter().map(|call| call.operation).collect();
    assert_eq!(listed, documented);
}

#[tokio::test]
async fn every_call_succeeds_without_a_fault_and_with_members_nobody_knows() {
    // A device that answers methods is in the tests of methods, feedback to settle in those of messages.
    let stands_alone = |call: &&Call| !call.line.ends_with("/methods") && !call.line.contains("/feedback/");
    for call in CALLS.iter().filter(stands_alone) {
        let world = World::new().await;
        let if_match: &[_] = if call.takes_if_match { &[("if-match", "*")] } else { &[] };
        let body = call.body.unwrap_or_default().replacen('{', r#"{"unheardOf":[{"a":null}],"#, 1);
        let answer = world.owner(call.line, if_match, body).await;
        assert!(answer.status.is_success(), "{}: {}", call.operation, answer.text);
        let documented = &world.operation(call.operation)["responses"];
        assert!(documented.get(answer.status.as_str()).is_some(), "{}: {}", call.operation, answer.status);
    }
}

#[tokio::test]
async fn no_call_is_done_without_a_good_token_for_a_policy_with_the_right() {
    let world = World::new().await;
    let owner = world.harness.policy_token("iothubowner");
    let forged = owner.replacen("sig=", "sig=AAAA", 1);
    let expired = owner.replacen("se=", "se=1", 1);
    for call in CALLS {
        let body = call.body.unwrap_or_default();
        let line = versioned(call.line);
        let without = world.harness.raw(&line, &[], body).await;
        world.refused(call, "no token", &without, 401, "IotHubUnauthorizedAccess");
        for token in [forged.as_str(), &expired, "SharedAccessSignature", "Bearer x", "\u{fc}"] {
            let answer = world.harness.raw(&line, &[("authorization", token)], body).await;
            world.refused(call, token, &answer, 401, "IotHubUnauthorizedAccess");
        }
        let answer = world.harness.policy(call.without_right, call.line, &[], body).await;
        world.refused(call, call.without_right, &answer, 401, "IotHubUnauthorizedAccess");
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn no_call_is_done_without_a_well_formed_api_version() {
    let world = World::new().await;
    let token = world.harness.policy_token("iothubowner");
    for call in CALLS {
        for query in [
            "",
            "?api-version",
            "?api-version=",
            "?api-version=1",
            "?api-version=2021-13-01",
            "?api-version=%ff",
        ] {
            let line = format!("{}{query}", call.line);
            let body = call.body.unwrap_or_default();
            let answer = world.harness.raw(&line, &[("authorization", &token)], body).await;
            let text = world.refused(call, query, &answer, 400, "InvalidProtocolVersion");
            assert!(text.contains("api-version"), "{text}");
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn unknown_ids_are_404_and_impossible_ones_400() {
    let world = World::new().await;
    for call in CALLS {
        let Some((line, code)) = call.unknown else { continue };
        let if_match: &[_] = if call.takes_if_match { &[("if-match", "*")] } else { &[] };
        let id = if line.contains("modules/x") { "m" } else { "d" };
        let body = call.body.unwrap_or_default().replacen(&format!("\"{id}\""), "\"x\"", 1);
        let answer = world.owner(line, if_match, body.clone()).await;
        let text = world.refused(call, "an unknown id", &answer, 404, code);
        assert!(text.contains('x'), "{text}");
        for illegal in ["a%20b", "%ff", "a%00", "a%2Fb", &"i".repeat(129)] {
            let line = match line.rsplit_once("/x") {
                Some((before, after)) => format!("{before}/{illegal}{after}"),
                None => unreachable!("every line names x"),
            };
            let answer = world.owner(&line, if_match, body.clone()).await;
            world.refused(call, illegal, &answer, 400, "ArgumentInvalid");
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_stale_etag_is_412_wherever_if_match_counts() {
    let world = World::new().await;
    for call in CALLS.iter().filter(|call| call.takes_if_match) {
        for stale in ["\"c3RhbGU=\"", "c3RhbGU=", "W/\"c3RhbGU=\"", "\"\"", "\"a\", \"b\""] {
            let answer = world.owner(call.line, &[("if-match", stale)], call.body.unwrap_or_default()).await;
            world.refused(call, stale, &answer, 412, "PreconditionFailed");
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_body_that_is_not_json_in_utf8_is_415_or_400_and_the_text_says_where() {
    let world = World::new().await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for call in CALLS.iter().filter(|call| call.needs_body()) {
        let good = call.body.unwrap_or_default();
        for content_type in ["text/plain", "application/xml", "application/json; charset=utf-16"] {
            let answer = world.owner(call.line, &[("content-type", content_type)], good).await;
            world.refused(call, content_type, &answer, 415, "GenericUnsupportedMediaType");
        }
        let twice = good.replacen('{', r#"{"a":1,"a":2,"#, 1);
        let after = format!("{good}x");
        for (bad, place) in [
            ("{\n  \"a\": nonsense}", "line 2 column 9"),
            (good.split_at(good.len() - 1).0, "line 1 column"),
            (after.as_str(), "line 1 column"),
            (deep.as_str(), "line 1 column"),
            (twice.as_str(), "'a' occurs twice at line 1 column"),
            ("\u{1}", "line 1 column 1"),
        ] {
            let bad = if good.starts_with('[') && bad.starts_with('{') && !bad.ends_with('x') {
                format!("[{bad}]")
            } else {
                bad.to_owned()
            };
            let answer = world.owner(call.line, &[], bad.clone()).await;
            let text = world.refused(call, &bad[..bad.len().min(40)], &answer, 400, "IotHubFormatError");
            assert!(text.contains(place), "{text}");
        }
        let answer = world.owner(call.line, &[], b"{\"a\":\"\xff\"}".to_vec()).await;
        let text = world.refused(call, "bytes that are no UTF-8", &answer, 400, "IotHubFormatError");
        assert!(text.contains("byte 6"), "{text}");
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_missing_body_is_argument_null_and_another_kind_of_value_argument_invalid() {
    let world = World::new().await;
    for call in CALLS.iter().filter(|call| call.needs_body()) {
        for nothing in ["", " \r\n", "null"] {
            let answer = world.owner(call.line, &[], nothing).await;
            world.refused(call, "no body", &answer, 400, "ArgumentNull");
        }
        let other = if call.body.is_some_and(|body| body.starts_with('[')) { "{}" } else { "[]" };
        for wrong in [other, "\"text\"", "17", "true"] {
            let answer = world.owner(call.line, &[], wrong).await;
            world.refused(call, wrong, &answer, 400, "ArgumentInvalid");
        }
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_body_past_the_limit_is_413_whether_it_is_announced_or_just_arrives() {
    let world = World::new().await;
    for call in CALLS.iter().filter(|call| call.needs_body()) {
        let announced = world.owner(call.line, &[("content-length", "999999999")], "").await;
        world.refused(call, "an announced giant", &announced, 413, "GenericRequestEntityTooLarge");
        let chunk = bytes::Bytes::from(vec![b' '; 1024 * 1024]);
        let endless =
            futures_util::stream::iter((0..12).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
        let answer = world.owner(call.line, &[], Body::from_stream(endless)).await;
        world.refused(call, "a giant", &answer, 413, "GenericRequestEntityTooLarge");
    }
    world.nothing_changed().await;
}

#[tokio::test]
async fn a_verb_no_call_has_is_405_and_the_answer_lists_the_verbs_there_are() {
    let world = World::new().await;
    for call in CALLS {
        let (verb, path) = call.line.split_once(' ').unwrap();
        let answer = world.harness.raw(&format!("TRACE {path}"), &[], "").await;
        answer.refused(405, "GenericMethodNotAllowed");
        let allowed: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        assert!(allowed.contains(&verb), "{}: {allowed:?}", call.operation);
    }
}

#[tokio::test]
async fn an_absurd_top_counts_as_a_thousand() {
    let harness = Harness::new();
    harness.create_device("a").await;
    harness.create_device("b").await;
    let count = async |query: &str| {
        let listed = harness.owner(&format!("GET /devices{query}"), &[], "").await.expect(StatusCode::OK);
        listed.as_array().unwrap().len()
    };
    assert_eq!((count("?top=1").await, count("?TOP=1&top=2").await, count("").await), (1, 1, 2));
    for top in ["0", "-1", "1001", "99999999999999999999", "1e3", "ten", "", "%ff", "%31%30%30%31"] {
        assert_eq!(count(&format!("?top={top}")).await, 2, "{top}");
    }
}
