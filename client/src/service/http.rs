//! One request to the hub: its URL with `api-version`, a fresh token, a bounded answer within the time given,
//! and refusals turned into errors. The HTTP library is named in this file only.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, USER_AGENT};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::identity::IfMatch;
use crate::connection_string::{ServiceConnectionString, ServiceCredential};
use crate::error::{Error, ErrorKind};
use crate::refusal;
use crate::sas::{SasSigner, SasToken};
use crate::tls::{TrustedRoots, client_config};

const API_VERSION: &str = "2021-04-12";

/// Largest answer taken, in bytes: a list of 1000 devices is about 1 MiB.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How long the token of one request is valid: as the SDKs have it (contract/rest.md 5.1).
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// The connections to one hub and the right to use it.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authority: String,
    signer: Signer,
    request_timeout: Duration,
}

#[derive(Clone)]
enum Signer {
    Key(SasSigner),
    Token(SasToken),
}

/// A request before it has a host and a token. `doing` completes the sentence "could not ..".
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    path: String,
    query: String,
    if_match: Option<String>,
    body: Bytes,
    doing: String,
}

impl HttpClient {
    pub(super) fn new(
        connection_string: &ServiceConnectionString,
        port: u16,
        request_timeout: Duration,
        roots: &TrustedRoots,
    ) -> Result<Self, Error> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(client_config(roots, None)?.as_ref().clone())
            .https_only()
            .enable_http1()
            .build();
        let host = connection_string.host_name();
        let signer = match connection_string.credential() {
            ServiceCredential::Key { policy, key } => {
                Signer::Key(SasSigner::new(host.to_owned(), key.clone(), Some(policy.clone())))
            }
            ServiceCredential::Token(token) => Signer::Token(token.clone()),
        };
        // An IPv6 address needs brackets before a port.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = if port == 443 { host } else { format!("{host}:{port}") };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, authority, signer, request_timeout })
    }

    /// Sends a request whose answer is a document.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let doing = request.doing.clone();
        let body = self.send(request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Error::protocol(format!("could not {doing}: the hub's answer is not understood"))
                .with_source(error)
        })
    }

    /// Sends a request whose answer has no content.
    pub(super) async fn empty(&self, request: Request) -> Result<(), Error> {
        self.send(request).await.map(drop)
    }

    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let doing = request.doing.clone();
        let answer = tokio::time::timeout(self.request_timeout, self.exchange(request));
        let (status, name, body) =
            answer.await.map_err(|_| Error::timed_out(&format!("the hub to {doing}")))??;
        if status.is_success() {
            return Ok(body);
        }
        Err(Error::refused(&doing, refusal::of_request(status.as_u16(), name.as_deref(), &body)))
    }

    async fn exchange(&self, request: Request) -> Result<(StatusCode, Option<String>, Bytes), Error> {
        let Request { method, path, query, if_match, body, doing } = request;
        let failed = |kind: ErrorKind, text: &str| Error::new(kind, format!("could not {doing}: {text}"));
        let uri: Uri = format!("https://{}{path}?api-version={API_VERSION}{query}", self.authority)
            .parse()
            .map_err(|error: http::uri::InvalidUri| {
            Error::configuration(format!("{:?} is not a host name", self.authority)).with_source(error)
        })?;
        let mut built = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(AUTHORIZATION, self.authorization()?)
            .header(USER_AGENT, concat!("iothub-client-rust/", env!("CARGO_PKG_VERSION")));
        if let Some(if_match) = if_match {
            built = built.header(IF_MATCH, if_match);
        }
        if !body.is_empty() {
            built = built.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let built = built.body(Full::new(body)).map_err(|error| {
            failed(ErrorKind::InvalidArgument, "the ETag cannot be sent").with_source(error)
        })?;
        let response = self.client.request(built).await.map_err(|error| {
            failed(
                ErrorKind::Connection,
                &format!(
                    "no connection to https://{}: is the hub running, and is its certificate trusted?",
                    self.authority
                ),
            )
            .with_source(error)
        })?;
        let status = response.status();
        let name = response.headers().get("iothub-errorcode").and_then(|value| value.to_str().ok());
        let name = name.map(str::to_owned);
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| failed(ErrorKind::ConnectionLost, "the answer broke off").with_source(error))?;
        Ok((status, name, body.to_bytes()))
    }

    fn authorization(&self) -> Result<HeaderValue, Error> {
        let token = match &self.signer {
            Signer::Key(signer) => signer.token(TOKEN_LIFETIME),
            Signer::Token(token) => token.clone(),
        };
        let mut value = HeaderValue::from_str(token.as_str()).map_err(|error| {
            Error::configuration("the shared access signature cannot be sent").with_source(error)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient(https://{})", self.authority)
    }
}

impl Request {
    pub(super) const fn new(method: Method, path: String, doing: String) -> Self {
        Self { method, path, query: String::new(), if_match: None, body: Bytes::new(), doing }
    }

    /// Adds `&name=value`; the value is a number, which needs no encoding.
    pub(super) fn query(mut self, name: &str, value: usize) -> Self {
        self.query.push_str(&format!("&{name}={value}"));
        self
    }

    pub(super) fn if_match(mut self, if_match: &IfMatch) -> Self {
        self.if_match = Some(match if_match {
            IfMatch::Any => "*".to_owned(),
            IfMatch::ETag(etag) => format!("\"{}\"", etag.trim_matches('"')),
        });
        self
    }

    pub(super) fn body(mut self, document: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(document).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, format!("could not {}: it is not JSON", self.doing))
                .with_source(error)
        })?;
        self.body = body.into();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new(Method::GET, "/x".into(), "x".into())
    }

    #[test]
    fn an_etag_is_sent_in_one_pair_of_quotes_however_it_was_read() {
        for etag in ["AAAA=", "\"AAAA=\""] {
            assert_eq!(
                request().if_match(&IfMatch::ETag(etag.into())).if_match.as_deref(),
                Some("\"AAAA=\"")
            );
        }
        assert_eq!(request().if_match(&IfMatch::Any).if_match.as_deref(), Some("*"));
    }

    #[test]
    fn debug_shows_no_token() {
        let key = "HostName=h;SharedAccessKeyName=p;SharedAccessKey=MDEyMzQ1";
        let connection_string = ServiceConnectionString::parse(key).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
        let roots = TrustedRoots::system().and_pem(made.cert.pem().as_bytes()).unwrap();
        let client = HttpClient::new(&connection_string, 8443, TOKEN_LIFETIME, &roots).unwrap();
        assert_eq!(format!("{client:?}"), "HttpClient(https://h:8443)");
    }
}
