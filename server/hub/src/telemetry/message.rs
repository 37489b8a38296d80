//! A device-to-cloud message as its sender meant it.

use bytes::Bytes;

/// A message on its way from a device or module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMessage {
    /// System and application properties.
    pub properties: MessageProperties,
    /// Any bytes, possibly none.
    pub body: Bytes,
}

/// The properties a sender may set (contract/mqtt.md 5.2, contract/amqp.md 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// `$.mid`
    pub message_id: Option<String>,
    /// `$.cid`
    pub correlation_id: Option<String>,
    /// `$.uid`
    pub user_id: Option<String>,
    /// `$.to`
    pub to: Option<String>,
    /// `$.ct`
    pub content_type: Option<String>,
    /// `$.ce`
    pub content_encoding: Option<String>,
    /// `$.ctime`, as sent
    pub creation_time_utc: Option<String>,
    /// `$.exp`, as sent
    pub absolute_expiry: Option<String>,
    /// `$.sub`: the IoT Plug and Play component
    pub subject: Option<String>,
    /// `$.ifid`
    pub interface_id: Option<String>,
    /// `$.schema`
    pub schema: Option<String>,
    /// `$.on`: the output of a module
    pub output_name: Option<String>,
    /// `$.diagid`: the id of a distributed trace
    pub diagnostic_id: Option<String>,
    /// `$.diagctx`: its context
    pub diagnostic_context: Option<String>,
    /// The sender's own properties in the order sent; `None` is a key without a value.
    pub application: Vec<(String, Option<String>)>,
}

impl DeviceMessage {
    /// What counts against the size limit: body, system values, application names and values
    /// (contract/mqtt.md 5.3).
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.properties.text_bytes()
    }
}

impl MessageProperties {
    /// System values, application names and values.
    pub(crate) fn text_bytes(&self) -> usize {
        let system = [
            &self.message_id,
            &self.correlation_id,
            &self.user_id,
            &self.to,
            &self.content_type,
            &self.content_encoding,
            &self.creation_time_utc,
            &self.absolute_expiry,
            &self.subject,
            &self.interface_id,
            &self.schema,
            &self.output_name,
            &self.diagnostic_id,
            &self.diagnostic_context,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let text =
            |(name, value): &(String, Option<String>)| name.len() + value.as_ref().map_or(0, String::len);
        system + self.application.iter().map(text).sum::<usize>()
    }
}
