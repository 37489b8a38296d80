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
    /// The sender's own properties in the order sent; `None` is a key without a value.
    pub application: Vec<(String, Option<String>)>,
}

impl DeviceMessage {
    /// What counts against the size limit: body, system values, application names and values
    /// (contract/mqtt.md 5.3).
    pub fn size_bytes(&self) -> usize {
        let p = &self.properties;
        let system = [
            &p.message_id,
            &p.correlation_id,
            &p.user_id,
            &p.to,
            &p.content_type,
            &p.content_encoding,
            &p.creation_time_utc,
            &p.absolute_expiry,
            &p.subject,
            &p.interface_id,
            &p.schema,
            &p.output_name,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let application =
            p.application.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len));
        self.body.len() + system + application.sum::<usize>()
    }
}
