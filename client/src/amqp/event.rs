//! From a message of an event hub's link to an [`Event`] (contract/eventhubs.md 5).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fe2o3_amqp::types::messaging::annotations::OwnedKey;
use fe2o3_amqp::types::messaging::{ApplicationProperties, MessageAnnotations, MessageId};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};

use super::message::{self, Incoming};
use crate::error::Error;
use crate::events::Event;

/// Reads a message that came from `partition`.
pub(super) fn event(partition: &str, mut message: Incoming) -> Result<Event, Error> {
    let annotations = message.message_annotations.take().unwrap_or_default();
    let missing = |name: &str| Error::protocol(format!("an event of partition {partition} has no {name}"));
    let number = annotation(&annotations, SEQUENCE_NUMBER).and_then(long);
    let offset = annotation(&annotations, OFFSET).and_then(text);
    let enqueued_at = annotation(&annotations, ENQUEUED_TIME).and_then(time);
    let properties = message.properties.take().unwrap_or_default();
    let own = message.application_properties.take();
    Ok(Event {
        partition: partition.to_owned(),
        sequence_number: number.ok_or_else(|| missing(SEQUENCE_NUMBER))?,
        offset: offset.ok_or_else(|| missing(OFFSET))?,
        enqueued_at: enqueued_at.ok_or_else(|| missing(ENQUEUED_TIME))?,
        message_id: properties.message_id.and_then(id),
        correlation_id: properties.correlation_id.and_then(id),
        content_type: properties.content_type.map(|symbol| symbol.0),
        content_encoding: properties.content_encoding.map(|symbol| symbol.0),
        properties: own.map(own_properties).unwrap_or_default(),
        annotations: texts(&annotations),
        body: message::body(message),
    })
}

/// A number of 64 bits, or of 32 where a peer saves bytes.
pub(super) fn long(value: &Value) -> Option<i64> {
    match value {
        Value::Long(number) => Some(*number),
        Value::Int(number) => Some(i64::from(*number)),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Symbol(symbol) => Some(symbol.0.clone()),
        _ => None,
    }
}

/// Times before 1970 read as 1970: an empty partition has no last event.
pub(super) fn time(value: &Value) -> Option<SystemTime> {
    match value {
        Value::Timestamp(time) => {
            let since_epoch = u64::try_from(time.milliseconds()).unwrap_or_default();
            UNIX_EPOCH.checked_add(Duration::from_millis(since_epoch))
        }
        _ => None,
    }
}

fn annotation<'a>(annotations: &'a MessageAnnotations, name: &str) -> Option<&'a Value> {
    let is_it = |key: &OwnedKey| matches!(key, OwnedKey::Symbol(symbol) if symbol.0 == name);
    annotations.0.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
}

fn texts(annotations: &MessageAnnotations) -> Vec<(String, String)> {
    let named = annotations.0.iter().filter_map(|(key, value)| match key {
        OwnedKey::Symbol(key) if key.0 != OFFSET => Some((key.0.clone(), text(value)?)),
        OwnedKey::Symbol(_) | OwnedKey::Ulong(_) => None,
    });
    named.collect()
}

fn own_properties(own: ApplicationProperties) -> Vec<(String, Option<String>)> {
    own.0.into_inner().into_iter().map(|(name, value)| (name, shown(value))).collect()
}

/// An IoT hub's properties are text; of an event hub's others, numbers and truth values are shown as such.
fn shown(value: SimpleValue) -> Option<String> {
    match value {
        SimpleValue::String(text) => Some(text),
        SimpleValue::Symbol(symbol) => Some(symbol.0),
        SimpleValue::Bool(value) => Some(value.to_string()),
        SimpleValue::Int(number) => Some(number.to_string()),
        SimpleValue::Long(number) => Some(number.to_string()),
        SimpleValue::Uint(number) => Some(number.to_string()),
        SimpleValue::Ulong(number) => Some(number.to_string()),
        SimpleValue::Double(number) => Some(number.0.to_string()),
        _ => None,
    }
}

fn id(id: MessageId) -> Option<String> {
    match id {
        MessageId::String(text) => Some(text),
        MessageId::Ulong(number) => Some(number.to_string()),
        MessageId::Uuid(id) => Some(uuid::Uuid::from_bytes(id.into_inner()).to_string()),
        MessageId::Binary(_) => None,
    }
}

const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
const OFFSET: &str = "x-opt-offset";
const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::messaging::{Body, Data, Message, Properties};
    use fe2o3_amqp::types::primitives::Timestamp;
    use serde_amqp::primitives::{Binary, Symbol};

    use super::*;

    fn stamped(offset: Value) -> Incoming {
        Message::builder()
            .message_annotations(
                MessageAnnotations::builder()
                    .insert(Symbol::from(SEQUENCE_NUMBER), 7_i64)
                    .insert(Symbol::from(OFFSET), offset)
                    .insert(Symbol::from(ENQUEUED_TIME), Timestamp::from(1_700_000_000_123))
                    .insert(Symbol::from("iothub-connection-device-id"), "d1")
                    .build(),
            )
            .properties(Properties::builder().message_id(MessageId::String("m".into())).build())
            .application_properties(
                ApplicationProperties::builder()
                    .insert("colour", "red")
                    .insert("empty", SimpleValue::Null)
                    .build(),
            )
            .body(Body::from(Data(Binary::from(b"body".to_vec()))))
            .build()
    }

    #[test]
    fn an_event_has_its_place_its_sender_its_properties_and_its_body() {
        let read = event("3", stamped(Value::String("4711".into()))).unwrap();
        assert_eq!((read.partition.as_str(), read.sequence_number, read.offset.as_str()), ("3", 7, "4711"));
        assert_eq!(read.enqueued_at, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        assert_eq!((read.device_id(), read.module_id()), (Some("d1"), None));
        assert_eq!(read.message_id.as_deref(), Some("m"));
        assert_eq!((read.property("colour"), read.property("empty")), (Some("red"), None));
        assert_eq!(read.properties.len(), 2);
        assert_eq!(read.annotations, [("iothub-connection-device-id".to_owned(), "d1".to_owned())]);
        assert_eq!(read.body.as_ref(), b"body");
    }

    #[test]
    fn a_message_without_a_place_is_no_event() {
        let error = event("3", stamped(Value::Null)).unwrap_err();
        assert!(error.to_string().contains(OFFSET), "{error}");
    }
}
