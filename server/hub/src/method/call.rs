//! What a caller asks for, what the device is told, what it answers (contract/rest.md 1.9).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::error::{ErrorCode, HubError};
use crate::{json, limits};

/// The name of a direct method: 1 to [`limits::METHOD_NAME_CHARS`] characters that can stand in an MQTT topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodName(Arc<str>);

impl MethodName {
    /// Accepts what a device on any protocol can be called by.
    ///
    /// # Errors
    /// `ArgumentInvalid` when empty, too long, or with `+`, `#` or a control character.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let length = text.chars().count();
        if !(1..=limits::METHOD_NAME_CHARS).contains(&length) {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                format!(
                    "The method name has {length} characters; 1 to {} are allowed.",
                    limits::METHOD_NAME_CHARS
                ),
            ));
        }
        if text.contains(|c: char| matches!(c, '+' | '#') || c.is_control()) {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                format!("The method name '{}' contains '+', '#' or a control character.", json::shown(text)),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a service asks a device to do.
#[derive(Clone, Debug)]
pub struct MethodCall {
    /// Which method.
    pub name: MethodName,
    /// JSON text, handed on as it is; `null` when the caller gave none.
    pub payload: Bytes,
    /// How long the device may take to answer, from the moment it is told.
    pub response_timeout: Duration,
    /// How long the device may take to come online; zero when it has to be.
    pub connect_timeout: Duration,
}

impl MethodCall {
    /// What the hub checks before it looks for the device.
    pub(crate) fn check(&self) -> Result<(), HubError> {
        if self.payload.len() > limits::METHOD_PAYLOAD_BYTES {
            return Err(HubError::new(
                ErrorCode::MessageTooLarge,
                format!(
                    "The payload has {} bytes; {} are allowed.",
                    self.payload.len(),
                    limits::METHOD_PAYLOAD_BYTES
                ),
            ));
        }
        let response = limits::METHOD_RESPONSE_SECS_MIN..=limits::METHOD_TIMEOUT_SECS_MAX;
        check_timeout("response", self.response_timeout, response)?;
        check_timeout("connect", self.connect_timeout, 0..=limits::METHOD_TIMEOUT_SECS_MAX)
    }
}

fn check_timeout(
    which: &str,
    timeout: Duration,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<(), HubError> {
    if (Duration::from_secs(*allowed.start())..=Duration::from_secs(*allowed.end())).contains(&timeout) {
        return Ok(());
    }
    Err(HubError::new(
        ErrorCode::ArgumentInvalid,
        format!(
            "The {which} timeout is {} seconds; {} to {} are allowed.",
            timeout.as_secs_f64(),
            allowed.start(),
            allowed.end()
        ),
    ))
}

/// Tells a call from all others of the hub; heads map it to their own correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodRequestId(pub u64);

/// What a session is told of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodRequest {
    /// To be handed back with the answer.
    pub id: MethodRequestId,
    /// Which method.
    pub name: MethodName,
    /// JSON text.
    pub payload: Bytes,
}

/// What the device answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodResponse {
    /// The device's own status, whatever it means.
    pub status: i32,
    /// JSON text as the device sent it; `None` when it sent no body.
    pub payload: Option<Bytes>,
}

impl MethodResponse {
    /// The answer if a caller can be given it. No body and an empty one are the same.
    pub(crate) fn checked(mut self) -> Result<Self, HubError> {
        self.payload = self.payload.filter(|payload| !payload.is_empty());
        let bad = |why: String| {
            HubError::new(ErrorCode::GenericBadGateway, format!("The response of the device {why}."))
        };
        let Some(payload) = &self.payload else { return Ok(self) };
        if payload.len() > limits::METHOD_PAYLOAD_BYTES {
            return Err(bad(format!(
                "has {} bytes; {} are allowed",
                payload.len(),
                limits::METHOD_PAYLOAD_BYTES
            )));
        }
        // The parser that skips a value does not look whether its strings are UTF-8.
        let text = std::str::from_utf8(payload).map_err(|_| bad("is not UTF-8".to_owned()))?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| bad(format!("is not JSON: {error}")))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_100_characters_that_fit_a_topic() {
        for (text, accepted) in [
            ("", false),
            ("reboot", true),
            ("thermostat1*getMaxMinReport", true),
            ("größer", true),
            (&"ö".repeat(100), true),
            (&"ö".repeat(101), false),
            ("a+b", false),
            ("a#", false),
            ("a\0b", false),
            ("a\nb", false),
        ] {
            let parsed = MethodName::parse(text);
            assert_eq!(parsed.is_ok(), accepted, "{text}");
            assert!(parsed.map_or_else(|error| error.code() == ErrorCode::ArgumentInvalid, |_| true));
        }
    }

    #[test]
    fn timeouts_and_payload_are_checked_at_their_limits() {
        let call = |payload: usize, response: u64, connect: u64| MethodCall {
            name: MethodName::parse("m").unwrap(),
            payload: vec![b' '; payload].into(),
            response_timeout: Duration::from_secs(response),
            connect_timeout: Duration::from_secs(connect),
        };
        let code = |call: MethodCall| call.check().map_err(|error| error.code());
        for (response, connect, accepted) in
            [(4, 0, false), (5, 0, true), (300, 300, true), (301, 0, false), (30, 301, false)]
        {
            let expected = if accepted { Ok(()) } else { Err(ErrorCode::ArgumentInvalid) };
            assert_eq!(code(call(4, response, connect)), expected, "{response} {connect}");
        }
        assert_eq!(code(call(limits::METHOD_PAYLOAD_BYTES, 30, 0)), Ok(()));
        assert_eq!(code(call(limits::METHOD_PAYLOAD_BYTES + 1, 30, 0)), Err(ErrorCode::MessageTooLarge));
    }

    #[test]
    fn an_answer_is_passed_on_byte_for_byte_or_not_at_all() {
        let answer = |payload: &[u8]| {
            let payload = Some(Bytes::copy_from_slice(payload));
            MethodResponse { status: 200, payload }.checked().map(|response| response.payload)
        };
        for text in ["null", "\"\"", "{}", " {\"a\" : 1.0e3, \"a\":2} ", "[]", "false"] {
            assert_eq!(answer(text.as_bytes()).unwrap(), Some(Bytes::from(text)), "{text}");
        }
        assert_eq!(answer(b"").unwrap(), None);
        for bytes in [&b"{"[..], b"nothing", b"{} {}", b"\"\xff\"", b" "] {
            assert_eq!(answer(bytes).unwrap_err().code(), ErrorCode::GenericBadGateway);
        }
        let longest = format!("\"{}\"", "a".repeat(limits::METHOD_PAYLOAD_BYTES - 2));
        assert!(answer(longest.as_bytes()).is_ok());
        let too_long = format!("{longest} ");
        assert_eq!(answer(too_long.as_bytes()).unwrap_err().code(), ErrorCode::GenericBadGateway);
    }
}
