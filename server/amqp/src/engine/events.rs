//! What the engine and those above it tell each other.

use bytes::Bytes;

use super::attach::Attach;
use super::unsettled::Tag;

/// A link of this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LinkId {
    pub(crate) channel: u16,
    pub(crate) handle: u32,
}

/// Why something is refused or ended: the condition, a sentence, and what else the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) name: &'static str,
    pub(crate) description: String,
    pub(crate) info: Vec<(&'static str, Info)>,
}

/// A value of a condition's info map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Info {
    Text(String),
    Uint(u32),
}

impl Condition {
    pub(crate) fn new(name: &'static str, description: impl Into<String>) -> Self {
        Self { name, description: description.into(), info: Vec::new() }
    }
}

/// How a delivery ends.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    Accepted,
    Rejected(&'a Condition),
}

/// A whole message from a client.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(super) handle: u32,
    pub(super) id: u32,
    /// The message-format, which tells batches from single messages.
    pub(crate) format: u32,
    /// Settled by the sender: nobody waits for the outcome.
    pub(crate) settled: bool,
    /// `None` when it was larger than the link takes.
    pub(crate) payload: Option<Bytes>,
}

/// What a client did with deliveries it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Rejected,
    Released,
}

/// A delivery that stood for something, and that its client has done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) link: LinkId,
    pub(super) id: u32,
    /// What the delivery stood for.
    pub(crate) tag: Tag,
    pub(crate) verdict: Verdict,
    /// The client leaves the last word to us: [`super::Engine::confirm`].
    pub(crate) awaits_answer: bool,
}

/// What a client's SASL layer presents.
#[derive(Debug)]
pub(crate) struct SaslRequest {
    pub(crate) mechanism: String,
    pub(crate) response: Vec<u8>,
    pub(crate) hostname: Option<String>,
}

/// A client asks for a link; answered by [`Engine::accept`] or [`Engine::refuse`] before the next event is taken.
#[derive(Debug)]
pub(crate) struct AttachRequest {
    pub(crate) link: LinkId,
    pub(crate) address: Option<String>,
    pub(super) attach: Box<Attach>,
}

impl AttachRequest {
    /// Whether the client is to receive on this link.
    pub(crate) fn client_receives(&self) -> bool {
        self.attach.client_receives
    }

    /// What else the client wrote.
    pub(crate) fn attach(&self) -> &Attach {
        &self.attach
    }
}

/// What a connection does that somebody above the protocol must know.
#[derive(Debug)]
pub(crate) enum Event {
    Attach(AttachRequest),
    /// The client closed the connection, and was answered.
    Closed,
    Delivery(LinkId, Delivery),
    /// The peer broke the protocol, and was told. The text is for the log.
    Failed(String),
    /// A link is gone: detached by the client, or by us for what it did.
    LinkClosed(LinkId),
    /// A link has room for more; and whether it is by its first credit, by which the client means to receive. To be
    /// followed by [`super::Engine::finish_drain`].
    LinkReady {
        link: LinkId,
        is_first: bool,
    },
    /// The connection is open; the host name the client gave the hub.
    Opened(Option<String>),
    /// Answered by [`Engine::sasl_outcome`].
    Sasl(SaslRequest),
    /// A session is gone with its links: ended by the client, or by us for what it did.
    SessionClosed(u16),
    /// Everything that waited for a session's window went out: all its links may have room again.
    SessionReady(u16),
    /// The client settled deliveries that stand for something.
    Settled(Vec<Settled>),
}
