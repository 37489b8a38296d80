//! Bad input to the REST API over real TLS: the contract's status, code and text, and nothing has changed
//! afterwards (contract/rest.md 0, 2.4, 2.5, 3.4, 4).

use net::Io;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::http::{self, Answer};
use crate::harness::watch::in_time;
use crate::harness::{Emulator, Port};

const VERSION: &str = "api-version=2021-04-12";

/// Everything the hub stores of `d1` and `d1/m1`, and who else there is.
async fn snapshot(emulator: &Emulator) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/devices", "/devices/d1", "/devices/d1/modules", "/twins/d1", "/twins/d1/modules/m1"] {
        all.push(emulator.owner(&format!("GET {path}"), &[], &Value::Null).await.ok());
    }
    all
}

async fn populated() -> (Emulator, Vec<Value>) {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", json!({})).await;
    let twin = json!({ "tags": { "floor": 3 }, "properties": { "desired": { "interval": 60 } } });
    for path in ["/twins/d1", "/twins/d1/modules/m1"] {
        emulator.owner(&format!("PATCH {path}"), &[], &twin).await.ok();
    }
    let before = snapshot(&emulator).await;
    (emulator, before)
}

/// A call of the owner with any bytes as its body.
async fn raw(emulator: &Emulator, line: &str, body: &str) -> Answer {
    emulator.call("iothubowner", line, &[], body).await
}

#[tokio::test]
async fn malformed_json_is_a_format_error_and_changes_nothing() {
    let (emulator, before) = populated().await;
    let deep = format!("{{\"tags\":{}", "[".repeat(50_000));
    let bodies = [
        "{",
        "{\"deviceId\":",
        "nonsense",
        "{\"deviceId\":\"d1\",}",
        "{\"a\":1}{\"b\":2}",
        "'d1'",
        deep.as_str(),
    ];
    for line in
        ["PUT /devices/new", "PUT /devices/d1/modules/new", "PATCH /twins/d1", "PUT /twins/d1/modules/m1"]
    {
        for body in bodies {
            raw(&emulator, line, body).await.refused(400, "IotHubFormatError");
        }
        for body in ["[]", "\"text\"", "17"] {
            raw(&emulator, line, body).await.refused(400, "ArgumentInvalid");
        }
        raw(&emulator, line, "").await.refused(400, "ArgumentNull");
    }
    assert_eq!(snapshot(&emulator).await, before);
}

#[tokio::test]
async fn ids_past_128_characters_or_with_illegal_ones_are_refused_and_one_at_the_limit_is_taken() {
    let (emulator, before) = populated().await;
    let (longest, longer) = ("i".repeat(128), "i".repeat(129));
    for id in [longer.as_str(), "a%20b", "a%2Fb", "a%00b", "ger%C3%A4t", "%ff", "a%22b", "a%7Cb"] {
        let body = json!({ "deviceId": "x" }).to_string();
        raw(&emulator, &format!("PUT /devices/{id}"), &body).await.refused(400, "ArgumentInvalid");
        raw(&emulator, &format!("PUT /devices/d1/modules/{id}"), &body).await.refused(400, "ArgumentInvalid");
        raw(&emulator, &format!("GET /twins/{id}"), "").await.refused(400, "ArgumentInvalid");
    }
    assert_eq!(snapshot(&emulator).await, before);
    for id in [longest.as_str(), "-:.+_*!(),=@;$'Az09"] {
        emulator.create_device(id).await;
        emulator.create_module_with("d1", id, json!({})).await;
    }
}

#[tokio::test]
async fn a_body_that_names_somebody_else_is_refused() {
    let (emulator, before) = populated().await;
    raw(&emulator, "PUT /devices/new", r#"{"deviceId":"other"}"#).await.refused(400, "ArgumentInvalid");
    let body = r#"{"deviceId":"d1","moduleId":"other"}"#;
    raw(&emulator, "PUT /devices/d1/modules/new", body).await.refused(400, "ArgumentInvalid");
    let body = r#"{"deviceId":"other","moduleId":"new"}"#;
    raw(&emulator, "PUT /devices/d1/modules/new", body).await.refused(400, "ArgumentInvalid");
    let body = r#"{"deviceId":"nobody","moduleId":"m"}"#;
    raw(&emulator, "PUT /devices/nobody/modules/m", body).await.refused(404, "DeviceNotFound");
    assert_eq!(snapshot(&emulator).await, before);
}

#[tokio::test]
async fn keys_of_16_to_64_bytes_are_taken_and_others_refused() {
    use base64::Engine as _;
    let (emulator, before) = populated().await;
    let key = |bytes: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
    let with = |primary: &str, secondary: &str| json!({ "authentication": { "type": "sas", "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } } });
    let good = key(32);
    for (primary, secondary) in [
        (key(15), good.clone()),
        (good.clone(), key(65)),
        (key(1), key(1)),
        ("not base64!".into(), good.clone()),
        // Both or neither.
        (good.clone(), String::new()),
    ] {
        let mut body = with(&primary, &secondary);
        body["deviceId"] = "new".into();
        raw(&emulator, "PUT /devices/new", &body.to_string()).await.refused(400, "ArgumentInvalid");
        body["deviceId"] = "d1".into();
        let update = emulator.owner("PUT /devices/d1", &[("If-Match", "*")], &body).await;
        update.refused(400, "ArgumentInvalid");
    }
    assert_eq!(snapshot(&emulator).await, before);
    for bytes in [16, 64] {
        let kept = emulator.create_device_with(&format!("k{bytes}"), with(&key(bytes), &key(bytes))).await;
        assert_eq!(kept["authentication"]["symmetricKey"]["primaryKey"], key(bytes));
    }
}

#[tokio::test]
async fn thumbprints_of_other_lengths_are_refused() {
    let (emulator, before) = populated().await;
    for thumbprint in
        ["A".repeat(39), "A".repeat(41), "A".repeat(63), "G".repeat(40), format!("{}AA", "AA:".repeat(19))]
    {
        let body = json!({
            "deviceId": "new",
            "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint } },
        });
        raw(&emulator, "PUT /devices/new", &body.to_string()).await.refused(400, "ArgumentInvalid");
    }
    assert_eq!(snapshot(&emulator).await, before);
}

#[tokio::test]
async fn a_twin_past_a_limit_is_refused_and_one_at_the_limit_is_taken() {
    // A section of `bytes`: eight values of at most 4096 bytes under one-letter keys.
    let sized = |bytes: usize| -> Value {
        let members = (0..8).map(|n| {
            let share = bytes / 8 + usize::from(n < bytes % 8);
            (char::from(b'a' + n as u8).to_string(), Value::from("x".repeat(share - 1)))
        });
        members.collect::<serde_json::Map<_, _>>().into()
    };
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "n": inner }));
    let desired = |value: Value| json!({ "properties": { "desired": value } });
    let tags = |value: Value| json!({ "tags": value });
    let (largest, smallest) = (4_503_599_627_370_495_i64, -4_503_599_627_370_496_i64);
    let limits = [
        ("tags of 8 KiB", tags(sized(8192)), tags(sized(8193))),
        ("desired properties of 32 KiB", desired(sized(32_768)), desired(sized(32_769))),
        // one.two...ten.property is the deepest.
        ("ten levels and a property", desired(nested(11)), desired(nested(12))),
        ("a key of 1024 bytes", tags(json!({ "k".repeat(1024): 1 })), tags(json!({ "k".repeat(1025): 1 }))),
        (
            "a string of 4096 bytes",
            tags(json!({ "s": "s".repeat(4096) })),
            tags(json!({ "s": "s".repeat(4097) })),
        ),
        ("the largest integer", desired(json!({ "i": largest })), desired(json!({ "i": largest + 1 }))),
        ("the smallest integer", desired(json!({ "i": smallest })), desired(json!({ "i": smallest - 1 }))),
    ];
    let (emulator, before) = populated().await;
    for path in ["/twins/d1", "/twins/d1/modules/m1"] {
        for (what, _, past) in &limits {
            for verb in ["PATCH", "PUT"] {
                let answer = emulator.owner(&format!("{verb} {path}"), &[], past).await;
                assert_eq!(answer.status, 400, "{verb} {path}, one past {what}: {answer}");
                answer.refused(400, "ArgumentInvalid");
            }
        }
        for key in ["a.b", "a b", "$a", "a\u{7}"] {
            let answer = emulator.owner(&format!("PATCH {path}"), &[], &tags(json!({ key: 1 }))).await;
            answer.refused(400, "ArgumentInvalid");
        }
        let with_null =
            emulator.owner(&format!("PATCH {path}"), &[], &desired(json!({ "a": [1, null] }))).await;
        with_null.refused(400, "ArgumentInvalid");
    }
    assert_eq!(snapshot(&emulator).await, before);
    for path in ["/twins/d1", "/twins/d1/modules/m1"] {
        for (what, at, _) in &limits {
            let answer = emulator.owner(&format!("PUT {path}"), &[], at).await;
            assert_eq!(answer.status, 200, "PUT {path}, {what}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_stale_etag_is_412_and_changes_nothing() {
    let (emulator, before) = populated().await;
    let patch = json!({ "tags": { "floor": 4 } });
    for stale in ["\"AAAAAAAAAAA=\"", "AAAAAAAAAAA=", "W/\"AAAAAAAAAAA=\"", "\"AAA=\", \"BBB=\""] {
        let stale = [("If-Match", stale)];
        for (line, body) in [
            ("PUT /devices/d1", json!({ "deviceId": "d1", "status": "disabled" })),
            ("PUT /devices/d1/modules/m1", json!({ "deviceId": "d1", "moduleId": "m1", "managedBy": "x" })),
            ("DELETE /devices/d1", Value::Null),
            ("DELETE /devices/d1/modules/m1", Value::Null),
            ("PATCH /twins/d1", patch.clone()),
            ("PUT /twins/d1/modules/m1", patch.clone()),
        ] {
            emulator.owner(line, &stale, &body).await.refused(412, "PreconditionFailed");
        }
    }
    assert_eq!(snapshot(&emulator).await, before);
    // The current one, in each of the forms SDKs send, is good.
    for form in [
        |tag: &str| format!("\"{tag}\""),
        |tag: &str| tag.to_owned(),
        |_: &str| "*".to_owned(),
        |_: &str| "\"*\"".to_owned(),
    ] {
        let twin = emulator.owner("GET /twins/d1", &[], &Value::Null).await.ok();
        let current = form(twin["etag"].as_str().expect("a twin has an etag"));
        emulator.owner("PATCH /twins/d1", &[("If-Match", &current)], &patch).await.ok();
    }
}

#[tokio::test]
async fn creating_what_exists_is_409_and_updating_what_does_not_404() {
    let (emulator, before) = populated().await;
    let (device, module) = (json!({ "deviceId": "d1" }), json!({ "deviceId": "d1", "moduleId": "m1" }));
    emulator.owner("PUT /devices/d1", &[], &device).await.refused(409, "DeviceAlreadyExists");
    let again = emulator.owner("PUT /devices/d1/modules/m1", &[], &module).await;
    again.refused(409, "ModuleAlreadyExistsOnDevice");
    let any = [("If-Match", "*")];
    emulator
        .owner("PUT /devices/nobody", &any, &json!({ "deviceId": "nobody" }))
        .await
        .refused(404, "DeviceNotFound");
    let nobody = json!({ "deviceId": "d1", "moduleId": "nobody" });
    emulator.owner("PUT /devices/d1/modules/nobody", &any, &nobody).await.refused(404, "ModuleNotFound");
    emulator.owner("DELETE /devices/nobody", &any, &Value::Null).await.refused(404, "DeviceNotFound");
    assert_eq!(snapshot(&emulator).await, before);
}

#[tokio::test]
async fn a_body_past_1_mib_is_cut_off() {
    let (emulator, before) = populated().await;
    let over = format!("{{\"deviceId\":\"new\",\"ignored\":\"{}\"}}", "x".repeat(1024 * 1024));
    raw(&emulator, "PUT /devices/new", &over).await.refused(413, "GenericRequestEntityTooLarge");

    // Without an announced length, and without an end: the hub hangs up while it arrives.
    let token = emulator.policy_token("iothubowner");
    let head = format!(
        "PUT /devices/new?{VERSION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let mut io = emulator.io(Port::Https).await;
    io.write_all(head.as_bytes()).await.expect("the hub reads");
    assert!(write_without_end(&mut io).await < 128 << 20, "the hub swallowed 128 MiB");
    assert_eq!(snapshot(&emulator).await, before);
}

/// Sends chunks until the other side has enough, or far too many have gone; how many bytes that were.
async fn write_without_end(io: &mut Io) -> usize {
    let chunk =
        [format!("{:x}\r\n", 64 * 1024).into_bytes(), vec![b' '; 64 * 1024], b"\r\n".to_vec()].concat();
    let mut written = 0;
    while written < 128 << 20 {
        let write = async { io.write_all(&chunk).await.is_ok() && io.flush().await.is_ok() };
        if !in_time("writing or the end", write).await {
            break;
        }
        written += chunk.len();
    }
    written
}

#[tokio::test]
async fn a_missing_or_wrong_api_version_is_refused() {
    let (emulator, before) = populated().await;
    let token = emulator.policy_token("iothubowner");
    let headers = [("Authorization", token.as_str())];
    for query in [
        "",
        "?api-version=",
        "?api-version=latest",
        "?api-version=2015-01-01",
        "?api-version=2021-13-40",
        "?top=1",
    ] {
        emulator
            .https(&format!("GET /devices{query}"), &headers, "")
            .await
            .refused(400, "InvalidProtocolVersion");
    }
    for version in ["2016-02-03", "2018-08-30-preview", "2024-03-31", "2099-01-01"] {
        emulator.https(&format!("GET /devices?api-version={version}"), &headers, "").await.ok();
    }
    assert_eq!(snapshot(&emulator).await, before);
}

#[tokio::test]
async fn unknown_routes_are_404_and_wrong_verbs_405() {
    let (emulator, before) = populated().await;
    for path in [
        "/",
        "/nonsense",
        "/devices/d1/nonsense",
        "/$admin/x",
        "/admin/journal",
        "/ready",
        "/devices//",
        "/../etc/passwd",
    ] {
        raw(&emulator, &format!("GET {path}"), "").await.refused(404, "GenericNotFound");
    }
    for line in [
        "PATCH /devices/d1",
        "DELETE /devices",
        "POST /devices/d1/modules/m1",
        "DELETE /twins/d1",
        "BREW /devices/d1",
    ] {
        raw(&emulator, line, "").await.refused(405, "GenericMethodNotAllowed");
    }
    assert_eq!(snapshot(&emulator).await, before);
}

#[tokio::test]
async fn requests_that_are_no_http_are_refused_and_change_nothing() {
    let (emulator, before) = populated().await;
    let token = emulator.policy_token("iothubowner");
    let twice = format!(
        "DELETE /devices/d1?{VERSION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
         Content-Length: 5\r\nContent-Length: 50\r\n\r\n"
    );
    let bad_chunk = format!(
        "PUT /devices/new?{VERSION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{{}}"
    );
    for request in [
        twice.as_str(),
        "GET /devices HTTP/9.9\r\n\r\n",
        "GET /dev ices HTTP/1.1\r\n\r\n",
        "\0\0\0\0 / HTTP/1.1\r\n\r\n",
    ] {
        let answer = http::exchange(emulator.io(Port::Https).await, request.as_bytes()).await;
        assert_eq!(answer.status, 400, "{request:?}: {answer}");
    }
    let answer = http::exchange(emulator.io(Port::Https).await, bad_chunk.as_bytes()).await;
    assert_eq!(answer.status, 400, "{answer}");
    assert_eq!(snapshot(&emulator).await, before);
}
