//! Reads the hub's error answers. Over HTTPS (contract/rest.md 4.1) `Message` is `ErrorCode:Name;text`, or JSON inside
//! a string, or just text, and the header `iothub-errorcode` names the error too; on a twin's link or topic
//! (contract/mqtt.md 7.4) the body is that JSON.

use serde::Deserialize;

use crate::error::HubError;

/// Longest foreign error text kept, in characters: a proxy may answer with a whole page.
const MAX_TEXT_CHARS: usize = 500;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    exception_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    error_code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    tracking_id: Option<String>,
}

/// What an HTTPS answer with this status, header and body says.
pub(crate) fn of_request(status: u16, name_header: Option<&str>, body: &[u8]) -> HubError {
    let header_name = name_header.map(str::to_owned);
    let Ok(parsed) = serde_json::from_slice::<Body>(body) else {
        let text = String::from_utf8_lossy(body).trim().chars().take(MAX_TEXT_CHARS).collect();
        let number = header_name.as_deref().and_then(number_of);
        return HubError { status, name: header_name, number, text, tracking_id: None };
    };
    if let Ok(inner) = serde_json::from_str::<Inner>(&parsed.message) {
        let hub = inner.into_hub_error(status);
        return HubError { name: header_name.or(hub.name), ..hub };
    }
    let (name, text) = match parsed.message.strip_prefix("ErrorCode:").and_then(|rest| rest.split_once(';')) {
        Some((name, text)) => (Some(name.trim().to_owned()), text.to_owned()),
        None => (header_name, parsed.message),
    };
    let tracking_id = parsed.exception_message.as_deref().and_then(tracking_id).map(str::to_owned);
    let number = name.as_deref().and_then(number_of);
    HubError { status, name, number, text, tracking_id }
}

/// What a twin's answer with this status and body says.
pub(crate) fn of_twin(status: u16, body: &[u8]) -> HubError {
    match serde_json::from_slice::<Inner>(body) {
        Ok(inner) => inner.into_hub_error(status),
        Err(_) => HubError { status, ..HubError::default() },
    }
}

impl Inner {
    fn into_hub_error(self, status: u16) -> HubError {
        HubError {
            status,
            name: name_of(self.error_code).map(str::to_owned),
            number: Some(self.error_code),
            text: self.message,
            tracking_id: self.tracking_id.as_deref().map(without_time).map(str::to_owned),
        }
    }
}

fn tracking_id(exception_message: &str) -> Option<&str> {
    let (_, rest) = exception_message.split_once("Tracking ID:")?;
    rest.split_whitespace().next().map(without_time)
}

fn without_time(tracking_id: &str) -> &str {
    tracking_id.split("-TimeStamp").next().unwrap_or(tracking_id)
}

fn number_of(name: &str) -> Option<u32> {
    CODES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

fn name_of(number: u32) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The numbers behind the names that registry and twin calls answer with (contract/rest.md 4.4).
const CODES: &[(u32, &str)] = &[
    (400_000, "GenericBadRequest"),
    (400_001, "InvalidProtocolVersion"),
    (400_003, "InvalidOperation"),
    (400_004, "ArgumentInvalid"),
    (400_005, "ArgumentNull"),
    (400_006, "IotHubFormatError"),
    (400_012, "DeserializationError"),
    (400_013, "BulkRegistryOperationFailure"),
    (400_028, "InvalidDeviceScope"),
    (401_000, "GenericUnauthorized"),
    (401_001, "IotHubNotFound"),
    (401_002, "IotHubUnauthorizedAccess"),
    (401_003, "IotHubUnauthorized"),
    (401_100, "SystemModuleModifyUnauthorizedAccess"),
    (403_000, "GenericForbidden"),
    (403_001, "IotHubSuspended"),
    (403_002, "IotHubQuotaExceeded"),
    (403_010, "OperationNotAvailableInCurrentTier"),
    (403_012, "DeviceDisabled"),
    (404_000, "GenericNotFound"),
    (404_001, "DeviceNotFound"),
    (404_010, "ModuleNotFound"),
    (404_103, "DeviceNotOnline"),
    (404_104, "DeviceConnectionClosedRemotely"),
    (405_000, "GenericMethodNotAllowed"),
    (409_000, "GenericConflict"),
    (409_001, "DeviceAlreadyExists"),
    (409_301, "ModuleAlreadyExistsOnDevice"),
    (412_000, "GenericPreconditionFailed"),
    (412_001, "PreconditionFailed"),
    (413_000, "GenericRequestEntityTooLarge"),
    (413_001, "MessageTooLarge"),
    (413_002, "TooManyDevices"),
    (413_003, "TooManyModulesOnDevice"),
    (415_000, "GenericUnsupportedMediaType"),
    (429_000, "GenericTooManyRequests"),
    (429_001, "ThrottlingException"),
    (500_001, "ServerError"),
    (502_000, "GenericBadGateway"),
    (503_000, "GenericServiceUnavailable"),
    (503_001, "ServiceUnavailable"),
    (504_000, "GenericGatewayTimeout"),
    (504_101, "GatewayTimeout"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_error_gives_name_number_text_and_tracking_id() {
        let body = br#"{"Message":"ErrorCode:DeviceAlreadyExists;Conflict",
            "ExceptionMessage":"Tracking ID:e4cb-G:11-TimeStamp:07/16/2016 00:12:41"}"#;
        let read = of_request(409, Some("DeviceAlreadyExists"), body);
        assert_eq!(read.name.as_deref(), Some("DeviceAlreadyExists"));
        assert_eq!(read.number, Some(409_001));
        assert_eq!(read.text, "Conflict");
        assert_eq!(read.tracking_id.as_deref(), Some("e4cb-G:11"));
    }

    #[test]
    fn an_error_written_as_json_in_a_string_is_read_too() {
        let body = br#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"t\",\"message\":\"not online\"}",
            "ExceptionMessage":""}"#;
        let read = of_request(404, None, body);
        assert_eq!((read.name.as_deref(), read.number), (Some("DeviceNotOnline"), Some(404_103)));
        assert_eq!((read.text.as_str(), read.tracking_id.as_deref()), ("not online", Some("t")));
    }

    #[test]
    fn a_twins_refusal_is_read_and_one_without_json_keeps_its_status() {
        let body =
            br#"{"errorCode":400004,"trackingId":"t-G:0-TimeStamp:11/23/2026 09:24:23","message":"a key"}"#;
        let read = of_twin(400, body);
        assert_eq!((read.name.as_deref(), read.number), (Some("ArgumentInvalid"), Some(400_004)));
        assert_eq!(read.tracking_id.as_deref(), Some("t-G:0"));
        assert_eq!(of_twin(429, b""), HubError { status: 429, ..HubError::default() });
    }

    #[test]
    fn an_answer_that_is_not_the_hubs_keeps_its_text_and_not_all_of_it() {
        let page = format!("<html>{}</html>", "x".repeat(10_000));
        let read = of_request(502, None, page.as_bytes());
        assert_eq!((read.status, read.name), (502, None));
        assert_eq!(read.text.chars().count(), MAX_TEXT_CHARS);
    }

    #[test]
    fn a_name_this_version_does_not_know_has_no_number() {
        let read = of_request(400, None, br#"{"Message":"ErrorCode:Brand New;text"}"#);
        assert_eq!((read.name.as_deref(), read.number), (Some("Brand New"), None));
    }
}
