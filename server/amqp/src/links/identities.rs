//! How an identity's session begins, and how it ends when the core says so (contract/amqp.md 2.1, 5;
//! ARCHITECTURE 4.5).

use std::sync::Arc;
use std::time::Duration;

use auth::{Credential, Presented};
use bytes::Bytes;
use futures_util::future::AbortHandle;
use futures_util::stream::{self, abortable};
use hub::access::Grant;
use hub::device_session::{Delivery as SessionDelivery, DeviceSession, DisconnectReason, SessionOptions};
use hub::error::HubError;
use hub::gate::operations::Connect;
use hub::ids::{IdentityId, ModuleId};

use super::{LinkNode, Links, unauthorized};
use crate::address::IdentityAddress;
use crate::device::links::{Connected, DeviceLink};
use crate::device::methods::{self, Correlation};
use crate::device::twin;
use crate::engine::{AttachRequest, Condition, Engine};
use crate::error::{refusal, session_end};
use crate::names::link_properties;

impl Links<'_> {
    /// The identity an address names, connected: as it is already, or by a claim, or by the TLS certificate.
    pub(super) async fn connected_identity(
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
                    module = identity.module.as_ref().map(ModuleId::as_str),
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
            product_info: request.attach().property(link_properties::CLIENT_VERSION),
            model_id: request.attach().property(link_properties::MODEL_ID),
            keep_saved: false,
        };
        let session = Arc::new(hub.connect(admitted, options).map_err(refuse)?);
        let listening = self.listen(Arc::clone(&session));
        self.connected.insert(
            identity.clone(),
            Connected::new(session, listening, Correlation::new(hub.random_bits())),
        );
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

    /// Acts on what the core tells a connected identity.
    pub(crate) async fn on_session_delivery(
        &mut self,
        delivery: (IdentityId, SessionDelivery),
        engine: &mut Engine,
    ) {
        let (identity, delivery) = delivery;
        match delivery {
            SessionDelivery::DesiredChanged(change) => {
                self.notify(&identity, DeviceLink::TwinReplies, engine, |_| twin::notification(&change));
            }
            SessionDelivery::MethodInvoked(request) => {
                self.notify(&identity, DeviceLink::MethodRequests, engine, |connected| {
                    methods::request(&request, connected.correlation)
                });
            }
            SessionDelivery::MessagesWaiting => self.send_message(&identity, engine).await,
            SessionDelivery::Closed(reason) => self.on_session_closed(&identity, reason, engine),
        }
    }

    /// Sends what the core has for an identity on the link for it, if there still is one.
    fn notify(
        &mut self,
        identity: &IdentityId,
        kind: DeviceLink,
        engine: &mut Engine,
        message: impl FnOnce(&Connected) -> Bytes,
    ) {
        let Some(connected) = self.connected.get(identity) else { return };
        let Some(link) = connected.link(kind) else { return };
        if !engine.send(link, message(connected)) {
            self.on_link_closed(link);
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
            DisconnectReason::HubStopping => self.was_told_of_stop = true,
            DisconnectReason::SlowConsumer | DisconnectReason::TakenOver => {}
        }
        if reason == DisconnectReason::CredentialsExpired && !self.carries_anybody() {
            self.leaving = Some(condition);
        }
    }

    /// Whether the connection holds a claim or a connected identity.
    pub(super) fn carries_anybody(&self) -> bool {
        !self.connected.is_empty() || !self.claims.is_empty()
    }

    /// The client was asked to leave and is still there: why to close, unless it put a new token meanwhile.
    pub(crate) fn overstayed(&mut self) -> Option<Condition> {
        let condition = self.leaving.take()?;
        (self.is_stopping || !self.carries_anybody()).then_some(condition)
    }

    /// Asks the client to leave, because the hub stops: detaches its links, or where it has none but those to `$cbs`,
    /// these. `false` when it has no link at all.
    pub(crate) fn ask_to_leave(&mut self, engine: &mut Engine) -> bool {
        let condition = session_end(DisconnectReason::HubStopping);
        let (cbs, own): (Vec<_>, Vec<_>) = self
            .nodes
            .iter()
            .partition(|(_, node)| matches!(node, LinkNode::Replies(..) | LinkNode::Requests(_)));
        let asked = if own.is_empty() && !self.was_told_of_stop { cbs } else { own };
        asked.iter().for_each(|(link, _)| engine.detach(**link, &condition));
        let is_asked = !asked.is_empty();
        self.clear();
        self.is_stopping = true;
        self.was_told_of_stop || is_asked
    }
}

/// Why there is no grant for an identity.
enum Missing {
    Nothing,
    Refused(HubError),
}
