//! Rules that hold for every call (contract/rest.md 0, 1.1).

use axum::body::Body;
use axum::http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Answer, Harness, VERSION, request};

#[tokio::test]
async fn an_unknown_route_is_404_generic_not_found() {
    let harness = Harness::new();
    for path in [
        "/",
        "/nonsense",
        "/$admin/x",
        "/devices/d/e",
        "/devices/keys/regenerate/x",
        "/statistics",
        "/devices/d/messages/nowhere",
    ] {
        harness.owner(&format!("GET {path}"), &[], "").await.refused(404, "GenericNotFound");
    }
}

#[tokio::test]
async fn a_known_route_with_a_wrong_verb_is_405_and_needs_neither_version_nor_token() {
    let harness = Harness::new();
    for line in [
        "PATCH /devices/d",
        "DELETE /devices",
        "POST /devices/d/modules/m",
        "GET /devices/keys/regenerate",
        "POST /statistics/devices",
        "DELETE /twins/d",
        "PUT /$iothub/websocket",
    ] {
        harness.raw(line, &[], "").await.refused(405, "GenericMethodNotAllowed");
    }
}

#[tokio::test]
async fn calls_of_later_capabilities_are_unknown_routes_until_they_exist() {
    let harness = Harness::new();
    harness.owner("POST /devices/query", &[], "[]").await.refused(404, "GenericNotFound");
}

#[tokio::test]
async fn a_missing_or_malformed_api_version_is_400_invalid_protocol_version() {
    let harness = Harness::new();
    let token = harness.policy_token("iothubowner");
    let with_token = [("authorization", token.as_str())];
    for query in ["", "?top=1", "?api-version=", "?api-version=latest", "?api-version=2015-01-01"] {
        let answer = harness.raw(&format!("GET /devices{query}"), &with_token, "").await;
        answer.refused(400, "InvalidProtocolVersion");
    }
    for query in
        ["?api-version=2016-11-14", "?api-version=2018-08-30-preview&top=1", "?top=1&api-version=2024-03-31"]
    {
        harness.raw(&format!("GET /devices{query}"), &with_token, "").await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn literal_segments_match_in_any_case_and_ids_are_case_sensitive() {
    let harness = Harness::new();
    harness.create_device("Device01").await;
    harness.owner("GET /DEVICES/Device01", &[], "").await.expect(StatusCode::OK);
    harness.owner("GET /Twins/Device01", &[], "").await.expect(StatusCode::OK);
    harness.owner("GET /devices/device01", &[], "").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn a_trailing_slash_is_accepted_on_every_route() {
    let harness = Harness::new();
    harness.create_device("d").await;
    harness.create_module("d", "m").await;
    for path in [
        "/devices/",
        "/devices/d/",
        "/devices/d/modules/",
        "/devices/d/modules/m/",
        "/twins/d/",
        "/twins/d/modules/m/",
    ] {
        harness.owner(&format!("GET {path}"), &[], "").await.expect(StatusCode::OK);
    }
    harness.owner("GET /devices//", &[], "").await.refused(404, "GenericNotFound");
}

#[tokio::test]
async fn ids_are_percent_decoded_once_and_a_plus_stays_a_plus() {
    let harness = Harness::new();
    for (encoded, id) in [
        ("a+b", "a+b"),
        ("a%2Bb%2bc", "a+b+c"),
        ("q%3F%23%25", "q?#%"),
        ("%2541", "%41"),
        ("!'()*;=,@$:_.-", "!'()*;=,@$:_.-"),
    ] {
        let body = serde_json::json!({ "deviceId": id }).to_string();
        let created = harness.owner(&format!("PUT /devices/{encoded}"), &[], &body).await;
        assert_eq!(created.expect(StatusCode::OK)["deviceId"], id);
        let read = harness.owner(&format!("GET /twins/{encoded}"), &[], "").await;
        assert_eq!(read.expect(StatusCode::OK)["deviceId"], id);
    }
}

#[tokio::test]
async fn an_encoded_slash_stays_inside_the_id_and_is_refused_there() {
    let harness = Harness::new();
    harness.create_device("d").await;
    harness.create_module("d", "m").await;
    let text = harness.owner("GET /devices/d%2Fmodules%2Fm", &[], "").await.refused(400, "ArgumentInvalid");
    assert!(text.contains("'/'"), "{text}");
}

#[tokio::test]
async fn illegal_and_overlong_ids_are_400_argument_invalid() {
    let harness = Harness::new();
    let longest = "a".repeat(128);
    harness.create_device(&longest).await;
    for id in [format!("{longest}a"), "a%20b".into(), "%ff".into(), "ger%C3%A4t".into(), "a%00".into()] {
        harness.owner(&format!("GET /devices/{id}"), &[], "").await.refused(400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn a_post_with_a_method_override_of_patch_is_a_patch() {
    let harness = Harness::new();
    harness.create_device("d").await;
    let body = r#"{"tags":{"a":1}}"#;
    let patched = harness.owner("POST /twins/d", &[("X-HTTP-Method-Override", "PATCH")], body).await;
    assert_eq!(patched.expect(StatusCode::OK)["tags"]["a"], 1);
    harness.owner("POST /twins/d", &[], body).await.refused(405, "GenericMethodNotAllowed");
    let other = harness.owner("POST /twins/d", &[("X-HTTP-Method-Override", "DELETE")], body).await;
    other.refused(405, "GenericMethodNotAllowed");
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_an_error_names_the_same_tracking_id() {
    let harness = Harness::new();
    harness.create_device("d").await;
    let good = harness.owner("GET /devices/d", &[], "").await;
    assert_eq!(good.header("x-ms-request-id").unwrap().len(), 36);
    let bad = harness.owner("GET /devices/e", &[], "").await;
    let digits = bad.header("x-ms-request-id").unwrap().replace('-', "");
    assert!(bad.json()["ExceptionMessage"].as_str().unwrap().contains(&digits), "{}", bad.text);
    assert_ne!(good.header("x-ms-request-id"), bad.header("x-ms-request-id"));
}

#[tokio::test]
async fn a_body_past_one_mebibyte_is_413_and_changes_nothing() {
    let harness = Harness::new();
    let fits = format!("{{\"deviceId\":\"d\",\"ignored\":\"{}\"}}", "x".repeat(1024 * 1024 - 30));
    harness.owner("PUT /devices/d", &[], &fits).await.expect(StatusCode::OK);
    let over = format!("{{\"deviceId\":\"e\",\"ignored\":\"{}\"}}", "x".repeat(1024 * 1024));
    harness.owner("PUT /devices/e", &[], &over).await.refused(413, "GenericRequestEntityTooLarge");
    harness.owner("GET /devices/e", &[], "").await.refused(404, "DeviceNotFound");
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_iot_hub_format_error_with_its_position() {
    let harness = Harness::new();
    harness.create_device("d").await;
    for (line, body, place) in [
        ("PUT /devices/e", "{\"deviceId\":", "line 1 column 12"),
        ("PATCH /twins/d", "{\n\"tags\": nonsense}", "line 2 column 10"),
        ("PUT /twins/d", "{\"tags\":{\"a\":1,\"a\":2}}", "'a' occurs twice"),
    ] {
        let text = harness.owner(line, &[], body).await.refused(400, "IotHubFormatError");
        assert!(text.contains(place), "{text}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_utf8_and_bottomless_nesting_are_format_errors_too() {
    let harness = Harness::new();
    harness.create_device("d").await;
    let token = harness.policy_token("iothubowner");
    let deep = format!("{{\"tags\":{}", "{\"a\":".repeat(100_000));
    for body in [b"{\"tags\":{\"a\":\"\xff\"}}".to_vec(), deep.into_bytes()] {
        let request =
            request(&format!("PATCH /twins/d?{VERSION}"), &[("authorization", &token)], Body::from(body));
        Answer::to(&harness.api, request).await.refused(400, "IotHubFormatError");
    }
}

#[tokio::test]
async fn a_missing_body_is_argument_null_and_another_media_type_415() {
    let harness = Harness::new();
    harness.owner("PUT /devices/d", &[], "").await.refused(400, "ArgumentNull");
    harness.owner("PUT /devices/d", &[], "[]").await.refused(400, "ArgumentInvalid");
    let typed = |content_type| [("content-type", content_type)];
    let body = r#"{"deviceId":"d"}"#;
    let text = harness.owner("PUT /devices/d", &typed("text/plain"), body).await;
    text.refused(415, "GenericUnsupportedMediaType");
    harness
        .owner("PUT /devices/d", &typed("application/json; charset=utf-8"), body)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_connection_is_kept_alive_across_answers_and_errors() {
    let harness = Harness::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = harness.router();
    let _server =
        AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    let token = harness.policy_token("iothubowner");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let created = r#"{"deviceId":"d"}"#;
    for (line, body, status) in [
        ("PUT /devices/d", created, "200 OK"),
        ("PUT /devices/d", created, "409 Conflict"),
        ("PUT /devices/d", "{", "400 Bad Request"),
        ("GET /devices/d/", "", "200 OK"),
        ("DELETE /devices/d", "", "204 No Content"),
        ("GET /nonsense", "", "404 Not Found"),
    ] {
        let length = body.len();
        let head = format!("{line}?{VERSION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n");
        let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
    }
}

/// Reads one answer with a body of declared length or none.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(stream.read_u8().await.unwrap()));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    text
}
