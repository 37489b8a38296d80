//! The operations of one MQTT connection: CONNECT with a token or an empty password (contract/mqtt.md 2), twin
//! requests, telemetry at QoS 1.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rumqttc::mqttbytes::v4::{Codec, Connect, ConnectReturnCode, Packet};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};
use tokio_util::codec::Framed;
use tokio_util::task::AbortOnDropHandle;

use super::driver::{Command, Driver, KEEP_ALIVE, TwinAnswer, Wire};
use super::topic::{self, TwinRequest};
use crate::device::{DesiredFanOut, LinkSettings, TelemetryMessage};
use crate::error::{Error, ErrorKind, HubError};
use crate::identity_id::IdentityId;
use crate::refusal;

/// Largest packet either way, in bytes: a message of 256 KiB with its topic of up to 64 KiB (contract/mqtt.md 5.3).
const MAX_PACKET_BYTES: usize = (256 + 64) * 1024 + 16;

/// Commands waiting for the driver; callers wait beyond that.
const MAX_WAITING_COMMANDS: usize = 64;

/// A connection that has been accepted.
#[derive(Debug)]
pub(crate) struct MqttLink {
    identity: IdentityId,
    commands: mpsc::Sender<Command>,
    lost: watch::Receiver<Option<Arc<Error>>>,
    twin_responses: OnceCell<()>,
    desired_changes: OnceCell<()>,
    _driver: AbortOnDropHandle<()>,
}

impl MqttLink {
    pub(crate) async fn open(settings: &LinkSettings, desired: Arc<DesiredFanOut>) -> Result<Self, Error> {
        let stream = settings.endpoint.connect(settings.carrier).await?;
        let codec = Codec { max_incoming_size: MAX_PACKET_BYTES, max_outgoing_size: MAX_PACKET_BYTES };
        let mut wire = Framed::new(stream, codec);
        sign_in(&mut wire, settings).await?;
        let (commands, receiver) = mpsc::channel(MAX_WAITING_COMMANDS);
        let (lost_sender, lost) = watch::channel(None);
        let driver = tokio::spawn(Driver::new(wire, desired).run(receiver, lost_sender));
        Ok(Self {
            identity: settings.identity.clone(),
            commands,
            lost,
            twin_responses: OnceCell::new(),
            desired_changes: OnceCell::new(),
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    pub(crate) async fn twin(&self) -> Result<Bytes, Error> {
        let answer = self.request(TwinRequest::Get, Bytes::new(), "read the twin").await?;
        Ok(answer.body)
    }

    pub(crate) async fn update_reported(&self, patch: Bytes) -> Result<Option<u64>, Error> {
        let answer = self.request(TwinRequest::PatchReported, patch, "update reported properties").await?;
        Ok(answer.version)
    }

    pub(crate) async fn subscribe_desired(&self) -> Result<(), Error> {
        self.desired_changes
            .get_or_try_init(|| self.ask(|done| Command::Subscribe { filter: topic::DESIRED_CHANGES, done }))
            .await
            .copied()
    }

    pub(crate) async fn send(&self, message: &TelemetryMessage) -> Result<(), Error> {
        let topic = topic::telemetry(&self.identity, message)?;
        let body = message.body.clone();
        self.ask(|done| Command::Publish { topic, body, done }).await
    }

    pub(crate) async fn lost(&self) -> Error {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.duplicate(),
            _ => gone(),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Disconnect { done }).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn request(&self, request: TwinRequest, body: Bytes, doing: &str) -> Result<TwinAnswer, Error> {
        self.twin_responses
            .get_or_try_init(|| self.ask(|done| Command::Subscribe { filter: topic::TWIN_RESPONSES, done }))
            .await?;
        let answer = self.ask(|done| Command::Twin { request, body, done }).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(Error::refused(doing, refusal::of_twin(answer.status, &answer.body)))
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        if self.commands.send(command(done)).await.is_err() {
            return Err(self.lost().await);
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.lost().await),
        }
    }
}

async fn sign_in(wire: &mut Wire, settings: &LinkSettings) -> Result<(), Error> {
    let mut connect = Connect::new(topic::client_id(&settings.identity));
    connect.keep_alive = u16::try_from(KEEP_ALIVE.as_secs()).expect("the keep-alive fits its field");
    // Subscriptions outlive the reconnect that renews a token (contract/mqtt.md section 0, rule 4).
    connect.clean_session = false;
    let token = settings.credentials.token();
    // rumqttc leaves the password out when it is empty, which is what a certificate needs.
    connect.set_login(topic::username(settings), token.as_ref().map_or("", |token| token.as_str()));
    let broke = |error: rumqttc::mqttbytes::Error| {
        Error::new(
            ErrorKind::Connection,
            "the connection broke before the hub accepted it; is this the port for MQTT?",
        )
        .with_source(error)
    };
    wire.send(Packet::Connect(connect)).await.map_err(broke)?;
    let answer = match wire.next().await {
        Some(answer) => answer.map_err(broke)?,
        None => {
            return Err(Error::new(ErrorKind::Connection, "the hub closed the connection without an answer"));
        }
    };
    match answer {
        Packet::ConnAck(answer) => match answer.code {
            ConnectReturnCode::Success => Ok(()),
            ConnectReturnCode::ServiceUnavailable => {
                Err(Error::refused("connect", HubError { status: 503, ..HubError::default() }))
            }
            ConnectReturnCode::RefusedProtocolVersion
            | ConnectReturnCode::BadClientId
            | ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::NotAuthorized => Err(refused(settings)),
        },
        other => Err(Error::protocol("what answers there does not speak MQTT: is this the right port?")
            .with_source(format!("{other:?} in place of CONNACK"))),
    }
}

/// MQTT has one answer for every reason; the likely ones differ by the kind of credentials.
fn refused(settings: &LinkSettings) -> Error {
    let hint = match &settings.credentials {
        crate::device::Credentials::Certificate => {
            "is it registered with this certificate's thumbprint, or with a known authority and this name, and enabled?"
        }
        _ => "does it exist, is it enabled, is the key its own, and is this computer's clock right?",
    };
    let hub = HubError { status: 401, ..HubError::default() };
    Error::refused(&format!("connect as \"{}\" ({hint})", settings.identity), hub)
}

fn gone() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the connection to the hub was lost")
}
