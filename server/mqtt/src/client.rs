//! One client before the core: what its session asks, put to authenticator, gate and hub, and what they say.
//! Knows the core, not the wire.

use std::future::pending;
use std::sync::Arc;

use auth::{Credential, Presented};
use bytes::Bytes;
use hub::access::Grant;
use hub::c2d::{LockToken, LockedMessage, Settlement};
use hub::device_session::{Delivery, DeviceSession, DisconnectReason, SessionOptions};
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{
    AnswerMethod, Connect, ReadOwnTwin, ReceiveCloudToDevice, SendTelemetry, SettleCloudToDevice,
    UpdateReported,
};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::ids::IdentityId;
use hub::telemetry::DeviceMessage;
use hub::twin::{Arrays, ReportedPatch};
use net::{Carrier, PeerInfo};

use crate::MqttHead;
use crate::error::{Ending, RefusedConnect};
use crate::login::Login;
use crate::session::{ExpectedVersion, Failure, Notice, Question, Reply};

/// A client, online from the moment its CONNECT was accepted.
pub(crate) struct Client<'a> {
    head: &'a MqttHead,
    peer: PeerInfo,
    /// From CONNECT on; dropping it tells the core that the client is lost.
    device: Option<DeviceSession>,
    /// What the CONNECT said of the client's version.
    arrays: Arrays,
}

impl<'a> Client<'a> {
    pub(crate) const fn new(head: &'a MqttHead, peer: PeerInfo) -> Self {
        Self { head, peer, device: None, arrays: Arrays::Allowed }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.device.is_some()
    }

    /// What the core has for the client next; never, as long as it is not online. Cancel-safe.
    pub(crate) async fn next_delivery(&self) -> Delivery {
        match &self.device {
            Some(device) => device.next().await,
            None => pending().await,
        }
    }

    /// Why the core ended the session, once it has; never, as long as the client is not online. Cancel-safe.
    pub(crate) async fn ended(&self) -> DisconnectReason {
        match &self.device {
            Some(device) => device.ended().await,
            None => pending().await,
        }
    }

    /// The connection is over: with a goodbye the Will is dropped, without one it is published.
    pub(crate) fn leave(&mut self, ending: &Ending) {
        match (self.device.take(), ending) {
            (Some(device), Ending::Goodbye) => device.end(),
            (device, _) => drop(device),
        }
    }

    /// Does what brings no reply.
    pub(crate) fn tell(&self, notice: Notice) {
        // A session tells nothing before its client is online.
        let Some(device) = &self.device else { return };
        match notice {
            Notice::Alive => device.touch(),
            Notice::Keep(saved) => device.save(saved),
            Notice::Subscribe(interest) => device.subscribe(interest),
            Notice::Unsubscribe(interest) => device.unsubscribe(interest),
        }
    }

    /// Does what brings a reply; or ends the connection, if MQTT has no answer for what went wrong.
    pub(crate) async fn ask(&self, question: Question) -> Result<Reply, Ending> {
        // A session asks nothing before its client is online.
        let Some(device) = &self.device else { return Err(Ending::Refused) };
        match question {
            Question::AnswerMethod { packet_id, id, response } => {
                let by = self.admit_own::<AnswerMethod>(device).await.map_err(|_logged| Ending::Refused)?;
                self.head.hub.answer_method(by, id, response).map_err(Ending::Failed)?;
                Ok(Reply::MethodAnswered { packet_id })
            }
            Question::ReadTwin(request) => {
                let result = self.read_twin(device).await;
                Ok(Reply::Twin { request, result })
            }
            Question::SendTelemetry { packet_id, message } => {
                self.send_telemetry(device, message).await?;
                Ok(Reply::TelemetryAccepted { packet_id })
            }
            Question::SettleMessage { token, how } => {
                self.settle_message(device, token, how).await?;
                Ok(Reply::MessageSettled)
            }
            Question::TakeMessage => Ok(Reply::MessageTaken(self.take_message(device).await?)),
            Question::UpdateReported { request, patch, version } => {
                let result = self.update_reported(device, &patch, version).await;
                Ok(Reply::Reported { request, result })
            }
        }
    }

    /// Proves the credential, passes the gate, takes the identity's session: who had it before is out by then.
    pub(crate) async fn connect(&mut self, login: Login) -> Result<Reply, Ending> {
        let hub = &self.head.hub;
        let details = self.details();
        let grant = self.authenticate(&login, details).map_err(|_logged| Ending::Refused)?;
        let by = hub.gate().admit::<Connect>(&grant, login.identity, details).await;
        let by = by.map_err(|_logged| Ending::Refused)?;
        let options = SessionOptions {
            connection: self.peer.connection,
            protocol: details.protocol,
            peer: self.peer.address,
            credential_grace: self.head.options.token_expiry_grace,
            will: login.will,
            product_info: login.product_info,
            model_id: login.model_id,
            keep_saved: login.keep_session,
        };
        let device =
            hub.connect(by, options).map_err(|error| Ending::RefusedHere(RefusedConnect::Core(error)))?;
        let identity = device.identity();
        tracing::debug!(
            device = identity.device.as_str(),
            module = identity.module.as_ref().map(|module| module.as_str()),
            credential = grant.credential.as_str(),
            "connected"
        );
        let reply = Reply::Connected { saved: device.saved().clone(), is_resumed: device.is_resumed() };
        self.device = Some(device);
        self.arrays = login.arrays;
        // They have served their purpose; a chain is several KB.
        self.peer.certificates = None;
        Ok(reply)
    }

    /// No password and a certificate means X.509, anything else is a token; `contract/mqtt.md 2.4`, `2.5`.
    fn authenticate(&self, login: &Login, details: Details) -> Result<Arc<Grant>, HubError> {
        let (identity, host) = (Some(&login.identity), Some(login.host.as_str()));
        match &self.peer.certificates {
            Some(certificates) if login.password.is_empty() => {
                let credential = Credential::Certificate(certificates);
                self.head.authenticator.authenticate(&Presented { credential, identity, host, details })
            }
            None if login.password.is_empty() => {
                Err(self.head.authenticator.refuse_without_credential(identity, "Unauthorized", details))
            }
            _ => self.head.authenticator.authenticate_token_text(&login.password, identity, host, details),
        }
    }

    /// The message stays in its box until it is taken in: on its way it would be copied from future to future.
    async fn send_telemetry(
        &self,
        device: &DeviceSession,
        message: Box<DeviceMessage>,
    ) -> Result<(), Ending> {
        let by = self.admit_own::<SendTelemetry>(device).await.map_err(|_logged| Ending::Refused)?;
        self.head.hub.send_telemetry(by, *message).map_err(Ending::Failed)?;
        Ok(())
    }

    async fn take_message(&self, device: &DeviceSession) -> Result<Option<LockedMessage>, Ending> {
        let queue = device.identity().device.clone();
        let by =
            self.admit::<ReceiveCloudToDevice>(device, queue).await.map_err(|_logged| Ending::Refused)?;
        self.head.hub.lock_next_message(by).map_err(Ending::Failed)
    }

    async fn settle_message(
        &self,
        device: &DeviceSession,
        token: LockToken,
        how: Settlement,
    ) -> Result<(), Ending> {
        let queue = device.identity().device.clone();
        let by = self.admit::<SettleCloudToDevice>(device, queue).await.map_err(|_logged| Ending::Refused)?;
        match self.head.hub.settle_message(by, token, how) {
            // A late acknowledgement: the message waits again, and will come again.
            Err(error) if error.code() == ErrorCode::DeviceMessageLockLost => Ok(()),
            settled => settled.map_err(Ending::Failed),
        }
    }

    async fn read_twin(&self, device: &DeviceSession) -> Result<Bytes, Failure> {
        let by = self.admit_own::<ReadOwnTwin>(device).await.map_err(|error| self.refused(&error))?;
        self.head.hub.read_own_twin(by).map_err(|error| self.declined(error))
    }

    async fn update_reported(
        &self,
        device: &DeviceSession,
        patch: &[u8],
        expected: Option<ExpectedVersion>,
    ) -> Result<u64, Failure> {
        let by = self.admit_own::<UpdateReported>(device).await.map_err(|error| self.refused(&error))?;
        let update = || {
            let expected = expected.map(ExpectedVersion::number).transpose()?;
            let patch = ReportedPatch::parse(patch, self.arrays)?;
            self.head.hub.update_reported(by, &patch, expected)
        };
        update().map_err(|error| self.declined(error))
    }

    async fn admit_own<O>(&self, device: &DeviceSession) -> Result<Admitted<O>, HubError>
    where
        O: Operation<Target = IdentityId>,
    {
        self.admit(device, device.identity().clone()).await
    }

    async fn admit<O: Operation>(
        &self,
        device: &DeviceSession,
        target: O::Target,
    ) -> Result<Admitted<O>, HubError> {
        self.head.hub.gate().admit(&device.grant(), target, self.details()).await
    }

    /// What a twin request gets that the gate refused, and logged.
    fn refused(&self, error: &HubError) -> Failure {
        Failure { body: self.error_body(error), code: error.code(), ending: Ending::Refused }
    }

    /// What a twin request gets that the core declined.
    fn declined(&self, error: HubError) -> Failure {
        tracing::debug!(code = error.code().number(), "twin request declined: {}", error.reason());
        Failure { body: self.error_body(&error), code: error.code(), ending: Ending::Failed(error) }
    }

    fn error_body(&self, error: &HubError) -> Bytes {
        let hub = &self.head.hub;
        error.details_json(&hub.tracking_id(), hub.clock().now()).into()
    }

    fn details(&self) -> Details {
        let protocol = match self.peer.carrier {
            Carrier::WebSocket => ProtocolLabel("mqtt-ws"),
            Carrier::Tcp | Carrier::Tls => ProtocolLabel("mqtt"),
        };
        Details { protocol, connection: Some(self.peer.connection) }
    }
}
