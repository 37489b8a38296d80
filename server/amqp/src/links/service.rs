//! The links of the service side (contract/amqp.md 3, 4.2, 4.3): their right, its end, and what they carry.
//!
//! No session stands for a back end. Its links rest on the claims of the connection, so this is where they end with
//! the last claim that allows them (contract/amqp.md 2.1).

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use hub::access::Grant;
use hub::alarm::Alarm;
use hub::c2d::{LockToken, Settlement};
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{ReceiveFeedback, SendCloudToDevice, SettleFeedback};
use hub::ids::IdentityId;
use tokio::sync::futures::Notified;

use super::events::{Readers, ReadersWake};
use super::{Exchange, LinkNode, Links, requests, unauthorized};
use crate::engine::{Condition, Delivery, Engine, LinkId};
use crate::error::{refusal, session_end};
use crate::service::send::Addressed;
use crate::service::{ServiceLink, feedback};

/// Feedback is written once this much waits, before more is taken. Ours.
const FEEDBACK_BURST_BYTES: usize = 64 * 1024;

/// What a connection waits for on behalf of its service links.
#[derive(Debug, Default)]
pub(crate) struct ServiceSide<'h> {
    /// Feedback may have come.
    changed: Option<Pin<Box<Notified<'h>>>>,
    /// More of it was there than is written at a time.
    has_more: bool,
    /// A claim ends.
    expiry: Option<Alarm>,
    /// Who reads events.
    pub(super) readers: Readers,
}

/// Why the service links are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    ClaimExpired,
    Feedback,
    Readers(ReadersWake),
}

impl ServiceSide<'_> {
    /// Resolves when something is to be done. Cancel-safe.
    pub(crate) async fn wakes(&mut self) -> Wake {
        if self.has_more {
            return Wake::Feedback;
        }
        let changed = async {
            match &mut self.changed {
                Some(changed) => changed.as_mut().await,
                None => pending().await,
            }
        };
        let expired = async {
            match &mut self.expiry {
                Some(alarm) => alarm.rings().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = expired => Wake::ClaimExpired,
            () = changed => Wake::Feedback,
            wake = self.readers.wakes() => Wake::Readers(wake),
        }
    }
}

impl Links<'_> {
    /// Does what the service links were woken for.
    pub(crate) async fn on_wake(&mut self, wake: Wake, engine: &mut Engine) {
        match wake {
            Wake::ClaimExpired => self.on_claim_expired(engine),
            Wake::Feedback => self.send_feedback(engine).await,
            Wake::Readers(wake) => self.on_readers_wake(wake, engine),
        }
    }

    /// The claim that allows what a back end does.
    pub(super) fn service_grant(&self) -> Result<Arc<Grant>, Condition> {
        let grant = self.claims.service_grant(self.head.hub.clock().now());
        grant.ok_or_else(|| {
            unauthorized("the service side needs a token with the right ServiceConnect".into())
        })
    }

    /// Sees to it that links of the service side do not outlive the claims they rest on.
    pub(super) fn watch_service_claims(&mut self) {
        let has_links = self.nodes.values().any(|node| match node {
            LinkNode::Events
            | LinkNode::Replies(Exchange::Management, _)
            | LinkNode::Requests(Exchange::Management)
            | LinkNode::Service(_) => true,
            LinkNode::Device(..)
            | LinkNode::Replies(Exchange::Cbs, _)
            | LinkNode::Requests(Exchange::Cbs) => false,
        });
        let ends = self.claims.service_ends(self.head.hub.clock().now()).filter(|_| has_links);
        if self.service.expiry.as_ref().map(Alarm::at) != ends {
            self.service.expiry = ends.map(|at| self.head.hub.alarm(at));
        }
    }

    fn on_claim_expired(&mut self, engine: &mut Engine) {
        self.service.expiry = None;
        self.claims.remove_expired(self.head.hub.clock().now());
        let mut links = self.unclaimed_event_links();
        if self.service_grant().is_err() {
            links.extend(self.service_links().map(|(link, _)| link));
        }
        let condition = session_end(hub::device_session::DisconnectReason::CredentialsExpired);
        for link in &links {
            engine.detach(*link, &condition);
            self.on_link_closed(*link);
        }
        self.watch_service_claims();
        if !links.is_empty() && !self.carries_anybody() {
            self.leaving = Some(condition);
        }
    }

    fn service_links(&self) -> impl Iterator<Item = (LinkId, ServiceLink)> {
        self.nodes.iter().filter_map(|(link, node)| match node {
            LinkNode::Service(kind) => Some((*link, *kind)),
            LinkNode::Device(..) | LinkNode::Events | LinkNode::Replies(..) | LinkNode::Requests(_) => None,
        })
    }

    fn feedback_links(&self) -> impl Iterator<Item = LinkId> {
        self.service_links().filter(|(_, kind)| *kind == ServiceLink::Feedback).map(|(link, _)| link)
    }

    /// A service link is gone. What the connection holds of the feedback is free again with the last link for it.
    pub(super) fn service_link_gone(&mut self, kind: ServiceLink) {
        if kind == ServiceLink::Feedback && self.feedback_links().next().is_none() {
            (self.service.changed, self.service.has_more) = (None, false);
            self.head.hub.unlock_feedback_of(self.peer.connection);
        }
        self.watch_service_claims();
    }

    /// Queues a message for a device.
    pub(super) async fn send_to_device(&mut self, delivery: &Delivery) -> Result<(), Condition> {
        let message = requests::read(delivery)?;
        let grant = self.service_grant()?;
        let hub = &self.head.hub;
        let send = async {
            let Addressed { to, message } = Addressed::parse(message)?;
            // The raw reading of an id counts where the decoded one is unknown (contract/amqp.md 1.5).
            let is_known = |target: &IdentityId| hub.authentication(target).is_ok();
            let target = match &to.raw {
                Some(raw) if !is_known(&to.decoded) && is_known(raw) => raw,
                _ => &to.decoded,
            };
            if target.module.is_some() {
                hub.authentication(target)?;
                let text = format!("The module '{target}' has no queue: messages are sent to devices.");
                return Err(HubError::new(ErrorCode::ArgumentInvalid, text));
            }
            let device = target.device.clone();
            let admitted = hub.gate().admit::<SendCloudToDevice>(&grant, device, self.details).await?;
            hub.send_cloud_to_device(admitted, message)
        };
        send.await.map_err(|error| refusal(&error, &hub.tracking_id()))
    }

    /// Sends what feedback there is to who has room for it.
    pub(super) async fn send_feedback(&mut self, engine: &mut Engine) {
        let links: Vec<LinkId> = self.feedback_links().collect();
        if links.is_empty() {
            return;
        }
        // Listened for before it is looked for, so that nothing is missed in between.
        self.service.changed = Some(Box::pin(self.head.hub.feedback_changed()));
        self.service.has_more = false;
        for link in links {
            while engine.has_room(link) {
                if engine.output_len() >= FEEDBACK_BURST_BYTES {
                    self.service.has_more = true;
                    return;
                }
                match self.send_batch(link, engine).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(condition) => {
                        engine.detach(link, &condition);
                        self.on_link_closed(link);
                    }
                }
            }
        }
    }

    /// `false` when there is none.
    async fn send_batch(&mut self, link: LinkId, engine: &mut Engine) -> Result<bool, Condition> {
        let grant = self.service_grant()?;
        let hub = &self.head.hub;
        let refuse = |error: HubError| refusal(&error, &hub.tracking_id());
        let admitted = hub.gate().admit::<ReceiveFeedback>(&grant, (), self.details).await.map_err(refuse)?;
        let Some(batch) = hub.lock_next_feedback(admitted).map_err(refuse)? else { return Ok(false) };
        engine.deliver(link, batch.token.to_dotnet_bytes(), feedback::message(&batch, hub.name()));
        if engine.is_pre_settled(link) {
            self.settle_feedback(batch.token, Settlement::Complete).await.map_err(refuse)?;
        }
        Ok(true)
    }

    pub(super) async fn settle_feedback(
        &mut self,
        token: LockToken,
        how: Settlement,
    ) -> Result<(), HubError> {
        let hub = &self.head.hub;
        let Ok(grant) = self.service_grant() else {
            return Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "The token has expired."));
        };
        let admitted = hub.gate().admit::<SettleFeedback>(&grant, (), self.details).await?;
        hub.settle_feedback(admitted, token, how)
    }
}
