//! What `tests/fuzz` calls: a function per text or packet a client may send, with the laws that hold whatever comes.
//! Compiled for the fuzzer and for the tests, which replay its corpus; no part of the crate.

use std::fmt::Write as _;

use bytes::BytesMut;
use hub::ids::IdentityId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::properties::{decode, stamp_flags};
use crate::subscriptions::Subscription;
use crate::topic::Topic;
use crate::username::Username;
use crate::wire::{self, Expecting};

/// A topic to publish to, and the same text as a filter to subscribe to.
pub fn topic(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for identity in [IdentityId::parse("d", None), IdentityId::parse("d", Some("m"))] {
        let identity = identity.expect("the ids are good");
        if Subscription::parse(text, &identity).is_some() {
            assert!(Topic::parse(text).is_none() || !text.contains(['+', '#']), "a filter is no topic");
        }
    }
    let Some(topic) = Topic::parse(text) else { return };
    let written = topic.to_string();
    let again = Topic::parse(&written).expect("what the hub writes it reads");
    match (topic, again) {
        // A bag may begin or end with the marks that a topic gives up once.
        (Topic::Telemetry { device, module, bag }, Topic::Telemetry { device: d, module: m, bag: b }) => {
            assert_eq!((device, module), (d, m));
            assert!(bag.contains(b));
        }
        (topic, again) => assert_eq!(topic, again, "{written}"),
    }
}

/// The username of a CONNECT.
pub fn username(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(username) = Username::parse(text) else { return };
    let Username { host, device, module, .. } = username;
    for part in [Some(host), Some(device), module].into_iter().flatten() {
        assert!(!part.is_empty() && !part.contains('/') && part.trim() == part, "{part:?}");
    }
    let client_id = module.map_or_else(|| device.to_owned(), |module| format!("{device}/{module}"));
    assert!(username.is_client_id(&client_id));
    assert!(!username.is_client_id(&format!("{client_id}/")));
    assert!(!username.is_client_id(&format!("{client_id}x")));
}

/// The property bag of a telemetry topic.
pub fn property_bag(bytes: &[u8]) {
    let Ok(bag) = std::str::from_utf8(bytes) else { return };
    let mut properties = decode(bag);
    let names: std::collections::HashSet<_> = properties.application.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), properties.application.len(), "a name occurs twice");
    let mut written = String::new();
    for (name, value) in &properties.application {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let _ = write!(written, "&{}", encode(name));
        let _ = value.as_ref().map_or(Ok(()), |value| write!(written, "={}", encode(value)));
    }
    assert_eq!(decode(&written).application, properties.application, "{written}");
    stamp_flags(&mut properties, true, true);
}

/// The bytes of a connection, from the CONNECT on and from any later packet on.
pub fn mqtt_packet(bytes: &[u8]) {
    for expecting in [Expecting::Connect, Expecting::Anything] {
        let whole = packets(bytes, bytes.len(), expecting);
        assert_eq!(packets(bytes, 1, expecting), whole, "it matters how the bytes are cut");
    }
}

/// Every packet in `bytes` as it prints, and the error that ends them, fed in pieces.
fn packets(bytes: &[u8], piece: usize, mut expecting: Expecting) -> Vec<String> {
    let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
    for part in bytes.chunks(piece.max(1)) {
        buffer.extend_from_slice(part);
        loop {
            match wire::decode(&mut buffer, expecting) {
                Ok(None) => break,
                Ok(Some(packet)) => seen.push(format!("{packet:?}")),
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
            }
            expecting = Expecting::Anything;
        }
    }
    seen
}

#[cfg(test)]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpus_of_topics_holds_the_laws() {
        replay("topic", topic);
    }

    #[test]
    fn the_corpus_of_usernames_holds_the_laws() {
        replay("username", username);
    }

    #[test]
    fn the_corpus_of_property_bags_holds_the_laws() {
        replay("property_bag", property_bag);
    }

    #[test]
    fn the_corpus_of_packets_holds_the_laws() {
        replay("mqtt_packet", mqtt_packet);
    }
}
