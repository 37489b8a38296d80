//! A hub behind its routers, and requests that read like the wire.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::{Authenticator, CertificateAuthorities, SasToken};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_head::{AdminState, Api, HttpState, Listener, ListenerState, Readiness, admin_api, hub_api};
use hub::access::{SymmetricKey, development_policies};
use hub::entropy::Entropy;
use hub::ids::HubName;
use hub::time::{Clock, ManualClock, Timestamp};
use hub::{Hub, HubConfig};
use net::StreamHead;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW_SECS: i64 = 1_767_225_600;
pub(crate) const VERSION: &str = "api-version=2021-04-12";

pub(crate) struct Harness {
    pub(crate) hub: Arc<Hub>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) readiness: watch::Sender<Readiness>,
    pub(crate) upgraded: TaskTracker,
    pub(crate) api: Api,
    pub(crate) admin: Api,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with_heads(HashMap::new())
    }

    pub(crate) fn with_heads(heads: HashMap<&'static str, Arc<dyn StreamHead>>) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_secs(NOW_SECS)));
        let config = HubConfig::new(HubName::parse("iothub").unwrap(), development_policies(), 4);
        let shared_clock: Arc<dyn Clock> = clock.clone();
        let hub = Hub::new(config, Arc::clone(&shared_clock), Entropy::seeded(7));
        let authorities = Arc::new(CertificateAuthorities::new(shared_clock, Entropy::seeded(8)));
        let names = vec!["localhost".to_owned()];
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&hub), names, Arc::clone(&authorities)));
        let upgraded = TaskTracker::new();
        let api = hub_api(HttpState {
            hub: Arc::clone(&hub),
            authenticator: Arc::clone(&authenticator),
            heads: Arc::new(heads),
            upgraded: upgraded.clone(),
            cut: CancellationToken::new(),
        });
        let (readiness, watched) = watch::channel(Readiness::default());
        let admin = admin_api(AdminState {
            hub: Arc::clone(&hub),
            authorities,
            root_certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            host_name: "localhost".into(),
            readiness: watched,
        });
        Self { hub, authenticator, clock, readiness, upgraded, api, admin }
    }

    /// The API as something `axum::serve` takes.
    pub(crate) fn router(&self) -> Router {
        let api = self.api.clone();
        Router::new().fallback(async move |request: Request<Body>| api.answer(request).await)
    }

    /// A token over the whole hub, good for an hour.
    pub(crate) fn policy_token(&self, name: &str) -> String {
        let policy = self.hub.policies().iter().find(|policy| policy.name.as_str() == name).unwrap();
        let expiry = self.clock.now().plus(Duration::from_secs(3600));
        SasToken::sign("localhost", &policy.keys.primary, expiry, Some(&policy.name))
    }

    /// A token signed with an identity's own key.
    pub(crate) fn own_token(&self, resource: &str, key: &str) -> String {
        let expiry = self.clock.now().plus(Duration::from_secs(3600));
        SasToken::sign(resource, &SymmetricKey::from_base64(key).unwrap(), expiry, None)
    }

    /// A call of the owner; `uri` without api-version.
    pub(crate) async fn owner(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.policy("iothubowner", line, headers, body).await
    }

    /// `line` is `VERB /path`, as in `GET /devices/d1`; the api-version is added.
    pub(crate) async fn policy(
        &self,
        policy: &str,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let token = self.policy_token(policy);
        let mut headers = headers.to_vec();
        headers.push(("authorization", &token));
        self.raw(&with_version(line), &headers, body).await
    }

    /// Exactly this request.
    pub(crate) async fn raw(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        Answer::to(&self.api, request(line, headers, Body::from(body.to_owned()))).await
    }

    /// Exactly this request, to the admin listener.
    pub(crate) async fn admin(&self, line: &str, body: &str) -> Answer {
        Answer::to(&self.admin, request(line, &[], Body::from(body.to_owned()))).await
    }

    pub(crate) async fn create_device(&self, id: &str) -> Value {
        let body = serde_json::json!({ "deviceId": id }).to_string();
        self.owner(&format!("PUT /devices/{id}"), &[], &body).await.expect(StatusCode::OK)
    }

    pub(crate) async fn create_module(&self, device: &str, id: &str) -> Value {
        let body = serde_json::json!({ "deviceId": device, "moduleId": id }).to_string();
        self.owner(&format!("PUT /devices/{device}/modules/{id}"), &[], &body).await.expect(StatusCode::OK)
    }

    pub(crate) fn set_listeners(&self, states: &[(&'static str, ListenerState)]) {
        let listener = |(name, state): &(&'static str, ListenerState)| Listener {
            name,
            address: (*state == ListenerState::Accepting).then(|| ([127, 0, 0, 1], 8883).into()),
            state: *state,
        };
        self.readiness.send_replace(Readiness { listeners: states.iter().map(listener).collect() });
    }
}

fn with_version(line: &str) -> String {
    let separator = if line.contains('?') { '&' } else { '?' };
    format!("{line}{separator}{VERSION}")
}

pub(crate) fn request(line: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let (verb, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(Method::from_bytes(verb.as_bytes()).unwrap()).uri(uri);
    request = request.header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn to(api: &Api, request: Request<Body>) -> Self {
        let response = api.answer(request).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Self {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body of a call that went as expected.
    #[track_caller]
    pub(crate) fn expect(&self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.header("iothub-errorcode").is_none());
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The text after `ErrorCode:<name>;` of a call that failed as expected, with everything an error must carry.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, name: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("iothub-errorcode"), Some(name), "{}", self.text);
        assert!(self.header("x-ms-request-id").is_some());
        let body = self.json();
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["Message", "ExceptionMessage"]);
        assert!(body["ExceptionMessage"].as_str().unwrap().starts_with("Tracking ID:"), "{}", self.text);
        let message = body["Message"].as_str().unwrap();
        let text = message.strip_prefix(&format!("ErrorCode:{name};")).unwrap_or_else(|| panic!("{message}"));
        assert!(!text.is_empty(), "node drops an error without text");
        text.to_owned()
    }
}
