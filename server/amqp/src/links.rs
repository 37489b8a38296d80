//! From the engine's events to nodes, and from the core's notifications to links (contract/amqp.md 2, 3, 5).
//!
//! Owns what a connection holds above the protocol: its claims, which node each link is for, and the identities
//! that are connected here. An identity's session begins with its first authorized link and ends with its last.
//! What clients send is in [`requests`], what they are sent under a lock in [`messages`]; the sessions of devices are
//! in [`identities`], the back end's links in [`service`], its readers of events in [`events`], and who is answered
//! where in [`exchange`].

use std::collections::HashMap;
use std::pin::Pin;

use auth::SasToken;
use futures_util::stream::{SelectAll, Stream};
use hub::api_version::ApiVersion;
use hub::device_session::{Delivery as SessionDelivery, DisconnectReason};
use hub::error::HubError;
use hub::gate::{Details, ProtocolLabel};
use hub::ids::IdentityId;
use net::{Carrier, PeerInfo};

mod events;
mod exchange;
mod identities;
mod messages;
mod requests;
mod service;

use self::exchange::{Exchange, ReplyLink};
use crate::address::Node;
use crate::cbs::{self, Claims, Verifier};
use crate::device::links::{Connected, DeviceLink};
use crate::engine::{AttachRequest, Condition, Engine, Event, LinkId, SaslRequest};
use crate::error::{refusal, session_end};
use crate::names::{conditions, labels, link_properties};
use crate::service::ServiceLink;
use crate::{AmqpHead, sasl};

/// What the core tells an identity that is connected here.
type Deliveries = SelectAll<Pin<Box<dyn Stream<Item = (IdentityId, SessionDelivery)> + Send>>>;

/// Everything a connection holds above the protocol.
pub(crate) struct Links<'h> {
    head: &'h AmqpHead,
    peer: PeerInfo,
    details: Details,
    /// The name the client gave the hub in its open, or before that in its sasl-init.
    host: Option<String>,
    claims: Claims,
    nodes: HashMap<LinkId, LinkNode>,
    connected: HashMap<IdentityId, Connected>,
    /// Deliveries of all connected identities; polled by the connection's loop.
    pub(crate) deliveries: Deliveries,
    /// Wakes the connection's loop for the service links.
    pub(crate) service: service::ServiceSide<'h>,
    was_authenticated: bool,
    /// Why the client is expected to leave: it was told by a detach, and the connection closes if it stays.
    pub(crate) leaving: Option<Condition>,
    is_stopping: bool,
    /// Reply links so far: of several, requests are answered on the latest.
    reply_links: u64,
    /// A device link was detached because the hub stops.
    was_told_of_stop: bool,
}

/// What an accepted link is for.
#[derive(Clone, Debug)]
enum LinkNode {
    Device(IdentityId, DeviceLink),
    /// The client reads a partition.
    Events,
    /// The client is answered.
    Replies(Exchange, ReplyLink),
    /// The client asks.
    Requests(Exchange),
    Service(ServiceLink),
}

impl<'h> Links<'h> {
    pub(crate) fn new(head: &'h AmqpHead, peer: PeerInfo) -> Self {
        let label = match peer.carrier {
            Carrier::Tcp | Carrier::Tls => labels::AMQP,
            Carrier::WebSocket => labels::AMQP_WEBSOCKET,
        };
        Self {
            head,
            details: Details { protocol: ProtocolLabel(label), connection: Some(peer.connection) },
            peer,
            host: None,
            claims: Claims::default(),
            nodes: HashMap::new(),
            connected: HashMap::new(),
            deliveries: SelectAll::new(),
            service: service::ServiceSide::default(),
            was_authenticated: false,
            leaving: None,
            is_stopping: false,
            reply_links: 0,
            was_told_of_stop: false,
        }
    }

    /// Whether any credential was accepted on this connection.
    pub(crate) const fn is_authenticated(&self) -> bool {
        self.was_authenticated
    }

    /// Ends every session, because the connection ends.
    pub(crate) fn clear(&mut self) {
        self.connected.clear();
        self.deliveries = SelectAll::new();
        let links: Vec<LinkId> = self.nodes.keys().copied().collect();
        links.into_iter().for_each(|link| self.on_link_closed(link));
    }

    /// Acts on an event of the protocol.
    pub(crate) async fn on_event(&mut self, event: Event, engine: &mut Engine) {
        match event {
            Event::Attach(request) => self.on_attach(request, engine).await,
            Event::Closed => self.clear(),
            Event::Delivery(link, delivery) => self.on_delivery(link, &delivery, engine).await,
            Event::Failed(reason) => {
                tracing::debug!("protocol violation: {reason}");
                self.clear();
            }
            Event::LinkClosed(link) => self.on_link_closed(link),
            Event::LinkReady { link, is_first } => self.on_link_ready(link, is_first, engine).await,
            Event::Opened(host) => self.host = host.or_else(|| self.host.take()),
            Event::Sasl(request) => {
                let accepted = self.on_sasl(request);
                engine.sasl_outcome(accepted);
            }
            Event::SessionClosed(channel) => {
                let gone: Vec<LinkId> =
                    self.nodes.keys().filter(|link| link.channel == channel).copied().collect();
                gone.into_iter().for_each(|link| self.on_link_closed(link));
            }
            Event::SessionReady(channel) => self.on_session_ready(channel, engine).await,
            Event::Settled(deliveries) => self.on_settled(deliveries, engine).await,
        }
    }

    fn on_sasl(&mut self, request: SaslRequest) -> bool {
        self.host = request.hostname;
        match sasl::Presented::parse(&request.mechanism, &request.response) {
            Ok(sasl::Presented::Nothing) => true,
            Ok(sasl::Presented::Certificate) => {
                if self.peer.certificates.is_none() {
                    tracing::warn!(
                        "refused: SASL EXTERNAL without a client certificate in the TLS handshake"
                    );
                }
                self.peer.certificates.is_some()
            }
            Ok(sasl::Presented::Login { user, password: sasl::Password(password) }) => {
                let (claims, verifier) = self.claims_and_verifier();
                let put = match &user {
                    sasl::User::Identity(identity) => {
                        claims.put(&password, Some(identity), None, &verifier).map(drop)
                    }
                    sasl::User::Policy(policy) if SasToken::is_meant_by(&password) => {
                        if SasToken::parse(&password).is_ok_and(|token| !token.is_of_policy(policy)) {
                            tracing::warn!(
                                "refused: the token of PLAIN user '{policy}' is not that policy's"
                            );
                            return false;
                        }
                        claims.put(&password, None, None, &verifier).map(drop)
                    }
                    sasl::User::Policy(policy) => claims.put_key(policy, &password, &verifier),
                };
                self.was_authenticated |= put.is_ok();
                put.is_ok()
            }
            Err(reason) => {
                tracing::warn!("refused: {reason}");
                false
            }
        }
    }

    fn claims_and_verifier(&mut self) -> (&mut Claims, Verifier<'_>) {
        let authenticator = &self.head.authenticator;
        (&mut self.claims, Verifier { authenticator, host: self.host.as_deref(), details: self.details })
    }

    async fn on_attach(&mut self, request: AttachRequest, engine: &mut Engine) {
        match self.node_for(&request).await {
            Ok((node, max_message_bytes)) => {
                let (link, receives) = (request.link, request.client_receives());
                engine.accept(request, max_message_bytes, self.capability_of(link));
                self.nodes.insert(link, node.clone());
                match node {
                    LinkNode::Device(identity, kind) => {
                        self.device_link_attached(&identity, kind, link, engine);
                    }
                    LinkNode::Events => {
                        self.watch_service_claims();
                        self.reader_ready(link, engine);
                    }
                    LinkNode::Replies(Exchange::Management, _)
                    | LinkNode::Requests(Exchange::Management)
                    | LinkNode::Service(_) => self.watch_service_claims(),
                    LinkNode::Replies(Exchange::Cbs, _) | LinkNode::Requests(Exchange::Cbs) => {}
                }
                tracing::debug!(link = ?link, receives, "link attached");
            }
            Err(condition) => {
                let link = request.link;
                if condition.name == conditions::REDIRECT {
                    tracing::debug!(?link, "attach redirected to the event hub");
                } else {
                    tracing::warn!(
                        ?link,
                        code = condition.name,
                        "attach refused: {:?}",
                        condition.description
                    );
                }
                engine.refuse(request, &condition);
            }
        }
    }

    /// Decides by address and direction alone (contract/amqp.md 1.4), then by claim.
    async fn node_for(&mut self, request: &AttachRequest) -> Result<(LinkNode, usize), Condition> {
        if self.is_stopping {
            return Err(session_end(DisconnectReason::HubStopping));
        }
        let address = request.address.as_deref().unwrap_or_default();
        let Some(node) = Node::parse(address) else {
            return Err(Condition::new(conditions::NOT_FOUND, format!("there is no node '{address}'")));
        };
        let receives = request.client_receives();
        match node {
            Node::Cbs => Ok((self.exchange_node(Exchange::Cbs, request), cbs::REQUEST_BYTES_MAX)),
            Node::EventHub(node) => self.event_hub_node(node, request).await,
            Node::Identity(address, node) => {
                let identity = self.connected_identity(&address, request).await?;
                let Some(kind) = DeviceLink::of(node, receives, identity.module.is_some()) else {
                    self.disconnect_if_unused(&identity);
                    return Err(without_meaning(request));
                };
                if let Err(error) = self.in_tier(kind) {
                    self.disconnect_if_unused(&identity);
                    return Err(refusal(&error, &self.head.hub.tracking_id()));
                }
                if kind == DeviceLink::TwinRequests
                    && let Some(connected) = self.connected.get_mut(&identity)
                {
                    let version = request.attach().property(link_properties::API_VERSION);
                    connected.arrays = version.as_deref().and_then(ApiVersion::parse).into();
                }
                Ok((LinkNode::Device(identity, kind), kind.max_message_bytes()))
            }
            Node::Moved(behind) => Err(self.moved(&behind, request)),
            Node::Service(node) => {
                self.service_grant()?;
                let kind = ServiceLink::of(node, receives).ok_or_else(|| without_meaning(request))?;
                let in_tier = self.head.hub.gate().standard(ServiceLink::STANDARD_FEATURE);
                in_tier.map_err(|error| refusal(&error, &self.head.hub.tracking_id()))?;
                Ok((LinkNode::Service(kind), ServiceLink::MESSAGE_BYTES_MAX))
            }
        }
    }

    /// SDKs attach links for what a basic hub lacks without being asked to, and learn it from the refusal.
    fn in_tier(&self, kind: DeviceLink) -> Result<(), HubError> {
        kind.standard_feature().map_or(Ok(()), |feature| self.head.hub.gate().standard(feature))
    }

    fn device_link_attached(
        &mut self,
        identity: &IdentityId,
        kind: DeviceLink,
        link: LinkId,
        engine: &mut Engine,
    ) {
        let Some(connected) = self.connected.get_mut(identity) else { return };
        let replaced = connected.attach(kind, link);
        if replaced.is_some() {
            connected.link_gone(kind, &self.head.hub);
        }
        if kind == DeviceLink::TwinReplies {
            let is_open = connected.take_replies().into_iter().all(|reply| engine.send(link, reply));
            if !is_open {
                self.on_link_closed(link);
            }
        }
        if let Some(older) = replaced {
            self.nodes.remove(&older);
            engine.detach(
                older,
                &Condition::new(conditions::STOLEN, "a newer link of the same kind was attached"),
            );
        }
    }

    fn on_link_closed(&mut self, link: LinkId) {
        match self.nodes.remove(&link) {
            Some(LinkNode::Device(identity, kind)) => {
                if let Some(connected) = self.connected.get_mut(&identity)
                    && connected.detach(kind, link)
                {
                    connected.link_gone(kind, &self.head.hub);
                }
                self.disconnect_if_unused(&identity);
            }
            Some(LinkNode::Events) => self.reader_gone(link),
            Some(LinkNode::Service(kind)) => self.service_link_gone(kind),
            Some(LinkNode::Replies(..) | LinkNode::Requests(_)) | None => {}
        }
    }

    fn disconnect_if_unused(&mut self, identity: &IdentityId) {
        if self.connected.get(identity).is_some_and(|connected| !connected.has_links()) {
            self.connected.remove(identity);
        }
    }
}

fn unauthorized(text: String) -> Condition {
    Condition::new(conditions::UNAUTHORIZED_ACCESS, text)
}

/// A node that exists, and that nobody attaches to in this direction (contract/amqp.md 3).
fn without_meaning(request: &AttachRequest) -> Condition {
    let direction = if request.client_receives() { "receiver" } else { "sender" };
    let address = request.address.as_deref().unwrap_or_default();
    Condition::new(conditions::NOT_ALLOWED, format!("no {direction} can attach to '{address}'"))
}
