//! Device-to-cloud messages: from a delivery to what the core stores (contract/amqp.md 4.1).

use bytes::Bytes;
use hub::limits;
use hub::telemetry::{DeviceMessage, MessageProperties};
use hub::time::Timestamp;

use crate::engine::message::{Message, Properties, Scalar};
use crate::engine::value::Malformed;
use crate::names::telemetry as names;

/// Bytes of the message link beside the 256 KiB a message may have: sections, property names, batch framing.
const ENCODING_BYTES: usize = 64 * 1024;
/// Largest delivery a telemetry link collects; the core judges the message inside.
pub(crate) const DELIVERY_BYTES_MAX: usize = limits::TELEMETRY_BYTES + ENCODING_BYTES;

/// What a delivery holds.
#[expect(clippy::large_enum_variant, reason = "the large one is the common one, and lives for one call")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Telemetry {
    Batch(Vec<DeviceMessage>),
    Single(DeviceMessage),
}

impl Telemetry {
    /// Reads a delivery by its message-format.
    pub(crate) fn parse(format: u32, payload: &Bytes) -> Result<Self, Malformed> {
        let message = Message::parse(payload)?;
        if format != names::BATCH_FORMAT {
            return Ok(Self::Single(device_message(message)?));
        }
        let messages = message.data.iter().map(|inner| device_message(Message::parse(inner)?));
        Ok(Self::Batch(messages.collect::<Result<_, _>>()?))
    }
}

fn device_message(message: Message) -> Result<DeviceMessage, Malformed> {
    let fields = &message.properties;
    let text = |field: &Option<Bytes>| Properties::scalar(field.as_ref()).map(Scalar::into_display);
    let time = |field: &Option<Bytes>| Properties::scalar(field.as_ref()).map(|value| timestamp(&value));
    let mut properties = MessageProperties {
        message_id: text(&fields.message_id)?,
        correlation_id: text(&fields.correlation_id)?,
        user_id: text(&fields.user_id)?,
        to: text(&fields.to)?,
        content_type: text(&fields.content_type)?,
        content_encoding: text(&fields.content_encoding)?,
        creation_time_utc: time(&fields.creation_time)?,
        absolute_expiry: time(&fields.absolute_expiry_time)?,
        ..MessageProperties::default()
    };
    let annotation = |name| message.annotation(name).cloned().and_then(Scalar::into_display);
    properties.interface_id = annotation(names::INTERFACE_ID);
    properties.subject = annotation(names::COMPONENT);
    properties.diagnostic_id = annotation(names::DIAGNOSTIC_ID);
    properties.diagnostic_context = annotation(names::DIAGNOSTIC_CONTEXT);
    let mut message = message;
    for (name, value) in std::mem::take(&mut message.application) {
        match name.as_str() {
            names::CREATION_TIME => properties.creation_time_utc = value.into_display(),
            names::MESSAGE_SCHEMA => properties.schema = value.into_display(),
            names::OUTPUT_NAME => properties.output_name = value.into_display(),
            names::ACK => {}
            name if names::SENDER_CLAIMS.contains(&name) => {}
            _ => properties.application.push((name, value.into_display())),
        }
    }
    Ok(DeviceMessage { properties, body: message.into_body() })
}

/// A timestamp as the text other protocols send; what is before 1970 stands for "unset" (contract/amqp.md 4.2).
fn timestamp(value: &Scalar) -> Option<String> {
    match value {
        Scalar::Time(millis) if *millis > 0 => {
            millis.checked_mul(10_000).map(|ticks| Timestamp::from_ticks(ticks).to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::engine::encode::Writer;

    fn message(body: &[u8]) -> Bytes {
        let mut buffer = BytesMut::new();
        let mut writer = Writer(&mut buffer);
        writer.described_map(0x72, 3, |w| {
            for (key, value) in
                [("dt-subject", "thermostat"), ("Diagnostic-Id", "trace"), ("Correlation-Context", "a=b")]
            {
                w.symbol(key);
                w.string(value);
            }
        });
        writer.composite(0x73, 9, |w| {
            w.string("id-1");
            w.binary(b"user");
            w.string("/devices/d/messages/events");
            w.nulls(2);
            w.string("corr");
            w.symbol("application/json");
            w.symbol("utf-8");
            w.0.extend_from_slice(&[0x83]);
            w.0.extend_from_slice(&1_767_225_600_123_i64.to_be_bytes());
        });
        writer.described_map(0x74, 5, |w| {
            for (key, value) in [
                ("level", "hot"),
                ("iothub-outputname", "out"),
                ("iothub-creation-time-utc", "2026-01-01T00:00:00Z"),
                ("iothub-connection-device-id", "somebody-else"),
                ("iothub-ack", "full"),
            ] {
                w.string(key);
                w.string(value);
            }
        });
        writer.descriptor(0x75);
        writer.binary(body);
        buffer.freeze()
    }

    #[test]
    fn system_properties_and_own_ones_are_told_apart() {
        let Ok(Telemetry::Single(message)) = Telemetry::parse(0, &message(b"{}")) else {
            panic!("no message")
        };
        let p = &message.properties;
        assert_eq!(p.message_id.as_deref(), Some("id-1"));
        assert_eq!(p.correlation_id.as_deref(), Some("corr"));
        assert_eq!(p.user_id.as_deref(), Some("user"));
        assert_eq!(p.content_type.as_deref(), Some("application/json"));
        assert_eq!(p.content_encoding.as_deref(), Some("utf-8"));
        assert_eq!(p.output_name.as_deref(), Some("out"));
        assert_eq!(p.subject.as_deref(), Some("thermostat"));
        assert_eq!(p.diagnostic_id.as_deref(), Some("trace"));
        assert_eq!(p.diagnostic_context.as_deref(), Some("a=b"));
        assert_eq!(p.creation_time_utc.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(p.absolute_expiry.as_deref(), Some("2026-01-01T00:00:00.1230000Z"));
        assert_eq!(p.application, [("level".to_owned(), Some("hot".to_owned()))]);
        assert_eq!(message.body, "{}");
    }

    #[test]
    fn a_batch_is_the_messages_in_its_data_sections() {
        let mut batch = BytesMut::new();
        for body in [b"1", b"2"] {
            let mut writer = Writer(&mut batch);
            writer.descriptor(0x75);
            writer.binary(&message(body));
        }
        let batch = batch.freeze();
        let Ok(Telemetry::Batch(messages)) = Telemetry::parse(names::BATCH_FORMAT, &batch) else {
            panic!("no batch")
        };
        assert_eq!(messages.iter().map(|message| &message.body[..]).collect::<Vec<_>>(), [b"1", b"2"]);
        let Ok(Telemetry::Single(_)) = Telemetry::parse(0, &batch) else {
            panic!("the format was not looked at")
        };
    }

    #[test]
    fn a_batch_with_a_broken_message_is_refused_whole() {
        let mut batch = BytesMut::new();
        let mut writer = Writer(&mut batch);
        writer.descriptor(0x75);
        writer.binary(b"not a message");
        assert!(Telemetry::parse(names::BATCH_FORMAT, &batch.freeze()).is_err());
    }
}
