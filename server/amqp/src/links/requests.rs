//! What clients send on their links: tokens, telemetry, method responses, twin requests, messages for devices.

use std::sync::Arc;

use hub::access::Grant;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{AnswerMethod, SendTelemetry};
use hub::ids::IdentityId;

use super::{LinkNode, Links, unauthorized};
use crate::cbs::{self, PutToken, renews};
use crate::device::links::{DeviceLink, EARLY_REPLIES_MAX};
use crate::device::methods::Answer;
use crate::device::telemetry::Telemetry;
use crate::device::twin;
use crate::engine::message::Message;
use crate::engine::{Condition, Delivery, Engine, LinkId, Outcome};
use crate::error::refusal;
use crate::names::conditions;
use crate::service::ServiceLink;

impl Links<'_> {
    pub(super) async fn on_delivery(&mut self, link: LinkId, delivery: &Delivery, engine: &mut Engine) {
        match self.nodes.get(&link).cloned() {
            Some(LinkNode::CbsRequests) => self.on_put_token(link, delivery, engine),
            Some(LinkNode::Device(identity, DeviceLink::Telemetry)) => {
                let sent = self.send_telemetry(&identity, delivery).await;
                settle(Some(&identity), link, delivery, sent, engine);
            }
            Some(LinkNode::Device(identity, DeviceLink::MethodResponses)) => {
                let answered = self.answer_method(&identity, delivery).await;
                settle(Some(&identity), link, delivery, answered, engine);
            }
            Some(LinkNode::Device(identity, DeviceLink::TwinRequests)) => {
                self.on_twin_request(&identity, link, delivery, engine).await;
            }
            Some(LinkNode::Service(ServiceLink::Send)) => {
                let sent = self.send_to_device(delivery).await;
                settle(None, link, delivery, sent, engine);
            }
            Some(
                LinkNode::CbsReplies
                | LinkNode::Service(ServiceLink::Feedback | ServiceLink::FileNotifications)
                | LinkNode::Device(
                    _,
                    DeviceLink::CloudToDevice
                    | DeviceLink::Inputs
                    | DeviceLink::MethodRequests
                    | DeviceLink::TwinReplies,
                ),
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
            self.watch_service_claims();
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

    async fn send_telemetry(&mut self, identity: &IdentityId, delivery: &Delivery) -> Result<(), Condition> {
        let hub = &self.head.hub;
        let refuse = |error: HubError| refusal(&error, &hub.tracking_id());
        let payload = delivery.payload.as_ref().ok_or_else(too_large)?;
        let telemetry = Telemetry::parse(delivery.format, payload)
            .map_err(|malformed| Condition::new(conditions::DECODE_ERROR, malformed.0))?;
        let Some(connected) = self.connected.get(identity) else { return Err(not_connected(identity)) };
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

    async fn answer_method(&mut self, identity: &IdentityId, delivery: &Delivery) -> Result<(), Condition> {
        let hub = &self.head.hub;
        let refuse = |error: HubError| refusal(&error, &hub.tracking_id());
        let answer = Answer::parse(read(delivery)?)
            .map_err(|malformed| Condition::new(conditions::ARGUMENT_ERROR, malformed.0))?;
        let Some(connected) = self.connected.get(identity) else { return Err(not_connected(identity)) };
        let Some(request) = answer.correlation_id.and_then(|id| connected.correlation.request(id)) else {
            tracing::debug!(device = %identity.device, "a method response to no request of this session is dropped");
            return Ok(());
        };
        let grant = connected.session.grant();
        let admitted =
            hub.gate().admit::<AnswerMethod>(&grant, identity.clone(), self.details).await.map_err(refuse)?;
        hub.answer_method(admitted, request, answer.response).map_err(refuse)
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
        let reply = twin::answer(request, connected, &self.head.hub, self.details).await;
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
                tracing::debug!(device = %identity.device, "a twin reply without a link to go on is dropped")
            }
        }
    }
}

/// Accepts a delivery, or rejects it with the reason why nothing became of it.
fn settle(
    sender: Option<&IdentityId>,
    link: LinkId,
    delivery: &Delivery,
    done: Result<(), Condition>,
    engine: &mut Engine,
) {
    match done {
        Ok(()) => engine.settle(link, delivery, &Outcome::Accepted),
        Err(condition) => {
            let device = sender.map(|identity| identity.device.as_str());
            tracing::debug!(device, code = condition.name, "message refused: {}", condition.description);
            engine.settle(link, delivery, &Outcome::Rejected(&condition));
        }
    }
}

fn not_connected(identity: &IdentityId) -> Condition {
    unauthorized(format!("'{identity}' is not connected any more"))
}

pub(super) fn read(delivery: &Delivery) -> Result<Message, Condition> {
    let payload = delivery.payload.as_ref().ok_or_else(too_large)?;
    Message::parse(payload).map_err(|malformed| Condition::new(conditions::DECODE_ERROR, malformed.0))
}

fn too_large() -> Condition {
    Condition::new(conditions::MESSAGE_SIZE_EXCEEDED, "the message is larger than the link takes")
}
