//! The engine against itself: what [`Output`] writes, whole and damaged, is fed to an engine that says yes to all.

use proptest::prelude::*;

use super::output::{LinkState, MessageParts, Offer, SessionState, TransferHead};
use super::*;
use crate::names::AMQP_HEADER;

/// A conversation of a client: header, open, begin, links, transfers, flows, dispositions, ends.
fn conversation() -> Vec<u8> {
    let mut output = Output::new();
    output.protocol_header(&AMQP_HEADER);
    output.open("client");
    for channel in 0..2 {
        output.begin(channel);
        for handle in 0..4 {
            let attach = Attach {
                name: Bytes::from_static(&[0xA1, 1, b'n']),
                handle,
                client_receives: handle % 2 == 1,
                snd_settle_mode: None,
                rcv_settle_mode: Some(0),
                source: None,
                target: Some(Bytes::from_static(&[0, 0x53, 0x29, 0xC0, 4, 1, 0xA1, 1, b'a'])),
                properties: None,
                desired_capabilities: None,
            };
            // `attach` answers, so the roles are the other way round here.
            output.attach(
                channel,
                &Attach { client_receives: !attach.client_receives, ..attach },
                true,
                Offer::default(),
            );
            let session = SessionState { next_incoming_id: 0, incoming_window: 2, next_outgoing_id: 0 };
            let link = LinkState { handle, delivery_count: 0, credit: 3, drain: handle == 3 };
            output.flow(channel, session, Some(link));
        }
        for delivery_id in 0..3 {
            let head = TransferHead { handle: delivery_id, delivery_id, tag: [0; 16], settled: false };
            output.transfer(channel, head, MessageParts { head: b"\x00\x53\x75\xA0\x02hi", body: &[] }, 0);
        }
        output.disposition(channel, false, 0, 2, &Outcome::Accepted);
        output.detach(channel, 0, true, None);
    }
    output.end(0, None);
    output.close(None);
    output.take().to_vec()
}

/// Feeds bytes in pieces, says yes to everything, and returns how many events there were.
fn feed(bytes: &[u8], piece: usize) -> usize {
    let mut engine = Engine::new();
    let mut events = 0;
    for part in bytes.chunks(piece.max(1)) {
        engine.input().extend_from_slice(part);
        while let Some(event) = engine.next_event() {
            events += 1;
            match event {
                Event::Attach(request) => {
                    let (link, receives) = (request.link, request.client_receives());
                    engine.accept(request, 1000, None);
                    if receives {
                        assert!(engine.send(link, Bytes::from_static(&[0; 700])));
                        assert!(engine.send(link, Bytes::new()));
                    }
                }
                Event::Delivery(link, delivery) => engine.settle(link, &delivery, &Outcome::Accepted),
                Event::Sasl(_) => engine.sasl_outcome(true),
                Event::Closed
                | Event::Failed(_)
                | Event::LinkClosed(_)
                | Event::Opened(_)
                | Event::SessionClosed(_)
                | Event::SessionReady(_) => {}
                Event::LinkReady { link, .. } => {
                    if engine.has_room(link) {
                        engine.deliver(link, [9; 16], Bytes::from_static(&[1; 700]));
                    }
                    engine.finish_drain(link);
                }
                Event::Settled(deliveries) => {
                    deliveries.iter().for_each(|settled| engine.confirm(settled, &Outcome::Accepted));
                }
            }
        }
        let _ = engine.take_output();
    }
    events
}

#[test]
fn a_conversation_means_the_same_however_it_is_cut() {
    let bytes = conversation();
    let whole = feed(&bytes, bytes.len());
    // Open, eight attaches, the first credit of four receivers, two deliveries a session (one goes to a receiver,
    // which ends that link), two links detached, an end, a close.
    assert_eq!(whole, 1 + 8 + 4 + 2 * (2 + 1) + 2 + 1 + 1);
    for piece in [1, 3, 7, 100] {
        assert_eq!(feed(&bytes, piece), whole, "{piece}");
    }
}

#[test]
fn a_client_may_settle_in_a_session_it_has_ended_and_do_nothing_else_there() {
    let has_failed = |more: fn(&mut Output)| {
        let mut output = Output::new();
        output.protocol_header(&AMQP_HEADER);
        output.open("client");
        output.begin(1);
        output.end(1, None);
        more(&mut output);
        let mut engine = Engine::new();
        engine.input().extend_from_slice(&output.take());
        std::iter::from_fn(|| engine.next_event()).any(|event| matches!(event, Event::Failed(_)))
    };
    assert!(!has_failed(|output| output.disposition(1, true, 0, 2, &Outcome::Accepted)));
    assert!(!has_failed(|output| {
        output.disposition(1, true, 0, 2, &Outcome::Accepted);
        output.begin(1);
        output.end(1, None);
    }));
    assert!(has_failed(|output| output.disposition(2, true, 0, 2, &Outcome::Accepted)), "it never began");
    assert!(has_failed(|output| output.detach(1, 0, true, None)));
    assert!(has_failed(|output| output.end(1, None)));
}

proptest! {
    #[test]
    fn no_damage_makes_the_engine_panic(
        damage in proptest::collection::vec((0usize..2000, any::<u8>()), 0..12),
        piece in 1usize..400,
    ) {
        let mut bytes = conversation();
        for (place, value) in damage {
            let length = bytes.len();
            bytes[place % length] = value;
        }
        feed(&bytes, piece);
    }
}
