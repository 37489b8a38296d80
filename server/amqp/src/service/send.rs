//! Messages a back end sends to devices: from a delivery to what the core queues, and for whom (contract/amqp.md 4.2).

use bytes::Bytes;
use hub::c2d::{Acknowledgement, CloudToDeviceMessage};
use hub::error::{ErrorCode, HubError};
use hub::limits;
use hub::time::Timestamp;

use crate::address::{IdentityAddress, IdentityNode, Node};
use crate::engine::message::{Message, Properties, Scalar};
use crate::engine::value::Malformed;
use crate::names::cloud_to_device as names;

/// Bytes of a message beside what the core counts: sections, types, sizes.
const ENCODING_BYTES: usize = 64 * 1024;
/// Largest delivery collected; the core judges the message inside.
pub(crate) const DELIVERY_BYTES_MAX: usize = limits::C2D_BYTES + ENCODING_BYTES;

/// A message and whom it is for.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) to: IdentityAddress,
    pub(crate) message: CloudToDeviceMessage,
}

impl Addressed {
    pub(crate) fn parse(message: Message) -> Result<Self, HubError> {
        let unread = |malformed: Malformed| refused(malformed.0);
        let fields = &message.properties;
        let text = |field: &Option<Bytes>| Properties::scalar(field.as_ref()).map(Scalar::into_display);
        let time = |field: &Option<Bytes>| Properties::scalar(field.as_ref()).map(|value| instant(&value));
        let to = text(&fields.to).map_err(unread)?;
        let to = address(to.as_deref().unwrap_or_default())?;
        let mut sent = CloudToDeviceMessage {
            message_id: text(&fields.message_id).map_err(unread)?,
            correlation_id: text(&fields.correlation_id).map_err(unread)?,
            user_id: text(&fields.user_id).map_err(unread)?,
            content_type: text(&fields.content_type).map_err(unread)?,
            content_encoding: text(&fields.content_encoding).map_err(unread)?,
            creation_time_utc: time(&fields.creation_time).map_err(unread)?.map(|at| at.to_string()),
            expires_at: time(&fields.absolute_expiry_time).map_err(unread)?,
            ..CloudToDeviceMessage::default()
        };
        let mut message = message;
        for (name, value) in std::mem::take(&mut message.application) {
            if name == names::ACK {
                sent.acknowledgement = acknowledgement(value)?;
            } else {
                sent.application.push((name, value.into_display()));
            }
        }
        sent.body = message.into_body();
        Ok(Self { to, message: sent })
    }
}

fn address(to: &str) -> Result<IdentityAddress, HubError> {
    match Node::parse(to) {
        Some(Node::Identity(address, IdentityNode::DeviceBound)) => Ok(address),
        _ => Err(refused(format!(
            "The property 'to' must be '/devices/{{device}}/messages/devicebound', and is '{to}'."
        ))),
    }
}

fn acknowledgement(value: Scalar) -> Result<Option<Acknowledgement>, HubError> {
    let Some(word) = value.into_display().filter(|word| !word.is_empty()) else { return Ok(None) };
    match Acknowledgement::parse(&word) {
        Some(acknowledgement) => Ok(Some(acknowledgement)),
        None => Err(refused(format!(
            "The property '{}' must be none, positive, negative or full, and is '{word}'.",
            names::ACK
        ))),
    }
}

/// What is before 1970 stands for "unset": Go sends the year 1.
fn instant(value: &Scalar) -> Option<Timestamp> {
    match value {
        Scalar::Time(millis) if *millis > 0 => {
            Some(millis.checked_mul(10_000).map_or(Timestamp::MAX, Timestamp::from_ticks))
        }
        _ => None,
    }
}

fn refused(text: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: &str) -> Message {
        let encoded = [&[0xA1, to.len() as u8], to.as_bytes()].concat();
        Message {
            properties: Properties { to: Some(encoded.into()), ..Default::default() },
            ..Default::default()
        }
    }

    fn expiry(millis: i64) -> Option<Timestamp> {
        let mut message = to("/devices/d/messages/devicebound");
        message.properties.absolute_expiry_time = Some([&[0x83][..], &millis.to_be_bytes()].concat().into());
        Addressed::parse(message).unwrap().message.expires_at
    }

    #[test]
    fn the_address_is_read_in_every_form_clients_write() {
        for (text, device, module) in [
            ("/devices/d/messages/devicebound", "d", None),
            ("/devices/d/messages/deviceBound", "d", None),
            ("devices/d/messages/devicebound", "d", None),
            ("/devices/a%3Ab/messages/devicebound", "a:b", None),
            ("/devices/a?b#c/messages/devicebound", "a?b#c", None),
            ("/devices/d/modules/m/messages/devicebound", "d", Some("m")),
        ] {
            let addressed = Addressed::parse(to(text)).unwrap();
            let read = &addressed.to.decoded;
            assert_eq!((read.device.as_str(), read.module.as_ref().map(|m| m.as_str())), (device, module));
        }
    }

    #[test]
    fn a_message_for_nobody_is_refused() {
        for text in
            ["", "d", "/devices/d", "/devices/d/twin", "/messages/devicebound", "/devices/d/messages/events"]
        {
            assert_eq!(Addressed::parse(to(text)).unwrap_err().code(), ErrorCode::ArgumentInvalid, "{text}");
        }
        assert!(Addressed::parse(Message::default()).is_err());
    }

    #[test]
    fn an_expiry_before_1970_is_unset_and_an_absurd_one_is_far_away() {
        assert_eq!(expiry(-62_135_596_800_000), None);
        assert_eq!(expiry(0), None);
        assert_eq!(expiry(1_767_225_600_123), Some(Timestamp::from_ticks(17_672_256_001_230_000)));
        assert_eq!(expiry(i64::MAX), Some(Timestamp::MAX));
    }

    #[test]
    fn the_wish_for_feedback_is_one_of_four_words() {
        let with = |ack: Scalar| {
            let mut message = to("/devices/d/messages/devicebound");
            message.application = vec![(names::ACK.to_owned(), ack), ("k".to_owned(), Scalar::Int(7))];
            Addressed::parse(message).map(|addressed| addressed.message)
        };
        for (word, read) in [
            ("none", Some(Acknowledgement::None)),
            ("positive", Some(Acknowledgement::Positive)),
            ("negative", Some(Acknowledgement::Negative)),
            ("Full", Some(Acknowledgement::Full)),
            ("", None),
        ] {
            let message = with(Scalar::Text(word.to_owned())).unwrap();
            assert_eq!(message.acknowledgement, read, "{word}");
            assert_eq!(message.application, [("k".to_owned(), Some("7".to_owned()))]);
        }
        assert_eq!(with(Scalar::Null).unwrap().acknowledgement, None);
        assert_eq!(with(Scalar::Text("all".into())).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }

    #[test]
    fn ids_of_any_type_become_text() {
        let uuid = [&[0x98][..], &[0x11; 16]].concat();
        for (encoded, read) in [
            (vec![0xA1, 2, b'i', b'd'], "id"),
            (uuid, "11111111-1111-1111-1111-111111111111"),
            (vec![0x53, 7], "7"),
            (vec![0x80, 0, 0, 0, 0, 0, 0, 1, 0], "256"),
            (vec![0x54, 0xFF], "-1"),
        ] {
            let mut message = to("/devices/d/messages/devicebound");
            message.properties.message_id = Some(encoded.clone().into());
            message.properties.correlation_id = Some(encoded.into());
            let sent = Addressed::parse(message).unwrap().message;
            assert_eq!(
                (sent.message_id.as_deref(), sent.correlation_id.as_deref()),
                (Some(read), Some(read))
            );
        }
    }
}
