//! The topic of a cloud-to-device message, which is where MQTT 3.1.1 carries its properties;
//! `contract/mqtt.md 6.2`. Every SDK reads it in a way of its own, so order and encoding are not ours to choose.
#![warn(clippy::indexing_slicing)]

use hub::c2d::CloudToDeviceMessage;
use hub::ids::DeviceId;
use hub::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::names::{device_bound, system, telemetry};
use crate::wire::MAX_TEXT_BYTES;

/// What is not encoded: letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The topic on which `device` gets `message`; none if it is longer than a topic can be.
pub(crate) fn topic(device: &DeviceId, message: &CloudToDeviceMessage) -> Option<String> {
    let mut bag = Bag(format!("{}{device}{}", telemetry::DEVICES, device_bound::MESSAGES));
    let to = format!("{}{device}{}", device_bound::TO_DEVICES, device_bound::TO_MESSAGES);
    // First and always there: C# needs a bag, Java and Go look for the first encoded dollar.
    bag.push(system::TO, Some(&to), "");
    let expires_at = message.expires_at.map(|at| at.to_string());
    // C# drops the connection over a date that has not exactly seven fraction digits; one that is no date at all
    // is therefore withheld.
    let created_at = message.creation_time_utc.as_deref().and_then(Timestamp::parse).map(|at| at.to_string());
    let system = [
        (system::MESSAGE_ID, message.message_id.as_deref()),
        (system::CORRELATION_ID, message.correlation_id.as_deref()),
        (system::USER_ID, message.user_id.as_deref()),
        (system::EXPIRY, expires_at.as_deref()),
        (system::CONTENT_TYPE, message.content_type.as_deref()),
        (system::CONTENT_ENCODING, message.content_encoding.as_deref()),
        (system::CREATION_TIME, created_at.as_deref()),
        (device_bound::ACKNOWLEDGEMENT, message.acknowledgement.map(|ack| ack.as_str())),
    ];
    for (key, value) in system.into_iter().filter(|(_, value)| value.is_some()) {
        bag.push(key, value, "&");
    }
    for (key, value) in &message.application {
        bag.push(key, value.as_deref(), "&");
    }
    Some(bag.0).filter(|topic| topic.len() <= MAX_TEXT_BYTES)
}

struct Bag(String);

impl Bag {
    /// A key alone is null, a key with nothing after the sign is empty.
    fn push(&mut self, key: &str, value: Option<&str>, separator: &str) {
        self.0.push_str(separator);
        self.0.extend(utf8_percent_encode(key, ENCODED));
        if let Some(value) = value {
            self.0.push('=');
            self.0.extend(utf8_percent_encode(value, ENCODED));
        }
    }
}

#[cfg(test)]
mod tests {
    use hub::c2d::Acknowledgement;
    use proptest::prelude::*;

    use super::*;
    use crate::properties;

    const TO: &str = "devices/dev1/messages/devicebound/%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound";

    fn topic_of(message: &CloudToDeviceMessage) -> String {
        topic(&DeviceId::parse("dev1").expect("a valid id"), message).expect("a topic of legal length")
    }

    fn with(application: &[(&str, Option<&str>)]) -> CloudToDeviceMessage {
        let application =
            application.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
        CloudToDeviceMessage { application, ..CloudToDeviceMessage::default() }
    }

    #[test]
    fn rule_01_a_message_without_properties_has_a_bag_that_begins_with_an_encoded_dollar() {
        assert_eq!(topic_of(&CloudToDeviceMessage::default()), TO);
    }

    #[test]
    fn the_contracts_example_is_written_to_the_letter() {
        let message = CloudToDeviceMessage {
            message_id: Some("42".into()),
            expires_at: Timestamp::parse("2026-01-02T03:04:05Z"),
            acknowledgement: Some(Acknowledgement::Full),
            ..with(&[("colour", Some("dark red"))])
        };
        let rest = "&%24.mid=42&%24.exp=2026-01-02T03%3A04%3A05.0000000Z&iothub-ack=full&colour=dark%20red";
        assert_eq!(topic_of(&message), format!("{TO}{rest}"));
    }

    #[test]
    fn system_properties_come_in_their_order_before_all_others() {
        let some = |text: &str| Some(text.to_owned());
        let message = CloudToDeviceMessage {
            message_id: some("m"),
            correlation_id: some("c"),
            user_id: some("u"),
            content_type: some("application/json"),
            content_encoding: some("utf-8"),
            creation_time_utc: some("2026-01-02T05:04:05.5+02:00"),
            acknowledgement: Some(Acknowledgement::None),
            ..with(&[("a", Some("1"))])
        };
        let rest = "&%24.mid=m&%24.cid=c&%24.uid=u&%24.ct=application%2Fjson&%24.ce=utf-8\
                    &%24.ctime=2026-01-02T03%3A04%3A05.5000000Z&iothub-ack=none&a=1";
        assert_eq!(topic_of(&message), format!("{TO}{rest}"));
    }

    #[test]
    fn rule_03_dates_have_seven_fraction_digits_and_what_is_no_date_is_withheld() {
        for (sent, written) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03%3A04%3A05.0000000Z")),
            ("2026-01-02T03:04:05.123456789Z", Some("2026-01-02T03%3A04%3A05.1234567Z")),
            ("yesterday", None),
        ] {
            let message = CloudToDeviceMessage { creation_time_utc: Some(sent.into()), ..with(&[]) };
            let expected = written.map(|date| format!("&%24.ctime={date}")).unwrap_or_default();
            assert_eq!(topic_of(&message), format!("{TO}{expected}"), "{sent}");
        }
    }

    #[test]
    fn null_is_a_key_alone_and_empty_is_a_key_with_its_sign() {
        let message = with(&[("null", None), ("empty", Some(""))]);
        assert_eq!(topic_of(&message), format!("{TO}&null&empty="));
    }

    #[test]
    fn everything_but_unreserved_characters_is_encoded_in_keys_and_values() {
        let message = with(&[("a b", Some("/ +=&$%#é")), ("-_.~", Some("AZaz09-_.~"))]);
        let rest = "&a%20b=%2F%20%2B%3D%26%24%25%23%C3%A9&-_.~=AZaz09-_.~";
        assert_eq!(topic_of(&message), format!("{TO}{rest}"));
    }

    #[test]
    fn a_topic_has_the_longest_text_of_mqtt_and_not_a_byte_more() {
        let device = DeviceId::parse("dev1").expect("a valid id");
        let room = MAX_TEXT_BYTES - TO.len() - "&k=".len();
        for (bytes, fits) in [(room, true), (room + 1, false)] {
            let message = with(&[("k", Some("x".repeat(bytes).as_str()))]);
            assert_eq!(topic(&device, &message).is_some(), fits, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn properties_are_read_back_as_they_were_sent(
            pairs in proptest::collection::btree_map("[a-zA-Z0-9 /=&-]{1,10}", proptest::option::of("\\PC{0,20}"), 0..10)
        ) {
            let message = CloudToDeviceMessage {
                application: pairs.into_iter().collect(),
                ..CloudToDeviceMessage::default()
            };
            let topic = topic_of(&message);
            let bag = topic.splitn(5, '/').last().expect("a fifth level");
            prop_assert!(!bag.contains(['/', '+', '#', ' ', '$']), "{}", topic);
            let decoded = properties::decode(bag);
            prop_assert_eq!(decoded.to.as_deref(), Some("/devices/dev1/messages/deviceBound"));
            prop_assert_eq!(decoded.application, message.application);
        }
    }
}
