//! What a message carries beside its body, as headers: contract/rest.md 1.16, both ways. The members of a batch's
//! `properties` have the same names.
//!
//! HTTP compares header names without regard to case and the library hands them out in lower case, so the names of
//! application properties arrive in lower case; those of a batch keep theirs.

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hub::c2d::{Acknowledgement, CloudToDeviceMessage, LockedMessage};
use hub::error::HubError;
use hub::json::shown;
use hub::telemetry::MessageProperties;
use hub::time::Timestamp;

use crate::json;
use crate::names::message;

/// The properties of a device-to-cloud message.
pub(crate) fn of_telemetry<'a>(named: impl Iterator<Item = (&'a str, Option<String>)>) -> MessageProperties {
    let mut properties = MessageProperties::default();
    for (name, value) in named {
        let slot = match name.to_ascii_lowercase().as_str() {
            message::CONTENT_ENCODING => &mut properties.content_encoding,
            message::CONTENT_TYPE => &mut properties.content_type,
            message::CORRELATION_ID => &mut properties.correlation_id,
            message::CREATION_TIME | message::CREATION_TIME_OF_BATCH | message::CREATION_TIME_OF_JAVA => {
                &mut properties.creation_time_utc
            }
            message::EXPIRY => &mut properties.absolute_expiry,
            message::INTERFACE_ID => &mut properties.interface_id,
            message::MESSAGE_ID => &mut properties.message_id,
            message::SCHEMA => &mut properties.schema,
            message::SUBJECT => &mut properties.subject,
            message::USER_ID => &mut properties.user_id,
            _ => {
                set_application(&mut properties.application, name, value);
                continue;
            }
        };
        *slot = value;
    }
    properties
}

/// A cloud-to-device message as a back end sends it over REST.
///
/// # Errors
/// `ArgumentInvalid` for an expiry that is no time and an acknowledgement that is no word for one.
pub(crate) fn of_cloud_to_device(headers: &HeaderMap) -> Result<CloudToDeviceMessage, HubError> {
    let mut sent = CloudToDeviceMessage::default();
    for (name, value) in named(headers) {
        let slot = match name {
            message::CONTENT_ENCODING => &mut sent.content_encoding,
            message::CONTENT_TYPE => &mut sent.content_type,
            message::CORRELATION_ID => &mut sent.correlation_id,
            message::CREATION_TIME | message::CREATION_TIME_OF_JAVA => &mut sent.creation_time_utc,
            message::MESSAGE_ID => &mut sent.message_id,
            message::USER_ID => &mut sent.user_id,
            message::ACKNOWLEDGEMENT => {
                sent.acknowledgement = value.as_deref().map(acknowledgement).transpose()?;
                continue;
            }
            message::EXPIRY => {
                sent.expires_at = value.as_deref().map(expiry).transpose()?;
                continue;
            }
            _ => {
                set_application(&mut sent.application, name, value);
                continue;
            }
        };
        *slot = value;
    }
    // The explorer says it the way HTTP does.
    if sent.content_encoding.is_none() {
        sent.content_encoding = headers.get(CONTENT_ENCODING).map(text);
    }
    Ok(sent)
}

/// Headers with their values as text. UTF-8 where it is that, else Latin-1, which is how Node writes what is no ASCII.
pub(crate) fn named(headers: &HeaderMap) -> impl Iterator<Item = (&str, Option<String>)> {
    headers.iter().map(|(name, value)| (name.as_str(), Some(text(value))))
}

fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

fn acknowledgement(word: &str) -> Result<Acknowledgement, HubError> {
    Acknowledgement::parse(word).ok_or_else(|| {
        let allowed = Acknowledgement::ALL.iter().map(|ack| ack.as_str()).collect::<Vec<_>>().join(", ");
        json::invalid(format!("{} is '{}', allowed are {allowed}.", message::ACKNOWLEDGEMENT, shown(word)))
    })
}

fn expiry(written: &str) -> Result<Timestamp, HubError> {
    Timestamp::parse(written).ok_or_else(|| {
        json::invalid(format!("{} is '{}', not a time in ISO 8601.", message::EXPIRY, shown(written)))
    })
}

/// Keeps what has the prefix of application properties. The lines of one header come one after the other; the last
/// of them counts.
fn set_application(application: &mut Vec<(String, Option<String>)>, name: &str, value: Option<String>) {
    let Some((prefix, own)) = name.split_at_checked(message::APPLICATION.len()) else { return };
    if !prefix.eq_ignore_ascii_case(message::APPLICATION) || own.is_empty() {
        return;
    }
    match application.last_mut() {
        Some((last, kept)) if last == own => *kept = value,
        _ => application.push((own.to_owned(), value)),
    }
}

/// A message for a device as the headers of an answer. What HTTP cannot write (control characters in a value, spaces
/// in a name) is left out.
pub(crate) fn to_headers(locked: &LockedMessage, device: &str, headers: &mut HeaderMap) {
    let sent = &*locked.message;
    let mut set = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let value = HeaderValue::from_bytes(value.as_bytes()).ok();
        let written = name.zip(value).map(|(name, value)| headers.try_insert(name, value));
        if !matches!(written, Some(Ok(_))) {
            tracing::debug!(
                device,
                seq = locked.sequence,
                "a property of the message is no header, it is left out"
            );
        }
    };
    set(message::SEQUENCE_NUMBER, &locked.sequence.to_string());
    set(message::TO, &message::to_device(device));
    set(message::ENQUEUED_TIME, &locked.enqueued_at.to_string());
    set(message::DELIVERY_COUNT, &locked.delivery_count.to_string());
    set(message::EXPIRY, &locked.expires_at.to_string());
    let texts = [
        (message::MESSAGE_ID, sent.message_id.as_deref()),
        (message::CORRELATION_ID, sent.correlation_id.as_deref()),
        (message::USER_ID, sent.user_id.as_deref()),
        (message::CONTENT_TYPE, sent.content_type.as_deref()),
        (message::CONTENT_ENCODING, sent.content_encoding.as_deref()),
        (message::ACKNOWLEDGEMENT, sent.acknowledgement.map(Acknowledgement::as_str)),
    ];
    for (name, value) in texts {
        value.into_iter().for_each(|value| set(name, value));
    }
    for (name, value) in &sent.application {
        set(&format!("{}{name}", message::APPLICATION), value.as_deref().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use hub::error::ErrorCode;

    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn pair(name: &str, value: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn each_header_of_the_table_becomes_its_property_and_what_is_not_the_messages_is_ignored() {
        let read = of_telemetry(named(&headers(&[
            ("iothub-messageid", b"m"),
            ("iothub-correlationid", b"c"),
            ("iothub-userid", b"u"),
            ("iothub-to", b"/devices/d/messages/events"),
            ("iothub-operation", b"d2c"),
            ("iothub-ack", b"full"),
            ("iothub-expiry", b"2026-01-01T00:00:00Z"),
            ("iothub-contenttype", b"application/json"),
            ("iothub-contentencoding", b"utf-8"),
            ("iothub-messageschema", b"s"),
            ("iothub-interface-id", b"i"),
            ("dt-subject", b"thermostat1"),
            ("iothub-app-k", b"v"),
            ("iothub-app-", b"nameless"),
            ("user-agent", b"x"),
        ])));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read,
            MessageProperties {
                message_id: text("m"),
                correlation_id: text("c"),
                user_id: text("u"),
                absolute_expiry: text("2026-01-01T00:00:00Z"),
                content_type: text("application/json"),
                content_encoding: text("utf-8"),
                schema: text("s"),
                interface_id: text("i"),
                subject: text("thermostat1"),
                application: vec![pair("k", "v")],
                ..MessageProperties::default()
            }
        );
    }

    #[test]
    fn the_creation_time_is_known_by_the_names_csharp_java_and_batches_give_it() {
        for name in
            ["iothub-creationtimeutc", "iothub-creation-time-utc", "IoTHub-App-iothub-creation-time-utc"]
        {
            let read = of_telemetry([(name, Some("t".to_owned()))].into_iter());
            assert_eq!(read.creation_time_utc.as_deref(), Some("t"), "{name}");
            assert!(read.application.is_empty());
        }
    }

    #[test]
    fn names_of_a_batch_keep_their_case_and_the_last_line_of_a_header_counts() {
        let batch = [("IOTHUB-APP-Temperature", Some("1".to_owned())), ("iothub-app-None", None)];
        assert_eq!(
            of_telemetry(batch.into_iter()).application,
            [pair("Temperature", "1"), ("None".to_owned(), None)]
        );
        let twice = headers(&[("iothub-app-k", b"old"), ("iothub-app-k", b"new")]);
        assert_eq!(of_telemetry(named(&twice)).application, [pair("k", "new")]);
    }

    #[test]
    fn values_are_utf_8_or_else_latin_1() {
        let read =
            of_telemetry(named(&headers(&[("iothub-app-a", "é".as_bytes()), ("iothub-app-b", b"\xe9")])));
        assert_eq!(read.application, [pair("a", "é"), pair("b", "é")]);
    }

    #[test]
    fn what_a_back_end_sends_is_read_and_what_it_misspells_refused() {
        let sent = of_cloud_to_device(&headers(&[
            ("iothub-messageid", b"m"),
            ("iothub-ack", b"FULL"),
            ("iothub-expiry", b"2026-01-01T00:00:00.5Z"),
            ("iothub-app-k", b"v"),
            ("content-encoding", b"utf-8"),
        ]))
        .unwrap();
        assert_eq!(sent.acknowledgement, Some(Acknowledgement::Full));
        assert_eq!(sent.expires_at.unwrap().to_string(), "2026-01-01T00:00:00.5000000Z");
        assert_eq!(
            (sent.application, sent.content_encoding.as_deref()),
            (vec![pair("k", "v")], Some("utf-8"))
        );
        for (name, value) in [("iothub-ack", b"all".as_slice()), ("iothub-expiry", b"tomorrow")] {
            let refused = of_cloud_to_device(&headers(&[(name, value)])).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
            assert!(refused.message().starts_with(name), "{}", refused.message());
        }
    }
}
