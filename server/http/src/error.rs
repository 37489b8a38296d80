//! How a refusal looks over HTTP: [`HubError`] -> status, headers and a body of style A, or of style B for direct
//! methods (contract/rest.md 4.1 to 4.4, 1.9).
//!
//! A call that fails returns [`Failure`]; it travels to the outermost layer as a response extension, because
//! only there the tracking id of the request is known. [`render`] is the single place that writes the body.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hub::error::{ErrorCode, HubError};
use hub::ids::TrackingId;
use hub::time::Timestamp;
use serde::Serialize;

use crate::names;

/// When to try again after 429 and 503 if the core does not know (contract/rest.md 0.4 names the header, not the
/// figure).
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A call's error on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: HubError,
    style: Style,
}

/// The two shapes of `Message` (contract/rest.md 4.1).
#[derive(Clone, Copy, Debug)]
enum Style {
    /// A: the code's name and a sentence.
    Sentence,
    /// B: a JSON document with the code's number.
    Document,
}

impl Failure {
    /// What a direct method came to is a document inside the document. A call that is wrong in itself is refused
    /// like any other: Node shows its caller a sentence and drops the rest.
    pub(crate) fn of_method(error: HubError) -> Self {
        let is_wrong_itself = matches!(error.code(), ErrorCode::ArgumentInvalid | ErrorCode::MessageTooLarge);
        Self { error, style: if is_wrong_itself { Style::Sentence } else { Style::Document } }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self { error, style: Style::Sentence }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = status(self.error.code()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What a call returns: an answer or the reason there is none.
pub(crate) type Answer = Result<Response, Failure>;

/// Any path that is in no row of contract/rest.md 1.1.
pub(crate) fn unknown_route() -> HubError {
    HubError::new(ErrorCode::GenericNotFound, "No resource answers at this address.")
}

/// A path of the table with a verb its row does not have.
pub(crate) fn wrong_verb() -> HubError {
    HubError::new(
        ErrorCode::GenericMethodNotAllowed,
        "The resource at this address does not support this method.",
    )
}

/// What both styles have in common.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    message: String,
    exception_message: String,
}

/// The whole answer to a failed request.
pub(crate) fn render(failure: &Failure, tracking: &TrackingId, at: Timestamp) -> Response {
    let error = &failure.error;
    let body = match failure.style {
        Style::Sentence => ErrorBody {
            message: format!("ErrorCode:{};{}", error.code().name(), one_field(error.message())),
            exception_message: format!("Tracking ID:{tracking}"),
        },
        // Java finds the number in a document only beside a blank `ExceptionMessage` (contract/rest.md 4.2).
        Style::Document => {
            ErrorBody { message: error.details_json(tracking, at), exception_message: String::new() }
        }
    };
    // Two strings cannot fail to serialize; an empty body is what a client could still make sense of.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    let status = status(error.code());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, names::value::JSON);
    headers.insert(names::header::ERROR_CODE, HeaderValue::from_static(error.code().name()));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, names::value::CHALLENGE);
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        let wait = error.retry_after().unwrap_or(RETRY_AFTER);
        // Whole seconds, rounded up: who comes back too early is refused again.
        let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    }
    response
}

/// Node's service SDK takes the text up to the next semicolon (contract/rest.md 4.2), so it must not hold one. In a
/// sentence of ours a comma does as well; in an id, which never holds a space, it stays readable as paths spell it.
fn one_field(sentence: &str) -> String {
    sentence.replace("; ", ", ").replace(';', "%3B")
}

/// The HTTP status of a code. Spelled out row by row so that a new code does not compile until it has one.
const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ArgumentInvalid
        | ErrorCode::ArgumentNull
        | ErrorCode::BulkRegenerateDeviceKeyOperationFailure
        | ErrorCode::BulkRegistryOperationFailure
        | ErrorCode::DeviceDefinedMultipleTimes
        | ErrorCode::GenericBadRequest
        | ErrorCode::InvalidDeviceScope
        | ErrorCode::InvalidPolicyKey
        | ErrorCode::InvalidProtocolVersion
        | ErrorCode::IotHubFormatError => StatusCode::BAD_REQUEST,
        ErrorCode::IotHubUnauthorizedAccess | ErrorCode::SystemModuleModifyUnauthorizedAccess => {
            StatusCode::UNAUTHORIZED
        }
        ErrorCode::DeviceMaximumInflightMethodExceeded
        | ErrorCode::DeviceMaximumQueueDepthExceeded
        | ErrorCode::GenericForbidden
        | ErrorCode::InvalidMessageExpiryTime
        | ErrorCode::IotHubQuotaExceeded
        | ErrorCode::OperationNotAvailableInCurrentTier => StatusCode::FORBIDDEN,
        ErrorCode::CertificateNotFound
        | ErrorCode::DeviceConnectionClosedRemotely
        | ErrorCode::DeviceNotFound
        | ErrorCode::DeviceNotOnline
        | ErrorCode::GenericNotFound
        | ErrorCode::ModuleNotFound => StatusCode::NOT_FOUND,
        ErrorCode::GenericMethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::DeviceAlreadyExists | ErrorCode::ModuleAlreadyExistsOnDevice => StatusCode::CONFLICT,
        ErrorCode::DeviceMessageLockLost | ErrorCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorCode::GenericRequestEntityTooLarge
        | ErrorCode::MessageTooLarge
        | ErrorCode::TooManyDevices
        | ErrorCode::TooManyModulesOnDevice => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::GenericUnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::ThrottlingException => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::GenericBadGateway => StatusCode::BAD_GATEWAY,
        ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use axum::body::to_bytes;
    use hub::entropy::Entropy;
    use hub::ids::HubName;
    use hub::time::ManualClock;
    use hub::{Hub, HubConfig};

    use super::*;

    /// Set to rewrite the golden file; the diff is then read like any other.
    const REWRITE: &str = "REWRITE_GOLDEN";
    const NOW: Timestamp = Timestamp::from_unix_secs(1_468_627_961);

    #[tokio::test]
    async fn the_whole_matrix_of_errors_is_the_golden_one() {
        let clock = Arc::new(ManualClock::at(NOW));
        let config = HubConfig::new(HubName::parse("h").unwrap(), Vec::new(), 1);
        let tracking = Hub::new(config, clock, Entropy::seeded(1)).tracking_id();
        let mut matrix = String::new();
        for code in ErrorCode::ALL {
            let (parts, body) =
                render(&HubError::new(*code, "A sentence.").into(), &tracking, NOW).into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            writeln!(matrix, "{} -> {}", code.number(), parts.status).unwrap();
            for (name, value) in &parts.headers {
                writeln!(matrix, "  {name}: {}", value.to_str().unwrap()).unwrap();
            }
            writeln!(matrix, "  {}", std::str::from_utf8(&body).unwrap()).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/errors.txt");
        if std::env::var_os(REWRITE).is_some() {
            std::fs::write(path, &matrix).unwrap();
        }
        assert_eq!(matrix, std::fs::read_to_string(path).unwrap(), "{REWRITE}=1 rewrites the file");
    }

    #[test]
    fn the_status_is_the_first_three_digits_of_the_code() {
        for code in ErrorCode::ALL {
            assert_eq!(u32::from(status(*code).as_u16()), code.number() / 1000, "{}", code.name());
        }
    }

    #[tokio::test]
    async fn what_the_log_may_say_never_reaches_the_client() {
        let error =
            HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized").with_reason("secret detail");
        let clock = Arc::new(ManualClock::at(NOW));
        let config = HubConfig::new(HubName::parse("h").unwrap(), Vec::new(), 1);
        let hub = Hub::new(config, clock, Entropy::seeded(1));
        let body = render(&error.into(), &hub.tracking_id(), NOW).into_body();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("Unauthorized") && !text.contains("secret detail"), "{text}");
    }

    #[test]
    fn a_semicolon_in_an_id_is_spelled_as_in_a_path_and_no_other_mark_changes() {
        assert_eq!(one_field("Device 'a;b;' is gone; make it."), "Device 'a%3Bb%3B' is gone, make it.");
        assert_eq!(one_field("Device 'a,b%3' is gone."), "Device 'a,b%3' is gone.");
    }
}
