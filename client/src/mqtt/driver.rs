//! Owns one MQTT connection: writes what it is asked to, matches acknowledgements and twin answers to those who
//! wait for them, acknowledges what the hub sends, and keeps the connection alive (contract/mqtt.md 2.7, 4).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Codec, Packet, PubAck, Publish, Subscribe, SubscribeReasonCode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;

use super::topic::{self, Inbound, TwinRequest};
use crate::byte_stream::ByteStream;
use crate::device::DesiredFanOut;
use crate::error::{Error, ErrorKind};

/// What the hub is told to expect of us: a packet at least this often.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long an answer to a ping, or room in the socket, is waited for.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes and subscriptions not yet acknowledged; more wait in the callers.
const MAX_UNACKNOWLEDGED: usize = 256;

/// Twin requests not yet answered.
const MAX_UNANSWERED: usize = 256;

/// MQTT 3.1.1 has no packet for the reason.
const ENDED: &str = "the hub ended it: another client with this identity, a disabled or deleted identity, a new key, \
     an expired token, or a message against its rules";

pub(super) type Wire = Framed<ByteStream, Codec>;

/// What the driver can be asked for.
#[derive(Debug)]
pub(super) enum Command {
    Disconnect { done: oneshot::Sender<()> },
    Publish { topic: String, body: Bytes, done: oneshot::Sender<Result<(), Error>> },
    Subscribe { filter: &'static str, done: oneshot::Sender<Result<(), Error>> },
    Twin { request: TwinRequest, body: Bytes, done: oneshot::Sender<Result<TwinAnswer, Error>> },
}

/// The hub's answer to a twin request.
#[derive(Debug)]
pub(super) struct TwinAnswer {
    pub(super) status: u16,
    pub(super) version: Option<u64>,
    pub(super) body: Bytes,
}

/// The connection's state; dropping it drops the socket and tells every waiter.
pub(super) struct Driver {
    wire: Wire,
    desired: Arc<DesiredFanOut>,
    unacknowledged: HashMap<u16, oneshot::Sender<Result<(), Error>>>,
    unanswered: HashMap<u32, oneshot::Sender<Result<TwinAnswer, Error>>>,
    last_packet_id: u16,
    last_rid: u32,
    last_sent: Instant,
    ping_sent: Option<Instant>,
    /// Set once asked to disconnect: nothing new is begun, what is under way is waited for.
    leaving: Option<oneshot::Sender<()>>,
}

impl Driver {
    pub(super) fn new(wire: Wire, desired: Arc<DesiredFanOut>) -> Self {
        Self {
            wire,
            desired,
            unacknowledged: HashMap::new(),
            unanswered: HashMap::new(),
            last_packet_id: 0,
            last_rid: 0,
            last_sent: Instant::now(),
            ping_sent: None,
            leaving: None,
        }
    }

    /// Runs until the connection is over and says why to `report` and to everybody waiting.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        report: watch::Sender<Option<Arc<Error>>>,
    ) {
        let reason = match self.serve(&mut commands).await {
            Ok(()) => lost("it was closed on this side"),
            Err(error) => error,
        };
        for (_, waiting) in self.unacknowledged.drain() {
            let _ = waiting.send(Err(reason.duplicate()));
        }
        for (_, waiting) in self.unanswered.drain() {
            let _ = waiting.send(Err(reason.duplicate()));
        }
        report.send_replace(Some(Arc::new(reason)));
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Error> {
        loop {
            if self.leaving.is_some() && self.is_idle() {
                self.disconnect().await?;
                if let Some(done) = self.leaving.take() {
                    let _ = done.send(());
                }
                return Ok(());
            }
            let deadline = match self.ping_sent {
                Some(sent) => sent + PEER_TIMEOUT,
                None => self.last_sent + KEEP_ALIVE,
            };
            tokio::select! {
                packet = self.wire.next() => match packet {
                    Some(Ok(packet)) => self.receive(packet).await?,
                    None => return Err(lost(ENDED)),
                    Some(Err(rumqttc::mqttbytes::Error::Io(error)))
                        if error.kind() == std::io::ErrorKind::UnexpectedEof =>
                    {
                        return Err(lost(ENDED));
                    }
                    Some(Err(error)) => return Err(lost("it broke").with_source(error)),
                },
                command = commands.recv(), if self.leaving.is_none() && self.has_room() => match command {
                    None => return self.disconnect().await,
                    Some(command) => self.carry_out(command).await?,
                },
                () = sleep_until(deadline) => match self.ping_sent {
                    Some(_) => return Err(lost("the hub does not answer any more")),
                    None => {
                        self.ping_sent = Some(Instant::now());
                        self.write(Packet::PingReq).await?;
                    }
                },
            }
        }
    }

    /// Forgets who stopped waiting, and says whether there is room for one more who does.
    fn has_room(&mut self) -> bool {
        if self.unanswered.len() >= MAX_UNANSWERED {
            self.unanswered.retain(|_, waiting| !waiting.is_closed());
        }
        self.unacknowledged.len() < MAX_UNACKNOWLEDGED && self.unanswered.len() < MAX_UNANSWERED
    }

    /// Whether nobody waits for anything. Cancelled waiters do not count.
    fn is_idle(&mut self) -> bool {
        self.unacknowledged.retain(|_, waiting| !waiting.is_closed());
        self.unanswered.retain(|_, waiting| !waiting.is_closed());
        self.unacknowledged.is_empty() && self.unanswered.is_empty()
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Error> {
        let packet = match command {
            Command::Disconnect { done } => {
                self.leaving = Some(done);
                return Ok(());
            }
            Command::Publish { topic, body, done } => {
                let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, body);
                publish.pkid = self.expect_acknowledgement(done);
                Packet::Publish(publish)
            }
            Command::Subscribe { filter, done } => {
                let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
                subscribe.pkid = self.expect_acknowledgement(done);
                Packet::Subscribe(subscribe)
            }
            Command::Twin { request, body, done } => {
                self.last_rid = self.last_rid.wrapping_add(1);
                self.unanswered.insert(self.last_rid, done);
                let topic = topic::twin_request(request, &format!("{:x}", self.last_rid));
                Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, body))
            }
        };
        self.write(packet).await
    }

    fn expect_acknowledgement(&mut self, done: oneshot::Sender<Result<(), Error>>) -> u16 {
        // Ends: fewer ids are in use than exist, as MAX_UNACKNOWLEDGED is below 65535.
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if !self.unacknowledged.contains_key(&self.last_packet_id) {
                break;
            }
        }
        self.unacknowledged.insert(self.last_packet_id, done);
        self.last_packet_id
    }

    async fn receive(&mut self, packet: Packet) -> Result<(), Error> {
        match packet {
            Packet::Publish(publish) => {
                let acknowledgement = match publish.qos {
                    QoS::AtMostOnce => None,
                    QoS::AtLeastOnce | QoS::ExactlyOnce => Some(PubAck::new(publish.pkid)),
                };
                self.deliver(publish);
                match acknowledgement {
                    Some(acknowledgement) => self.write(Packet::PubAck(acknowledgement)).await,
                    None => Ok(()),
                }
            }
            Packet::PubAck(acknowledged) => {
                if let Some(waiting) = self.unacknowledged.remove(&acknowledged.pkid) {
                    let _ = waiting.send(Ok(()));
                }
                Ok(())
            }
            Packet::SubAck(granted) => {
                if let Some(waiting) = self.unacknowledged.remove(&granted.pkid) {
                    let refused = granted.return_codes.contains(&SubscribeReasonCode::Failure);
                    let _ = waiting.send(if refused {
                        Err(Error::new(ErrorKind::Refused, "the hub refused the subscription"))
                    } else {
                        Ok(())
                    });
                }
                Ok(())
            }
            Packet::PingResp => {
                self.ping_sent = None;
                Ok(())
            }
            other => Err(lost("the hub sent what only a client sends").with_source(format!("{other:?}"))),
        }
    }

    fn deliver(&mut self, publish: Publish) {
        match topic::inbound(&publish.topic) {
            Inbound::DesiredChange => self.desired.notify(&publish.payload),
            Inbound::TwinResponse { status, rid, version } => {
                let waiting = u32::from_str_radix(rid, 16).ok().and_then(|rid| self.unanswered.remove(&rid));
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Ok(TwinAnswer { status, version, body: publish.payload }));
                }
            }
            Inbound::Unknown => tracing::debug!(topic = publish.topic, "a message nobody subscribed"),
        }
    }

    async fn write(&mut self, packet: Packet) -> Result<(), Error> {
        self.last_sent = Instant::now();
        match timeout(PEER_TIMEOUT, self.wire.send(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost("it broke").with_source(error)),
            Err(_) => Err(lost("the hub does not read any more")),
        }
    }

    async fn disconnect(&mut self) -> Result<(), Error> {
        self.write(Packet::Disconnect).await?;
        let _ = timeout(PEER_TIMEOUT, self.wire.close()).await;
        Ok(())
    }
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::ConnectionLost, format!("the connection to the hub was lost: {why}"))
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::v4::SubAck;
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// Larger than any packet of these tests, so that no write waits for a read.
    const SOCKET_BYTES: usize = 64 * 1024;

    struct Hub {
        wire: Framed<DuplexStream, Codec>,
        commands: mpsc::Sender<Command>,
        lost: watch::Receiver<Option<Arc<Error>>>,
        desired: Arc<DesiredFanOut>,
    }

    impl Hub {
        fn new() -> Self {
            let codec = || Codec { max_incoming_size: SOCKET_BYTES, max_outgoing_size: SOCKET_BYTES };
            let (ours, theirs) = duplex(SOCKET_BYTES);
            let (commands, receiver) = mpsc::channel(MAX_UNACKNOWLEDGED + 1);
            let (lost_sender, lost) = watch::channel(None);
            let desired = Arc::new(DesiredFanOut::default());
            let wire = Framed::new(ByteStream::of_test(ours), codec());
            tokio::spawn(Driver::new(wire, Arc::clone(&desired)).run(receiver, lost_sender));
            Self { wire: Framed::new(theirs, codec()), commands, lost, desired }
        }

        async fn ask<T>(
            &self,
            command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
        ) -> oneshot::Receiver<Result<T, Error>> {
            let (done, answer) = oneshot::channel();
            self.commands.send(command(done)).await.unwrap();
            answer
        }

        async fn publish(&self, topic: &str) -> oneshot::Receiver<Result<(), Error>> {
            let topic = topic.to_owned();
            self.ask(|done| Command::Publish { topic, body: Bytes::new(), done }).await
        }

        async fn received(&mut self) -> Packet {
            self.wire.next().await.unwrap().unwrap()
        }

        async fn received_publish(&mut self) -> Publish {
            match self.received().await {
                Packet::Publish(publish) => publish,
                other => panic!("expected a PUBLISH, got {other:?}"),
            }
        }

        async fn why_lost(&mut self) -> String {
            self.lost.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().to_string()
        }
    }

    #[tokio::test]
    async fn each_publish_ends_with_its_own_acknowledgement() {
        let mut hub = Hub::new();
        let mut one = hub.publish("a").await;
        let two = hub.publish("b").await;
        let (first, second) = (hub.received_publish().await, hub.received_publish().await);
        assert_ne!(first.pkid, second.pkid);
        hub.wire.send(Packet::PubAck(PubAck::new(second.pkid))).await.unwrap();
        assert!(two.await.unwrap().is_ok());
        assert!(one.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_refused_subscription_is_an_error_and_a_granted_one_is_not() {
        let mut hub = Hub::new();
        for (code, is_granted) in
            [(SubscribeReasonCode::Success(QoS::AtMostOnce), true), (SubscribeReasonCode::Failure, false)]
        {
            let answer = hub.ask(|done| Command::Subscribe { filter: topic::TWIN_RESPONSES, done }).await;
            let Packet::Subscribe(subscribe) = hub.received().await else { panic!("expected a SUBSCRIBE") };
            hub.wire.send(Packet::SubAck(SubAck::new(subscribe.pkid, vec![code]))).await.unwrap();
            assert_eq!(answer.await.unwrap().is_ok(), is_granted);
        }
    }

    #[tokio::test]
    async fn twin_answers_reach_their_requests_in_any_order() {
        let mut hub = Hub::new();
        let twin = |done| Command::Twin { request: TwinRequest::Get, body: Bytes::new(), done };
        let (one, two) = (hub.ask(twin).await, hub.ask(twin).await);
        let rid = |publish: Publish| publish.topic.split_once("$rid=").unwrap().1.to_owned();
        let (first, second) = (rid(hub.received_publish().await), rid(hub.received_publish().await));
        for (rid, body) in [(second, "two"), (first, "one"), ("ffff".to_owned(), "nobody's")] {
            let topic = format!("$iothub/twin/res/200/?$rid={rid}&$version=3");
            let answer = Publish::new(topic, QoS::AtMostOnce, body);
            hub.wire.send(Packet::Publish(answer)).await.unwrap();
        }
        assert_eq!(one.await.unwrap().unwrap().body, "one");
        let two = two.await.unwrap().unwrap();
        assert_eq!((two.body, two.version), (Bytes::from("two"), Some(3)));
    }

    #[tokio::test]
    async fn a_desired_change_at_qos_1_is_delivered_and_acknowledged() {
        let mut hub = Hub::new();
        let mut changes = hub.desired.subscribe();
        let topic = "$iothub/twin/PATCH/properties/desired/?$version=5";
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, r#"{"a":1,"$version":5}"#);
        publish.pkid = 9;
        hub.wire.send(Packet::Publish(publish)).await.unwrap();
        assert_eq!(changes.next().await.unwrap().unwrap().version, 5);
        assert_eq!(hub.received().await, Packet::PubAck(PubAck::new(9)));
    }

    #[tokio::test]
    async fn what_waits_fails_when_the_connection_ends() {
        let mut hub = Hub::new();
        let waiting = hub.publish("a").await;
        hub.received_publish().await;
        drop(std::mem::replace(
            &mut hub.wire,
            Framed::new(duplex(1).0, Codec { max_incoming_size: 1, max_outgoing_size: 1 }),
        ));
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert!(hub.why_lost().await.contains("the hub ended it"));
    }

    #[tokio::test]
    async fn no_more_is_sent_than_may_be_unacknowledged() {
        let mut hub = Hub::new();
        let mut answers = Vec::new();
        for _ in 0..=MAX_UNACKNOWLEDGED {
            answers.push(hub.publish("a").await);
        }
        let first = hub.received_publish().await;
        for _ in 1..MAX_UNACKNOWLEDGED {
            hub.received_publish().await;
        }
        assert!(futures_util::FutureExt::now_or_never(hub.wire.next()).is_none());
        hub.wire.send(Packet::PubAck(PubAck::new(first.pkid))).await.unwrap();
        hub.received_publish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_pinged_and_given_up_when_nobody_answers() {
        let mut hub = Hub::new();
        let start = Instant::now();
        assert_eq!(hub.received().await, Packet::PingReq);
        assert_eq!(start.elapsed().as_secs(), KEEP_ALIVE.as_secs());
        hub.wire.send(Packet::PingResp).await.unwrap();
        assert_eq!(hub.received().await, Packet::PingReq);
        assert!(hub.why_lost().await.contains("does not answer"));
    }

    #[tokio::test]
    async fn closing_waits_for_what_is_under_way_and_says_goodbye() {
        let mut hub = Hub::new();
        let waiting = hub.publish("a").await;
        let publish = hub.received_publish().await;
        let (done, closed) = oneshot::channel();
        hub.commands.send(Command::Disconnect { done }).await.unwrap();
        hub.wire.send(Packet::PubAck(PubAck::new(publish.pkid))).await.unwrap();
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(hub.received().await, Packet::Disconnect);
        assert!(hub.wire.next().await.is_none());
        closed.await.unwrap();
        assert!(hub.why_lost().await.contains("closed on this side"));
    }

    #[tokio::test]
    async fn closing_does_not_wait_for_those_who_gave_up() {
        let mut hub = Hub::new();
        drop(hub.publish("a").await);
        hub.received_publish().await;
        let (done, closed) = oneshot::channel();
        hub.commands.send(Command::Disconnect { done }).await.unwrap();
        assert_eq!(hub.received().await, Packet::Disconnect);
        closed.await.unwrap();
    }
}
