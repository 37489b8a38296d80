//! Messages we send (contract/amqp.md 1.3.3, 4). A value carries its type on the wire, because clients demand it.

use bytes::{Bytes, BytesMut};

use super::encode::Writer;

/// A value of a message; the variant is the type on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Entry<'a> {
    Binary(&'a [u8]),
    Bool(bool),
    /// Encoded already, as it came.
    Encoded(&'a [u8]),
    Int(i32),
    Long(i64),
    #[default]
    Null,
    /// An array, each of at most 255 bytes.
    Strings(&'a [&'a str]),
    Symbol(&'a str),
    Text(&'a str),
    /// Milliseconds since 1970.
    Time(i64),
    Ubyte(u8),
    Ulong(u64),
}

impl<'a> Entry<'a> {
    /// Something that came encoded, if it came.
    pub(crate) fn echo(encoded: Option<&'a [u8]>) -> Self {
        encoded.map_or(Self::Null, Self::Encoded)
    }

    /// Text that may be absent.
    pub(crate) fn optional_text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// A symbol that may be absent.
    pub(crate) fn optional_symbol(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Symbol)
    }

    const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    fn write(self, writer: &mut Writer<'_>) {
        match self {
            Self::Binary(bytes) => writer.binary(bytes),
            Self::Bool(value) => writer.bool(value),
            Self::Encoded(bytes) => writer.encoded(Some(bytes)),
            Self::Int(value) => writer.int(value),
            Self::Long(value) => writer.long(value),
            Self::Null => writer.null(),
            Self::Strings(texts) => writer.strings(texts),
            Self::Symbol(text) => writer.symbol(text),
            Self::Text(text) => writer.string(text),
            Self::Time(millis) => writer.timestamp(millis),
            Self::Ubyte(value) => writer.ubyte(value),
            Self::Ulong(value) => writer.ulong(value),
        }
    }
}

/// The properties section; those the hub never sets are not here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutgoingProperties<'a> {
    pub(crate) message_id: Entry<'a>,
    pub(crate) user_id: Entry<'a>,
    pub(crate) to: Entry<'a>,
    pub(crate) correlation_id: Entry<'a>,
    pub(crate) content_type: Entry<'a>,
    pub(crate) content_encoding: Entry<'a>,
    pub(crate) absolute_expiry_time: Entry<'a>,
    pub(crate) creation_time: Entry<'a>,
}

impl OutgoingProperties<'_> {
    /// All thirteen fields in their order.
    fn fields(&self) -> [Entry<'_>; 13] {
        let mut fields = [Entry::Null; 13];
        [fields[0], fields[1], fields[2], fields[5]] =
            [self.message_id, self.user_id, self.to, self.correlation_id];
        [fields[6], fields[7], fields[8], fields[9]] =
            [self.content_type, self.content_encoding, self.absolute_expiry_time, self.creation_time];
        fields
    }
}

/// The body of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Body<'a> {
    /// A data section.
    Data(&'a [u8]),
    /// A value that is a map with strings for keys.
    Map(&'a [(&'a str, Entry<'a>)]),
    /// A value that is null.
    #[default]
    Null,
}

/// A message we send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutgoingMessage<'a> {
    /// Symbol keys.
    pub(crate) annotations: &'a [(&'a str, Entry<'a>)],
    pub(crate) properties: OutgoingProperties<'a>,
    /// String keys.
    pub(crate) application: &'a [(&'a str, Entry<'a>)],
    pub(crate) body: Body<'a>,
}

impl OutgoingMessage<'_> {
    /// The encoded sections; those with nothing in them are left out.
    pub(crate) fn encode(&self) -> Bytes {
        let body_bytes = if let Body::Data(data) = self.body { data.len() } else { 0 };
        let mut buffer = BytesMut::with_capacity(128 + body_bytes);
        let mut writer = Writer(&mut buffer);
        if !self.annotations.is_empty() {
            writer.described_map(0x72, self.annotations.len(), |w| {
                for (key, value) in self.annotations {
                    w.symbol(key);
                    value.write(w);
                }
            });
        }
        let fields = self.properties.fields();
        if !fields.iter().all(|field| field.is_null()) {
            writer.composite(0x73, fields.len(), |w| fields.iter().for_each(|field| field.write(w)));
        }
        if !self.application.is_empty() {
            writer.described_map(0x74, self.application.len(), |w| {
                for (key, value) in self.application {
                    w.string(key);
                    value.write(w);
                }
            });
        }
        match self.body {
            Body::Data(data) => {
                writer.descriptor(0x75);
                writer.binary(data);
            }
            Body::Map(entries) => writer.described_map(0x77, entries.len(), |w| {
                for (key, value) in entries {
                    w.string(key);
                    value.write(w);
                }
            }),
            Body::Null => {
                writer.descriptor(0x77);
                writer.null();
            }
        }
        buffer.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, Properties, Scalar};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let id = [0x98, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let encoded = OutgoingMessage {
            annotations: &[("status", Entry::Int(204)), ("version", Entry::Long(7))],
            properties: OutgoingProperties { correlation_id: Entry::Encoded(&id), ..Default::default() },
            application: &[("status-description", Entry::Text("OK"))],
            body: Body::Data(b"{}"),
        }
        .encode();
        let message = Message::parse(&encoded).unwrap();
        assert_eq!(message.annotation("status"), Some(&Scalar::Int(204)));
        assert_eq!(message.annotation("version"), Some(&Scalar::Int(7)));
        assert_eq!(message.properties.correlation_id.as_deref(), Some(&id[..]));
        assert_eq!(message.application_property("status-description"), Some(&Scalar::Text("OK".into())));
        assert_eq!(message.into_body(), "{}");
    }

    #[test]
    fn every_property_stands_in_its_place() {
        let properties = OutgoingProperties {
            message_id: Entry::Text("id"),
            user_id: Entry::Binary(b"user"),
            to: Entry::Text("to"),
            correlation_id: Entry::Text("correlation"),
            content_type: Entry::Symbol("type"),
            content_encoding: Entry::Symbol("encoding"),
            absolute_expiry_time: Entry::Time(5),
            creation_time: Entry::Time(6),
        };
        let encoded = OutgoingMessage { properties, ..Default::default() }.encode();
        let read = Message::parse(&encoded).unwrap().properties;
        for (field, value) in [
            (&read.message_id, Scalar::Text("id".into())),
            (&read.user_id, Scalar::Binary(b"user".to_vec())),
            (&read.to, Scalar::Text("to".into())),
            (&read.correlation_id, Scalar::Text("correlation".into())),
            (&read.content_type, Scalar::Text("type".into())),
            (&read.content_encoding, Scalar::Text("encoding".into())),
            (&read.absolute_expiry_time, Scalar::Time(5)),
            (&read.creation_time, Scalar::Time(6)),
            (&read.reply_to, Scalar::Null),
        ] {
            assert_eq!(Properties::scalar(field.as_ref()).unwrap(), value);
        }
    }

    #[test]
    fn status_and_version_have_the_types_the_c_client_demands() {
        let annotations = &[("s", Entry::Int(1)), ("v", Entry::Long(2))];
        let encoded = OutgoingMessage { annotations, ..Default::default() }.encode();
        assert!(encoded.windows(5).any(|w| w == [0x71, 0, 0, 0, 1]));
        assert!(encoded.windows(9).any(|w| w == [0x81, 0, 0, 0, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn a_map_may_have_more_entries_than_a_short_one_counts() {
        let keys: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let application: Vec<_> = keys.iter().map(|key| (key.as_str(), Entry::Text(""))).collect();
        let encoded = OutgoingMessage { application: &application, ..Default::default() }.encode();
        assert_eq!(Message::parse(&encoded).unwrap().application.len(), 300);
    }
}
