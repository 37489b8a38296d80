//! A device's connection, over any of the five transports, as what it can ask for and what it is told.

mod amqp;
mod https;
mod mqtt;

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;

use super::World;
use super::ledger::Settled;

/// More than a connection takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Amqp,
    AmqpWs,
    Https,
    Mqtt,
    MqttWs,
}

impl Transport {
    pub(super) const ALL: [Self; 5] = [Self::Amqp, Self::AmqpWs, Self::Https, Self::Mqtt, Self::MqttWs];
}

/// What a device is told.
#[derive(Debug)]
pub(super) enum Event {
    /// Telemetry of this number is the hub's now.
    Acknowledged(usize),
    Closed,
    DesiredChanged(u64),
    Message {
        id: String,
        lock: Lock,
    },
    MethodCalled {
        request: Request,
        number: u64,
    },
    /// Nothing that a device waits for.
    Nothing,
    /// A change of reported properties made this version.
    Reported(u64),
    /// A token put on a living connection was taken, or not.
    Renewed(bool),
    /// A request was refused.
    Refused(String),
}

/// What settles a message.
#[derive(Clone, Debug)]
pub(super) enum Lock {
    Delivery(u32),
    PacketId(u16),
    Token(String),
}

/// What answers a method.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Correlation([u8; 16]),
    RequestId(String),
}

pub(super) enum Session {
    Amqp(Box<amqp::Session>),
    Https(https::Session),
    Mqtt(mqtt::Session),
}

impl Session {
    pub(super) async fn connect(world: &World, device: &str, transport: Transport) -> anyhow::Result<Self> {
        let connect = async {
            anyhow::Ok(match transport {
                Transport::Amqp | Transport::AmqpWs => {
                    let session =
                        amqp::Session::connect(world, device, transport == Transport::AmqpWs).await?;
                    Self::Amqp(Box::new(session))
                }
                Transport::Https => Self::Https(https::Session::connect(world, device).await?),
                Transport::Mqtt | Transport::MqttWs => {
                    Self::Mqtt(mqtt::Session::connect(world, device, transport == Transport::MqttWs).await?)
                }
            })
        };
        let connected = timeout(PATIENCE, connect).await.context("it took too long")?;
        connected.with_context(|| format!("{device} over {transport:?}"))
    }

    /// What comes next. Cancel-safe but for HTTPS, where it is a poll.
    pub(super) async fn next(&mut self) -> anyhow::Result<Event> {
        match self {
            Self::Amqp(session) => session.next().await,
            Self::Https(session) => session.next().await,
            Self::Mqtt(session) => session.next().await,
        }
    }

    pub(super) async fn send(&mut self, number: usize) -> anyhow::Result<()> {
        match self {
            Self::Amqp(session) => session.send(number).await,
            Self::Https(session) => session.send(number).await,
            Self::Mqtt(session) => session.send(number).await,
        }
    }

    /// Changes reported properties; `false` where the transport has no twins.
    pub(super) async fn report(&mut self, number: u64) -> anyhow::Result<bool> {
        match self {
            Self::Amqp(session) => session.report(number).await.map(|()| true),
            Self::Https(_) => Ok(false),
            Self::Mqtt(session) => session.report(number).await.map(|()| true),
        }
    }

    /// Puts a new token on the connection; `false` where only a new connection brings one.
    pub(super) async fn renew(&mut self, world: &World) -> anyhow::Result<bool> {
        match self {
            Self::Amqp(session) => session.renew(world).await.map(|()| true),
            Self::Https(_) | Self::Mqtt(_) => Ok(false),
        }
    }

    pub(super) async fn answer(&mut self, request: Request, number: u64) -> anyhow::Result<()> {
        match (self, request) {
            (Self::Amqp(session), Request::Correlation(id)) => session.answer(id, number).await,
            (Self::Mqtt(session), Request::RequestId(id)) => session.answer(&id, number).await,
            _ => Ok(()),
        }
    }

    /// Whether the transport can do more than complete.
    pub(super) const fn can_decline(&self) -> bool {
        !matches!(self, Self::Mqtt(_))
    }

    /// Settles a message; whether the hub has confirmed it.
    pub(super) async fn settle(&mut self, lock: Lock, how: Settled) -> anyhow::Result<bool> {
        match (self, lock) {
            (Self::Amqp(session), Lock::Delivery(id)) => session.settle(id, how).await.map(|()| false),
            (Self::Https(session), Lock::Token(token)) => session.settle(&token, how).await,
            (Self::Mqtt(session), Lock::PacketId(id)) => session.complete(id).await.map(|()| false),
            _ => Ok(false),
        }
    }

    /// Says goodbye in the protocol's way.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        match self {
            Self::Amqp(session) => session.leave().await,
            Self::Https(_) => Ok(()),
            Self::Mqtt(session) => session.leave().await,
        }
    }
}
