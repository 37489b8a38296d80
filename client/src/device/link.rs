//! One connection, from signing in until it breaks or is closed, and the operations on it: the seam between the
//! session above and the protocols below.

use std::sync::Arc;

use bytes::Bytes;

use super::builder::Transport;
use super::credentials::Credentials;
use super::desired::DesiredFanOut;
use super::message::TelemetryMessage;
use super::twin::{ReportedVersion, Twin};
use crate::amqp::AmqpLink;
use crate::byte_stream::{Carrier, Endpoint};
use crate::error::Error;
use crate::identity_id::IdentityId;
use crate::mqtt::MqttLink;

/// Everything needed to connect, as often as necessary.
#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    /// The hub's own name, which tokens and user names carry; the endpoint may be a gateway.
    pub(crate) hub: String,
    pub(crate) identity: IdentityId,
    pub(crate) endpoint: Endpoint,
    pub(crate) carrier: Carrier,
    pub(crate) credentials: Credentials,
    pub(crate) product_info: String,
}

/// A connection over one of the protocols.
#[derive(Debug)]
pub(super) enum Link {
    Amqp(Box<AmqpLink>),
    Mqtt(MqttLink),
}

/// What became of a renewal of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Done,
    /// The protocol cannot do it on a live connection (contract/mqtt.md 2.10).
    NeedsNewLink,
}

impl Link {
    pub(super) async fn open(
        settings: &LinkSettings,
        transport: Transport,
        desired: Arc<DesiredFanOut>,
    ) -> Result<Self, Error> {
        match transport {
            Transport::Amqp | Transport::AmqpWs => {
                AmqpLink::open(settings, desired).await.map(|link| Self::Amqp(Box::new(link)))
            }
            Transport::Mqtt | Transport::MqttWs => MqttLink::open(settings, desired).await.map(Self::Mqtt),
        }
    }

    pub(super) async fn twin(&self) -> Result<Twin, Error> {
        let body = match self {
            Self::Amqp(link) => link.twin().await?,
            Self::Mqtt(link) => link.twin().await?,
        };
        Twin::parse(&body)
    }

    pub(super) async fn update_reported(&self, patch: Bytes) -> Result<ReportedVersion, Error> {
        match self {
            Self::Amqp(link) => link.update_reported(patch).await,
            Self::Mqtt(link) => link.update_reported(patch).await,
        }
        .map(ReportedVersion)
    }

    pub(super) async fn subscribe_desired(&self) -> Result<(), Error> {
        match self {
            Self::Amqp(link) => link.subscribe_desired().await,
            Self::Mqtt(link) => link.subscribe_desired().await,
        }
    }

    pub(super) async fn send(&self, message: &TelemetryMessage) -> Result<(), Error> {
        match self {
            Self::Amqp(link) => link.send(message).await,
            Self::Mqtt(link) => link.send(message).await,
        }
    }

    pub(super) async fn renew(&self, credentials: &Credentials) -> Result<Renewal, Error> {
        match self {
            Self::Amqp(link) => link.renew(credentials).await.map(|()| Renewal::Done),
            Self::Mqtt(_) => Ok(Renewal::NeedsNewLink),
        }
    }

    /// Returns when the connection is over, with the reason. Cancel-safe.
    pub(super) async fn lost(&self) -> Error {
        match self {
            Self::Amqp(link) => link.lost().await,
            Self::Mqtt(link) => link.lost().await,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Amqp(link) => link.is_lost(),
            Self::Mqtt(link) => link.is_lost(),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Amqp(link) => link.close().await,
            Self::Mqtt(link) => link.close().await,
        }
    }
}
