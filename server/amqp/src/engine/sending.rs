//! Messages to the client, and what it makes of them (contract/amqp.md 1.3.8, 4.2).
//!
//! Either a message is pushed, and waits in its link until the client has room; or whoever has messages looks for
//! room first, gives each a tag that says what it stands for, and hears what became of it.

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::Disposition;

use super::link::{Link, Outgoing};
use super::output::Output;
use super::session::Session;
use super::unsettled::Tag;
use super::{Condition, Engine, Event, LinkId, Outcome, SessionSlot, Settled, Step, Verdict, conditions};

impl Engine {
    /// Sends a message, now or when the client has room for it. A link whose queue is full is detached, which
    /// `false` tells.
    #[must_use]
    pub(crate) fn send(&mut self, link: LinkId, payload: Bytes) -> bool {
        let is_sent = self.push(link, payload, None);
        if !is_sent {
            let text = "too many messages wait for credit on this link";
            self.detach(link, &Condition::new(conditions::RESOURCE_LIMIT_EXCEEDED, text));
        }
        is_sent
    }

    /// Sends a message that stands for something; to be called when [`Self::has_room`].
    pub(crate) fn deliver(&mut self, link: LinkId, tag: Tag, payload: Bytes) {
        let is_sent = self.push(link, payload, Some(tag));
        debug_assert!(is_sent, "one delivery always fits an empty queue");
    }

    /// Sends a message that stands for nothing, its body from where it is kept. For as many messages in a row as
    /// [`Self::credit`] says, the first when [`Self::has_room`].
    pub(crate) fn send_parts(&mut self, link: LinkId, head: &[u8], body: &Bytes) {
        let LinkId { channel, handle } = link;
        if let Some(SessionSlot::Mapped(session)) = self.sessions.get_mut(&channel) {
            session.send_now(channel, handle, head, body, &mut self.output);
        }
    }

    /// Makes room at once for messages that are about to be sent.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.output.reserve(bytes);
    }

    /// How many messages the client has credit for.
    pub(crate) fn credit(&self, link: LinkId) -> u32 {
        self.outgoing(link).map_or(0, |outgoing| outgoing.credit)
    }

    fn push(&mut self, link: LinkId, payload: Bytes, tag: Option<Tag>) -> bool {
        let Some(SessionSlot::Mapped(session)) = self.sessions.get_mut(&link.channel) else { return true };
        let Some(Link::Outgoing(outgoing)) = session.link_mut(link.handle) else { return true };
        let is_pushed = outgoing.push(payload.into(), tag);
        if is_pushed {
            session.pump(link.channel, link.handle, &mut self.output);
        }
        is_pushed
    }

    /// Whether the client has credit for one more message, and nothing waits before it.
    pub(crate) fn has_room(&self, link: LinkId) -> bool {
        self.outgoing(link).is_some_and(Outgoing::has_room)
    }

    /// Whether the client asked for messages that are settled when they are sent.
    pub(crate) fn is_pre_settled(&self, link: LinkId) -> bool {
        self.outgoing(link).is_some_and(|outgoing| outgoing.pre_settled)
    }

    /// Whether the client wants all there is now, and keeps no credit for what comes later.
    pub(crate) fn is_draining(&self, link: LinkId) -> bool {
        self.outgoing(link).is_some_and(|outgoing| outgoing.drain)
    }

    /// Nothing more comes on a link for now: if the client drains it, its credit is used up.
    pub(crate) fn finish_drain(&mut self, link: LinkId) {
        if let Some(SessionSlot::Mapped(session)) = self.sessions.get_mut(&link.channel) {
            session.finish_drain(link.channel, link.handle, &mut self.output);
        }
    }

    fn outgoing(&self, link: LinkId) -> Option<&Outgoing> {
        match self.sessions.get(&link.channel) {
            Some(SessionSlot::Mapped(session)) => session.outgoing(link.handle),
            Some(SessionSlot::Ended | SessionSlot::Ending) | None => None,
        }
    }

    /// Has the last word on a delivery whose client leaves it to us.
    pub(crate) fn confirm(&mut self, settled: &Settled, outcome: &Outcome<'_>) {
        if settled.awaits_answer {
            self.output.disposition(settled.link.channel, true, settled.id, settled.id, outcome);
        }
    }
}

/// Takes a client's word on deliveries. What stands for nothing is settled here, for a receiver in mode second waits
/// for our settlement (contract/amqp.md 4.2).
pub(super) fn on_disposition(
    channel: u16,
    disposition: &Disposition,
    session: &mut Session,
    output: &mut Output,
) -> Step {
    let is_of_receiver = bool::from(&disposition.role);
    let verdict = match &disposition.state {
        Some(DeliveryState::Accepted(_)) => Verdict::Accepted,
        Some(DeliveryState::Rejected(_)) => Verdict::Rejected,
        Some(DeliveryState::Modified(modified)) if modified.undeliverable_here == Some(true) => {
            Verdict::Rejected
        }
        Some(DeliveryState::Modified(_) | DeliveryState::Released(_)) => Verdict::Released,
        // Settled without a word is given back; unsettled it is no more than a sign of life.
        _ if disposition.settled => Verdict::Released,
        _ => return Step::Again,
    };
    if !is_of_receiver {
        return Step::Again;
    }
    let (first, last) = (disposition.first, disposition.last.unwrap_or(disposition.first));
    let taken = session.unsettled.take(first, last);
    let awaits_answer = !disposition.settled;
    if taken.is_empty() {
        if awaits_answer {
            output.disposition(channel, true, first, last, &Outcome::Accepted);
        }
        return Step::Again;
    }
    let settled = |noted: super::unsettled::Noted| Settled {
        link: LinkId { channel, handle: noted.handle },
        id: noted.id,
        tag: noted.tag,
        verdict,
        awaits_answer,
    };
    Step::Event(Event::Settled(taken.into_iter().map(settled).collect()))
}
