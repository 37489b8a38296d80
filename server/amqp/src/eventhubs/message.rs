//! An event as readers get it (contract/eventhubs.md 5, contract/mqtt.md 11 and 12).
//!
//! Only what stands before the body is written here; the body goes out from where the event hub keeps it. Go reads a
//! body from exactly one data section, .NET, Go and the C client demand the types of annotations to the letter.

use bytes::BytesMut;
use hub::events::{Event, EventData, EventPosition, MessageSource};
use hub::time::Timestamp;

use crate::engine::encode::{Entries, Writer};
use crate::names::{event as names, partition, segments};

/// What a reader that asked for runtime metrics is told with each event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuntimeMetrics {
    pub(crate) last_enqueued: Option<EventPosition>,
    pub(crate) retrieved_at: Timestamp,
}

/// Writes an event's sections up to the first byte of its body.
pub(crate) fn write_head(event: &Event, metrics: Option<&RuntimeMetrics>, into: &mut BytesMut) {
    let mut writer = Writer(into);
    if let Some(metrics) = metrics {
        writer.counted_map(0x71, |entries| write_metrics(metrics, entries));
    }
    writer.counted_map(0x72, |entries| write_annotations(event, entries));
    write_properties(&event.data, &mut writer);
    let data = &event.data;
    let has_application = !data.properties.application.is_empty()
        || data.properties.creation_time_utc.is_some()
        || data.properties.schema.is_some()
        || event.enrichments.is_some();
    if has_application {
        writer.counted_map(0x74, |entries| write_application(event, entries));
    }
    writer.descriptor(0x75);
    writer.binary_head(data.body.len());
}

fn write_metrics(metrics: &RuntimeMetrics, entries: &mut Entries<'_>) {
    let LastEnqueued { sequence_number, offset, at } = LastEnqueued::of(metrics.last_enqueued);
    entries.symbol(partition::LAST_ENQUEUED_SEQUENCE_NUMBER).long(sequence_number);
    entries.symbol(partition::LAST_ENQUEUED_OFFSET).string(&offset);
    entries.symbol(partition::LAST_ENQUEUED_TIME).timestamp(at.unix_millis());
    entries.symbol(partition::RETRIEVAL_TIME).timestamp(metrics.retrieved_at.unix_millis());
}

/// The newest event of a partition in the words of the wire, which has some for "none" (contract/eventhubs.md 3).
pub(crate) struct LastEnqueued {
    pub(crate) sequence_number: i64,
    pub(crate) offset: String,
    pub(crate) at: Timestamp,
}

impl LastEnqueued {
    pub(crate) fn of(position: Option<EventPosition>) -> Self {
        match position {
            Some(EventPosition { sequence_number, offset, enqueued_at }) => {
                Self { sequence_number, offset: offset.to_string(), at: enqueued_at }
            }
            None => Self {
                sequence_number: -1,
                offset: partition::NO_OFFSET.to_owned(),
                at: Timestamp::from_unix_secs(0),
            },
        }
    }
}

fn write_annotations(event: &Event, entries: &mut Entries<'_>) {
    let Event { position, data, .. } = event;
    let device = data.identity.device.as_str();
    entries.symbol(names::SEQUENCE_NUMBER).long(position.sequence_number);
    entries.symbol(names::OFFSET).short_string(position.offset);
    entries.symbol(names::ENQUEUED_TIME).timestamp(position.enqueued_at.unix_millis());
    entries.symbol(names::PARTITION_KEY).string(device);
    entries.symbol(names::DEVICE_ID).string(device);
    if let Some(module) = &data.identity.module {
        entries.symbol(names::MODULE_ID).string(module.as_str());
    }
    if let Some(sender) = &data.sender {
        entries.symbol(names::AUTH_METHOD).string(sender.auth_method);
        entries.symbol(names::AUTH_GENERATION_ID).short_string(sender.generation_id);
    }
    entries.symbol(names::HUB_ENQUEUED_TIME).timestamp(data.accepted_at.unix_millis());
    entries.symbol(names::SOURCE).string(data.source.as_str());
    let model_id = data.sender.as_ref().and_then(|sender| sender.model_id.as_deref());
    for (name, value) in [
        (names::MODEL_ID, model_id),
        (names::COMPONENT, data.properties.subject.as_deref()),
        (names::INTERFACE_ID, data.properties.interface_id.as_deref()),
        (names::DIAGNOSTIC_ID, data.properties.diagnostic_id.as_deref()),
        (names::DIAGNOSTIC_CONTEXT, data.properties.diagnostic_context.as_deref()),
    ] {
        if let Some(value) = value {
            entries.symbol(name).string(value);
        }
    }
}

/// Ids are strings whatever they were: Go casts them unasked.
fn write_properties(data: &EventData, writer: &mut Writer<'_>) {
    let properties = &data.properties;
    let expiry = properties.absolute_expiry.as_deref().and_then(Timestamp::parse);
    writer.composite(0x73, PROPERTIES, |w| {
        w.optional_string(properties.message_id.as_deref());
        match &properties.user_id {
            Some(user) => w.binary(user.as_bytes()),
            None => w.null(),
        }
        write_to(data, w);
        w.nulls(2);
        w.optional_string(properties.correlation_id.as_deref());
        w.optional_symbol(properties.content_type.as_deref());
        w.optional_symbol(properties.content_encoding.as_deref());
        match expiry {
            Some(at) => w.timestamp(at.unix_millis()),
            None => w.null(),
        }
        w.nulls(4);
    });
}

/// As the device set it, or the path its telemetry takes (contract/mqtt.md 11).
fn write_to(data: &EventData, writer: &mut Writer<'_>) {
    use segments as s;
    let device = data.identity.device.as_str();
    match (&data.properties.to, data.source, &data.identity.module) {
        (Some(to), ..) => writer.string(to),
        (None, MessageSource::Telemetry, None) => {
            writer.joined_string(&["/", s::DEVICES, "/", device, "/", s::MESSAGES, "/", s::EVENTS]);
        }
        (None, MessageSource::Telemetry, Some(module)) => {
            let (modules, module) = (s::MODULES, module.as_str());
            writer.joined_string(&[
                "/",
                s::DEVICES,
                "/",
                device,
                "/",
                modules,
                "/",
                module,
                "/",
                s::MESSAGES,
                "/",
                s::EVENTS,
            ]);
        }
        (
            None,
            MessageSource::DeviceConnectionState
            | MessageSource::DeviceJobLifecycle
            | MessageSource::DeviceLifecycle
            | MessageSource::DigitalTwinChange
            | MessageSource::TwinChange,
            _,
        ) => writer.null(),
    }
}

fn write_application(event: &Event, entries: &mut Entries<'_>) {
    let properties = &event.data.properties;
    for (name, value) in [
        (names::CREATION_TIME, properties.creation_time_utc.as_deref()),
        (names::MESSAGE_SCHEMA, properties.schema.as_deref()),
    ] {
        if let Some(value) = value {
            entries.string(name).string(value);
        }
    }
    for (name, value) in event.application_properties() {
        entries.string(name).optional_string(value);
    }
}

/// Fields of the properties section.
const PROPERTIES: usize = 13;

/// Room for the head of an ordinary event.
pub(crate) const HEAD_BYTES: usize = 768;
