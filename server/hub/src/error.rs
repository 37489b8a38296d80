//! The one error model: a code of the service's table, a sentence for the client, a reason for the log
//! (contract/rest.md 4.4). Heads turn codes into statuses, conditions or closed sockets.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::ids::TrackingId;
use crate::time::Timestamp;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// The service's error codes as far as this hub raises them; the first three digits are the HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in numeric order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number as on the wire, such as `404001`.
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The name as on the wire, such as `DeviceNotFound`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

error_codes! {
    /// The request makes no sense and no narrower code fits.
    GenericBadRequest = 400000;
    /// `api-version` is missing or malformed.
    InvalidProtocolVersion = 400001;
    /// A value breaks a documented rule.
    ArgumentInvalid = 400004;
    /// A required value is missing.
    ArgumentNull = 400005;
    /// The body is not the JSON it should be.
    IotHubFormatError = 400006;
    /// An id occurs more than once in one bulk request.
    DeviceDefinedMultipleTimes = 400011;
    /// A row of a bulk request failed.
    BulkRegistryOperationFailure = 400013;
    /// `deviceScope` or `parentScopes` names no edge device.
    InvalidDeviceScope = 400028;
    /// `policyKey` names no key to regenerate.
    InvalidPolicyKey = 400035;
    /// A row of a bulk key regeneration failed.
    BulkRegenerateDeviceKeyOperationFailure = 400036;
    /// Authentication or authorization failed.
    IotHubUnauthorizedAccess = 401002;
    /// Modules of the edge runtime cannot be made or removed by hand.
    SystemModuleModifyUnauthorizedAccess = 401100;
    /// The hub refuses for its state or a quota.
    GenericForbidden = 403000;
    /// The day's messages are used up.
    IotHubQuotaExceeded = 403002;
    /// The device's queue is full.
    DeviceMaximumQueueDepthExceeded = 403004;
    /// The message's expiry lies in the past or too far ahead.
    InvalidMessageExpiryTime = 403009;
    /// The hub's tier lacks the feature.
    OperationNotAvailableInCurrentTier = 403010;
    /// Too many direct methods wait for one identity.
    DeviceMaximumInflightMethodExceeded = 403800;
    /// No such route or object.
    GenericNotFound = 404000;
    /// The device identity does not exist.
    DeviceNotFound = 404001;
    /// No certificate authority of that name is registered.
    CertificateNotFound = 404008;
    /// The module identity does not exist on its device.
    ModuleNotFound = 404010;
    /// The device is not connected, or does not listen for methods.
    DeviceNotOnline = 404103;
    /// The device went away before it answered.
    DeviceConnectionClosedRemotely = 404104;
    /// The route exists, the verb does not.
    GenericMethodNotAllowed = 405000;
    /// A device of that id exists already.
    DeviceAlreadyExists = 409001;
    /// A module of that id exists already on the device.
    ModuleAlreadyExistsOnDevice = 409301;
    /// The stored etag is not the one the caller demands.
    PreconditionFailed = 412001;
    /// The lock on the message has ended.
    DeviceMessageLockLost = 412002;
    /// The body is larger than the call allows.
    GenericRequestEntityTooLarge = 413000;
    /// A message is larger than the hub takes.
    MessageTooLarge = 413001;
    /// The registry is full.
    TooManyDevices = 413002;
    /// The device is full of modules.
    TooManyModulesOnDevice = 413003;
    /// The body is of a kind the call does not read.
    GenericUnsupportedMediaType = 415000;
    /// More operations than the hub's units allow.
    ThrottlingException = 429001;
    /// The hub itself failed.
    ServerError = 500001;
    /// The device answered with something that is no answer.
    GenericBadGateway = 502000;
    /// The hub is stopping.
    ServiceUnavailable = 503001;
    /// The device did not answer in time.
    GatewayTimeout = 504101;
}

/// Why an operation was not done. Small outside, rich inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    code: ErrorCode,
    message: String,
    reason: Option<String>,
    info: Option<Map<String, Value>>,
    retry_after: Option<Duration>,
}

impl HubError {
    /// `message` is a sentence the client may read; it never holds a secret.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = printable(message.into());
        Self(Box::new(Inner { code, message, reason: None, info: None, retry_after: None }))
    }

    /// Adds what only the log may say: which rule refused, with a hint what to do.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(printable(reason.into()));
        self
    }

    /// Adds the details that method errors carry for machines (contract/rest.md 1.9).
    #[must_use]
    pub fn with_info(mut self, info: Map<String, Value>) -> Self {
        self.0.info = Some(info);
        self
    }

    /// Adds when it is worth trying again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// What kind of failure this is.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The sentence for the client.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The sentence for the log.
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or(&self.0.message)
    }

    /// When it is worth trying again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The error as the JSON document devices get on twin replies and services inside method errors
    /// (contract/mqtt.md 7.4, contract/rest.md 4.1 style B).
    pub fn details_json(&self, tracking: &TrackingId, at: Timestamp) -> String {
        let mut details = Map::new();
        details.insert("errorCode".to_owned(), json!(self.0.code.number()));
        details.insert("trackingId".to_owned(), json!(tracking.to_string()));
        details.insert("message".to_owned(), json!(self.0.message));
        if let Some(info) = &self.0.info {
            details.insert("info".to_owned(), json!(info));
        }
        details.insert("timestampUtc".to_owned(), json!(at.to_string()));
        Value::Object(details).to_string()
    }
}

/// Both texts may quote what a client sent, so a line break in them could forge a line of the log.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.code.number(), self.0.code.name(), self.0.message)
    }
}

impl std::error::Error for HubError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_numeric_order() {
        assert!(ErrorCode::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }

    #[test]
    fn quoted_input_cannot_forge_a_line_of_the_log() {
        let error = HubError::new(ErrorCode::ArgumentInvalid, "status 'x\n2026 ERROR forged'");
        assert_eq!(error.reason(), "status 'x\u{fffd}2026 ERROR forged'");
    }

    #[test]
    fn the_log_reads_the_reason_and_the_client_never_does() {
        let error =
            HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized").with_reason("key mismatch");
        assert_eq!(error.reason(), "key mismatch");
        assert!(!error.to_string().contains("key mismatch"));
    }
}
