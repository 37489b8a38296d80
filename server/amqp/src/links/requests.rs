//! What clients send on their links: telemetry, method responses, twin requests, messages for devices, and by
//! [`super::exchange`] requests.

use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{AnswerMethod, SendTelemetry};
use hub::ids::IdentityId;

use super::{LinkNode, Links, unauthorized};
use crate::device::links::DeviceLink;
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
            Some(LinkNode::Requests(exchange)) => self.on_request(exchange, link, delivery, engine).await,
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
                LinkNode::Events
                | LinkNode::Replies(..)
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
            None => {
                if !connected.keep_reply(reply) {
                    tracing::debug!(device = %identity.device, "a twin reply without a link to go on is dropped");
                }
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
