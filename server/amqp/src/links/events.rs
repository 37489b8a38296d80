//! The links of event hubs (contract/eventhubs.md 3, 4, 7): readers of partitions, questions about event hubs, and
//! where else to go.
//!
//! A reader pulls: events are taken from the core only while its client has credit and what was taken before has been
//! written, so a client that reads slowly, or not at all, costs no memory. The readers of a connection take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use hub::access::{EventsPath, Grant};
use hub::events::{Event, EventReader, ReaderRequest, StartPosition};
use hub::gate::operations::{GetEventHubProperties, ReadEvents};
use tokio::sync::Notify;

use super::{Exchange, LinkNode, Links, unauthorized, without_meaning};
use crate::address::EventHubNode;
use crate::engine::message::Message;
use crate::engine::{AttachRequest, Condition, Engine, LinkId};
use crate::error::{read_refusal, refusal};
use crate::eventhubs::management::{self, Answer, Question, Refused};
use crate::eventhubs::message::{HEAD_BYTES, RuntimeMetrics, write_head};
use crate::eventhubs::{redirect, selector};
use crate::names::{capabilities, conditions, link_properties, segments};

/// Events are written once this much waits, before more are taken. Ours.
const BURST_BYTES: usize = 64 * 1024;
/// Events a reader takes before others have their turn. Ours.
const TURN_EVENTS: u32 = 64;
/// Bytes a reader takes before others have their turn, one event always allowed. Ours.
const TURN_BYTES: usize = 32 * 1024;

/// The readers of a connection.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// Tells that a reader which found nothing may find something, or that one has ended.
    wake: Arc<Notify>,
    by_link: HashMap<LinkId, Reader>,
    /// Who may have something to send.
    turns: VecDeque<LinkId>,
    /// What a turn takes, and the head of the event at hand; kept for their room.
    taken: Vec<Event>,
    head: BytesMut,
}

#[derive(Debug)]
struct Reader {
    reader: EventReader,
    path: EventsPath,
    wants_metrics: bool,
    has_turn: bool,
}

/// Why the readers are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadersWake {
    /// Any of them may have something new.
    News,
    /// Some have more than was written at a time.
    Turns,
}

impl Readers {
    /// Resolves when something is to be done. Cancel-safe.
    pub(super) async fn wakes(&self) -> ReadersWake {
        if !self.turns.is_empty() {
            return ReadersWake::Turns;
        }
        if self.by_link.is_empty() {
            return std::future::pending().await;
        }
        self.wake.notified().await;
        ReadersWake::News
    }

    fn give_turn(&mut self, link: LinkId) {
        if let Some(reader) = self.by_link.get_mut(&link)
            && !std::mem::replace(&mut reader.has_turn, true)
        {
            self.turns.push_back(link);
        }
    }
}

impl Links<'_> {
    /// What an attach to a node of an event hub makes.
    pub(super) async fn event_hub_node(
        &mut self,
        node: EventHubNode,
        request: &AttachRequest,
    ) -> Result<(LinkNode, usize), Condition> {
        let receives = request.client_receives();
        match node {
            // Java asks without a claim, and shows its token with each question.
            EventHubNode::Management => {
                let node = self.exchange_node(Exchange::Management, request);
                Ok((node, management::REQUEST_BYTES_MAX))
            }
            EventHubNode::Partition { event_hub, consumer_group, partition } if receives => {
                let start = match request.attach().selector() {
                    Ok(None) => StartPosition::Earliest,
                    Ok(Some(text)) => selector::parse(&text).map_err(argument_error)?,
                    Err(malformed) => return Err(argument_error(malformed.0)),
                };
                let owner_level = request.attach().integer_property(link_properties::EPOCH);
                let owner_level = owner_level.map_err(|malformed| argument_error(malformed.0))?;
                let reader = ReaderRequest {
                    event_hub: &event_hub,
                    consumer_group: &consumer_group,
                    partition: &partition,
                    start,
                    owner_level,
                };
                self.open_reader(request, &reader).await?;
                Ok((LinkNode::Events, management::REQUEST_BYTES_MAX))
            }
            EventHubNode::Ingress { event_hub } | EventHubNode::Partition { event_hub, .. } => {
                let hub = &self.head.hub;
                match hub.event_hubs().get(&event_hub) {
                    None => Err(Condition::new(
                        conditions::NOT_FOUND,
                        format!("there is no event hub '{event_hub}'"),
                    )),
                    Some(_) if receives => Err(without_meaning(request)),
                    Some(_) => Err(unauthorized(
                        "only devices and modules send to this hub, on links of their own".to_owned(),
                    )),
                }
            }
        }
    }

    async fn open_reader(
        &mut self,
        request: &AttachRequest,
        wanted: &ReaderRequest<'_>,
    ) -> Result<(), Condition> {
        let hub = &self.head.hub;
        let path = [
            wanted.event_hub,
            segments::CONSUMER_GROUPS,
            wanted.consumer_group,
            segments::PARTITIONS,
            wanted.partition,
        ];
        let path = EventsPath::parse(&path.join("/"), hub.name()).ok_or_else(|| {
            Condition::new(conditions::NOT_FOUND, "the address names no partition of an event hub")
        })?;
        let grant = self.events_grant(Some(&path))?;
        let admitted = hub.gate().admit::<ReadEvents>(&grant, path.clone(), self.details).await;
        let admitted = admitted.map_err(|error| refusal(&error, &hub.tracking_id()))?;
        let wake = Arc::clone(&self.service.readers.wake);
        let reader = hub.open_event_reader(admitted, wanted, wake).map_err(|error| read_refusal(&error))?;
        let wants_metrics = request.attach().desires(capabilities::RUNTIME_METRIC);
        let reader = Reader { reader, path, wants_metrics, has_turn: false };
        self.service.readers.by_link.insert(request.link, reader);
        Ok(())
    }

    /// What of that which the client desired the link has.
    pub(super) fn capability_of(&self, link: LinkId) -> Option<&'static str> {
        let reader = self.service.readers.by_link.get(&link)?;
        reader.wants_metrics.then_some(capabilities::RUNTIME_METRIC)
    }

    /// The claim that allows a back end to read there; without a place, anywhere.
    fn events_grant(&self, path: Option<&EventsPath>) -> Result<Arc<Grant>, Condition> {
        self.claims.events_grant(path, self.head.hub.clock().now()).ok_or_else(|| {
            let place = path.map_or_else(|| "any event hub".to_owned(), |path| format!("'{path}'"));
            unauthorized(format!("the connection has no token with the right ServiceConnect for {place}"))
        })
    }

    /// Where a client is sent that attaches to `messages/events`.
    pub(super) fn moved(&self, behind: &str, request: &AttachRequest) -> Condition {
        let hub = &self.head.hub;
        let is_sender_of_events =
            !request.client_receives() && !behind.eq_ignore_ascii_case(segments::MANAGEMENT);
        if is_sender_of_events {
            return unauthorized(
                "only devices and modules send to this hub, on links of their own".to_owned(),
            );
        }
        let built_in = hub.name().as_str();
        let path = EventsPath::parse(&format!("{built_in}/{behind}"), hub.name());
        let path = path.or_else(|| EventsPath::parse(built_in, hub.name()));
        match self.events_grant(path.as_ref()) {
            Ok(_) => redirect::redirect(&self.head.event_endpoint, self.host.as_deref(), built_in, behind),
            Err(condition) => condition,
        }
    }

    /// The client has room on a reader's link, or the link is new.
    pub(super) fn reader_ready(&mut self, link: LinkId, engine: &mut Engine) {
        self.service.readers.give_turn(link);
        self.serve_readers(engine);
    }

    pub(super) fn on_readers_wake(&mut self, wake: ReadersWake, engine: &mut Engine) {
        if wake == ReadersWake::News {
            let links: Vec<LinkId> = self.service.readers.by_link.keys().copied().collect();
            links.into_iter().for_each(|link| self.service.readers.give_turn(link));
        }
        self.serve_readers(engine);
    }

    /// Sends what there is to who has room for it, until enough waits to be written.
    fn serve_readers(&mut self, engine: &mut Engine) {
        while engine.output_len() < BURST_BYTES
            && let Some(link) = self.service.readers.turns.pop_front()
        {
            if let Some(condition) = self.take_turn(link, engine) {
                tracing::debug!(?link, code = condition.name, "reader ended: {}", condition.description);
                engine.detach(link, &condition);
                self.on_link_closed(link);
            }
        }
        if self.service.readers.head.capacity() > BURST_BYTES {
            self.service.readers.head = BytesMut::new();
        }
    }

    /// Why the reader has ended, if so.
    fn take_turn(&mut self, link: LinkId, engine: &mut Engine) -> Option<Condition> {
        let Readers { by_link, turns, taken, head, .. } = &mut self.service.readers;
        let reader = by_link.get_mut(&link)?;
        reader.has_turn = false;
        if let Some(reason) = reader.reader.ended() {
            return Some(read_refusal(reason));
        }
        if !engine.has_room(link) {
            engine.finish_drain(link);
            return None;
        }
        let count = engine.credit(link).min(TURN_EVENTS);
        reader.reader.read(count as usize, TURN_BYTES, taken);
        if taken.is_empty() {
            engine.finish_drain(link);
            return None;
        }
        let metrics = reader.wants_metrics.then(|| RuntimeMetrics {
            last_enqueued: reader.reader.last_enqueued(),
            retrieved_at: self.head.hub.clock().now(),
        });
        engine.reserve(taken.iter().map(|event| HEAD_BYTES + event.data.body.len()).sum());
        for event in taken.drain(..) {
            head.clear();
            head.reserve(HEAD_BYTES);
            write_head(&event, metrics.as_ref(), head);
            engine.send_parts(link, head, &event.data.body);
        }
        reader.has_turn = true;
        turns.push_back(link);
        None
    }

    /// A reader's link is gone, and its place is free.
    pub(super) fn reader_gone(&mut self, link: LinkId) {
        self.service.readers.by_link.remove(&link);
        self.watch_service_claims();
    }

    /// The links to event hubs that no claim allows any more.
    pub(super) fn unclaimed_event_links(&self) -> Vec<LinkId> {
        let is_claimed = |link: &LinkId, node: &LinkNode| match node {
            LinkNode::Events => {
                let path = self.service.readers.by_link.get(link).map(|reader| &reader.path);
                path.is_some_and(|path| self.events_grant(Some(path)).is_ok())
            }
            LinkNode::Replies(Exchange::Management, _) | LinkNode::Requests(Exchange::Management) => {
                self.events_grant(None).is_ok()
            }
            LinkNode::Device(..)
            | LinkNode::Replies(Exchange::Cbs, _)
            | LinkNode::Requests(Exchange::Cbs)
            | LinkNode::Service(_) => true,
        };
        self.nodes.iter().filter(|(link, node)| !is_claimed(link, node)).map(|(link, _)| *link).collect()
    }

    /// The encoded answer to a `$management` request.
    pub(super) async fn answer_management(&mut self, request: &Message) -> bytes::Bytes {
        let answer = match Question::parse(request) {
            Ok(question) => self.answer_question(&question, management::security_token(request)).await,
            Err(refused) => Err(refused),
        };
        let answer = answer.unwrap_or_else(|refused| {
            tracing::debug!(?refused, "a question about an event hub is not answered");
            Answer::Refused(refused)
        });
        answer.encode(request)
    }

    async fn answer_question(&mut self, question: &Question, token: Option<&str>) -> Result<Answer, Refused> {
        let hub = &self.head.hub;
        let event_hub = question.event_hub(hub.name());
        let path = EventsPath::parse(&format!("{event_hub}/{}", segments::MANAGEMENT), hub.name());
        let path = path.ok_or_else(|| Refused::unknown_event_hub(event_hub))?;
        if let Some(token) = token.filter(|_| self.events_grant(Some(&path)).is_err()) {
            let (claims, verifier) = self.claims_and_verifier();
            let grant = claims.put(token, None, None, &verifier).map_err(Refused::from)?;
            self.has_new_claim(&grant);
        }
        let grant = self.events_grant(Some(&path));
        let grant = grant.map_err(|condition| Refused::unauthorized(condition.description))?;
        let admitted = hub.gate().admit::<GetEventHubProperties>(&grant, path, self.details).await?;
        Ok(match question {
            Question::EventHub { .. } => Answer::EventHub(hub.event_hub_properties(admitted, event_hub)?),
            Question::Partition { partition, .. } => {
                Answer::Partition(hub.partition_properties(admitted, event_hub, partition)?)
            }
        })
    }
}

fn argument_error(text: String) -> Condition {
    Condition::new(conditions::ARGUMENT_ERROR, text)
}
