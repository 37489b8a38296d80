//! Direct methods over REST: contract/rest.md 1.9, 4.1 style B, 4.4. The device is a session of the core.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use hub::access::{CredentialKind, Grant, Permissions, Scope, Subject};
use hub::device_session::{Delivery, DeviceSession, Interest, SessionOptions};
use hub::gate::operations::{AnswerMethod, Connect};
use hub::gate::{Details, ProtocolLabel};
use hub::ids::{ConnectionId, IdentityId};
use hub::method::{MethodRequest, MethodResponse};
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

const DETAILS: Details = Details { protocol: ProtocolLabel("test"), connection: Some(ConnectionId(1)) };

/// A device or module that is connected and listens for methods.
struct Listener<'a> {
    harness: &'a Harness,
    session: DeviceSession,
    grant: Arc<Grant>,
    identity: IdentityId,
}

impl<'a> Listener<'a> {
    async fn connect(harness: &'a Harness, device: &str, module: Option<&str>) -> Self {
        let identity = IdentityId::parse(device, module).unwrap();
        let grant = Arc::new(Grant {
            subject: Subject::Identity(identity.clone()),
            scope: Scope::Identity(identity.clone()),
            permissions: Permissions::DEVICE_CONNECT,
            expires_at: None,
            credential: CredentialKind::SasDeviceKey,
            revision: None,
        });
        let by = harness.hub.gate().admit::<Connect>(&grant, identity.clone(), DETAILS).await.unwrap();
        let options = SessionOptions {
            connection: ConnectionId(1),
            protocol: DETAILS.protocol,
            peer: ([127, 0, 0, 1], 1).into(),
            credential_grace: Duration::ZERO,
            will: None,
            product_info: None,
            model_id: None,
            keep_saved: false,
        };
        let session = harness.hub.connect(by, options).unwrap();
        session.subscribe(Interest::Methods);
        Self { harness, session, grant, identity }
    }

    async fn request(&self) -> MethodRequest {
        match self.session.next().await {
            Delivery::MethodInvoked(request) => request,
            other => panic!("no method request but {other:?}"),
        }
    }

    async fn answers(&self, request: &MethodRequest, status: i32, payload: Option<&'static str>) {
        let gate = self.harness.hub.gate();
        let by = gate.admit::<AnswerMethod>(&self.grant, self.identity.clone(), DETAILS).await.unwrap();
        let payload = payload.map(|text| Bytes::from_static(text.as_bytes()));
        self.harness.hub.answer_method(by, request.id, MethodResponse { status, payload }).unwrap();
    }
}

async fn invoke(harness: &Harness, path: &str, body: &str) -> Answer {
    harness.policy("service", &format!("POST {path}/methods"), &[], body).await
}

/// The document inside `Message` of a call that failed, with everything it must carry.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, number: u32) -> Value {
    assert_eq!(
        (answer.status.as_u16(), answer.header("iothub-errorcode")),
        (status, Some(code)),
        "{}",
        answer.text
    );
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert_eq!(body["ExceptionMessage"], "");
    let inner: Value = serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
    assert_eq!(inner["errorCode"], number);
    assert!(inner["trackingId"].as_str().unwrap().contains("-G:0-TimeStamp:01/01/2026 00:0"), "{inner}");
    assert!(inner["timestampUtc"].as_str().unwrap().starts_with("2026-01-01T00:0"), "{inner}");
    inner
}

async fn world() -> Harness {
    let harness = Harness::new();
    harness.create_device("d").await;
    harness.create_module("d", "m").await;
    harness
}

#[tokio::test]
async fn the_devices_status_and_payload_come_back_under_200_as_they_are() {
    let harness = world().await;
    for (path, module) in [("/twins/d", None), ("/twins/d/modules/m", Some("m"))] {
        let device = Listener::connect(&harness, "d", module).await;
        for (status, payload, shown) in [
            (200, Some("{\"a\" : 1.50}"), "{\"a\" : 1.50}"),
            (404, Some("\"\""), "\"\""),
            (500, Some("null"), "null"),
            (-1, None, "null"),
        ] {
            let answering = async {
                let request = device.request().await;
                assert_eq!(
                    (request.name.as_str(), &request.payload[..]),
                    ("reboot", &b"{\"now\" : true}"[..])
                );
                device.answers(&request, status, payload).await;
            };
            let body = r#"{"methodName":"reboot","payload": {"now" : true} ,"unheardOf":[1]}"#;
            let (answer, ()) = tokio::join!(invoke(&harness, path, body), answering);
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            answer.json();
            assert_eq!(answer.text, format!("{{\"status\":{status},\"payload\":{shown}}}"));
        }
    }
}

#[tokio::test]
async fn nobody_there_is_404_as_a_document_without_info() {
    let harness = world().await;
    for (path, code, number) in
        [("/twins/x", "DeviceNotFound", 404_001), ("/twins/d/modules/x", "ModuleNotFound", 404_010)]
    {
        let answer = invoke(&harness, path, r#"{"methodName":"m"}"#).await;
        let inner = refused(&answer, 404, code, number);
        assert!(inner.get("info").is_none(), "C# reads no number beside an object: {inner}");
    }
}

#[tokio::test]
async fn a_device_that_is_offline_is_404103_with_the_connect_timeout() {
    let harness = world().await;
    let answer = invoke(&harness, "/twins/d", r#"{"methodName":"m"}"#).await;
    let inner = refused(&answer, 404, "DeviceNotOnline", 404_103);
    assert_eq!(inner["message"], "Timed out waiting for device to connect.");
    assert_eq!(inner["info"], json!({ "timeout": "00:00:00" }));
}

#[tokio::test]
async fn a_device_that_does_not_answer_in_time_is_504101() {
    let harness = world().await;
    let device = Listener::connect(&harness, "d", None).await;
    let waiting = async {
        device.request().await;
        harness.clock.advance(Duration::from_secs(5));
        harness.hub.run_due();
    };
    let body = r#"{"methodName":"m","responseTimeoutInSeconds":5}"#;
    let (answer, ()) = tokio::join!(invoke(&harness, "/twins/d", body), waiting);
    let inner = refused(&answer, 504, "GatewayTimeout", 504_101);
    assert_eq!(
        (&inner["message"], &inner["info"]),
        (&json!("Timed out waiting for the response from device."), &json!({}))
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_502_and_a_device_that_leaves_404104() {
    let harness = world().await;
    let device = Listener::connect(&harness, "d", None).await;
    let answering = async {
        let request = device.request().await;
        device.answers(&request, 200, Some("nonsense")).await;
    };
    let (answer, ()) = tokio::join!(invoke(&harness, "/twins/d", r#"{"methodName":"m"}"#), answering);
    refused(&answer, 502, "GenericBadGateway", 502_000);
    let leaving = async {
        device.request().await;
        drop(device);
    };
    let (answer, ()) = tokio::join!(invoke(&harness, "/twins/d", r#"{"methodName":"m"}"#), leaving);
    refused(&answer, 404, "DeviceConnectionClosedRemotely", 404_104);
}

#[tokio::test]
async fn a_call_that_is_wrong_in_itself_is_400_in_the_usual_shape() {
    let harness = world().await;
    for (body, code) in [
        (r#"{"payload":{}}"#, "ArgumentNull"),
        (r#"{"methodName":""}"#, "ArgumentInvalid"),
        (r#"{"methodName":7}"#, "ArgumentInvalid"),
        (r#"{"methodName":"m","responseTimeoutInSeconds":-5}"#, "ArgumentInvalid"),
        (r#"{"methodName":"m","responseTimeoutInSeconds":301}"#, "ArgumentInvalid"),
        (r#"{"methodName":"m","payload":{"a":}}"#, "IotHubFormatError"),
        (r#"{"methodName":"m","payload":1,"payload":2}"#, "IotHubFormatError"),
    ] {
        invoke(&harness, "/twins/d", body).await.refused(400, code);
    }
}

#[tokio::test]
async fn time_limits_and_the_payload_are_checked_at_their_limits() {
    let harness = world().await;
    for (limits, status) in [
        (r#""responseTimeoutInSeconds":4"#, 400),
        (r#""responseTimeoutInSeconds":5"#, 404),
        (r#""timeoutInSeconds":300"#, 404),
        (r#""timeoutInSeconds":301"#, 400),
        (r#""connectTimeoutInSeconds":301"#, 400),
    ] {
        let answer = invoke(&harness, "/twins/d", &format!(r#"{{"methodName":"m",{limits}}}"#)).await;
        assert_eq!(answer.status.as_u16(), status, "{limits}: {}", answer.text);
    }
    let with_payload =
        |bytes: usize| format!(r#"{{"methodName":"m","payload":"{}"}}"#, "x".repeat(bytes - 2));
    let fits = invoke(&harness, "/twins/d", &with_payload(128 * 1024)).await;
    refused(&fits, 404, "DeviceNotOnline", 404_103);
    let over = invoke(&harness, "/twins/d", &with_payload(128 * 1024 + 1)).await;
    over.refused(413, "MessageTooLarge");
}

#[tokio::test]
async fn a_module_calls_its_own_device_and_its_siblings_and_nobody_else() {
    let harness = world().await;
    harness.create_device("other").await;
    let module = harness.create_module("d", "caller").await;
    let key = module["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    let token = harness.own_token("localhost/devices/d/modules/caller", key);
    let headers = [("authorization", token.as_str()), ("x-ms-edge-moduleId", "d/caller")];
    let call = async |path: &str| {
        let line = format!("POST {path}/methods?api-version=2018-06-30");
        harness.raw(&line, &headers, r#"{"methodName":"m"}"#).await
    };
    for near in ["/twins/d", "/twins/d/modules/m", "/twins/d/modules/caller"] {
        refused(&call(near).await, 404, "DeviceNotOnline", 404_103);
    }
    call("/twins/other").await.refused(401, "IotHubUnauthorizedAccess");
    let twin = harness.raw("GET /twins/d?api-version=2018-06-30", &headers, "").await;
    twin.refused(401, "IotHubUnauthorizedAccess");
}
