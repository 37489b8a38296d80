//! The property bag at the end of a telemetry topic, decoded into a message's properties;
//! `contract/mqtt.md 5.1` (steps 3 to 5) and `5.2`.
#![warn(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::collections::HashMap;

use hub::telemetry::MessageProperties;
use percent_encoding::percent_decode_str;

use crate::names::{stamp, system};

/// Reads a bag: `key=value` pairs joined by `&`, each part percent-encoded or, by the C SDK, not encoded at all.
pub(crate) fn decode(bag: &str) -> MessageProperties {
    let mut properties = MessageProperties::default();
    let mut application = Application::default();
    for pair in bag.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, Some(decode_part(value).into_owned())),
            None => (pair, None),
        };
        let key = decode_part(key);
        match system_property(&mut properties, &key) {
            Some(System::Kept(slot)) => *slot = value,
            Some(System::Dropped) => {}
            None => application.set(key, value),
        }
    }
    properties.application = application.pairs;
    properties
}

/// Adds what the hub says of the PUBLISH itself, `contract/mqtt.md 4`.
pub(crate) fn stamp_flags(properties: &mut MessageProperties, retain: bool, dup: bool) {
    let flags = [(retain, stamp::RETAIN), (dup, stamp::DUP)];
    for (_, name) in flags.into_iter().filter(|(is_set, _)| *is_set) {
        properties.application.push((name.to_owned(), Some(stamp::TRUE.to_owned())));
    }
}

/// Percent-decoded text, or the text as it is if it does not decode: then its client never encoded it.
fn decode_part(text: &str) -> Cow<'_, str> {
    if !is_percent_encoded(text) {
        return Cow::Borrowed(text);
    }
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

/// Whether every `%` is followed by two hex digits.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        matches!(after.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
}

enum System<'a> {
    Kept(&'a mut Option<String>),
    /// Who sends is what authentication found, not what the message says.
    Dropped,
}

fn system_property<'a>(properties: &'a mut MessageProperties, key: &str) -> Option<System<'a>> {
    let slot = match key {
        system::MESSAGE_ID => &mut properties.message_id,
        system::CORRELATION_ID => &mut properties.correlation_id,
        system::USER_ID => &mut properties.user_id,
        system::TO => &mut properties.to,
        system::CONTENT_TYPE => &mut properties.content_type,
        system::CONTENT_ENCODING => &mut properties.content_encoding,
        system::CREATION_TIME => &mut properties.creation_time_utc,
        system::EXPIRY => &mut properties.absolute_expiry,
        system::SUBJECT => &mut properties.subject,
        system::INTERFACE_ID => &mut properties.interface_id,
        system::SCHEMA => &mut properties.schema,
        system::OUTPUT_NAME => &mut properties.output_name,
        system::DIAGNOSTIC_ID => &mut properties.diagnostic_id,
        system::DIAGNOSTIC_CONTEXT => &mut properties.diagnostic_context,
        system::CONNECTION_DEVICE_ID | system::CONNECTION_MODULE_ID => return Some(System::Dropped),
        _ => return None,
    };
    Some(System::Kept(slot))
}

/// Application properties in order, the later of two of one name winning. A topic has room for some 30,000, so
/// past the usual few they are found by an index and not by looking through all.
#[derive(Default)]
struct Application {
    pairs: Vec<(String, Option<String>)>,
    index: HashMap<String, usize>,
}

/// Up to here looking through all is faster than hashing.
const FEW: usize = 16;

impl Application {
    fn set(&mut self, key: Cow<'_, str>, value: Option<String>) {
        let found = if self.pairs.len() <= FEW {
            self.pairs.iter().position(|(name, _)| *name == key)
        } else {
            if self.index.is_empty() {
                self.index = self.pairs.iter().map(|(name, _)| name.clone()).zip(0..).collect();
            }
            self.index.get(key.as_ref()).copied()
        };
        if let Some(pair) = found.and_then(|at| self.pairs.get_mut(at)) {
            pair.1 = value;
            return;
        }
        if !self.index.is_empty() {
            self.index.insert(key.clone().into_owned(), self.pairs.len());
        }
        self.pairs.push((key.into_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn application(bag: &str) -> Vec<(String, Option<String>)> {
        decode(bag).application
    }

    fn pair(key: &str, value: &str) -> (String, Option<String>) {
        (key.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn system_properties_are_known_by_their_decoded_names() {
        let encoded = decode(
            "%24.mid=m%201&%24.cid=c&%24.uid=u&%24.to=t&%24.ct=application%2Fjson&%24.ce=utf-8\
             &%24.ctime=2026-01-01T00%3A00%3A00Z&%24.exp=e&%24.sub=s&%24.ifid=i&%24.schema=x&%24.on=o",
        );
        let raw = decode(
            "$.mid=m 1&$.cid=c&$.uid=u&$.to=t&$.ct=application/json&$.ce=utf-8\
             &$.ctime=2026-01-01T00:00:00Z&$.exp=e&$.sub=s&$.ifid=i&$.schema=x&$.on=o",
        );
        assert_eq!(encoded, raw);
        assert_eq!(encoded.message_id.as_deref(), Some("m 1"));
        assert_eq!(encoded.content_type.as_deref(), Some("application/json"));
        assert_eq!(encoded.creation_time_utc.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(encoded.output_name.as_deref(), Some("o"));
        let traced = decode("%24.diagid=id&%24.diagctx=creationtimeutc%3D2026-01-01T00%253A00%253A00Z");
        assert_eq!(traced.diagnostic_id.as_deref(), Some("id"));
        assert_eq!(
            traced.diagnostic_context.as_deref(),
            Some("creationtimeutc=2026-01-01T00%3A00%3A00Z"),
            "what is encoded inside stays so"
        );
        assert!(encoded.application.is_empty());
    }

    #[test]
    fn all_other_names_are_application_properties_in_order() {
        assert_eq!(
            application("b=1&A=2&iothub-ack=full&%24.other=x&iothub-creation-time-utc=t"),
            [
                pair("b", "1"),
                pair("A", "2"),
                pair("iothub-ack", "full"),
                pair("$.other", "x"),
                pair("iothub-creation-time-utc", "t")
            ]
        );
    }

    #[test]
    fn a_client_cannot_say_who_it_is() {
        assert_eq!(decode("%24.cdid=other&$.cmid=other"), MessageProperties::default());
    }

    #[test]
    fn a_key_alone_is_null_and_a_key_with_nothing_after_the_sign_is_empty() {
        assert_eq!(application("a&b=&&c=d=e"), [("a".to_owned(), None), pair("b", ""), pair("c", "d=e")]);
        assert_eq!(application(""), []);
    }

    #[test]
    fn what_does_not_decode_stays_as_it_is() {
        assert_eq!(
            application("a=100%&b=%4&c=%zz%20&d=%ff&e=1+1&f=a/b c"),
            [
                pair("a", "100%"),
                pair("b", "%4"),
                pair("c", "%zz%20"),
                pair("d", "%ff"),
                pair("e", "1+1"),
                pair("f", "a/b c")
            ]
        );
    }

    #[test]
    fn the_later_of_two_wins_among_few_and_among_many() {
        assert_eq!(application("a=1&b=2&%61=3"), [pair("a", "3"), pair("b", "2")]);
        let many: Vec<_> = (0..FEW * 3).map(|n| format!("k{n}=old")).collect();
        let bag = format!("{0}&k0=new&k47=new&k48=first", many.join("&"));
        let decoded = application(&bag);
        assert_eq!(decoded.len(), FEW * 3 + 1);
        assert_eq!(decoded.first(), Some(&pair("k0", "new")));
        assert_eq!(decoded.get(FEW * 3 - 1), Some(&pair("k47", "new")));
        assert_eq!(decoded.last(), Some(&pair("k48", "first")));
    }

    #[test]
    fn flags_of_the_publish_become_properties() {
        let mut properties = decode("a=1");
        stamp_flags(&mut properties, false, false);
        assert_eq!(properties.application, [pair("a", "1")]);
        stamp_flags(&mut properties, true, true);
        assert_eq!(
            properties.application,
            [pair("a", "1"), pair("mqtt-retain", "true"), pair("mqtt-dup", "true")]
        );
    }

    proptest! {
        #[test]
        fn encoded_properties_come_back_unchanged(
            pairs in proptest::collection::btree_map("[a-z ]{1,8}", "\\PC{0,20}", 0..40)
        ) {
            use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let bag: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            let expected: Vec<_> = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
            prop_assert_eq!(application(&bag.join("&")), expected);
        }

        #[test]
        fn no_bag_panics(bag in "\\PC*") {
            let _ = decode(&bag);
        }
    }
}
