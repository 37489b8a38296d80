//! Taking messages in: size check, stamps, routes. What is acknowledged is readable where it was routed to.

use crate::Hub;
use crate::access::{CredentialKind, Grant};
use crate::device_session::SessionCore;
use crate::error::{ErrorCode, HubError};
use crate::events::{EventData, MessageSource, SenderStamps};
use crate::gate::Admitted;
use crate::gate::operations::SendTelemetry;
use crate::ids::IdentityId;
use crate::limits;
use crate::state::{DeviceState, IdentityState};
use crate::telemetry::DeviceMessage;
use crate::time::Timestamp;
use crate::twin::StoredTwin;

/// Application property that marks a Will (contract/mqtt.md 2.8).
const MESSAGE_TYPE: &str = "iothub-MessageType";
const MESSAGE_TYPE_WILL: &str = "Will";

impl Hub {
    /// Appends a message to every event hub that a route takes it to.
    ///
    /// # Errors
    /// `MessageTooLarge`; `DeviceNotFound`, `ModuleNotFound` when the identity is gone.
    pub fn send_telemetry(
        &self,
        by: Admitted<SendTelemetry>,
        message: DeviceMessage,
    ) -> Result<(), HubError> {
        let send = || {
            let bytes = message.size_bytes();
            check_size(bytes)?;
            self.with_sender(&by, |sender| self.router().route(sender.event(message), sender.twin))?;
            self.gate().meter(&by, || bytes);
            Ok(())
        };
        let sent = send();
        by.conclude(sent)
    }

    /// Appends the messages of a batch, all or none.
    ///
    /// # Errors
    /// As [`Self::send_telemetry`]; the size limit holds for the batch as a whole.
    pub fn send_telemetry_batch(
        &self,
        by: Admitted<SendTelemetry>,
        messages: Vec<DeviceMessage>,
    ) -> Result<(), HubError> {
        let send = || {
            check_size(messages.iter().map(DeviceMessage::size_bytes).sum())?;
            if messages.len() > limits::TELEMETRY_BATCH_MESSAGES {
                return Err(HubError::new(
                    ErrorCode::MessageTooLarge,
                    format!("A batch holds at most {} messages.", limits::TELEMETRY_BATCH_MESSAGES),
                ));
            }
            self.with_sender(&by, |sender| {
                let router = self.router();
                for message in messages {
                    self.gate().meter(&by, || message.size_bytes());
                    router.route(sender.event(message), sender.twin);
                }
            })
        };
        let sent = send();
        by.conclude(sent)
    }

    fn with_sender<T>(
        &self,
        by: &Admitted<SendTelemetry>,
        append: impl FnOnce(&Sender<'_>) -> T,
    ) -> Result<T, HubError> {
        let identity = by.target();
        let cell = self.devices.get(&identity.device)?;
        let mut state = cell.lock(&identity.device)?;
        let sender = Sender::new(by, &mut state)?;
        Ok(append(&sender))
    }

    /// Sends the Will of a session that ended without a goodbye. Runs under the device's lock, which the session's
    /// end already holds; so the stamps come from the session.
    pub(crate) fn publish_will(
        &self,
        session: &SessionCore,
        will: DeviceMessage,
        twin: &StoredTwin,
        at: Timestamp,
    ) {
        let mut message = will;
        message.properties.application.push((MESSAGE_TYPE.to_owned(), Some(MESSAGE_TYPE_WILL.to_owned())));
        let event = EventData {
            identity: session.identity.clone(),
            sender: Some(SenderStamps {
                auth_method: auth_method(&session.grant(), &session.identity),
                generation_id: session.generation_id,
                model_id: session.model_id.clone(),
            }),
            source: MessageSource::Telemetry,
            properties: message.properties,
            body: message.body,
            accepted_at: at,
        };
        self.router().route(event, twin);
    }
}

fn check_size(size_bytes: usize) -> Result<(), HubError> {
    if size_bytes <= limits::TELEMETRY_BYTES {
        return Ok(());
    }
    Err(HubError::new(
        ErrorCode::MessageTooLarge,
        format!(
            "The message takes {size_bytes} bytes with its properties; the limit is {}.",
            limits::TELEMETRY_BYTES
        ),
    ))
}

/// Who sends: what the hub puts on each of his messages (contract/mqtt.md 11), and what enrichments may ask of him.
struct Sender<'a> {
    identity: &'a IdentityId,
    stamps: SenderStamps,
    twin: &'a StoredTwin,
    at: Timestamp,
}

impl<'a> Sender<'a> {
    fn new(by: &'a Admitted<SendTelemetry>, state: &'a mut DeviceState) -> Result<Self, HubError> {
        let (identity, at) = (by.target(), by.at());
        let generation_id = state.generation_id(identity)?;
        let IdentityState { twin, attachment } = state.identity(identity)?;
        attachment.heard_on(by.connection(), at)?;
        let model_id = twin.model_id().cloned();
        let auth_method = auth_method(by.grant(), identity);
        Ok(Self { identity, stamps: SenderStamps { auth_method, generation_id, model_id }, twin, at })
    }

    fn event(&self, message: DeviceMessage) -> EventData {
        EventData {
            identity: self.identity.clone(),
            sender: Some(self.stamps.clone()),
            source: MessageSource::Telemetry,
            properties: message.properties,
            body: message.body,
            accepted_at: self.at,
        }
    }
}

/// `iothub-connection-auth-method`: JSON text in the captured order of keys.
fn auth_method(grant: &Grant, identity: &IdentityId) -> &'static str {
    use CredentialKind as Kind;
    match (grant.credential, identity.is_module()) {
        (Kind::PolicyKey | Kind::SasPolicy, _) => {
            r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        }
        (Kind::SasDeviceKey | Kind::SasModuleKey, false) => {
            r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        }
        (Kind::SasDeviceKey | Kind::SasModuleKey, true) => {
            r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        }
        (Kind::X509CertificateAuthority | Kind::X509SelfSigned, false) => {
            r#"{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#
        }
        (Kind::X509CertificateAuthority | Kind::X509SelfSigned, true) => {
            r#"{"scope":"module","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#
        }
    }
}

#[cfg(test)]
mod tests;
