//! The messages of the twin, CBS and telemetry links, to and from AMQP's types (contract/amqp.md 2, 4.1, 4.5).

use bytes::{Bytes, BytesMut};
use fe2o3_amqp::types::messaging::annotations::OwnedKey;
use fe2o3_amqp::types::messaging::{
    AmqpValue, Annotations, ApplicationProperties, Body, Data, Message, MessageAnnotations, MessageId,
    Properties,
};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use serde_amqp::primitives::{Binary, Symbol};

use crate::device::TelemetryMessage;

/// A message from the hub, with whatever body it has.
pub(super) type Incoming = Message<Body<Value>>;

/// A request on the twin's sender link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TwinRequest {
    Get,
    PatchReported,
    SubscribeDesired,
}

pub(super) fn put_token(message_id: &str, audience: &str, token: &str) -> Message<AmqpValue<String>> {
    Message::builder()
        .properties(
            Properties::builder()
                .message_id(MessageId::String(message_id.to_owned()))
                .to("$cbs")
                .reply_to("cbs")
                .build(),
        )
        .application_properties(
            ApplicationProperties::builder()
                .insert("operation", "put-token")
                .insert("type", "servicebus.windows.net:sastoken")
                .insert("name", audience)
                .build(),
        )
        .value(token.to_owned())
        .build()
}

pub(super) fn twin_request(request: TwinRequest, correlation_id: &str, body: Bytes) -> Message<Data> {
    let (operation, resource) = match request {
        TwinRequest::Get => ("GET", None),
        TwinRequest::PatchReported => ("PATCH", Some("/properties/reported")),
        TwinRequest::SubscribeDesired => ("PUT", Some("/notifications/twin/properties/desired")),
    };
    let mut annotations = MessageAnnotations::builder().insert(Symbol::from("operation"), operation);
    if let Some(resource) = resource {
        annotations = annotations.insert(Symbol::from("resource"), resource);
    }
    // The SDKs send one blank where there is nothing to say; a body section has to be there.
    let body = if body.is_empty() { Bytes::from_static(b" ") } else { body };
    Message::builder()
        .message_annotations(annotations.build())
        .properties(
            Properties::builder().correlation_id(MessageId::String(correlation_id.to_owned())).build(),
        )
        .data(data(&body))
        .build()
}

pub(super) fn telemetry(message: &TelemetryMessage) -> Message<Data> {
    let mut own = ApplicationProperties::builder();
    let system = [
        ("iothub-outputname", &message.output_name),
        ("iothub-creation-time-utc", &message.creation_time_utc),
    ];
    for (name, value) in system {
        if let Some(value) = value {
            own = own.insert(name, value.as_str());
        }
    }
    for (name, value) in &message.properties {
        own = own.insert(name.as_str(), value.as_str());
    }
    let own = own.build();
    let properties = Properties {
        message_id: message.message_id.clone().map(MessageId::String),
        correlation_id: message.correlation_id.clone().map(MessageId::String),
        content_type: message.content_type.as_deref().map(Symbol::from),
        content_encoding: message.content_encoding.as_deref().map(Symbol::from),
        ..Properties::default()
    };
    Message::builder()
        .properties(properties)
        .application_properties((!own.0.is_empty()).then_some(own))
        .data(data(&message.body))
        .build()
}

pub(super) fn correlation_id(message: &Incoming) -> Option<&str> {
    match message.properties.as_ref()?.correlation_id.as_ref()? {
        MessageId::String(id) => Some(id),
        MessageId::Binary(_) | MessageId::Ulong(_) | MessageId::Uuid(_) => None,
    }
}

pub(super) fn annotation(message: &Incoming, name: &str) -> Option<i64> {
    let annotations: &Annotations = &message.message_annotations.as_ref()?.0;
    let found =
        annotations.iter().find(|(key, _)| matches!(key, OwnedKey::Symbol(symbol) if symbol.0 == name));
    match found?.1 {
        Value::Int(number) => Some(i64::from(*number)),
        Value::Long(number) => Some(*number),
        _ => None,
    }
}

/// The status of a CBS reply and what it says to it.
pub(super) fn cbs_status(message: &Incoming) -> Option<(u16, String)> {
    let own = &message.application_properties.as_ref()?.0;
    let status = match own.get("status-code")? {
        SimpleValue::Int(status) => u16::try_from(*status).ok()?,
        _ => return None,
    };
    let text = match own.get("status-description") {
        Some(SimpleValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    Some((status, text))
}

/// The bytes of a data body, of one or many sections; anything else reads as empty.
pub(super) fn body(message: Incoming) -> Bytes {
    let Body::Data(sections) = message.body else { return Bytes::new() };
    let mut whole = BytesMut::new();
    for section in sections {
        whole.extend_from_slice(&section.0);
    }
    whole.freeze()
}

fn data(body: &Bytes) -> Data {
    Data(Binary::from(body.to_vec()))
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::messaging::Batch;

    use super::*;

    fn annotated(message: &Message<Data>, name: &str) -> Option<String> {
        let annotations = &message.message_annotations.as_ref()?.0;
        annotations.iter().find_map(|(key, value)| match (key, value) {
            (OwnedKey::Symbol(key), Value::String(value)) if key.0 == name => Some(value.clone()),
            _ => None,
        })
    }

    #[test]
    fn a_twin_get_has_no_resource_and_one_blank() {
        let message = twin_request(TwinRequest::Get, "id", Bytes::new());
        assert_eq!(annotated(&message, "operation").as_deref(), Some("GET"));
        assert_eq!(annotated(&message, "resource"), None);
        assert_eq!(message.body.0.as_slice(), b" ");
    }

    #[test]
    fn subscribing_is_a_put_and_reporting_a_patch_of_their_resources() {
        let put = twin_request(TwinRequest::SubscribeDesired, "id", Bytes::new());
        assert_eq!(annotated(&put, "operation").as_deref(), Some("PUT"));
        assert_eq!(annotated(&put, "resource").as_deref(), Some("/notifications/twin/properties/desired"));
        let patch = twin_request(TwinRequest::PatchReported, "id", Bytes::from_static(b"{}"));
        assert_eq!(annotated(&patch, "operation").as_deref(), Some("PATCH"));
        assert_eq!(annotated(&patch, "resource").as_deref(), Some("/properties/reported"));
        assert_eq!(patch.body.0.as_slice(), b"{}");
    }

    #[test]
    fn telemetry_puts_system_properties_where_the_hub_looks() {
        let mut message = TelemetryMessage::new("x").json().property("colour", "red");
        message.output_name = Some("out".into());
        let sent = telemetry(&message);
        assert_eq!(sent.properties.unwrap().content_type.unwrap().0, "application/json");
        let own = sent.application_properties.unwrap().0;
        assert_eq!(own.get("iothub-outputname"), Some(&SimpleValue::String("out".into())));
        assert_eq!(own.get("colour"), Some(&SimpleValue::String("red".into())));
        assert!(telemetry(&TelemetryMessage::new("x")).application_properties.is_none());
    }

    #[test]
    fn an_answer_gives_its_status_version_and_joined_body() {
        let message = Message::builder()
            .message_annotations(
                MessageAnnotations::builder()
                    .insert(Symbol::from("status"), 204_i32)
                    .insert(Symbol::from("version"), 7_i64)
                    .build(),
            )
            .properties(Properties::builder().correlation_id(MessageId::String("id".into())).build())
            .body(Body::Data(Batch::new(vec![
                Data(Binary::from(b"ab".to_vec())),
                Data(Binary::from(b"c".to_vec())),
            ])))
            .build();
        assert_eq!((annotation(&message, "status"), annotation(&message, "version")), (Some(204), Some(7)));
        assert_eq!(correlation_id(&message), Some("id"));
        assert_eq!(body(message), Bytes::from_static(b"abc"));
    }

    #[test]
    fn a_cbs_reply_without_a_number_is_not_understood() {
        let reply = |status: SimpleValue| -> Incoming {
            Message::builder()
                .application_properties(
                    ApplicationProperties::builder().insert("status-code", status).build(),
                )
                .body(Body::Empty)
                .build()
        };
        assert_eq!(cbs_status(&reply(SimpleValue::Int(200))), Some((200, String::new())));
        assert_eq!(cbs_status(&reply(SimpleValue::String("200".into()))), None);
    }
}
