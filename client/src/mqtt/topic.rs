//! Names on the MQTT wire: user name (contract/mqtt.md 2.3), telemetry topics with their property bag (section 5)
//! and twin topics (section 7).

use percent_encoding::utf8_percent_encode;

use crate::device::{LinkSettings, TelemetryMessage};
use crate::error::{Error, ErrorKind};
use crate::identity_id::IdentityId;
use crate::sas::UNRESERVED;

const API_VERSION: &str = "2021-04-12";

pub(super) const TWIN_RESPONSES: &str = "$iothub/twin/res/#";
pub(super) const DESIRED_CHANGES: &str = "$iothub/twin/PATCH/properties/desired/#";

const TWIN_RESPONSE_PREFIX: &str = "$iothub/twin/res/";
const DESIRED_CHANGE_PREFIX: &str = "$iothub/twin/PATCH/properties/desired/";

/// Longest topic MQTT can carry, in bytes.
const MAX_TOPIC_BYTES: usize = u16::MAX as usize;

/// What a message from the hub is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound<'a> {
    DesiredChange,
    TwinResponse { status: u16, rid: &'a str, version: Option<u64> },
    Unknown,
}

/// A request to the twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TwinRequest {
    Get,
    PatchReported,
}

pub(super) fn client_id(identity: &IdentityId) -> String {
    identity.to_string()
}

pub(super) fn username(settings: &LinkSettings) -> String {
    format!(
        "{}/{}/?api-version={API_VERSION}&DeviceClientType={}",
        settings.hub,
        client_id(&settings.identity),
        utf8_percent_encode(&settings.product_info, UNRESERVED)
    )
}

/// The topic of a message, which carries everything but its body.
pub(super) fn telemetry(identity: &IdentityId, message: &TelemetryMessage) -> Result<String, Error> {
    let path = identity.path();
    let mut topic = format!("{}/messages/events/", path.trim_start_matches('/'));
    let system = [
        ("$.on", &message.output_name),
        ("$.mid", &message.message_id),
        ("$.cid", &message.correlation_id),
        ("$.ct", &message.content_type),
        ("$.ce", &message.content_encoding),
        ("$.ctime", &message.creation_time_utc),
    ];
    let system = system.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let own = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (at, (name, value)) in system.chain(own).enumerate() {
        if at > 0 {
            topic.push('&');
        }
        topic.extend(utf8_percent_encode(name, UNRESERVED));
        topic.push('=');
        topic.extend(utf8_percent_encode(value, UNRESERVED));
    }
    if topic.len() > MAX_TOPIC_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the properties of the message are too long for MQTT: {} bytes encoded", topic.len()),
        ));
    }
    Ok(topic)
}

pub(super) fn twin_request(request: TwinRequest, rid: &str) -> String {
    let operation = match request {
        TwinRequest::Get => "GET",
        TwinRequest::PatchReported => "PATCH/properties/reported",
    };
    format!("$iothub/twin/{operation}/?$rid={rid}")
}

pub(super) fn inbound(topic: &str) -> Inbound<'_> {
    if topic.starts_with(DESIRED_CHANGE_PREFIX) {
        return Inbound::DesiredChange;
    }
    twin_response(topic).unwrap_or(Inbound::Unknown)
}

fn twin_response(topic: &str) -> Option<Inbound<'_>> {
    let (status, query) = topic.strip_prefix(TWIN_RESPONSE_PREFIX)?.split_once("/?")?;
    let field = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    Some(Inbound::TwinResponse {
        status: status.parse().ok()?,
        rid: field("$rid")?,
        version: field("$version").and_then(|version| version.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> IdentityId {
        IdentityId::of_module("d1", "m1").unwrap()
    }

    #[test]
    fn telemetry_topics_carry_system_properties_first_and_everything_encoded() {
        let mut message =
            TelemetryMessage::new("x").json().property("colour", "dark red").property("a/b", "=&$+ü");
        message.message_id = Some("42".into());
        assert_eq!(
            telemetry(&module(), &message).unwrap(),
            "devices/d1/modules/m1/messages/events/%24.mid=42&%24.ct=application%2Fjson&%24.ce=utf-8\
             &colour=dark%20red&a%2Fb=%3D%26%24%2B%C3%BC"
        );
    }

    #[test]
    fn a_message_without_properties_has_the_bare_topic() {
        let device = IdentityId::of_device("d1").unwrap();
        assert_eq!(telemetry(&device, &TelemetryMessage::new("")).unwrap(), "devices/d1/messages/events/");
    }

    #[test]
    fn properties_may_fill_a_topic_and_not_one_byte_more() {
        let bare = telemetry(&module(), &TelemetryMessage::new("").property("k", "")).unwrap().len();
        let fits = "v".repeat(MAX_TOPIC_BYTES - bare);
        assert!(telemetry(&module(), &TelemetryMessage::new("").property("k", fits.as_str())).is_ok());
        let error = telemetry(&module(), &TelemetryMessage::new("").property("k", fits + "v")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn twin_answers_are_told_apart_by_status_rid_and_version() {
        assert_eq!(
            inbound("$iothub/twin/res/204/?$rid=a-1&$version=7"),
            Inbound::TwinResponse { status: 204, rid: "a-1", version: Some(7) }
        );
        assert_eq!(
            inbound("$iothub/twin/res/200/?$rid=a-1"),
            Inbound::TwinResponse { status: 200, rid: "a-1", version: None }
        );
        assert_eq!(inbound("$iothub/twin/PATCH/properties/desired/?$version=3"), Inbound::DesiredChange);
        for odd in
            ["", "$iothub/twin/res/", "$iothub/twin/res/abc/?$rid=1", "$iothub/twin/res/200/?x=1", "a/b"]
        {
            assert_eq!(inbound(odd), Inbound::Unknown, "{odd}");
        }
    }

    #[test]
    fn twin_requests_end_in_their_rid() {
        assert_eq!(twin_request(TwinRequest::Get, "1"), "$iothub/twin/GET/?$rid=1");
        assert_eq!(
            twin_request(TwinRequest::PatchReported, "1"),
            "$iothub/twin/PATCH/properties/reported/?$rid=1"
        );
    }
}
