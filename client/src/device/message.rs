//! A device-to-cloud message: a body and the properties the hub knows by name, plus the application's own.

use bytes::Bytes;

use crate::error::{Error, ErrorKind};

/// Largest message, in bytes: body, values of system properties, names and values of the application's own
/// (contract/mqtt.md 5.3). Over MQTT the hub answers a larger one by hanging up.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// A message to send; only the body is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TelemetryMessage {
    /// Any bytes, up to 256 KiB together with the properties.
    pub body: Bytes,
    /// The sender's name for this message.
    pub message_id: Option<String>,
    /// The message or request this one belongs to.
    pub correlation_id: Option<String>,
    /// The type of the body, such as `application/json`; message routing reads JSON bodies only with it.
    pub content_type: Option<String>,
    /// The encoding of the body, such as `utf-8`; message routing reads bodies only with it.
    pub content_encoding: Option<String>,
    /// When it was made, as `2026-01-02T03:04:05Z`.
    pub creation_time_utc: Option<String>,
    /// The module output it leaves by, for Edge routes.
    pub output_name: Option<String>,
    /// The application's own properties, in order.
    pub properties: Vec<(String, String)>,
}

impl TelemetryMessage {
    /// A message with this body.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Says that the body is JSON in UTF-8.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.content_type = Some("application/json".to_owned());
        self.content_encoding = Some("utf-8".to_owned());
        self
    }

    /// Adds one of the application's own properties.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    pub(super) fn check_size(&self) -> Result<(), Error> {
        let system = [
            &self.message_id,
            &self.correlation_id,
            &self.content_type,
            &self.content_encoding,
            &self.creation_time_utc,
            &self.output_name,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let own: usize = self.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        let size = self.body.len() + system + own;
        if size > MAX_MESSAGE_BYTES {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "the message has {size} bytes with its properties; the hub takes {MAX_MESSAGE_BYTES}"
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_be_as_large_as_the_hub_takes_and_not_one_byte_larger() {
        let message = |body| TelemetryMessage::new(vec![0; body]).json().property("name", "value");
        let properties = "application/json".len() + "utf-8".len() + "name".len() + "value".len();
        assert!(message(MAX_MESSAGE_BYTES - properties).check_size().is_ok());
        let error = message(MAX_MESSAGE_BYTES - properties + 1).check_size().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
