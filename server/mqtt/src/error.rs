//! What this head does with every error code of the core, and its own reasons to end a connection;
//! `contract/mqtt.md 2.6`, `2.11` and `7.4`. MQTT 3.1.1 has no error packet: apart from twin requests, which have
//! a status, an error is a closed socket.
#![warn(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use hub::device_session::DisconnectReason;
use hub::error::{ErrorCode, HubError};

use crate::username::UsernameError;
use crate::wire::WireError;

/// What a twin request that failed gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinOutcome {
    /// The session itself is no longer good: close, as for everything else.
    Close,
    /// A response with this status and the error as its body.
    Status(u16),
}

/// The outcome of a twin request that failed with `code`.
pub(crate) fn twin_outcome(code: ErrorCode) -> TwinOutcome {
    use ErrorCode as Code;
    match code {
        Code::ArgumentInvalid
        | Code::ArgumentNull
        | Code::BulkRegenerateDeviceKeyOperationFailure
        | Code::BulkRegistryOperationFailure
        | Code::DeviceDefinedMultipleTimes
        | Code::GenericBadRequest
        | Code::InvalidDeviceScope
        | Code::InvalidPolicyKey
        | Code::InvalidProtocolVersion
        | Code::IotHubFormatError => TwinOutcome::Status(400),
        Code::DeviceMaximumInflightMethodExceeded
        | Code::DeviceMaximumQueueDepthExceeded
        | Code::GenericForbidden
        | Code::InvalidMessageExpiryTime => TwinOutcome::Status(403),
        Code::CertificateNotFound
        | Code::DeviceConnectionClosedRemotely
        | Code::DeviceNotOnline
        | Code::GenericNotFound => TwinOutcome::Status(404),
        Code::GenericMethodNotAllowed => TwinOutcome::Status(405),
        Code::DeviceAlreadyExists | Code::ModuleAlreadyExistsOnDevice => TwinOutcome::Status(409),
        Code::DeviceMessageLockLost | Code::PreconditionFailed => TwinOutcome::Status(412),
        Code::GenericRequestEntityTooLarge
        | Code::MessageTooLarge
        | Code::TooManyDevices
        | Code::TooManyModulesOnDevice => TwinOutcome::Status(413),
        Code::GenericUnsupportedMediaType => TwinOutcome::Status(415),
        Code::ThrottlingException => TwinOutcome::Status(429),
        Code::ServerError => TwinOutcome::Status(500),
        Code::GenericBadGateway => TwinOutcome::Status(502),
        Code::ServiceUnavailable => TwinOutcome::Status(503),
        Code::GatewayTimeout => TwinOutcome::Status(504),
        // The identity is gone or its credential no longer good, which a new CONNECT will be told with 5; the day's
        // messages are used up, `contract/mqtt.md 2.11`; or the tier has no twins: devices of a basic hub were seen
        // to lose their connection over a twin request.
        Code::DeviceNotFound
        | Code::IotHubQuotaExceeded
        | Code::IotHubUnauthorizedAccess
        | Code::ModuleNotFound
        | Code::OperationNotAvailableInCurrentTier
        | Code::SystemModuleModifyUnauthorizedAccess => TwinOutcome::Close,
    }
}

/// Why a connection ends. Who logs it is decided by what it is: see [`Ending::log`].
#[derive(Debug)]
pub(crate) enum Ending {
    /// The peer broke a rule of the protocol, or the wire under it.
    Broken(Broken),
    /// The core said no to something MQTT has no error answer for.
    Failed(HubError),
    /// DISCONNECT.
    Goodbye,
    /// The core ended the session, or the process is stopping.
    Kicked(DisconnectReason),
    /// Refused by the authenticator or the gate, who have logged it.
    Refused,
    /// This head refused the CONNECT before anyone else saw it.
    RefusedHere(RefusedConnect),
}

impl Ending {
    /// One line for what nobody has logged yet.
    pub(crate) fn log(&self) {
        match self {
            Self::Broken(broken) => tracing::debug!("peer is broken: {broken}"),
            Self::Failed(error) => {
                tracing::warn!(code = error.code().number(), "closing: {}", error.reason());
            }
            Self::Goodbye => tracing::debug!("client disconnected"),
            Self::Kicked(DisconnectReason::SlowConsumer) => tracing::debug!("client reads too slowly"),
            // The core logs the ends it brings about.
            Self::Kicked(_) | Self::Refused => {}
            Self::RefusedHere(refused) => tracing::warn!("connect refused: {refused}"),
        }
    }
}

/// A rule of the protocol that a peer broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection was closed within a packet")]
    CutShort,
    #[error("no CONNECT within {}", seconds(*.0))]
    NoConnect(Duration),
    #[error("gone without DISCONNECT")]
    NoDisconnect,
    #[error("a second CONNECT")]
    SecondConnect,
    #[error("nothing heard for {}, 1.5 times the keep-alive", seconds(*.0))]
    Silent(Duration),
    #[error("does not read what it is sent")]
    Stuck,
    #[error("the topic belongs to another identity")]
    TopicOfAnother,
    #[error("the topic is not UTF-8")]
    TopicNotText,
    #[error("the hub has no topic {0:?}")]
    UnknownTopic(String),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("connection lost: {0}")]
    WireLost(#[from] std::io::Error),
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}

/// Why this head refuses a CONNECT, for the log: the client is only told "5".
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedConnect {
    #[error(
        "client id {client_id:?} does not match the username's identity '{expected}'; they must be equal"
    )]
    ClientId { client_id: String, expected: String },
    #[error("{}", .0.reason())]
    Core(HubError),
    #[error("{0}; use MQTT 3.1.1")]
    Protocol(WireError),
    #[error(transparent)]
    Username(#[from] UsernameError),
    #[error("the Will's topic must be the identity's own telemetry topic, its QoS 0 or 1")]
    Will,
}

/// A client's text, cut so that the log cannot be filled by one packet.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 300;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_status_is_the_error_codes_first_three_digits_unless_the_session_is_over() {
        let closing: Vec<_> =
            ErrorCode::ALL.iter().filter(|code| twin_outcome(**code) == TwinOutcome::Close).collect();
        assert_eq!(
            closing,
            [
                &ErrorCode::IotHubUnauthorizedAccess,
                &ErrorCode::SystemModuleModifyUnauthorizedAccess,
                &ErrorCode::IotHubQuotaExceeded,
                &ErrorCode::OperationNotAvailableInCurrentTier,
                &ErrorCode::DeviceNotFound,
                &ErrorCode::ModuleNotFound,
            ]
        );
        for code in ErrorCode::ALL {
            if let TwinOutcome::Status(status) = twin_outcome(*code) {
                assert_eq!(u32::from(status), code.number() / 1000, "{}", code.name());
            }
        }
    }
}
