//! One session's state: its windows and its links (AMQP 1.0 part 2.5; contract/amqp.md 1.2).
//!
//! A session that is not renewed by a flow stalls after its window, so the incoming window is renewed at half.

use std::collections::HashMap;

use bytes::Bytes;
use fe2o3_amqp_types::performatives::{Begin, Flow, Transfer};

use super::link::{Collected, Incoming, LINK_CREDIT, Link, Message, Outgoing, Partial};
use super::output::{LinkState, MessageParts, Output, SessionState, TransferHead};
use super::unsettled::{Noted, Unsettled};
use super::{Condition, Delivery, SESSION_WINDOW, conditions};

/// A client broke a rule; how much of the connection that ends.
#[derive(Debug)]
pub(crate) enum Fault {
    Connection(Condition),
    Link(u32, Condition),
    Session(Condition),
}

/// What may have room for more by a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Link { handle: u32, is_first: bool },
    Session,
}

/// A session's state.
#[derive(Debug)]
pub(crate) struct Session {
    next_incoming_id: u32,
    incoming_window: u32,
    next_outgoing_id: u32,
    remote_incoming_window: u32,
    links: HashMap<u32, Link>,
    /// Something could not be sent for want of the peer's window.
    is_stalled: bool,
    next_delivery_id: u32,
    pub(crate) unsettled: Unsettled,
    collected_bytes: usize,
}

impl Session {
    pub(crate) fn new(begin: &Begin) -> Self {
        Self {
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: SESSION_WINDOW,
            next_outgoing_id: 0,
            remote_incoming_window: begin.incoming_window,
            links: HashMap::new(),
            is_stalled: false,
            next_delivery_id: 0,
            unsettled: Unsettled::default(),
            collected_bytes: 0,
        }
    }

    pub(crate) fn has_link(&self, handle: u32) -> bool {
        self.links.contains_key(&handle)
    }

    pub(crate) fn link_count(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn link_mut(&mut self, handle: u32) -> Option<&mut Link> {
        self.links.get_mut(&handle)
    }

    pub(crate) fn insert(&mut self, handle: u32, link: Link) {
        let before = self.links.insert(handle, link);
        self.forget_deliveries(handle, before.as_ref());
    }

    pub(crate) fn remove(&mut self, handle: u32) -> Option<Link> {
        let link = self.links.remove(&handle);
        self.forget_deliveries(handle, link.as_ref());
        link
    }

    /// Bytes of deliveries still coming in, over all links.
    pub(crate) fn collected_bytes(&self) -> usize {
        self.collected_bytes
    }

    fn forget_deliveries(&mut self, handle: u32, of: Option<&Link>) {
        match of {
            Some(Link::Incoming(link)) => self.collected_bytes -= link.collected_bytes(),
            Some(Link::Outgoing(_)) => self.unsettled.forget(handle),
            Some(Link::Closing) | None => {}
        }
    }

    /// Grants a new sending client its first credit.
    pub(crate) fn grant_credit(&mut self, channel: u16, handle: u32, output: &mut Output) {
        let state = self.state();
        if let Some(Link::Incoming(link)) = self.links.get_mut(&handle) {
            link.credit = LINK_CREDIT;
            let (delivery_count, credit) = (link.delivery_count, link.credit);
            output.flow(channel, state, Some(LinkState { handle, delivery_count, credit, drain: false }));
        }
    }

    /// Takes a transfer frame; a delivery when it was its last.
    pub(crate) fn on_transfer(
        &mut self,
        channel: u16,
        transfer: &Transfer,
        payload: Bytes,
        output: &mut Output,
    ) -> Result<Option<Delivery>, Fault> {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let Some(window) = self.incoming_window.checked_sub(1) else {
            let text = "a transfer was sent without room in the session's window";
            return Err(Fault::Session(Condition::new(conditions::WINDOW_VIOLATION, text)));
        };
        self.incoming_window = window;
        if window <= SESSION_WINDOW / 2 {
            self.incoming_window = SESSION_WINDOW;
            output.flow(channel, self.state(), None);
        }
        let handle = transfer.handle.0;
        let link = match self.links.get_mut(&handle) {
            Some(Link::Incoming(link)) => link,
            Some(Link::Closing) => return Ok(None),
            Some(Link::Outgoing(_)) => {
                let text = "a transfer was sent on a link whose sender is the hub";
                return Err(Fault::Link(handle, Condition::new(conditions::NOT_ALLOWED, text)));
            }
            None => return Err(unattached(handle)),
        };
        self.collected_bytes -= link.collected_bytes();
        let delivery = collect(link, transfer, payload);
        self.collected_bytes += link.collected_bytes();
        let delivery = delivery?;
        if delivery.is_some() && link.credit <= LINK_CREDIT / 2 {
            self.grant_credit(channel, handle, output);
        }
        Ok(delivery)
    }

    /// Takes a flow frame, sends what it allows and answers what it asks; what has room by it.
    pub(crate) fn on_flow(
        &mut self,
        channel: u16,
        flow: &Flow,
        output: &mut Output,
    ) -> Result<Option<Ready>, Fault> {
        let limit = flow.next_incoming_id.unwrap_or(0).wrapping_add(flow.incoming_window);
        let window = limit.wrapping_sub(self.next_outgoing_id);
        self.remote_incoming_window = if window > u32::MAX / 2 { flow.incoming_window } else { window };
        let (mut link_state, mut ready) = (None, None);
        if let Some(handle) = flow.handle.as_ref().map(|handle| handle.0) {
            match self.links.get_mut(&handle) {
                Some(Link::Outgoing(link)) => {
                    let is_first =
                        link.on_flow(flow.delivery_count, flow.link_credit.unwrap_or(0), flow.drain);
                    self.pump(channel, handle, output);
                    if let Some(link) = self.outgoing(handle) {
                        ready = (is_first || link.has_room()).then_some(Ready::Link { handle, is_first });
                        link_state = (flow.echo && !flow.drain).then_some(LinkState {
                            handle,
                            delivery_count: link.delivery_count,
                            credit: link.credit,
                            drain: false,
                        });
                    }
                    if ready.is_none() {
                        self.finish_drain(channel, handle, output);
                    }
                }
                Some(Link::Incoming(link)) if flow.echo => {
                    let (delivery_count, credit) = (link.delivery_count, link.credit);
                    link_state = Some(LinkState { handle, delivery_count, credit, drain: false });
                }
                Some(Link::Incoming(_) | Link::Closing) => {}
                None => return Err(unattached(handle)),
            }
        }
        if self.is_stalled {
            self.pump_all(channel, output);
            if !self.is_stalled {
                ready = Some(Ready::Session);
            }
        }
        if link_state.is_some() || (flow.echo && !flow.drain) {
            output.flow(channel, self.state(), link_state);
        }
        Ok(ready)
    }

    /// A link the client receives on.
    pub(crate) fn outgoing(&self, handle: u32) -> Option<&Outgoing> {
        match self.links.get(&handle) {
            Some(Link::Outgoing(link)) => Some(link),
            Some(Link::Incoming(_) | Link::Closing) | None => None,
        }
    }

    /// Uses up what is left of the credit of a draining link, and says so (contract/amqp.md 1.3.8); unless something
    /// still waits for the session's window.
    pub(crate) fn finish_drain(&mut self, channel: u16, handle: u32, output: &mut Output) {
        let Some(Link::Outgoing(link)) = self.links.get_mut(&handle) else { return };
        if !link.drain || (link.credit > 0 && !link.queue.is_empty()) {
            return;
        }
        link.delivery_count = link.delivery_count.wrapping_add(link.credit);
        (link.credit, link.drain) = (0, false);
        let state = LinkState { handle, delivery_count: link.delivery_count, credit: 0, drain: true };
        output.flow(channel, self.state(), Some(state));
    }

    /// Sends what a link has queued, as far as its credit and the session's window reach.
    pub(crate) fn pump(&mut self, channel: u16, handle: u32, output: &mut Output) {
        let Some(Link::Outgoing(link)) = self.links.get_mut(&handle) else { return };
        while let Some(queued) = link.queue.front_mut() {
            if queued.begun.is_none() && link.credit == 0 {
                return;
            }
            if self.remote_incoming_window == 0 {
                self.is_stalled = true;
                return;
            }
            let (delivery_id, sent) = *queued.begun.get_or_insert_with(|| {
                link.credit -= 1;
                link.delivery_count = link.delivery_count.wrapping_add(1);
                let id = self.next_delivery_id;
                self.next_delivery_id = id.wrapping_add(1);
                if queued.is_noted {
                    self.unsettled.note(Noted { id, handle, tag: queued.tag });
                }
                (id, 0)
            });
            let head = TransferHead { handle, delivery_id, tag: queued.tag, settled: link.pre_settled };
            let message = queued.message.parts();
            let sent = sent + output.transfer(channel, head, message, sent);
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            self.remote_incoming_window -= 1;
            if sent >= message.len() {
                link.pop_front();
            } else {
                queued.begun = Some((delivery_id, sent));
            }
        }
    }

    /// Sends a message that stands for nothing straight from where it lies; what the session's window does not take
    /// waits in the link, and whatever is sent after it. To be called with credit for it.
    pub(crate) fn send_now(
        &mut self,
        channel: u16,
        handle: u32,
        head: &[u8],
        body: &Bytes,
        output: &mut Output,
    ) {
        let Some(Link::Outgoing(link)) = self.links.get_mut(&handle) else { return };
        if !link.queue.is_empty() {
            let is_pushed = link.push(Message::new(Bytes::copy_from_slice(head), body.clone()), None);
            debug_assert!(is_pushed, "no more is sent at a time than a queue holds");
            return;
        }
        let message = MessageParts { head, body };
        let (tag, delivery_id) = (link.next_tag(), self.next_delivery_id);
        self.next_delivery_id = delivery_id.wrapping_add(1);
        link.count_delivery();
        let transfer = TransferHead { handle, delivery_id, tag, settled: link.pre_settled };
        let mut sent = 0;
        while self.remote_incoming_window > 0 {
            sent += output.transfer(channel, transfer, message, sent);
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            self.remote_incoming_window -= 1;
            if sent >= message.len() {
                return;
            }
        }
        self.is_stalled = true;
        let rest = Message::new(Bytes::copy_from_slice(head), body.clone());
        link.keep_rest(rest, tag, delivery_id, sent);
    }

    fn pump_all(&mut self, channel: u16, output: &mut Output) {
        self.is_stalled = false;
        let waiting: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, link)| matches!(link, Link::Outgoing(link) if !link.queue.is_empty()))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in waiting {
            self.pump(channel, handle, output);
        }
    }

    fn state(&self) -> SessionState {
        SessionState {
            next_incoming_id: self.next_incoming_id,
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
        }
    }
}

fn collect(link: &mut Incoming, transfer: &Transfer, payload: Bytes) -> Result<Option<Delivery>, Fault> {
    let handle = transfer.handle.0;
    if transfer.aborted {
        link.partial = None;
        return Ok(None);
    }
    let mut partial = match link.partial.take() {
        Some(partial) => partial,
        None => {
            let Some(id) = transfer.delivery_id else {
                let text = "the first transfer of a delivery has no delivery-id";
                return Err(Fault::Session(Condition::new(conditions::INVALID_FIELD, text)));
            };
            let Some(credit) = link.credit.checked_sub(1) else {
                let text = "a message was sent without credit";
                return Err(Fault::Link(handle, Condition::new(conditions::TRANSFER_LIMIT_EXCEEDED, text)));
            };
            link.credit = credit;
            link.delivery_count = link.delivery_count.wrapping_add(1);
            let format = transfer.message_format.unwrap_or(0);
            Box::new(Partial { id, format, settled: false, payload: Collected::Whole(Bytes::new()) })
        }
    };
    // A sender may decide late, on any frame of the delivery, that it does not wait for an outcome.
    partial.settled |= transfer.settled.unwrap_or(false);
    partial.payload.extend(payload, link.max_message_bytes);
    if transfer.more {
        link.partial = Some(partial);
        return Ok(None);
    }
    let Partial { id, format, settled, payload } = *partial;
    let payload = match payload {
        Collected::Whole(bytes) => Some(bytes),
        Collected::Joined(bytes) => Some(bytes.freeze()),
        Collected::Oversized => None,
    };
    Ok(Some(Delivery { handle, id, format, settled, payload }))
}

fn unattached(handle: u32) -> Fault {
    let text = format!("handle {handle} is not attached");
    Fault::Session(Condition::new(conditions::UNATTACHED_HANDLE, text))
}

/// A link endpoint for an accepted attach.
pub(crate) fn new_link(client_receives: bool, pre_settled: bool, max_message_bytes: usize) -> Link {
    if client_receives {
        Link::Outgoing(Box::new(Outgoing::new(pre_settled)))
    } else {
        Link::Incoming(Incoming::new(max_message_bytes))
    }
}
