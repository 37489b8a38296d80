//! One connected identity on a connection: its session and its links (contract/amqp.md 1.4, 5; ARCHITECTURE 4.5).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::AbortHandle;
use hub::Hub;
use hub::device_session::{DeviceSession, Interest};
use hub::twin::Arrays;

use super::methods::{self, Correlation};
use super::{telemetry, twin};
use crate::address::IdentityNode;
use crate::engine::LinkId;

/// Replies kept for a twin receiver that is not attached yet; Java attaches it after its first request. Ours.
const EARLY_REPLIES_MAX: usize = 32;
/// Bytes of them, one reply always allowed: several of the largest twins. Ours.
const EARLY_REPLY_BYTES_MAX: usize = 512 * 1024;

/// What a device link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceLink {
    /// The client receives cloud-to-device messages. A module's link stays empty, for modules have no queue.
    CloudToDevice,
    /// A module receives messages routed to its inputs. Nothing is routed without an edge runtime.
    Inputs,
    /// The client is asked to perform direct methods.
    MethodRequests,
    /// The client answers them.
    MethodResponses,
    /// The client sends telemetry.
    Telemetry,
    /// The client receives replies and notifications.
    TwinReplies,
    /// The client sends twin requests.
    TwinRequests,
}

impl DeviceLink {
    const KINDS: usize = Self::TwinRequests as usize + 1;

    /// What the link is for, if only the standard tier has it (contract/rest.md 7).
    pub(crate) const fn standard_feature(self) -> Option<&'static str> {
        match self {
            Self::CloudToDevice => Some("Cloud-to-device messaging"),
            Self::MethodRequests | Self::MethodResponses => Some("A direct method"),
            Self::TwinReplies | Self::TwinRequests => Some("A device twin"),
            Self::Inputs | Self::Telemetry => None,
        }
    }

    /// The link a node and a direction make; `None` where the pair has no meaning (contract/amqp.md 3).
    pub(crate) const fn of(node: IdentityNode, client_receives: bool, is_module: bool) -> Option<Self> {
        match (node, client_receives) {
            (IdentityNode::Events, false) => Some(Self::Telemetry),
            (IdentityNode::Events, true) if is_module => Some(Self::Inputs),
            (IdentityNode::Twin, false) => Some(Self::TwinRequests),
            (IdentityNode::Twin, true) => Some(Self::TwinReplies),
            (IdentityNode::Methods, false) => Some(Self::MethodResponses),
            (IdentityNode::Methods, true) => Some(Self::MethodRequests),
            (IdentityNode::DeviceBound, true) => Some(Self::CloudToDevice),
            (IdentityNode::Events, true) | (IdentityNode::DeviceBound, false) => None,
        }
    }

    /// Largest delivery a client may send on it; said on all links, because some clients look for it on all.
    pub(crate) const fn max_message_bytes(self) -> usize {
        match self {
            Self::Telemetry => telemetry::DELIVERY_BYTES_MAX,
            Self::MethodRequests | Self::MethodResponses => methods::RESPONSE_BYTES_MAX,
            Self::CloudToDevice | Self::Inputs | Self::TwinReplies | Self::TwinRequests => {
                twin::REQUEST_BYTES_MAX
            }
        }
    }
}

/// An identity that is connected here. Dropping it disconnects it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) session: Arc<DeviceSession>,
    /// Stops waiting for the session's deliveries.
    pub(crate) listening: AbortHandle,
    links: [Option<LinkId>; DeviceLink::KINDS],
    /// Whether the client's version of the interface, named on its twin link, lets it report arrays.
    pub(crate) arrays: Arrays,
    /// Encoded replies for a twin receiver that is still to come.
    early_replies: VecDeque<Bytes>,
    pub(crate) correlation: Correlation,
    /// Messages wait in the core, and the client had no room when it was told.
    pub(crate) messages_wait: bool,
}

impl Connected {
    pub(crate) fn new(session: Arc<DeviceSession>, listening: AbortHandle, correlation: Correlation) -> Self {
        let (links, arrays) = ([None; DeviceLink::KINDS], Arrays::Allowed);
        let early_replies = VecDeque::new();
        Self { session, listening, links, arrays, early_replies, correlation, messages_wait: false }
    }

    pub(crate) const fn link(&self, kind: DeviceLink) -> Option<LinkId> {
        self.links[kind as usize]
    }

    /// Notes a link, and returns the one it replaces.
    pub(crate) const fn attach(&mut self, kind: DeviceLink, link: LinkId) -> Option<LinkId> {
        self.links[kind as usize].replace(link)
    }

    /// Forgets a link; `false` when another took its place before.
    pub(crate) fn detach(&mut self, kind: DeviceLink, link: LinkId) -> bool {
        let is_current = self.link(kind) == Some(link);
        if is_current {
            self.links[kind as usize] = None;
        }
        is_current
    }

    /// Keeps a reply for a twin receiver that is still to come; `false` when too much is kept already.
    pub(crate) fn keep_reply(&mut self, reply: Bytes) -> bool {
        let bytes: usize = self.early_replies.iter().map(Bytes::len).sum();
        let is_kept = self.early_replies.is_empty()
            || (self.early_replies.len() < EARLY_REPLIES_MAX && bytes + reply.len() <= EARLY_REPLY_BYTES_MAX);
        if is_kept {
            self.early_replies.push_back(reply);
        }
        is_kept
    }

    /// The replies kept, for the receiver that has come.
    pub(crate) fn take_replies(&mut self) -> VecDeque<Bytes> {
        std::mem::take(&mut self.early_replies)
    }

    /// A link of that kind went, detached or replaced by one that has no credit yet.
    pub(crate) fn link_gone(&mut self, kind: DeviceLink, hub: &Hub) {
        match kind {
            DeviceLink::CloudToDevice => {
                self.session.unsubscribe(Interest::CloudToDevice);
                self.messages_wait = false;
                if self.session.identity().module.is_none() {
                    hub.unlock_messages_of(&self.session);
                }
            }
            DeviceLink::MethodRequests => self.session.unsubscribe(Interest::Methods),
            DeviceLink::Inputs
            | DeviceLink::MethodResponses
            | DeviceLink::Telemetry
            | DeviceLink::TwinReplies
            | DeviceLink::TwinRequests => {}
        }
    }

    pub(crate) fn has_links(&self) -> bool {
        self.links.iter().any(Option::is_some)
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().flatten().copied()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_go_both_ways_and_cloud_to_device_messages_only_to_the_client() {
        for is_module in [false, true] {
            let of = |node, receives| DeviceLink::of(node, receives, is_module);
            assert_eq!(of(IdentityNode::Methods, true), Some(DeviceLink::MethodRequests));
            assert_eq!(of(IdentityNode::Methods, false), Some(DeviceLink::MethodResponses));
            assert_eq!(of(IdentityNode::DeviceBound, true), Some(DeviceLink::CloudToDevice));
            assert_eq!(of(IdentityNode::DeviceBound, false), None);
        }
    }

    #[test]
    fn only_modules_receive_on_their_events_node() {
        assert_eq!(DeviceLink::of(IdentityNode::Events, true, true), Some(DeviceLink::Inputs));
        assert_eq!(DeviceLink::of(IdentityNode::Events, true, false), None);
        assert_eq!(DeviceLink::of(IdentityNode::Events, false, false), Some(DeviceLink::Telemetry));
    }
}
