//! From the AMQP library's errors to ours. Whatever the hub said on detaching a link, ending the session or
//! closing the connection (contract/amqp.md section 5) is found in the many places the library keeps it in.

use fe2o3_amqp::connection::{self, ConnectionStopReason};
use fe2o3_amqp::link::{
    DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
    SessionStopReason,
};
use fe2o3_amqp::session::{self, BeginError};
use fe2o3_amqp::types::definitions::{self, ErrorCondition};
use fe2o3_amqp::types::messaging::Outcome;
use serde_amqp::primitives::Symbol;

use crate::error::{Error, ErrorKind, HubError};

/// An error of the library that may carry what the hub said.
pub(super) trait HubSaid: std::error::Error + Send + Sync + Sized + 'static {
    fn hub_said(&self) -> Option<&definitions::Error>;

    /// Our error; `doing` completes the sentence "could not ..", `otherwise` is the kind when the hub said nothing.
    fn failed(self, doing: &str, otherwise: ErrorKind) -> Error {
        match self.hub_said() {
            Some(said) => Error::refused(doing, refusal(said)),
            None => {
                Error::new(otherwise, format!("could not {doing}: the connection broke")).with_source(self)
            }
        }
    }
}

/// What became of a message the hub was to store.
pub(super) fn outcome(outcome: Outcome, doing: &str) -> Result<(), Error> {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(rejected) => Err(match &rejected.error {
            Some(said) => Error::refused(doing, refusal(said)),
            None => Error::new(ErrorKind::InvalidArgument, format!("could not {doing}: the hub rejected it")),
        }),
        Outcome::Released(_) | Outcome::Modified(_) => {
            Err(Error::new(ErrorKind::Unavailable, format!("could not {doing}: the hub did not take it now")))
        }
    }
}

fn refusal(said: &definitions::Error) -> HubError {
    let name = name_of(&said.condition);
    let text = said.description.clone().unwrap_or_default();
    let tracking_id = said.info.as_ref().and_then(|info| {
        info.iter().find(|(key, _)| key.0 == "com.microsoft:tracking-id").and_then(|(_, value)| match value {
            serde_amqp::Value::String(id) => Some(id.clone()),
            _ => None,
        })
    });
    HubError { status: status_of(&name), name: Some(name), number: None, text, tracking_id }
}

fn name_of(condition: &ErrorCondition) -> String {
    match condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition).0,
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition).0,
        ErrorCondition::SessionError(condition) => Symbol::from(condition).0,
        ErrorCondition::LinkError(condition) => Symbol::from(condition).0,
        ErrorCondition::Custom(condition) => condition.0.clone(),
    }
}

/// The condition of a link that another one has replaced.
pub(super) const STOLEN: &str = "amqp:link:stolen";

/// The HTTP status that means the same; whatever a new connection may cure is 503.
fn status_of(condition: &str) -> u16 {
    match condition {
        "amqp:unauthorized-access" => 401,
        "amqp:not-found" | "com.microsoft:entity-not-found" | "com.microsoft:iot-hub-not-found-error" => 404,
        "amqp:decode-error"
        | "amqp:invalid-field"
        | "amqp:not-allowed"
        | "amqp:not-implemented"
        | "com.microsoft:argument-error"
        | "com.microsoft:argument-out-of-range" => 400,
        "amqp:link:message-size-exceeded" => 413,
        "amqp:resource-limit-exceeded"
        | "com.microsoft:iot-hub-suspended"
        | "com.microsoft:quota-exceeded" => 403,
        "amqp:precondition-failed" | "com.microsoft:precondition-failed" => 412,
        "com.microsoft:device-container-throttled" => 429,
        "com.microsoft:device-already-exists" => 409,
        "com.microsoft:timeout" => 504,
        _ => 503,
    }
}

fn of_connection(reason: &ConnectionStopReason) -> Option<&definitions::Error> {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(said) => Some(said),
        ConnectionStopReason::Closed
        | ConnectionStopReason::ClosedWithError(_)
        | ConnectionStopReason::RemoteClosed => None,
    }
}

fn of_session(reason: &SessionStopReason) -> Option<&definitions::Error> {
    match reason {
        SessionStopReason::RemoteEndedWithError(said) => Some(said),
        SessionStopReason::ConnectionStopped(reason) => of_connection(reason),
        SessionStopReason::Ended | SessionStopReason::EndedWithError(_) | SessionStopReason::RemoteEnded => {
            None
        }
    }
}

impl HubSaid for connection::Error {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteClosedWithError(said) => Some(said),
            _ => None,
        }
    }
}

impl HubSaid for BeginError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteEndedWithError(said) => Some(said),
            Self::ConnectionStopped(reason) => of_connection(reason),
            _ => None,
        }
    }
}

impl HubSaid for session::Error {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteEndedWithError(said) => Some(said),
            Self::ConnectionStopped(reason) => of_connection(reason),
            _ => None,
        }
    }
}

impl HubSaid for SenderAttachError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteClosedWithError(said) => Some(said),
            Self::SessionStopped(reason) => of_session(reason),
            _ => None,
        }
    }
}

impl HubSaid for ReceiverAttachError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteClosedWithError(said) => Some(said),
            Self::SessionStopped(reason) => of_session(reason),
            _ => None,
        }
    }
}

impl HubSaid for LinkStateError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteClosedWithError(said) | Self::RemoteDetachedWithError(said) => Some(said),
            Self::SessionStopped(reason) => of_session(reason),
            _ => None,
        }
    }
}

impl HubSaid for DetachError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::RemoteClosedWithError(said) | Self::RemoteDetachedWithError(said) => Some(said),
            Self::SessionStopped(reason) => of_session(reason),
            _ => None,
        }
    }
}

impl HubSaid for SendError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::LinkStateError(error) => error.hub_said(),
            Self::Detached(error) => error.hub_said(),
            _ => None,
        }
    }

    fn failed(self, doing: &str, otherwise: ErrorKind) -> Error {
        match &self {
            Self::MessageSizeExceeded(too_large) => Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "could not {doing}: it has {} bytes and the hub takes {} at most",
                    too_large.size, too_large.max_size
                ),
            ),
            _ => match self.hub_said() {
                Some(said) => Error::refused(doing, refusal(said)),
                None => Error::new(otherwise, format!("could not {doing}: the connection broke"))
                    .with_source(self),
            },
        }
    }
}

impl HubSaid for RecvError {
    fn hub_said(&self) -> Option<&definitions::Error> {
        match self {
            Self::LinkStateError(error) => error.hub_said(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::definitions::AmqpError;

    use super::*;

    #[test]
    fn what_the_hub_said_is_found_however_deep_it_lies() {
        let said = definitions::Error::new(AmqpError::UnauthorizedAccess, "token expired".to_owned(), None);
        let error = SendError::LinkStateError(LinkStateError::SessionStopped(
            SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosedWithError(said)),
        ));
        let error = error.failed("send", ErrorKind::ConnectionLost);
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let hub = error.hub().unwrap();
        assert_eq!(
            (hub.status, hub.name.as_deref(), hub.text.as_str()),
            (401, Some("amqp:unauthorized-access"), "token expired")
        );
    }

    #[test]
    fn a_take_over_is_something_to_come_back_from() {
        let stolen = definitions::Error::new(
            ErrorCondition::Custom(Symbol::from("amqp:link:stolen")),
            String::new(),
            None,
        );
        assert!(Error::refused("x", refusal(&stolen)).is_transient());
        assert_eq!(status_of("amqp:link:message-size-exceeded"), 413);
    }

    #[test]
    fn a_broken_socket_has_no_words_of_the_hub() {
        let error = LinkStateError::IllegalState.failed("send", ErrorKind::ConnectionLost);
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert!(error.hub().is_none());
    }
}
