//! One client's conversation as a state machine: packets, deliveries and replies of the core go in, [`Action`]s
//! come out, to be carried out in order and one at a time. No I/O, no clock, no task; `connection.rs` drives it.
//! Order of answers, subscriptions, what closes: `contract/mqtt.md 2` to `9`.

use std::time::Duration;

use bytes::Bytes;
use hub::c2d::{LockToken, LockedMessage, Settlement};
use hub::device_session::{Delivery, Interest, SavedSession};
use hub::error::{ErrorCode, HubError};
use hub::ids::IdentityId;
use hub::method::{MethodRequest, MethodRequestId, MethodResponse};
use hub::telemetry::DeviceMessage;
use hub::time::Timestamp;

use crate::error::{Broken, Ending, RefusedConnect, TwinOutcome, shown, twin_outcome};
use crate::login::{LONGEST_SILENCE, Login, login};
use crate::packet::{ConnAck, Connect, GrantedQos, Outgoing, Packet, Publish, QosOne};
use crate::subscriptions::{Subscription, Subscriptions};
use crate::topic::{RequestId, Topic};
use crate::unacknowledged::Unacknowledged;
use crate::wire::{Expecting, WireError};
use crate::{device_bound, properties};

/// What the driver has to do next.
#[derive(Debug)]
pub(crate) enum Action {
    /// Put this to the core. Brings a [`Reply`]; always the last of its [`Actions`].
    Ask(Question),
    /// Flush what was sent, then end the connection.
    Close(Ending),
    /// Check the credential and bring the identity online. Brings [`Reply::Connected`]; always alone.
    Connect(Box<Login>),
    /// Put a packet behind those already to be written.
    Send(Outgoing),
    /// Let the core know.
    Tell(Notice),
}

/// What only the core can do.
#[derive(Debug)]
pub(crate) enum Question {
    /// Brings [`Reply::MethodAnswered`].
    AnswerMethod { packet_id: Option<u16>, id: MethodRequestId, response: MethodResponse },
    /// Brings [`Reply::Twin`].
    ReadTwin(TwinRequest),
    /// Brings [`Reply::TelemetryAccepted`].
    SendTelemetry { packet_id: Option<u16>, message: Box<DeviceMessage> },
    /// Brings [`Reply::MessageSettled`].
    SettleMessage { token: LockToken, how: Settlement },
    /// Brings [`Reply::MessageTaken`].
    TakeMessage,
    /// Brings [`Reply::Reported`].
    UpdateReported { request: TwinRequest, patch: Bytes, version: Option<ExpectedVersion> },
}

/// What the core has to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The client was heard of, by something that is no operation.
    Alive,
    /// The next connection begins with these subscriptions.
    Keep(SavedSession),
    Subscribe(Interest),
    Unsubscribe(Interest),
}

/// What has to be done, first things first.
pub(crate) type Actions = Vec<Action>;

/// What ties the answer of a twin request to its request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TwinRequest {
    /// Acknowledged before it is answered.
    pub(crate) packet_id: Option<u16>,
    /// As the client wrote it; none for a patch nobody waits for.
    pub(crate) rid: Option<Box<str>>,
}

/// The reported `$version` a client demands; `None` inside when its text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpectedVersion(pub(crate) Option<u64>);

impl ExpectedVersion {
    /// What to compare with, `contract/mqtt.md 7.2`.
    pub(crate) fn number(self) -> Result<u64, HubError> {
        let invalid =
            || HubError::new(ErrorCode::ArgumentInvalid, "The $version of the patch is not a number.");
        self.0.ok_or_else(invalid)
    }
}

/// What came of an action.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The identity is online.
    Connected { saved: SavedSession, is_resumed: bool },
    /// The message is out of the queue, or was before.
    MessageSettled,
    /// The oldest message that waits, locked now; none if another connection was quicker.
    MessageTaken(Option<LockedMessage>),
    /// The answer to a method was taken, whether or not somebody still waits for it.
    MethodAnswered { packet_id: Option<u16> },
    /// The patch was applied, and this is the reported version now; or it was not.
    Reported { request: TwinRequest, result: Result<u64, Failure> },
    /// The message is in the event hub.
    TelemetryAccepted { packet_id: Option<u16> },
    /// The twin as JSON; or why not.
    Twin { request: TwinRequest, result: Result<Bytes, Failure> },
}

/// A twin request that was declined.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The error as the JSON text the client gets.
    pub(crate) body: Bytes,
    pub(crate) code: ErrorCode,
    /// How the connection ends if there is no status for the code.
    pub(crate) ending: Ending,
}

/// The response to a twin request.
struct Answer {
    status: u16,
    version: Option<u64>,
    body: Bytes,
}

/// The conversation so far.
#[derive(Debug)]
pub(crate) struct Session {
    stage: Stage,
    silence_limit: Duration,
}

#[derive(Debug)]
enum Stage {
    /// Only CONNECT is taken.
    AwaitingConnect,
    /// CONNECT is before the core.
    Connecting {
        identity: IdentityId,
        keep_session: bool,
    },
    Connected(Connected),
    /// Nothing is taken any more.
    Over,
}

#[derive(Debug)]
struct Connected {
    identity: IdentityId,
    keep_session: bool,
    subscriptions: Subscriptions,
    unacknowledged: Unacknowledged,
}

/// What the core is asked to tell, and the subscription that asks for it.
const INTERESTS: [(Interest, Subscription); 3] = [
    (Interest::CloudToDevice, Subscription::CloudToDevice),
    (Interest::DesiredProperties, Subscription::DesiredProperties),
    (Interest::Methods, Subscription::Methods),
];

impl Session {
    pub(crate) fn new() -> Self {
        Self { stage: Stage::AwaitingConnect, silence_limit: LONGEST_SILENCE }
    }

    /// What may come over the wire next.
    pub(crate) fn expecting(&self) -> Expecting {
        match self.stage {
            Stage::AwaitingConnect => Expecting::Connect,
            Stage::Connecting { .. } | Stage::Connected(_) | Stage::Over => Expecting::Anything,
        }
    }

    /// How long a connected client may be silent, `contract/mqtt.md 2.7`.
    pub(crate) fn silence_limit(&self) -> Duration {
        self.silence_limit
    }

    /// The client sent a packet; `at` is hub time.
    pub(crate) fn on_packet(&mut self, packet: Packet, at: Timestamp) -> Actions {
        match (&mut self.stage, packet) {
            (Stage::AwaitingConnect, Packet::Connect(connect)) => self.on_connect(*connect),
            (Stage::AwaitingConnect, _) => self.close(Ending::Broken(WireError::NotConnect.into())),
            (Stage::Connecting { .. } | Stage::Connected(_), Packet::Connect(_)) => {
                self.close(Ending::Broken(Broken::SecondConnect))
            }
            (Stage::Connected(connected), packet) => match connected.on_packet(packet, at) {
                Ok(actions) => actions,
                Err(ending) => self.close(ending),
            },
            (Stage::Connecting { .. } | Stage::Over, _) => Actions::new(),
        }
    }

    /// What came over the wire is no packet.
    pub(crate) fn on_wire_error(&mut self, error: WireError) -> Actions {
        match (&self.stage, error) {
            (Stage::AwaitingConnect, WireError::UnsupportedProtocol) => {
                self.refuse(Ending::RefusedHere(RefusedConnect::Protocol(error)))
            }
            (Stage::AwaitingConnect, WireError::WillQosTwo) => {
                self.refuse(Ending::RefusedHere(RefusedConnect::Will))
            }
            _ => self.close(Ending::Broken(error.into())),
        }
    }

    /// The core has something for the client; `at` is hub time.
    pub(crate) fn on_delivery(&mut self, delivery: Delivery, at: Timestamp) -> Actions {
        match delivery {
            Delivery::Closed(reason) => self.close(Ending::Kicked(reason)),
            Delivery::DesiredChanged(change) => match &self.stage {
                Stage::Connected(connected)
                    if connected.subscriptions.has(Subscription::DesiredProperties) =>
                {
                    let topic = Topic::DesiredChanged { version: change.version }.to_string();
                    vec![Action::Send(Outgoing::Publish { topic, payload: change.patch, delivery: None })]
                }
                _ => Actions::new(),
            },
            Delivery::MessagesWaiting => match &self.stage {
                // Without room nothing is lost: the acknowledgement that makes some brings this delivery again, and
                // so does every message taken that leaves more waiting.
                Stage::Connected(connected) if connected.takes_messages(at) => {
                    vec![Action::Ask(Question::TakeMessage)]
                }
                _ => Actions::new(),
            },
            Delivery::MethodInvoked(request) => self.on_method(request),
        }
    }

    /// A service calls a method. One that only other methods' filters are there for is not told of.
    fn on_method(&self, request: MethodRequest) -> Actions {
        let Stage::Connected(connected) = &self.stage else { return Actions::new() };
        let topic = Topic::MethodRequest { name: request.name.as_str(), rid: request.id }.to_string();
        if !connected.subscriptions.lets_through(&topic) {
            return Actions::new();
        }
        vec![Action::Send(Outgoing::Publish { topic, payload: request.payload, delivery: None })]
    }

    /// An action brought this.
    pub(crate) fn on_reply(&mut self, reply: Reply) -> Actions {
        match reply {
            Reply::Connected { saved, is_resumed } => self.on_connected(saved, is_resumed),
            Reply::MessageSettled | Reply::MessageTaken(None) => Actions::new(),
            Reply::MessageTaken(Some(message)) => match &mut self.stage {
                Stage::Connected(connected) => connected.on_message(&message),
                Stage::AwaitingConnect | Stage::Connecting { .. } | Stage::Over => Actions::new(),
            },
            Reply::MethodAnswered { packet_id } | Reply::TelemetryAccepted { packet_id } => {
                acknowledge(packet_id).collect()
            }
            Reply::Twin { request, result } => {
                let answer = |twin| Answer { status: 200, version: None, body: twin };
                self.answer_twin(&request, result.map(answer))
            }
            Reply::Reported { request, result } => {
                let answer = |version| Answer { status: 204, version: Some(version), body: Bytes::new() };
                self.answer_twin(&request, result.map(answer))
            }
        }
    }

    /// An action other than a twin request could not be done.
    pub(crate) fn on_failed(&mut self, ending: Ending) -> Actions {
        match self.stage {
            Stage::Connecting { .. } => self.refuse(ending),
            Stage::AwaitingConnect | Stage::Connected(_) | Stage::Over => self.close(ending),
        }
    }

    fn on_connect(&mut self, connect: Connect) -> Actions {
        match login(connect) {
            Ok((login, silence_limit)) => {
                self.silence_limit = silence_limit;
                self.stage =
                    Stage::Connecting { identity: login.identity.clone(), keep_session: login.keep_session };
                vec![Action::Connect(Box::new(login))]
            }
            Err(refused) => self.refuse(Ending::RefusedHere(refused)),
        }
    }

    fn on_connected(&mut self, saved: SavedSession, is_resumed: bool) -> Actions {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Connecting { identity, keep_session } = stage else { return Actions::new() };
        let subscriptions = Subscriptions::restore(saved, &identity);
        let session_present = is_resumed && keep_session;
        let mut actions = vec![Action::Send(Outgoing::ConnAck(ConnAck::Accepted { session_present }))];
        for (interest, _) in INTERESTS.iter().filter(|(_, wanted)| subscriptions.has(*wanted)) {
            actions.push(Action::Tell(Notice::Subscribe(*interest)));
        }
        let unacknowledged = Unacknowledged::default();
        self.stage = Stage::Connected(Connected { identity, keep_session, subscriptions, unacknowledged });
        actions
    }

    fn answer_twin(&mut self, request: &TwinRequest, result: Result<Answer, Failure>) -> Actions {
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => match twin_outcome(failure.code) {
                TwinOutcome::Close => return self.close(failure.ending),
                TwinOutcome::Status(status) => Answer { status, version: None, body: failure.body },
            },
        };
        let listens = match &self.stage {
            Stage::Connected(connected) => connected.subscriptions.has(Subscription::TwinResponses),
            Stage::AwaitingConnect | Stage::Connecting { .. } | Stage::Over => false,
        };
        let rid = request.rid.as_deref().and_then(RequestId::parse).filter(|_| listens);
        let publish = rid.map(|rid| {
            let topic = Topic::TwinResponse { rid, status: answer.status, version: answer.version };
            let topic = topic.to_string();
            Action::Send(Outgoing::Publish { topic, payload: answer.body, delivery: None })
        });
        acknowledge(request.packet_id).chain(publish).collect()
    }

    /// Answers CONNECT with 5, whatever the reason, `contract/mqtt.md 2.6`.
    fn refuse(&mut self, ending: Ending) -> Actions {
        let mut actions = vec![Action::Send(Outgoing::ConnAck(ConnAck::NotAuthorized))];
        actions.append(&mut self.close(ending));
        actions
    }

    fn close(&mut self, ending: Ending) -> Actions {
        self.stage = Stage::Over;
        vec![Action::Close(ending)]
    }
}

impl Connected {
    fn on_packet(&mut self, packet: Packet, at: Timestamp) -> Result<Actions, Ending> {
        let mut actions = Actions::new();
        match packet {
            Packet::Connect(_) => return Err(Ending::Broken(Broken::SecondConnect)),
            Packet::Disconnect => return Err(Ending::Goodbye),
            Packet::PingReq => {
                actions.extend([Action::Tell(Notice::Alive), Action::Send(Outgoing::PingResp)])
            }
            Packet::PubAck { packet_id } => actions.push(match self.unacknowledged.take(packet_id) {
                Some(token) => Action::Ask(Question::SettleMessage { token, how: Settlement::Complete }),
                None => Action::Tell(Notice::Alive),
            }),
            Packet::Publish(publish) => self.on_publish(publish, &mut actions).map_err(Ending::Broken)?,
            Packet::Subscribe { packet_id, filters } => {
                let before = self.subscriptions.clone();
                let codes = filters
                    .into_iter()
                    .map(|request| self.subscriptions.add(request, &self.identity, at))
                    .collect();
                self.subscriptions_changed(&before, &mut actions);
                actions.push(Action::Send(Outgoing::SubAck { packet_id, codes }));
            }
            Packet::Unsubscribe { packet_id, filters } => {
                let before = self.subscriptions.clone();
                filters.iter().for_each(|filter| self.subscriptions.remove(filter));
                self.subscriptions_changed(&before, &mut actions);
                actions.push(Action::Send(Outgoing::UnsubAck { packet_id }));
            }
        }
        Ok(actions)
    }

    fn takes_messages(&self, at: Timestamp) -> bool {
        self.subscriptions.has(Subscription::CloudToDevice) && self.unacknowledged.has_room(at)
    }

    /// Hands a cloud-to-device message on, `contract/mqtt.md 6.3`. With QoS 0 it is dealt with once it is sent, and
    /// is never sent twice; with QoS 1 when the client acknowledges it.
    fn on_message(&mut self, message: &LockedMessage) -> Actions {
        let settle = |how| Action::Ask(Question::SettleMessage { token: message.token, how });
        let Some(granted) = self.subscriptions.message_qos() else { return vec![settle(Settlement::Unlock)] };
        let Some(topic) = device_bound::topic(&self.identity.device, &message.message) else {
            tracing::warn!(
                device = self.identity.device.as_str(),
                seq = message.sequence,
                "message rejected: with its properties the topic is longer than MQTT can carry"
            );
            return vec![settle(Settlement::Reject)];
        };
        let publish = |delivery| {
            let payload = message.message.body.clone();
            Action::Send(Outgoing::Publish { topic, payload, delivery })
        };
        match granted {
            GrantedQos::AtMostOnce if message.is_redelivery => vec![settle(Settlement::Complete)],
            GrantedQos::AtMostOnce => vec![publish(None), settle(Settlement::Complete)],
            GrantedQos::AtLeastOnce => {
                let packet_id = self.unacknowledged.add(message);
                vec![publish(Some(QosOne { dup: message.is_redelivery, packet_id }))]
            }
        }
    }

    /// Tells the core what to notify of and what to keep, before the client gets its answer.
    fn subscriptions_changed(&self, before: &Subscriptions, actions: &mut Actions) {
        actions.push(Action::Tell(Notice::Alive));
        if self.subscriptions == *before {
            return;
        }
        for (interest, wanted) in INTERESTS {
            match (before.has(wanted), self.subscriptions.has(wanted)) {
                (false, true) => actions.push(Action::Tell(Notice::Subscribe(interest))),
                (true, false) => actions.push(Action::Tell(Notice::Unsubscribe(interest))),
                (true, true) | (false, false) => {}
            }
        }
        if self.keep_session {
            actions.push(Action::Tell(Notice::Keep(self.subscriptions.to_saved())));
        }
    }

    fn on_publish(&self, publish: Publish, actions: &mut Actions) -> Result<(), Broken> {
        let text = std::str::from_utf8(&publish.topic).map_err(|_| Broken::TopicNotText)?;
        let topic = Topic::parse(text).ok_or_else(|| unknown_topic(text))?;
        let packet_id = publish.packet_id;
        let request =
            |rid: Option<RequestId<'_>>| TwinRequest { packet_id, rid: rid.map(|rid| rid.as_str().into()) };
        match topic {
            Topic::Telemetry { bag, .. } if topic.is_telemetry_of(&self.identity) => {
                let mut properties = properties::decode(bag);
                properties::stamp_flags(&mut properties, publish.retain, publish.dup);
                let message = Box::new(DeviceMessage { properties, body: publish.payload });
                actions.push(Action::Ask(Question::SendTelemetry { packet_id, message }));
            }
            Topic::Telemetry { .. } => return Err(Broken::TopicOfAnother),
            Topic::TwinGet { rid } => actions.push(Action::Ask(Question::ReadTwin(request(Some(rid))))),
            Topic::PatchReported { rid, version } => actions.push(Action::Ask(Question::UpdateReported {
                request: request(rid),
                patch: publish.payload,
                version: version.map(|version| ExpectedVersion(version.number())),
            })),
            Topic::MethodResponse { rid, status } => match rid.of_method() {
                Some(id) => {
                    let response = MethodResponse { status, payload: Some(publish.payload) };
                    actions.push(Action::Ask(Question::AnswerMethod { packet_id, id, response }));
                }
                // No call of this hub is named like that: ignored like one that is over, `contract/mqtt.md 8`.
                None => {
                    actions.push(Action::Tell(Notice::Alive));
                    actions.extend(acknowledge(packet_id));
                }
            },
            Topic::DesiredChanged { .. } | Topic::MethodRequest { .. } | Topic::TwinResponse { .. } => {
                return Err(unknown_topic(text));
            }
        }
        Ok(())
    }
}

fn acknowledge(packet_id: Option<u16>) -> impl Iterator<Item = Action> {
    packet_id.map(|packet_id| Action::Send(Outgoing::PubAck { packet_id })).into_iter()
}

fn unknown_topic(text: &str) -> Broken {
    Broken::UnknownTopic(shown(text))
}

#[cfg(test)]
mod tests;
