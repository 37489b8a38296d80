//! One link's state: collecting what a client sends, or rationing what it is sent by its credit.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::output::MessageParts;
use super::unsettled::Tag;

/// Deliveries a link waits for credit with; a client that asks and never grants credit is cut off there. Ours.
pub(crate) const QUEUED_DELIVERIES_MAX: usize = 128;
/// Bytes a link waits for credit with, one delivery always allowed: some eight of the largest method payloads. Ours.
pub(crate) const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// Credit given to a sending client, topped up at half; contract/amqp.md 1.3.7.
pub(crate) const LINK_CREDIT: u32 = 1000;

/// A link of a session.
#[derive(Debug)]
pub(crate) enum Link {
    /// The client sends.
    Incoming(Incoming),
    /// The client receives.
    Outgoing(Box<Outgoing>),
    /// We detached it; whatever the client still says on it is too late.
    Closing,
}

/// The client's sending link.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) credit: u32,
    pub(crate) delivery_count: u32,
    pub(crate) max_message_bytes: usize,
    pub(crate) partial: Option<Box<Partial>>,
}

/// A delivery whose last frame has not come yet.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) id: u32,
    pub(crate) format: u32,
    pub(crate) settled: bool,
    pub(crate) payload: Collected,
}

/// What came of a delivery so far.
#[derive(Debug)]
pub(crate) enum Collected {
    /// The one frame most deliveries have.
    Whole(Bytes),
    /// Several frames joined.
    Joined(BytesMut),
    /// More than the link takes; only its end matters now.
    Oversized,
}

impl Collected {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
            Self::Oversized => 0,
        }
    }

    /// Adds a frame's payload, giving up past `limit`.
    pub(crate) fn extend(&mut self, payload: Bytes, limit: usize) {
        if matches!(self, Self::Oversized) {
            return;
        }
        if self.len() + payload.len() > limit {
            *self = Self::Oversized;
            return;
        }
        match self {
            Self::Whole(first) if first.is_empty() => *first = payload,
            Self::Whole(first) => {
                let mut joined = BytesMut::with_capacity(first.len() + payload.len());
                joined.extend_from_slice(first);
                joined.extend_from_slice(&payload);
                *self = Self::Joined(joined);
            }
            Self::Joined(joined) => joined.extend_from_slice(&payload),
            Self::Oversized => {}
        }
    }
}

impl Incoming {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self { credit: LINK_CREDIT, delivery_count: 0, max_message_bytes, partial: None }
    }

    pub(crate) fn collected_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.len())
    }
}

/// The client's receiving link.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) pre_settled: bool,
    pub(crate) credit: u32,
    pub(crate) delivery_count: u32,
    pub(crate) drain: bool,
    /// Whether the client ever gave credit.
    is_ready: bool,
    next_tag: u128,
    pub(crate) queue: VecDeque<Queued>,
    queued_bytes: usize,
}

/// An encoded message; the second part, if any, is a body that others share.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    head: Bytes,
    body: Bytes,
}

impl Message {
    pub(crate) const fn new(head: Bytes, body: Bytes) -> Self {
        Self { head, body }
    }

    pub(crate) fn parts(&self) -> MessageParts<'_> {
        MessageParts { head: &self.head, body: &self.body }
    }
}

impl From<Bytes> for Message {
    fn from(whole: Bytes) -> Self {
        Self { head: whole, body: Bytes::new() }
    }
}

/// A delivery waiting for credit or for the session's window.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    pub(crate) tag: Tag,
    /// Whether the tag stands for something, which the client settles.
    pub(crate) is_noted: bool,
    /// The delivery's number and how much of it has gone out, once its first frame did.
    pub(crate) begun: Option<(u32, usize)>,
}

impl Outgoing {
    pub(crate) fn new(pre_settled: bool) -> Self {
        Self {
            pre_settled,
            credit: 0,
            delivery_count: 0,
            drain: false,
            is_ready: false,
            next_tag: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
        }
    }

    /// Whether one more delivery would go out at once, as far as the link knows.
    pub(crate) fn has_room(&self) -> bool {
        self.credit > 0 && self.queue.is_empty()
    }

    /// Queues a message; `false` when the queue is full. Without a tag it gets one that stands for nothing.
    pub(crate) fn push(&mut self, message: Message, tag: Option<Tag>) -> bool {
        let bytes = self.queued_bytes + message.parts().len();
        if self.queue.len() >= QUEUED_DELIVERIES_MAX || (bytes > QUEUED_BYTES_MAX && !self.queue.is_empty()) {
            return false;
        }
        self.queued_bytes = bytes;
        let is_noted = tag.is_some() && !self.pre_settled;
        let tag = tag.unwrap_or_else(|| self.next_tag());
        self.queue.push_back(Queued { message, tag, is_noted, begun: None });
        true
    }

    /// A tag that stands for nothing.
    pub(crate) const fn next_tag(&mut self) -> Tag {
        self.next_tag = self.next_tag.wrapping_add(1);
        self.next_tag.to_be_bytes()
    }

    /// Uses credit up for a delivery.
    pub(crate) const fn count_delivery(&mut self) {
        self.credit = self.credit.saturating_sub(1);
        self.delivery_count = self.delivery_count.wrapping_add(1);
    }

    /// Keeps what is left of a delivery that has begun to go out; nothing else waits then.
    pub(crate) fn keep_rest(&mut self, message: Message, tag: Tag, delivery_id: u32, sent: usize) {
        debug_assert!(self.queue.is_empty(), "a delivery begins when none waits");
        self.queued_bytes += message.parts().len();
        self.queue.push_back(Queued { message, tag, is_noted: false, begun: Some((delivery_id, sent)) });
    }

    /// The first delivery has gone out whole.
    pub(crate) fn pop_front(&mut self) {
        if let Some(sent) = self.queue.pop_front() {
            self.queued_bytes -= sent.message.parts().len();
        }
    }

    /// Takes over the client's view of credit (AMQP 1.0 part 2.6.7). Whether this is the first the client gives.
    pub(crate) fn on_flow(&mut self, delivery_count: Option<u32>, credit: u32, drain: bool) -> bool {
        let under_way = self.delivery_count.wrapping_sub(delivery_count.unwrap_or(0));
        // A count ahead of ours is none of this link's; what it has not seen cannot be under way.
        let under_way = if under_way > u32::MAX / 2 { 0 } else { under_way };
        self.credit = credit.saturating_sub(under_way);
        self.drain = drain;
        let is_first = self.credit > 0 && !self.is_ready;
        self.is_ready |= is_first;
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_counts_what_is_still_under_way() {
        let mut link = Outgoing::new(false);
        link.delivery_count = 3;
        link.on_flow(Some(1), 10, false);
        assert_eq!(link.credit, 8);
        link.on_flow(Some(1), 1, false);
        assert_eq!(link.credit, 0);
    }

    #[test]
    fn a_client_may_grant_all_the_credit_there_is() {
        let mut link = Outgoing::new(false);
        link.on_flow(Some(0), u32::MAX, false);
        assert_eq!(link.credit, u32::MAX);
        link.delivery_count = 3;
        link.on_flow(Some(0), u32::MAX, false);
        assert_eq!(link.credit, u32::MAX - 3);
    }

    #[test]
    fn credit_survives_the_wrap_of_the_delivery_count() {
        let mut link = Outgoing::new(false);
        link.delivery_count = 2;
        link.on_flow(Some(u32::MAX), 10, false);
        assert_eq!(link.credit, 7);
    }

    #[test]
    fn a_queue_without_credit_is_bounded() {
        let mut link = Outgoing::new(true);
        assert!((0..QUEUED_DELIVERIES_MAX).all(|_| link.push(Bytes::new().into(), None)));
        assert!(!link.push(Bytes::new().into(), None));
    }

    #[test]
    fn a_queue_is_bounded_by_bytes_too_and_sending_makes_room() {
        let large = Bytes::from(vec![0; QUEUED_BYTES_MAX]);
        let mut link = Outgoing::new(true);
        assert!(link.push(large.clone().into(), None));
        assert!(!link.push(Bytes::from_static(b"x").into(), None));
        link.pop_front();
        assert!(link.push(Bytes::from_static(b"x").into(), None));
        assert!(!link.push(large.into(), None));
        assert!(link.push(Bytes::from(vec![0; QUEUED_BYTES_MAX - 1]).into(), None));
    }

    #[test]
    fn a_delivery_larger_than_the_queue_goes_when_it_is_alone() {
        let mut link = Outgoing::new(true);
        assert!(link.push(Bytes::from(vec![0; QUEUED_BYTES_MAX + 1]).into(), None));
        assert!(!link.push(Bytes::new().into(), None));
    }

    #[test]
    fn a_client_is_ready_once_by_its_first_credit() {
        let mut link = Outgoing::new(false);
        assert!(!link.on_flow(Some(0), 0, false));
        assert!(link.on_flow(Some(0), 1, false));
        assert!(!link.on_flow(Some(0), 0, false));
        assert!(!link.on_flow(Some(0), 5, false));
    }

    #[test]
    fn a_delivery_past_the_limit_is_dropped_while_it_comes_in() {
        let mut collected = Collected::Whole(Bytes::new());
        collected.extend(Bytes::from_static(b"abc"), 4);
        collected.extend(Bytes::from_static(b"d"), 4);
        assert_eq!(collected.len(), 4);
        collected.extend(Bytes::from_static(b"e"), 4);
        assert!(matches!(collected, Collected::Oversized));
    }
}
