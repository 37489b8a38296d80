//! From the engine's events to nodes, and from the core's notifications to links (contract/amqp.md 2, 3, 5).
//!
//! Owns what a connection holds above the protocol: its claims, which node each link is for, and the identities
//! that are connected here. An identity's session begins with its first authorized link and ends with its last.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use auth::authenticator::{Credential, Presented};
use futures_util::future::AbortHandle;
use futures_util::stream::{self, SelectAll, Stream, abortable};
use hub::access::Grant;
use hub::device_session::{Delivery as SessionDelivery, DeviceSession, DisconnectReason, SessionOptions};
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{Connect, SendTelemetry};
use hub::gate::{Details, ProtocolLabel};
use hub::ids::IdentityId;
use net::{Carrier, PeerInfo};

use crate::address::{IdentityAddress, Node};
use crate::cbs::{self, Claims, PutToken, Verifier, renews};
use crate::device::links::{Connected, DeviceLink, EARLY_REPLIES_MAX};
use crate::device::telemetry::{self, Telemetry};
use crate::device::twin;
use crate::engine::message::Message;
use crate::engine::{AttachRequest, Condition, Delivery, Engine, Event, LinkId, Outcome, SaslRequest};
use crate::error::{refusal, session_end};
use crate::names::{conditions, labels, link_properties};
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
    was_authenticated: bool,
}

/// What an accepted link is for.
#[derive(Clone, Debug)]
enum LinkNode {
    CbsReplies,
    CbsRequests,
    Device(IdentityId, DeviceLink),
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
            was_authenticated: false,
        }
    }

    /// Whether any credential was accepted on this connection.
    pub(crate) const fn is_authenticated(&self) -> bool {
        self.was_authenticated
    }

    /// Ends every session, because the connection ends.
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.connected.clear();
        self.deliveries = SelectAll::new();
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
            Ok(sasl::Presented::Token { user, token }) => {
                let identity = match &user {
                    sasl::User::Identity(identity) => Some(identity),
                    sasl::User::Policy => None,
                };
                let (claims, verifier) = self.claims_and_verifier();
                let put = claims.put(&token.0, identity, None, &verifier);
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
                engine.accept(request, max_message_bytes);
                self.nodes.insert(link, node.clone());
                if let LinkNode::Device(identity, kind) = node {
                    self.device_link_attached(&identity, kind, link, engine);
                }
                tracing::debug!(link = ?link, receives, "link attached");
            }
            Err(condition) => {
                tracing::debug!(link = ?request.link, code = condition.name, "attach refused: {}", condition.description);
                engine.refuse(request, &condition);
            }
        }
    }

    /// Decides by address and direction alone (contract/amqp.md 1.4), then by claim.
    async fn node_for(&mut self, request: &AttachRequest) -> Result<(LinkNode, usize), Condition> {
        let address = request.address.as_deref().unwrap_or_default();
        let Some(node) = Node::parse(address) else {
            return Err(Condition::new(conditions::NOT_FOUND, format!("there is no node '{address}'")));
        };
        let receives = request.client_receives();
        match node {
            Node::Cbs if receives => Ok((LinkNode::CbsReplies, cbs::REQUEST_BYTES_MAX)),
            Node::Cbs => Ok((LinkNode::CbsRequests, cbs::REQUEST_BYTES_MAX)),
            Node::Identity(address, node) => {
                let identity = self.connected_identity(&address, request).await?;
                let Some(kind) = DeviceLink::of(node, receives, identity.module.is_some()) else {
                    self.disconnect_if_unused(&identity);
                    return Err(not_offered(request));
                };
                let max_message_bytes = match kind {
                    DeviceLink::Telemetry => telemetry::DELIVERY_BYTES_MAX,
                    DeviceLink::Inputs | DeviceLink::TwinReplies | DeviceLink::TwinRequests => {
                        twin::REQUEST_BYTES_MAX
                    }
                };
                Ok((LinkNode::Device(identity, kind), max_message_bytes))
            }
            Node::Service(_) if self.claims.has_service_connect() => Err(not_offered(request)),
            Node::Service(_) => {
                Err(unauthorized(format!("'{address}' needs a token with the right ServiceConnect")))
            }
        }
    }

    /// The identity an address names, connected: as it is already, or by a claim, or by the TLS certificate.
    async fn connected_identity(
        &mut self,
        address: &IdentityAddress,
        request: &AttachRequest,
    ) -> Result<IdentityId, Condition> {
        if let Some(identity) = address.readings().find(|identity| self.connected.contains_key(*identity)) {
            return Ok(identity.clone());
        }
        // The raw reading of an id counts where the decoded one is unknown (contract/amqp.md 1.5).
        let mut refused = None;
        for identity in address.readings() {
            match self.connect(identity, request).await {
                Ok(()) => return Ok(identity.clone()),
                Err(condition) => refused = refused.or(Some(condition)),
            }
        }
        Err(refused.unwrap_or_else(|| unauthorized("no identity".to_owned())))
    }

    async fn connect(&mut self, identity: &IdentityId, request: &AttachRequest) -> Result<(), Condition> {
        let hub = &self.head.hub;
        let refuse = |error: HubError| refusal(&error, &hub.tracking_id());
        let grant = self.grant_for(identity).map_err(|missing| match missing {
            Missing::Refused(error) => refuse(error),
            Missing::Nothing => {
                tracing::warn!(
                    device = %identity.device,
                    module = identity.module.as_ref().map(hub::ids::ModuleId::as_str),
                    "refused: a link of {identity} was attached, but the connection has neither a token for it \
                     nor a client certificate; put a token on $cbs first"
                );
                unauthorized(format!("the connection has no claim for '{identity}'"))
            }
        })?;
        let admitted =
            hub.gate().admit::<Connect>(&grant, identity.clone(), self.details).await.map_err(refuse)?;
        let options = SessionOptions {
            connection: self.peer.connection,
            protocol: self.details.protocol,
            peer: self.peer.address,
            credential_grace: Duration::ZERO,
            will: None,
            product_info: request.property(link_properties::CLIENT_VERSION),
            model_id: request.property(link_properties::MODEL_ID),
            keep_saved: false,
        };
        let session = Arc::new(hub.connect(admitted, options).map_err(refuse)?);
        let listening = self.listen(Arc::clone(&session));
        self.connected.insert(identity.clone(), Connected::new(session, listening));
        self.was_authenticated = true;
        Ok(())
    }

    fn listen(&mut self, session: Arc<DeviceSession>) -> AbortHandle {
        let deliveries = stream::unfold(session, |session| async move {
            let delivery = session.next().await;
            Some(((session.identity().clone(), delivery), session))
        });
        let (deliveries, listening) = abortable(deliveries);
        self.deliveries.push(Box::pin(deliveries));
        listening
    }

    fn grant_for(&mut self, identity: &IdentityId) -> Result<Arc<Grant>, Missing> {
        let (claims, verifier) = self.claims_and_verifier();
        if let Some(claim) = claims.covering(identity) {
            return verifier.verify_again(claim).map_err(Missing::Refused);
        }
        let Some(certificates) = &self.peer.certificates else { return Err(Missing::Nothing) };
        let presented = Presented {
            credential: Credential::Certificate(certificates),
            identity: Some(identity),
            host: self.host.as_deref(),
            details: self.details,
        };
        self.head.authenticator.authenticate(&presented).map_err(Missing::Refused)
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
        if kind == DeviceLink::TwinReplies {
            let early = std::mem::take(&mut connected.early_replies);
            let is_open = early.into_iter().all(|reply| engine.send(link, reply));
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
        if let Some(LinkNode::Device(identity, kind)) = self.nodes.remove(&link)
            && let Some(connected) = self.connected.get_mut(&identity)
        {
            connected.detach(kind, link);
            self.disconnect_if_unused(&identity);
        }
    }

    fn disconnect_if_unused(&mut self, identity: &IdentityId) {
        if self.connected.get(identity).is_some_and(|connected| !connected.has_links()) {
            self.connected.remove(identity);
        }
    }

    async fn on_delivery(&mut self, link: LinkId, delivery: &Delivery, engine: &mut Engine) {
        match self.nodes.get(&link).cloned() {
            Some(LinkNode::CbsRequests) => self.on_put_token(link, delivery, engine),
            Some(LinkNode::Device(identity, DeviceLink::Telemetry)) => {
                self.on_telemetry(&identity, link, delivery, engine).await;
            }
            Some(LinkNode::Device(identity, DeviceLink::TwinRequests)) => {
                self.on_twin_request(&identity, link, delivery, engine).await;
            }
            Some(
                LinkNode::CbsReplies | LinkNode::Device(_, DeviceLink::Inputs | DeviceLink::TwinReplies),
            )
            | None => {}
        }
    }

    fn on_put_token(&mut self, link: LinkId, delivery: &Delivery, engine: &mut Engine) {
        let message = match read(delivery) {
            Ok(message) => message,
            Err(condition) => return engine.settle(link, delivery, &Outcome::Rejected(&condition)),
        };
        engine.settle(link, delivery, &Outcome::Accepted);
        let (status, description, grant) = match PutToken::parse(&message) {
            Ok(request) => {
                let (claims, verifier) = self.claims_and_verifier();
                request.perform(claims, &verifier)
            }
            Err((status, description)) => {
                tracing::warn!(code = status, "put-token refused: {description}");
                (status, description, None)
            }
        };
        if let Some(grant) = grant {
            self.was_authenticated = true;
            self.renew_sessions(&grant);
        }
        let Some(replies) = self.cbs_replies(link.channel) else {
            tracing::debug!("a put-token request has no reply link to be answered on");
            return;
        };
        if !engine.send(replies, cbs::reply(&message, status, &description)) {
            self.on_link_closed(replies);
        }
    }

    fn renew_sessions(&self, grant: &Arc<Grant>) {
        for (identity, connected) in &self.connected {
            if renews(grant, &connected.session.grant(), identity) {
                connected.session.renew(Arc::clone(grant));
            }
        }
    }

    /// The reply link of the request's session; of several the latest, which has the highest handle with every
    /// client that opens a pair per token; else of any session.
    fn cbs_replies(&self, channel: u16) -> Option<LinkId> {
        let replies =
            self.nodes.iter().filter(|(_, node)| matches!(node, LinkNode::CbsReplies)).map(|(link, _)| *link);
        replies.max_by_key(|link| (link.channel == channel, link.handle))
    }

    async fn on_telemetry(
        &mut self,
        identity: &IdentityId,
        link: LinkId,
        delivery: &Delivery,
        engine: &mut Engine,
    ) {
        let outcome = match self.send_telemetry(identity, delivery).await {
            Ok(()) => Outcome::Accepted,
            Err(ref condition) => {
                tracing::debug!(device = %identity.device, code = condition.name, "message refused: {}", condition.description);
                return engine.settle(link, delivery, &Outcome::Rejected(condition));
            }
        };
        engine.settle(link, delivery, &outcome);
    }

    async fn send_telemetry(&mut self, identity: &IdentityId, delivery: &Delivery) -> Result<(), Condition> {
        let hub = &self.head.hub;
        let refuse = |error: HubError| refusal(&error, &hub.tracking_id());
        let payload = delivery.payload.as_ref().ok_or_else(too_large)?;
        let telemetry = Telemetry::parse(delivery.format, payload)
            .map_err(|malformed| Condition::new(conditions::DECODE_ERROR, malformed.0))?;
        let Some(connected) = self.connected.get(identity) else {
            return Err(unauthorized(format!("'{identity}' is not connected any more")));
        };
        let grant = connected.session.grant();
        let admitted = hub
            .gate()
            .admit::<SendTelemetry>(&grant, identity.clone(), self.details)
            .await
            .map_err(refuse)?;
        match telemetry {
            Telemetry::Single(message) => hub.send_telemetry(admitted, message).map(drop).map_err(refuse),
            Telemetry::Batch(messages) => hub.send_telemetry_batch(admitted, messages).map_err(refuse),
        }
    }

    async fn on_twin_request(
        &mut self,
        identity: &IdentityId,
        link: LinkId,
        delivery: &Delivery,
        engine: &mut Engine,
    ) {
        let Some(connected) = self.connected.get_mut(identity) else { return };
        engine.settle(link, delivery, &Outcome::Accepted);
        let request = match &delivery.payload {
            Some(payload) => Message::parse(payload)
                .map_err(|malformed| HubError::new(ErrorCode::GenericBadRequest, malformed.0)),
            None => {
                Err(HubError::new(ErrorCode::GenericRequestEntityTooLarge, "The twin request is too large."))
            }
        };
        let reply = twin::answer(request, &connected.session, &self.head.hub, self.details).await;
        match connected.link(DeviceLink::TwinReplies) {
            Some(replies) => {
                if !engine.send(replies, reply) {
                    self.on_link_closed(replies);
                }
            }
            None if connected.early_replies.len() < EARLY_REPLIES_MAX => {
                connected.early_replies.push_back(reply)
            }
            None => {
                tracing::debug!(device = %identity.device, "twin replies without a link to send them on are dropped")
            }
        }
    }

    /// Acts on what the core tells a connected identity.
    pub(crate) fn on_session_delivery(
        &mut self,
        delivery: (IdentityId, SessionDelivery),
        engine: &mut Engine,
    ) {
        let (identity, delivery) = delivery;
        match delivery {
            SessionDelivery::DesiredChanged(change) => {
                let link = self
                    .connected
                    .get(&identity)
                    .and_then(|connected| connected.link(DeviceLink::TwinReplies));
                if let Some(link) = link
                    && !engine.send(link, twin::notification(&change))
                {
                    self.on_link_closed(link);
                }
            }
            SessionDelivery::Closed(reason) => self.on_session_closed(&identity, reason, engine),
        }
    }

    fn on_session_closed(&mut self, identity: &IdentityId, reason: DisconnectReason, engine: &mut Engine) {
        let Some(connected) = self.connected.remove(identity) else { return };
        let condition = session_end(reason);
        for link in connected.links() {
            self.nodes.remove(&link);
            engine.detach(link, &condition);
        }
        match reason {
            DisconnectReason::CredentialsExpired => self.claims.remove_expired(self.head.hub.clock().now()),
            DisconnectReason::IdentityDeleted
            | DisconnectReason::IdentityDisabled
            | DisconnectReason::KeysChanged => {
                self.claims.remove(identity);
            }
            DisconnectReason::HubStopping | DisconnectReason::SlowConsumer | DisconnectReason::TakenOver => {}
        }
        let is_expired = reason == DisconnectReason::CredentialsExpired;
        if is_expired && self.connected.is_empty() && self.claims.is_empty() {
            // The connection carried nobody else (contract/amqp.md 2.1).
            engine.close(Some(&condition));
            self.clear();
        }
    }
}

/// Why there is no grant for an identity.
enum Missing {
    Nothing,
    Refused(HubError),
}

fn read(delivery: &Delivery) -> Result<Message, Condition> {
    let payload = delivery.payload.as_ref().ok_or_else(too_large)?;
    Message::parse(payload).map_err(|malformed| Condition::new(conditions::DECODE_ERROR, malformed.0))
}

fn too_large() -> Condition {
    Condition::new(conditions::MESSAGE_SIZE_EXCEEDED, "the message is larger than the link takes")
}

fn unauthorized(text: String) -> Condition {
    Condition::new(conditions::UNAUTHORIZED_ACCESS, text)
}

fn not_offered(request: &AttachRequest) -> Condition {
    let direction = if request.client_receives() { "receiver" } else { "sender" };
    let address = request.address.as_deref().unwrap_or_default();
    Condition::new(conditions::NOT_IMPLEMENTED, format!("no {direction} can attach to '{address}'"))
}
