//! What `tests/fuzz` calls: addresses, frames, selectors and requests, with the laws that hold whatever comes.
//! Compiled for the fuzzer and for the tests, which replay its corpus; no part of the crate.

use std::sync::{Arc, LazyLock};

use auth::{Authenticator, CertificateAuthorities};
use bytes::Bytes;
use hub::access::development_policies;
use hub::entropy::Entropy;
use hub::gate::{Details, ProtocolLabel};
use hub::ids::{ConnectionId, HubName};
use hub::time::{ManualClock, Timestamp};
use hub::{Hub, HubConfig};

use crate::address::{IdentityAddress, Node};
use crate::cbs::{self, Claims, PutToken, Verifier};
use crate::device::methods::Answer;
use crate::device::telemetry::Telemetry;
use crate::engine::message::Message;
use crate::engine::{Engine, Event, Outcome};
use crate::eventhubs::management::{self, Question, Refused};
use crate::eventhubs::selector;
use crate::names::{capabilities, link_properties};

/// The address of a link.
pub fn amqp_address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(node) = Node::parse(text) else { return };
    let again = Node::parse(&node.to_string());
    match node {
        // Written with the likelier reading of its ids, which, encoded, has no other.
        Node::Identity(IdentityAddress { decoded, .. }, what) => {
            let Some(Node::Identity(address, again)) = again else { panic!("{text:?} became {again:?}") };
            assert_eq!((address.decoded, again), (decoded, what));
        }
        node => assert_eq!(again, Some(node)),
    }
}

/// The bytes of a connection, protocol header first; whoever attaches is let in.
pub fn amqp_frame(bytes: &[u8]) {
    let whole = conversation(bytes, bytes.len());
    assert_eq!(conversation(bytes, 1), whole, "it matters how the bytes are cut");
}

/// The encoded message of a put-token request.
pub fn cbs_request(bytes: &[u8]) {
    let Ok(message) = Message::parse(&Bytes::copy_from_slice(bytes)) else { return };
    let (status, description) = match PutToken::parse(&message) {
        Ok(request) => {
            let mut claims = Claims::default();
            let (status, description, grant) = request.perform(&mut claims, &verifier());
            assert_eq!(grant.is_some(), status == 200);
            assert_eq!(claims.is_empty(), grant.is_none());
            (status, description)
        }
        Err(refusal) => refusal,
    };
    let reply =
        Message::parse(&cbs::reply(&message, status, &description)).expect("what the hub writes it reads");
    assert_eq!(reply.properties.correlation_id, message.properties.message_id);
    assert_eq!(reply.properties.to, message.properties.reply_to);
}

/// The text of a reader's selector.
pub fn event_selector(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(start) = selector::parse(text) else { return };
    // Spaces round it and quotes inside mean nothing.
    assert_eq!(selector::parse(&format!(" {text} ")), Ok(start));
    assert_eq!(selector::parse(&text.replace('\'', "")), Ok(start));
}

/// The encoded message of a question about an event hub.
pub fn management_request(bytes: &[u8]) {
    let Ok(message) = Message::parse(&Bytes::copy_from_slice(bytes)) else { return };
    let refused = match Question::parse(&message) {
        Ok(question) => {
            let hub = HubName::parse("test").expect("a name");
            Refused::unknown_event_hub(question.event_hub(&hub))
        }
        Err(refused) => refused,
    };
    let reply = Message::parse(&management::Answer::Refused(refused).encode(&message))
        .expect("what the hub writes it reads");
    assert_eq!(reply.properties.correlation_id, message.properties.message_id);
    assert_eq!(reply.properties.to, message.properties.reply_to);
}

fn verifier() -> Verifier<'static> {
    static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_secs(1_767_225_600)));
        let config = HubConfig::new(HubName::parse("test").expect("a name"), development_policies(), 4);
        let hub = Hub::new(config, Arc::clone(&clock) as _, Entropy::seeded(7));
        let authorities = Arc::new(CertificateAuthorities::new(clock, Entropy::seeded(8)));
        Authenticator::new(hub, vec!["localhost".into()], authorities)
    });
    let details = Details { connection: Some(ConnectionId(1)), protocol: ProtocolLabel("amqp") };
    Verifier { authenticator: &AUTHENTICATOR, host: Some("localhost"), details }
}

/// What happened, as it prints, and what was answered.
fn conversation(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let (mut engine, mut events, mut said) = (Engine::new(), Vec::new(), Vec::new());
    for part in bytes.chunks(piece.max(1)) {
        engine.input().extend_from_slice(part);
        while let Some(event) = engine.next_event() {
            events.push(format!("{event:?}"));
            answer(event, &mut engine);
            said.extend_from_slice(&engine.take_output());
        }
        said.extend_from_slice(&engine.take_output());
    }
    (events, said)
}

fn answer(event: Event, engine: &mut Engine) {
    match event {
        Event::Attach(request) => {
            let (link, receives) = (request.link, request.client_receives());
            let attach = request.attach();
            let _ =
                (attach.selector(), attach.own_address(), attach.integer_property(link_properties::EPOCH));
            let metric = capabilities::RUNTIME_METRIC;
            let offered = attach.desires(metric).then_some(metric);
            engine.accept(request, 4096, offered);
            if receives {
                // Larger than the smallest frame a client may ask for.
                let _is_room = engine.send(link, Bytes::from_static(&[0; 700]));
            }
        }
        Event::Delivery(link, delivery) => {
            if let Some(payload) = &delivery.payload {
                let _ = Telemetry::parse(delivery.format, payload);
                let _ = Message::parse(payload).and_then(Answer::parse);
            }
            engine.settle(link, &delivery, &Outcome::Accepted);
        }
        Event::Sasl(_) => engine.sasl_outcome(true),
        Event::LinkReady { link, .. } => {
            if engine.has_room(link) {
                engine.deliver(link, [9; 16], Bytes::from_static(&[1; 700]));
                for _ in 0..engine.credit(link).min(3) {
                    engine.send_parts(link, &[2; 50], &Bytes::from_static(&[3; 700]));
                }
            }
            engine.finish_drain(link);
        }
        Event::Settled(deliveries) => {
            deliveries.iter().for_each(|settled| engine.confirm(settled, &Outcome::Accepted));
        }
        Event::Closed
        | Event::Failed(_)
        | Event::LinkClosed(_)
        | Event::Opened(_)
        | Event::SessionClosed(_)
        | Event::SessionReady(_) => {}
    }
}

#[cfg(test)]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpus_of_addresses_holds_the_laws() {
        replay("amqp_address", amqp_address);
    }

    #[test]
    fn the_corpus_of_conversations_holds_the_laws() {
        replay("amqp_frame", amqp_frame);
    }

    #[test]
    fn the_corpus_of_selectors_holds_the_laws() {
        replay("event_selector", event_selector);
    }

    #[test]
    fn the_corpus_of_questions_holds_the_laws() {
        replay("management_request", management_request);
    }

    #[test]
    fn the_corpus_of_put_token_requests_holds_the_laws() {
        replay("cbs_request", cbs_request);
    }
}
