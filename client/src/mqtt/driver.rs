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
        }
    }

    /// Runs until the connection is over and says why to `lost` and to everybody waiting.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        lost: watch::Sender<Option<Arc<Error>>>,
    ) {
        let reason = match self.serve(&mut commands).await {
            Ok(()) => Error::new(ErrorKind::Closed, "this connection was closed"),
            Err(error) => error,
        };
        for (_, waiting) in self.unacknowledged.drain() {
            let _ = waiting.send(Err(reason.duplicate()));
        }
        for (_, waiting) in self.unanswered.drain() {
            let _ = waiting.send(Err(reason.duplicate()));
        }
        lost.send_replace(Some(Arc::new(reason)));
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Error> {
        loop {
            let deadline = match self.ping_sent {
                Some(sent) => sent + PEER_TIMEOUT,
                None => self.last_sent + KEEP_ALIVE,
            };
            tokio::select! {
                packet = self.wire.next() => match packet {
                    Some(Ok(packet)) => self.receive(packet).await?,
                    Some(Err(error)) => return Err(lost("it broke").with_source(error)),
                    None => return Err(lost(
                        "the hub ended it: another client with this identity, a disabled or deleted identity, a \
                         new key, or an expired token",
                    )),
                },
                command = commands.recv(), if self.has_room() => match command {
                    None => return self.disconnect().await,
                    Some(Command::Disconnect { done }) => {
                        let outcome = self.disconnect().await;
                        let _ = done.send(());
                        return outcome;
                    }
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

    async fn carry_out(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Disconnect { done } => {
                let _ = done.send(());
                Ok(())
            }
            Command::Publish { topic, body, done } => {
                let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, body);
                publish.pkid = self.expect_acknowledgement(done);
                self.write(Packet::Publish(publish)).await
            }
            Command::Subscribe { filter, done } => {
                let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
                subscribe.pkid = self.expect_acknowledgement(done);
                self.write(Packet::Subscribe(subscribe)).await
            }
            Command::Twin { request, body, done } => {
                self.last_rid = self.last_rid.wrapping_add(1);
                self.unanswered.insert(self.last_rid, done);
                let topic = topic::twin_request(request, &format!("{:x}", self.last_rid));
                self.write(Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, body))).await
            }
        }
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
