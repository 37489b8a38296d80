//! The HTTPS protocol of devices, requests as the SDKs write them: contract/rest.md 1.16.

use std::time::Duration;

use axum::http::StatusCode;
use hub::c2d::{Acknowledgement, CloudToDeviceMessage};
use hub::events::Event;
use hub::gate::operations::SendCloudToDevice;
use hub::gate::{Details, ProtocolLabel};
use hub::ids::DeviceId;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};

/// A device `d`, what it signs with, and its requests.
struct Device {
    harness: Harness,
    token: String,
}

impl Device {
    async fn new() -> Self {
        let harness = Harness::new();
        let device = harness.create_device("d").await;
        let token = harness.own_token("localhost/devices/d", primary_key(&device));
        Self { harness, token }
    }

    /// `line` without api-version; the device's own token is added.
    async fn call(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.call_with(&self.token, line, headers, body).await
    }

    async fn call_with(&self, token: &str, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let separator = if line.contains('?') { '&' } else { '?' };
        let headers = [headers, &[("authorization", token)]].concat();
        self.harness.raw(&format!("{line}{separator}api-version=2020-09-30"), &headers, body).await
    }

    async fn send(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.call("POST /devices/d/messages/events", headers, body).await
    }

    async fn send_batch(&self, body: &Value) -> Answer {
        let content_type = ("content-type", "application/vnd.microsoft.iothub.json");
        self.send(&[content_type], &body.to_string()).await
    }

    async fn receive(&self) -> Answer {
        self.call("GET /devices/d/messages/deviceBound", &[], "").await
    }

    /// The lock token of the next message, without the quotes.
    async fn lock(&self) -> String {
        let answer = self.receive().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.header("etag").unwrap().trim_matches('"').to_owned()
    }

    /// What came in, newest first.
    fn events(&self) -> Vec<Event> {
        self.harness.hub.events().newest(10, None).into_iter().map(|(_, event)| event).collect()
    }

    async fn queue(&self, message: CloudToDeviceMessage) {
        let hub = &self.harness.hub;
        let policy = self.harness.policy_token("service");
        let details = Details { protocol: ProtocolLabel("test"), connection: None };
        let grant = self.harness.authenticator.authenticate_token_text(&policy, None, None, details).unwrap();
        let device = DeviceId::parse("d").unwrap();
        let by = hub.gate().admit::<SendCloudToDevice>(&grant, device, details).await.unwrap();
        hub.send_cloud_to_device(by, message).unwrap();
    }

    /// What the owner sees of the device.
    async fn identity(&self) -> Value {
        self.harness.owner("GET /devices/d", &[], "").await.expect(StatusCode::OK)
    }
}

fn primary_key(identity: &Value) -> &str {
    identity["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap()
}

#[track_caller]
fn no_content(answer: &Answer) {
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert!(answer.header("etag").is_none());
}

#[tokio::test]
async fn a_message_is_taken_as_it_is_with_its_headers_as_properties() {
    let device = Device::new().await;
    let headers = [
        ("iothub-to", "/devices/d/messages/events"),
        ("iothub-messageid", "m1"),
        ("IoTHub-App-Floor", "3"),
        ("content-type", "binary/octet-stream"),
        ("iothub-contenttype", "text/plain"),
    ];
    no_content(&device.send(&headers, "hot").await);
    let event = device.events().remove(0);
    let properties = &event.data.properties;
    assert_eq!(event.data.body, "hot");
    assert_eq!(properties.message_id.as_deref(), Some("m1"));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.to, None);
    assert_eq!(properties.application, [("floor".to_owned(), Some("3".to_owned()))]);
    assert!(event.data.sender.as_ref().unwrap().auth_method.starts_with(r#"{"scope":"device","type":"sas""#));
}

#[tokio::test]
async fn a_batch_becomes_one_event_a_row_or_none_at_all() {
    let device = Device::new().await;
    let good = json!([
        { "body": "aGk=", "properties": { "iothub-app-Key": "v" } },
        { "body": "text", "base64Encoded": false },
    ]);
    no_content(&device.send_batch(&good).await);
    let bodies: Vec<_> = device.events().into_iter().map(|event| event.data.body.clone()).collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies.contains(&"hi".into()) && bodies.contains(&"text".into()), "{bodies:?}");
    let bad = json!([{ "body": "aGk=" }, { "body": "no base64!" }]);
    device.send_batch(&bad).await.refused(400, "ArgumentInvalid");
    assert_eq!(device.events().len(), 2);
    // Under any other content type the same bytes are a message.
    no_content(&device.send(&[("content-type", "application/json")], &good.to_string()).await);
    assert_eq!(device.events().len(), 3);
}

#[tokio::test]
async fn a_message_or_batch_of_256_kib_is_taken_and_one_byte_more_is_413() {
    let device = Device::new().await;
    let limit = 256 * 1024;
    no_content(&device.send(&[], &"x".repeat(limit)).await);
    device.send(&[], &"x".repeat(limit + 1)).await.refused(413, "MessageTooLarge");
    device.send(&[("iothub-app-k", "v")], &"x".repeat(limit)).await.refused(413, "MessageTooLarge");
    let batch = |bytes: usize| json!([{ "body": "x".repeat(bytes - 35), "base64Encoded": false }]);
    assert_eq!(batch(limit).to_string().len(), limit);
    no_content(&device.send_batch(&batch(limit)).await);
    device.send_batch(&batch(limit + 1)).await.refused(413, "MessageTooLarge");
    assert_eq!(device.events().len(), 2);
}

#[tokio::test]
async fn a_request_leaves_no_trace_in_the_devices_presence() {
    let device = Device::new().await;
    no_content(&device.send(&[], "x").await);
    no_content(&device.receive().await);
    let identity = device.identity().await;
    assert_eq!(identity["lastActivityTime"], "0001-01-01T00:00:00");
    assert_eq!(identity["connectionState"], "Disconnected");
    let journal = device.harness.admin("GET /admin/journal", "").await.json();
    let rows = journal.as_array().unwrap();
    let sent = rows.iter().find(|row| row["operation"] == "SendTelemetry").unwrap();
    assert_eq!((&sent["protocol"], &sent["outcome"]), (&json!("https"), &json!("succeeded")));
}

#[tokio::test]
async fn the_device_a_policy_with_device_connect_and_gos_resource_get_in_and_nobody_else() {
    let device = Device::new().await;
    let harness = &device.harness;
    let other = harness.create_device("other").await;
    let module = harness.create_module("d", "m").await;
    let own = harness.create_device("own").await;
    let identity = device.identity().await;
    let key = primary_key(&identity);
    for good in [
        harness.own_token("localhost/devices/d", key),
        harness.own_token("localhost%2fdevices%2fd", key),
        harness.own_token("localhost/devices/D", key),
        harness.own_token("localhost/d", key),
        harness.policy_token("device"),
        harness.policy_token("iothubowner"),
    ] {
        for line in ["POST /devices/d/messages/events", "GET /devices/d/messages/deviceBound"] {
            no_content(&device.call_with(&good, line, &[], "").await);
        }
    }
    for bad in [
        harness.own_token("localhost/devices/other", primary_key(&other)),
        harness.own_token("localhost/devices/d", primary_key(&own)),
        harness.own_token("localhost/devices/d/modules/m", primary_key(&module)),
        harness.own_token("elsewhere/devices/d", key),
        harness.policy_token("service"),
        harness.policy_token("registryReadWrite"),
        "SharedAccessSignature nonsense".to_owned(),
    ] {
        for line in [
            "POST /devices/d/messages/events",
            "GET /devices/d/messages/deviceBound",
            "DELETE /devices/d/messages/deviceBound/x",
            "POST /devices/d/messages/deviceBound/x/abandon",
        ] {
            device.call_with(&bad, line, &[], "").await.refused(401, "IotHubUnauthorizedAccess");
        }
    }
    let nobody = harness.raw("POST /devices/d/messages/events?api-version=2020-09-30", &[], "").await;
    assert_eq!(nobody.refused(401, "IotHubUnauthorizedAccess"), "Authorization header missing");
}

#[tokio::test]
async fn an_unknown_and_a_disabled_device_are_401() {
    let device = Device::new().await;
    let ghost = device.harness.own_token("localhost/devices/ghost", "AAAAAAAAAAAAAAAAAAAAAA==");
    let answer = device.call_with(&ghost, "POST /devices/ghost/messages/events", &[], "").await;
    answer.refused(401, "IotHubUnauthorizedAccess");
    let disabled = r#"{"deviceId":"d","status":"disabled"}"#;
    device.harness.owner("PUT /devices/d", &[("if-match", "*")], disabled).await.expect(StatusCode::OK);
    device.send(&[], "").await.refused(401, "IotHubUnauthorizedAccess");
    device.receive().await.refused(401, "IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn a_module_sends_under_the_path_java_builds() {
    let device = Device::new().await;
    let module = device.harness.create_module("d", "m").await;
    let token = device.harness.own_token("localhost/devices/d/modules/m", primary_key(&module));
    let line = "POST /devices/d/modules/m/messages/events";
    no_content(&device.call_with(&token, line, &[], "from m").await);
    assert_eq!(device.events()[0].data.identity.to_string(), "d/m");
    device.call_with(&device.token, line, &[], "").await.refused(401, "IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn a_message_for_the_device_comes_with_every_header_of_the_table() {
    let device = Device::new().await;
    no_content(&device.receive().await);
    device
        .queue(CloudToDeviceMessage {
            message_id: Some("m".to_owned()),
            correlation_id: Some("c".to_owned()),
            user_id: Some("u".to_owned()),
            content_type: Some("text/plain".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            acknowledgement: Some(Acknowledgement::Full),
            application: vec![
                ("Key".to_owned(), Some("v".to_owned())),
                ("empty".to_owned(), None),
                ("no header".to_owned(), Some("v".to_owned())),
                ("line".to_owned(), Some("a\nb".to_owned())),
            ],
            body: "wake up".into(),
            ..CloudToDeviceMessage::default()
        })
        .await;
    let answer = device.receive().await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "wake up"));
    let etag = answer.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 38, "{etag}");
    let mut shown: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("iothub-")).collect();
    shown.sort_by_key(|(name, _)| name.as_str());
    let shown: Vec<_> = shown.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(
        shown,
        [
            ("iothub-ack", "full"),
            ("iothub-app-empty", ""),
            ("iothub-app-key", "v"),
            ("iothub-contentencoding", "utf-8"),
            ("iothub-contenttype", "text/plain"),
            ("iothub-correlationid", "c"),
            ("iothub-deliverycount", "0"),
            ("iothub-enqueuedtime", "2026-01-01T00:00:00.0000000Z"),
            ("iothub-expiry", "2026-01-01T01:00:00.0000000Z"),
            ("iothub-messageid", "m"),
            ("iothub-sequencenumber", "1"),
            ("iothub-to", "/devices/d/messages/deviceBound"),
            ("iothub-userid", "u"),
        ]
    );
    no_content(&device.receive().await);
}

#[tokio::test]
async fn a_message_is_settled_once_in_every_sdks_spelling() {
    let device = Device::new().await;
    let settlements = [
        ("DELETE /devices/d/messages/deviceBound/{lock}", "Success"),
        ("DELETE /devices/d/messages/devicebound/{lock}/", "Success"),
        ("DELETE /devices/d/messages/deviceBound/{lock}?reject", "Rejected"),
        ("DELETE /devices/d/messages/deviceBound/{lock}?api-version=2016-11-14&reject=", "Rejected"),
        ("DELETE /devices/d/messages/deviceBound/{lock}?reject=true", "Rejected"),
    ];
    for (line, outcome) in settlements {
        let message =
            CloudToDeviceMessage { acknowledgement: Some(Acknowledgement::Full), ..Default::default() };
        device.queue(message).await;
        let lock = device.lock().await;
        let line = line.replace("{lock}", &lock);
        no_content(&device.call(&line, &[("if-match", "\"whatever\"")], "").await);
        device.call(&line, &[], "").await.refused(412, "DeviceMessageLockLost");
        let feedback = device.harness.policy("service", "GET /messages/serviceBound/feedback", &[], "").await;
        let records: Value = serde_json::from_str(&feedback.text).unwrap();
        assert_eq!(records[0]["statusCode"], outcome, "{line}");
        let token = feedback.header("etag").unwrap().trim_matches('"').to_owned();
        let line = format!("DELETE /messages/serviceBound/feedback/{token}");
        no_content(&device.harness.policy("service", &line, &[], "").await);
    }
    assert_eq!(device.identity().await["cloudToDeviceMessageCount"], 0);
}

#[tokio::test]
async fn an_abandoned_message_comes_again_with_its_count_raised() {
    let device = Device::new().await;
    device.queue(CloudToDeviceMessage::default()).await;
    let lock = device.lock().await;
    // Java sends a byte along, C# the header under a wrong name.
    let line = format!("POST /devices/d/messages/deviceBound/{lock}/abandon");
    no_content(&device.call(&line, &[("ifmatch", "\"x\"")], "0").await);
    device.call(&line, &[], "").await.refused(412, "DeviceMessageLockLost");
    let again = device.receive().await;
    assert_eq!(again.header("iothub-deliverycount"), Some("1"));
}

#[tokio::test]
async fn a_lock_lasts_a_minute_or_as_long_as_the_query_or_a_header_says() {
    let device = Device::new().await;
    device.queue(CloudToDeviceMessage::default()).await;
    let path = "GET /devices/d/messages/deviceBound";
    let in_query = format!("{path}?iothub-messagelocktimeout=180");
    let in_header: &[_] = &[("iothub-messagelocktimeout", "90")];
    for (line, headers, secs) in [(path, &[][..], 60), (in_query.as_str(), &[], 180), (path, in_header, 90)] {
        let locked = device.call(line, headers, "").await;
        assert_eq!(locked.status, StatusCode::OK);
        device.harness.clock.advance(Duration::from_secs(secs - 1));
        no_content(&device.receive().await);
        device.harness.clock.advance(Duration::from_secs(1));
        let lost = locked.header("etag").unwrap().trim_matches('"').to_owned();
        let lost = device.call(&format!("DELETE /devices/d/messages/deviceBound/{lost}"), &[], "").await;
        lost.refused(412, "DeviceMessageLockLost");
    }
    for bad in ["ten", "-1", "1.5", ""] {
        let line = format!("{path}?iothub-messagelocktimeout={bad}");
        device.call(&line, &[], "").await.refused(400, "ArgumentInvalid");
    }
    assert_eq!(device.receive().await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_lock_token_holds_nothing() {
    let device = Device::new().await;
    for token in ["x", "%22%22", "00000000-0000-4000-8000-000000000000"] {
        let line = format!("DELETE /devices/d/messages/deviceBound/{token}");
        device.call(&line, &[], "").await.refused(412, "DeviceMessageLockLost");
    }
}
