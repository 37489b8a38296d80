//! HTTP/1.1 by hand, one request per connection, so that a request can be as wrong as the test needs it.

use net::Io;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::harness::watch::{in_time, read_to_the_end};

/// An answer, read to the end of its connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order of the answer.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A whole request: `line` is `VERB /path?query`, the body's length is announced.
pub(crate) fn request(line: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Sends `request` and reads the answer. What is written after the server has answered and gone is lost, which is
/// the server's good right.
pub(crate) async fn exchange(mut io: Io, request: &[u8]) -> Answer {
    let _ = in_time("the request", io.write_all(request)).await;
    let _ = io.flush().await;
    Answer::read(&mut io).await
}

impl Answer {
    /// Reads an answer whose connection ends with it.
    pub(crate) async fn read(io: &mut Io) -> Self {
        let bytes = read_to_the_end(io).await;
        Self::parse(&bytes).unwrap_or_else(|| panic!("no HTTP answer: {:?}", String::from_utf8_lossy(&bytes)))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let head_bytes = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..head_bytes]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Self { status, headers: headers.collect(), body: bytes[head_bytes + 4..].to_vec() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self}"))
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// An error in the service's shape (contract/rest.md 4.1): status, code in header and text, tracking id.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.header("iothub-errorcode")), (status, Some(code)), "{self}");
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"), "{self}");
        assert!(self.header("x-ms-request-id").is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()), "{self}");
        let body = self.json();
        let message = body["Message"].as_str().unwrap_or_default();
        let text = message.strip_prefix(&format!("ErrorCode:{code};")).unwrap_or_else(|| panic!("{message}"));
        // Node's service SDK drops the error when the text is empty, and cuts it at the next semicolon.
        assert!(!text.is_empty() && !text.contains(';'), "{message}");
        let tracking = body["ExceptionMessage"].as_str().unwrap_or_default();
        let id = tracking.strip_prefix("Tracking ID:").and_then(|rest| rest.split_once("-G:"));
        assert!(id.is_some_and(|(id, rest)| id.len() == 32 && rest.contains("-TimeStamp:")), "{tracking}");
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
