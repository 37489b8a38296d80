//! AMQP 1.0 without I/O: bytes in, events out, frames to write (contract/amqp.md 1).
//!
//! The only folder that names the AMQP crates. They decode; what goes out is written here, because every field
//! of every frame must be there (contract/amqp.md 1.3). The engine keeps the protocol's own state and its limits;
//! what a link means is decided by whoever takes its events. In reading order:
//! - [`value`], [`encode`]: encoded values in and out.
//! - [`frame`], [`attach`], [`output`]: frames in and out.
//! - [`message`], [`outgoing`]: the sections of a message.
//! - [`link`], [`session`], [`unsettled`]: credit, windows, deliveries.
//! - [`events`]: what the engine and those above it tell each other.
//! - [`handshake`]: protocol headers, SASL, the open.
//! - [`sending`]: messages to the client, and what it makes of them.
//! - [`Engine`], here: from the open to the close, and whose link an event belongs to.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::names::{CONTAINER_ID, conditions};

mod attach;
#[cfg(test)]
mod conformance;
pub(crate) mod encode;
mod events;
pub(crate) mod frame;
mod handshake;
mod link;
pub(crate) mod message;
pub(crate) mod outgoing;
mod output;
mod sending;
mod session;
#[cfg(test)]
mod tests;
mod unsettled;
pub(crate) mod value;

use attach::Attach;
pub(crate) use events::{
    AttachRequest, Condition, Delivery, Event, Info, LinkId, Outcome, SaslRequest, Settled, Verdict,
};
use frame::{Frame, FrameBody, next_frame};
use link::Link;
use output::{Offer, Output};
use session::{Fault, Ready, Session, new_link};
use value::Malformed;

/// Highest channel number; contract/amqp.md 1.2.
const CHANNEL_MAX: u16 = 8191;
/// Highest link handle of a session; contract/amqp.md 1.2: the C SDK puts all devices into one session.
const HANDLE_MAX: u32 = 8191;
/// Links of one connection, all sessions together: the 995 devices of a C# pool with eight links each.
pub(crate) const LINKS_PER_CONNECTION: usize = 7960;
/// Transfers a client may send ahead; contract/amqp.md 1.2.
const SESSION_WINDOW: u32 = 5000;
/// The silence we ask clients not to exceed; contract/amqp.md 1.2.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(240);
/// Bytes of unfinished deliveries over all links of a connection: sixteen of the largest messages at once. Ours.
const COLLECTED_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    SaslInit,
    SaslOutcome,
    HeaderAfterSasl,
    Open,
    Established,
    CloseSent,
    Done,
}

#[derive(Debug)]
enum SessionSlot {
    Mapped(Session),
    /// Ended by the client, which may still settle what it had not seen when it did: rhea of `@azure/event-hubs` does.
    Ended,
    /// Ended by us, and not yet by the client.
    Ending,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Engine {
    phase: Phase,
    input: BytesMut,
    output: Output,
    sessions: HashMap<u16, SessionSlot>,
    /// Links of all sessions, those included that wait for the client's answer to a detach.
    links: usize,
    /// Bytes of unfinished deliveries of all sessions.
    collected_bytes: usize,
    peer_idle_timeout: Option<Duration>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Header,
            input: BytesMut::new(),
            output: Output::new(),
            sessions: HashMap::new(),
            links: 0,
            collected_bytes: 0,
            peer_idle_timeout: None,
        }
    }

    /// Where received bytes go. Whoever reads decides how much room it has.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Whole frames to write now.
    pub(crate) fn take_output(&mut self) -> Bytes {
        self.output.take()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Nothing more will be said or heard.
    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// We closed, and wait for the client to close too.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase == Phase::CloseSent
    }

    /// The open was exchanged, and nobody closed.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Established
    }

    /// The silence the client asked us not to exceed.
    pub(crate) fn peer_idle_timeout(&self) -> Option<Duration> {
        self.peer_idle_timeout
    }

    /// An empty frame, so that the client does not take us for gone.
    pub(crate) fn heartbeat(&mut self) {
        if self.is_open() {
            self.output.empty();
        }
    }

    /// The next thing that happened in the bytes received so far.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        loop {
            let step = match self.phase {
                Phase::Header | Phase::HeaderAfterSasl => self.on_protocol_header(),
                Phase::SaslInit => self.on_sasl(),
                Phase::SaslOutcome | Phase::Done => return None,
                Phase::Open => self.on_open(),
                Phase::Established => self.on_frame(),
                Phase::CloseSent => self.on_frame_after_close(),
            };
            match step {
                Step::Event(event) => return Some(event),
                Step::Again => {}
                Step::MoreBytes => return None,
            }
        }
    }

    fn on_frame(&mut self) -> Step {
        let (channel, body) = match next_frame(&mut self.input) {
            Ok(None) => return Step::MoreBytes,
            Ok(Some(Frame::Amqp { channel, body })) => (channel, body),
            Ok(Some(Frame::SaslInit(_))) => return self.fail("a SASL frame after the open"),
            Err(malformed) => return self.fail_malformed(&malformed),
        };
        match body {
            FrameBody::Empty => Step::Again,
            FrameBody::Open(_) => self.fail("a second open"),
            FrameBody::Close(close) => {
                tracing::debug!(error = ?close.error, "the client closes");
                self.output.close(None);
                self.phase = Phase::Done;
                Step::Event(Event::Closed)
            }
            FrameBody::Begin(begin) => self.on_begin(channel, &begin),
            FrameBody::End(end) => match self.sessions.remove(&channel) {
                Some(SessionSlot::Mapped(session)) => {
                    self.sessions.insert(channel, SessionSlot::Ended);
                    tracing::debug!(channel, error = ?end.error, "the client ends a session");
                    self.forget_session(&session);
                    self.output.end(channel, None);
                    Step::Event(Event::SessionClosed(channel))
                }
                Some(SessionSlot::Ending) => Step::Again,
                Some(SessionSlot::Ended) | None => {
                    self.fail(format!("channel {channel} has no session to end"))
                }
            },
            body => self.on_session_frame(channel, body),
        }
    }

    fn on_begin(&mut self, channel: u16, begin: &fe2o3_amqp_types::performatives::Begin) -> Step {
        if channel > CHANNEL_MAX {
            return self.fail(format!("channel {channel} is above the channel-max of {CHANNEL_MAX}"));
        }
        if let Some(SessionSlot::Mapped(_) | SessionSlot::Ending) = self.sessions.get(&channel) {
            return self.fail(format!("channel {channel} has a session already"));
        }
        self.sessions.insert(channel, SessionSlot::Mapped(Session::new(begin)));
        self.output.begin(channel);
        Step::Again
    }

    fn on_session_frame(&mut self, channel: u16, body: FrameBody) -> Step {
        if let FrameBody::Attach(attach) = body {
            return self.on_attach(channel, attach);
        }
        let session = match self.sessions.get_mut(&channel) {
            Some(SessionSlot::Mapped(session)) => session,
            Some(SessionSlot::Ending) => return Step::Again,
            Some(SessionSlot::Ended) if matches!(body, FrameBody::Disposition(_)) => return Step::Again,
            Some(SessionSlot::Ended) | None => {
                return self.fail(format!("channel {channel} has no session"));
            }
        };
        let result = match body {
            FrameBody::Flow(flow) => match session.on_flow(channel, &flow, &mut self.output) {
                Ok(Some(Ready::Link { handle, is_first })) => {
                    return Step::Event(Event::LinkReady { link: LinkId { channel, handle }, is_first });
                }
                Ok(Some(Ready::Session)) => return Step::Event(Event::SessionReady(channel)),
                Ok(None) => return Step::Again,
                Err(fault) => Err(fault),
            },
            FrameBody::Transfer(transfer, payload) => {
                if transfer.more && self.collected_bytes + payload.len() > COLLECTED_BYTES_MAX {
                    let text = format!("more than {COLLECTED_BYTES_MAX} bytes of unfinished messages");
                    let condition = Condition::new(conditions::RESOURCE_LIMIT_EXCEEDED, text);
                    Err(Fault::Link(transfer.handle.0, condition))
                } else {
                    self.collected_bytes -= session.collected_bytes();
                    let result = session.on_transfer(channel, &transfer, payload, &mut self.output);
                    self.collected_bytes += session.collected_bytes();
                    result
                }
            }
            FrameBody::Disposition(disposition) => {
                return sending::on_disposition(channel, &disposition, session, &mut self.output);
            }
            FrameBody::Detach(detach) => return self.on_detach(channel, detach.handle.0, detach.closed),
            _ => Ok(None),
        };
        match result {
            Ok(Some(delivery)) => {
                Step::Event(Event::Delivery(LinkId { channel, handle: delivery.handle }, delivery))
            }
            Ok(None) => Step::Again,
            Err(fault) => self.on_fault(channel, fault),
        }
    }

    fn on_attach(&mut self, channel: u16, attach: Box<Attach>) -> Step {
        let handle = attach.handle;
        if handle > HANDLE_MAX {
            return self.fail(format!("handle {handle} is above the handle-max of {HANDLE_MAX}"));
        }
        match self.sessions.get(&channel) {
            Some(SessionSlot::Mapped(session)) if session.has_link(handle) => {
                let text = format!("handle {handle} is attached already");
                return self
                    .on_fault(channel, Fault::Session(Condition::new(conditions::HANDLE_IN_USE, text)));
            }
            Some(SessionSlot::Mapped(_)) => {}
            Some(SessionSlot::Ending) => return Step::Again,
            Some(SessionSlot::Ended) | None => {
                return self.fail(format!("channel {channel} has no session"));
            }
        }
        let link = LinkId { channel, handle };
        // A terminus that is no source or target, such as a transaction coordinator, names no node of a hub.
        let address = attach.address().unwrap_or_default();
        let request = AttachRequest { link, address, attach };
        if self.links >= 2 * LINKS_PER_CONNECTION {
            // Refused attaches are links too until the client detaches them.
            return self.fail(format!("{} links without a detach", self.links));
        }
        if self.links >= LINKS_PER_CONNECTION {
            let text = format!("a connection has at most {LINKS_PER_CONNECTION} links");
            self.refuse(request, &Condition::new(conditions::RESOURCE_LIMIT_EXCEEDED, text));
            return Step::Again;
        }
        Step::Event(Event::Attach(request))
    }

    fn on_detach(&mut self, channel: u16, handle: u32, closed: bool) -> Step {
        let removed = self.change_links(channel, |session| session.remove(handle));
        match removed.flatten() {
            Some(Link::Closing) => Step::Again,
            Some(Link::Incoming(_) | Link::Outgoing(_)) => {
                self.output.detach(channel, handle, closed, None);
                Step::Event(Event::LinkClosed(LinkId { channel, handle }))
            }
            None => {
                let text = format!("handle {handle} is not attached");
                self.on_fault(channel, Fault::Session(Condition::new(conditions::UNATTACHED_HANDLE, text)))
            }
        }
    }

    fn on_fault(&mut self, channel: u16, fault: Fault) -> Step {
        match fault {
            Fault::Connection(condition) => {
                let text = condition.description.clone();
                self.close(Some(&condition));
                Step::Event(Event::Failed(text))
            }
            Fault::Link(handle, condition) => {
                let link = LinkId { channel, handle };
                self.detach(link, &condition);
                Step::Event(Event::LinkClosed(link))
            }
            Fault::Session(condition) => {
                self.output.end(channel, Some(&condition));
                if let Some(SessionSlot::Mapped(session)) = self.sessions.insert(channel, SessionSlot::Ending)
                {
                    self.forget_session(&session);
                }
                Step::Event(Event::SessionClosed(channel))
            }
        }
    }

    fn on_frame_after_close(&mut self) -> Step {
        match next_frame(&mut self.input) {
            Ok(None) => Step::MoreBytes,
            Ok(Some(Frame::Amqp { body: FrameBody::Close(_), .. })) | Err(_) => {
                self.phase = Phase::Done;
                Step::MoreBytes
            }
            Ok(Some(_)) => Step::Again,
        }
    }

    fn fail(&mut self, text: impl Into<String>) -> Step {
        self.on_fault(0, Fault::Connection(Condition::new(conditions::FRAMING_ERROR, text)))
    }

    fn fail_malformed(&mut self, malformed: &Malformed) -> Step {
        self.fail(malformed.0.clone())
    }

    /// Grants a link, and credit if the client is to send; of what the client desired, it gets `capability`.
    pub(crate) fn accept(
        &mut self,
        request: AttachRequest,
        max_message_bytes: usize,
        capability: Option<&str>,
    ) {
        let AttachRequest { link: LinkId { channel, handle }, attach, .. } = request;
        let offer = Offer { max_message_bytes: max_message_bytes as u64, capability };
        self.output.attach(channel, &attach, true, offer);
        let pre_settled = attach.snd_settle_mode == Some(1);
        let link = new_link(attach.client_receives, pre_settled, max_message_bytes);
        self.change_links(channel, |session| session.insert(handle, link));
        if let Some(SessionSlot::Mapped(session)) = self.sessions.get_mut(&channel) {
            session.grant_credit(channel, handle, &mut self.output);
        }
    }

    /// Answers an attach with no source and no target, or where the reason is a redirect as if to grant it, and
    /// detaches with the reason (contract/amqp.md 5).
    pub(crate) fn refuse(&mut self, request: AttachRequest, condition: &Condition) {
        let echoes = condition.name == conditions::REDIRECT;
        let AttachRequest { link: LinkId { channel, handle }, attach, .. } = request;
        self.output.attach(channel, &attach, echoes, Offer::default());
        self.output.detach(channel, handle, true, Some(condition));
        self.change_links(channel, |session| session.insert(handle, Link::Closing));
    }

    /// Settles a delivery, unless its sender did.
    pub(crate) fn settle(&mut self, link: LinkId, delivery: &Delivery, outcome: &Outcome<'_>) {
        if !delivery.settled {
            self.output.disposition(link.channel, false, delivery.id, delivery.id, outcome);
        }
    }

    /// Ends a link with a reason.
    pub(crate) fn detach(&mut self, link: LinkId, condition: &Condition) {
        let LinkId { channel, handle } = link;
        let closed = self.change_links(channel, |session| {
            let is_open = !matches!(session.link_mut(handle), None | Some(Link::Closing));
            if is_open {
                session.insert(handle, Link::Closing);
            }
            is_open
        });
        if closed == Some(true) {
            self.output.detach(channel, handle, true, Some(condition));
        }
    }

    /// Ends the connection with a reason.
    pub(crate) fn close(&mut self, condition: Option<&Condition>) {
        match self.phase {
            Phase::Open => {
                self.output.open(CONTAINER_ID);
                self.output.close(condition);
                self.phase = Phase::CloseSent;
            }
            Phase::Established => {
                self.output.close(condition);
                self.phase = Phase::CloseSent;
            }
            Phase::CloseSent | Phase::Done => {}
            Phase::Header | Phase::SaslInit | Phase::SaslOutcome | Phase::HeaderAfterSasl => {
                self.phase = Phase::Done
            }
        }
        self.sessions.clear();
        (self.links, self.collected_bytes) = (0, 0);
    }

    /// Lets `change` add or remove links of a session, and keeps the connection's counts right.
    fn change_links<T>(&mut self, channel: u16, change: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let Some(SessionSlot::Mapped(session)) = self.sessions.get_mut(&channel) else { return None };
        self.links -= session.link_count();
        self.collected_bytes -= session.collected_bytes();
        let changed = change(session);
        self.links += session.link_count();
        self.collected_bytes += session.collected_bytes();
        Some(changed)
    }

    fn forget_session(&mut self, session: &Session) {
        self.links -= session.link_count();
        self.collected_bytes -= session.collected_bytes();
    }
}

enum Step {
    Again,
    Event(Event),
    MoreBytes,
}
