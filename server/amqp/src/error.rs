//! What a refusal of the core looks like on this wire (contract/amqp.md 5).

#![warn(clippy::wildcard_enum_match_arm)]

use hub::device_session::DisconnectReason;
use hub::error::{ErrorCode, HubError};
use hub::events::ReadError;
use hub::ids::TrackingId;

use crate::engine::{Condition, Info};
use crate::names::conditions as c;

/// The condition of a code. `com.microsoft:device-not-found` is in no SDK's table, `amqp:not-found` is in all.
pub(crate) const fn condition(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::GenericBadRequest
        | ErrorCode::InvalidProtocolVersion
        | ErrorCode::ArgumentInvalid
        | ErrorCode::ArgumentNull
        | ErrorCode::BulkRegenerateDeviceKeyOperationFailure
        | ErrorCode::BulkRegistryOperationFailure
        | ErrorCode::DeviceDefinedMultipleTimes
        | ErrorCode::InvalidDeviceScope
        | ErrorCode::InvalidMessageExpiryTime
        | ErrorCode::InvalidPolicyKey
        | ErrorCode::IotHubFormatError
        | ErrorCode::GenericUnsupportedMediaType => c::ARGUMENT_ERROR,
        ErrorCode::IotHubUnauthorizedAccess | ErrorCode::SystemModuleModifyUnauthorizedAccess => {
            c::UNAUTHORIZED_ACCESS
        }
        ErrorCode::GenericForbidden
        | ErrorCode::GenericMethodNotAllowed
        | ErrorCode::OperationNotAvailableInCurrentTier => c::NOT_ALLOWED,
        ErrorCode::GenericNotFound
        | ErrorCode::DeviceNotFound
        | ErrorCode::DeviceNotOnline
        | ErrorCode::DeviceConnectionClosedRemotely
        | ErrorCode::CertificateNotFound
        | ErrorCode::ModuleNotFound => c::NOT_FOUND,
        ErrorCode::DeviceAlreadyExists | ErrorCode::ModuleAlreadyExistsOnDevice => c::DEVICE_ALREADY_EXISTS,
        ErrorCode::DeviceMessageLockLost => c::MESSAGE_LOCK_LOST,
        ErrorCode::PreconditionFailed => c::PRECONDITION_FAILED,
        ErrorCode::GenericRequestEntityTooLarge | ErrorCode::MessageTooLarge => c::MESSAGE_SIZE_EXCEEDED,
        ErrorCode::DeviceMaximumInflightMethodExceeded
        | ErrorCode::DeviceMaximumQueueDepthExceeded
        | ErrorCode::IotHubQuotaExceeded
        | ErrorCode::TooManyDevices
        | ErrorCode::TooManyModulesOnDevice => c::RESOURCE_LIMIT_EXCEEDED,
        ErrorCode::ThrottlingException => c::DEVICE_CONTAINER_THROTTLED,
        ErrorCode::GatewayTimeout => c::TIMEOUT,
        ErrorCode::GenericBadGateway | ErrorCode::ServerError => c::INTERNAL_ERROR,
        ErrorCode::ServiceUnavailable => c::DETACH_FORCED,
    }
}

/// The status of twin replies and of put-token replies: the first three digits of the code.
pub(crate) const fn status(code: ErrorCode) -> i32 {
    (code.number() / 1000) as i32
}

/// A core error as a refusal.
pub(crate) fn refusal(error: &HubError, tracking: &TrackingId) -> Condition {
    Condition {
        name: condition(error.code()),
        description: error.message().to_owned(),
        info: vec![(c::TRACKING_ID, Info::Text(tracking.to_string()))],
    }
}

/// A reader of events that is refused or ended (contract/eventhubs.md 4, 4.2).
pub(crate) fn read_refusal(error: &ReadError) -> Condition {
    let name = match error {
        ReadError::ConsumerGroupNotFound { .. }
        | ReadError::EventHubNotFound { .. }
        | ReadError::PartitionOutOfRange { .. } => c::NOT_FOUND,
        ReadError::ConsumerGroupRefused(error) => condition(error.code()),
        ReadError::Disowned { .. } | ReadError::OwnedByHigherLevel { .. } => c::STOLEN,
        ReadError::TooManyReaders { .. } => c::RESOURCE_LIMIT_EXCEEDED,
    };
    match name {
        // The words by which the Node client knows that trying again is of no use.
        c::NOT_FOUND => {
            Condition::new(name, format!("The messaging entity asked for could not be found. {error}"))
        }
        _ => Condition::new(name, error.to_string()),
    }
}

/// What the links of a session are detached with when the core ends it.
pub(crate) fn session_end(reason: DisconnectReason) -> Condition {
    match reason {
        DisconnectReason::CredentialsExpired => {
            Condition::new(c::UNAUTHORIZED_ACCESS, "the token expired and was not renewed")
        }
        DisconnectReason::HubStopping => Condition::new(c::DETACH_FORCED, "the hub is stopping"),
        DisconnectReason::IdentityDeleted => Condition::new(c::NOT_FOUND, "the identity was deleted"),
        DisconnectReason::IdentityDisabled => {
            Condition::new(c::UNAUTHORIZED_ACCESS, "the device was disabled")
        }
        DisconnectReason::KeysChanged => {
            Condition::new(c::UNAUTHORIZED_ACCESS, "the identity's credentials changed")
        }
        DisconnectReason::SlowConsumer => {
            Condition::new(c::DETACH_FORCED, "notifications were not read fast enough; reconnect")
        }
        DisconnectReason::TakenOver => Condition::new(c::STOLEN, "the identity connected again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole matrix, so that a changed mapping shows as a changed line.
    #[test]
    fn every_code_has_the_condition_of_the_contract() {
        let matrix: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|code| format!("{} {} {} {}", code.number(), code.name(), status(*code), condition(*code)))
            .collect();
        let expected = "\
400000 GenericBadRequest 400 com.microsoft:argument-error
400001 InvalidProtocolVersion 400 com.microsoft:argument-error
400004 ArgumentInvalid 400 com.microsoft:argument-error
400005 ArgumentNull 400 com.microsoft:argument-error
400006 IotHubFormatError 400 com.microsoft:argument-error
400011 DeviceDefinedMultipleTimes 400 com.microsoft:argument-error
400013 BulkRegistryOperationFailure 400 com.microsoft:argument-error
400028 InvalidDeviceScope 400 com.microsoft:argument-error
400035 InvalidPolicyKey 400 com.microsoft:argument-error
400036 BulkRegenerateDeviceKeyOperationFailure 400 com.microsoft:argument-error
401002 IotHubUnauthorizedAccess 401 amqp:unauthorized-access
401100 SystemModuleModifyUnauthorizedAccess 401 amqp:unauthorized-access
403000 GenericForbidden 403 amqp:not-allowed
403002 IotHubQuotaExceeded 403 amqp:resource-limit-exceeded
403004 DeviceMaximumQueueDepthExceeded 403 amqp:resource-limit-exceeded
403009 InvalidMessageExpiryTime 403 com.microsoft:argument-error
403010 OperationNotAvailableInCurrentTier 403 amqp:not-allowed
403800 DeviceMaximumInflightMethodExceeded 403 amqp:resource-limit-exceeded
404000 GenericNotFound 404 amqp:not-found
404001 DeviceNotFound 404 amqp:not-found
404008 CertificateNotFound 404 amqp:not-found
404010 ModuleNotFound 404 amqp:not-found
404103 DeviceNotOnline 404 amqp:not-found
404104 DeviceConnectionClosedRemotely 404 amqp:not-found
405000 GenericMethodNotAllowed 405 amqp:not-allowed
409001 DeviceAlreadyExists 409 com.microsoft:device-already-exists
409301 ModuleAlreadyExistsOnDevice 409 com.microsoft:device-already-exists
412001 PreconditionFailed 412 com.microsoft:precondition-failed
412002 DeviceMessageLockLost 412 com.microsoft:message-lock-lost
413000 GenericRequestEntityTooLarge 413 amqp:link:message-size-exceeded
413001 MessageTooLarge 413 amqp:link:message-size-exceeded
413002 TooManyDevices 413 amqp:resource-limit-exceeded
413003 TooManyModulesOnDevice 413 amqp:resource-limit-exceeded
415000 GenericUnsupportedMediaType 415 com.microsoft:argument-error
429001 ThrottlingException 429 com.microsoft:device-container-throttled
500001 ServerError 500 amqp:internal-error
502000 GenericBadGateway 502 amqp:internal-error
503001 ServiceUnavailable 503 amqp:link:detach-forced
504101 GatewayTimeout 504 com.microsoft:timeout";
        assert_eq!(matrix.join("\n"), expected);
    }
}
