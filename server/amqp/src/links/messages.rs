//! Messages under a lock, on their way to the client and back by its word: cloud-to-device messages to devices
//! (contract/amqp.md 4.2), feedback on them to the back end (4.3).
//!
//! Messages are taken from the core only while the client has credit for them, and wait there otherwise. The tag of
//! a delivery is the lock token, so nothing is remembered here about what is under way.

use hub::c2d::{LockToken, LockedMessage, Settlement};
use hub::device_session::Interest;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{ReceiveCloudToDevice, SettleCloudToDevice};
use hub::ids::IdentityId;

use super::{LinkNode, Links};
use crate::device::cloud_to_device;
use crate::device::links::DeviceLink;
use crate::engine::{Engine, LinkId, Outcome, Settled};
use crate::error::refusal;
use crate::service::ServiceLink;

impl Links<'_> {
    /// The client has room on a link; with its first credit it begins to receive.
    pub(super) async fn on_link_ready(&mut self, link: LinkId, is_first: bool, engine: &mut Engine) {
        match self.nodes.get(&link).cloned() {
            // A client that never gives credit is not asked to perform methods (contract/amqp.md 4.4).
            Some(LinkNode::Device(identity, DeviceLink::MethodRequests)) if is_first => {
                self.subscribe(&identity, Interest::Methods);
            }
            // Modules have no queue.
            Some(LinkNode::Device(identity, DeviceLink::CloudToDevice)) if identity.module.is_none() => {
                if is_first {
                    self.subscribe(&identity, Interest::CloudToDevice);
                }
                let is_awaited = self.connected.get(&identity).is_some_and(|client| client.messages_wait);
                if is_awaited || engine.is_draining(link) {
                    self.send_message(&identity, engine).await;
                }
            }
            // Its credit is not used up before its backlog is.
            Some(LinkNode::Events) => return self.reader_ready(link, engine),
            Some(LinkNode::Service(ServiceLink::Feedback)) => self.send_feedback(engine).await,
            Some(
                LinkNode::Device(..) | LinkNode::Replies(..) | LinkNode::Requests(_) | LinkNode::Service(_),
            )
            | None => {}
        }
        engine.finish_drain(link);
    }

    /// Everything held back by the window of a session went out.
    pub(super) async fn on_session_ready(&mut self, channel: u16, engine: &mut Engine) {
        let of_session: Vec<LinkId> =
            self.nodes.keys().filter(|link| link.channel == channel).copied().collect();
        for link in of_session {
            self.on_link_ready(link, false, engine).await;
        }
    }

    fn subscribe(&self, identity: &IdentityId, to: Interest) {
        if let Some(connected) = self.connected.get(identity) {
            connected.session.subscribe(to);
        }
    }

    /// Sends a device its next message, if it has room. One at a time: the core tells if more wait, and others have
    /// their turn in between. A client that drains gets all there is.
    pub(super) async fn send_message(&mut self, identity: &IdentityId, engine: &mut Engine) {
        loop {
            let Some(connected) = self.connected.get_mut(identity) else { return };
            let link = connected.link(DeviceLink::CloudToDevice).filter(|link| engine.has_room(*link));
            connected.messages_wait = link.is_none();
            let Some(link) = link else { return };
            let locked = match self.next_message(identity).await {
                Ok(Some(locked)) => locked,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(device = %identity.device, "no message is sent: {}", error.reason());
                    return;
                }
            };
            engine.deliver(
                link,
                locked.token.to_dotnet_bytes(),
                cloud_to_device::message(&locked, &identity.device),
            );
            if engine.is_pre_settled(link) {
                // Nobody will speak of it again (contract/amqp.md 4.2).
                let settled = self.settle_message(identity, locked.token, Settlement::Complete).await;
                debug_assert!(settled.is_ok(), "the lock is a moment old");
            }
            if !engine.is_draining(link) {
                return;
            }
        }
    }

    async fn next_message(&mut self, identity: &IdentityId) -> Result<Option<LockedMessage>, HubError> {
        let Some(connected) = self.connected.get(identity) else { return Ok(None) };
        let hub = &self.head.hub;
        let (grant, device) = (connected.session.grant(), identity.device.clone());
        let admitted = hub.gate().admit::<ReceiveCloudToDevice>(&grant, device, self.details).await?;
        hub.lock_next_message(admitted)
    }

    async fn settle_message(
        &mut self,
        identity: &IdentityId,
        token: LockToken,
        how: Settlement,
    ) -> Result<(), HubError> {
        let hub = &self.head.hub;
        let Some(connected) = self.connected.get(identity) else { return Err(lock_lost()) };
        let (grant, device) = (connected.session.grant(), identity.device.clone());
        let admitted = hub.gate().admit::<SettleCloudToDevice>(&grant, device, self.details).await?;
        hub.settle_message(admitted, token, how)
    }

    /// The client settled deliveries. One that leaves us the last word hears whether its own came in time.
    pub(super) async fn on_settled(&mut self, deliveries: Vec<Settled>, engine: &mut Engine) {
        for settled in deliveries {
            let token = LockToken::from_dotnet_bytes(settled.tag);
            let how = cloud_to_device::settlement(settled.verdict);
            let done = match self.nodes.get(&settled.link).cloned() {
                Some(LinkNode::Device(identity, DeviceLink::CloudToDevice)) => {
                    self.settle_message(&identity, token, how).await
                }
                Some(LinkNode::Service(ServiceLink::Feedback)) => self.settle_feedback(token, how).await,
                _ => Err(lock_lost()),
            };
            match done {
                Ok(()) => engine.confirm(&settled, &Outcome::Accepted),
                Err(error) => {
                    tracing::debug!(link = ?settled.link, "not settled: {}", error.reason());
                    let condition = refusal(&error, &self.head.hub.tracking_id());
                    engine.confirm(&settled, &Outcome::Rejected(&condition));
                }
            }
        }
    }
}

fn lock_lost() -> HubError {
    HubError::new(ErrorCode::DeviceMessageLockLost, "The link the message was sent on is gone.")
}
