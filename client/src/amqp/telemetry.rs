//! The telemetry link (contract/amqp.md 4.1). Messages go out in order; their outcomes are waited for side by side.

use fe2o3_amqp::Sender;
use tokio::sync::Mutex;

use super::connection::{AmqpConnection, LinkTerms, say};
use super::failure::{HubSaid as _, outcome};
use super::message;
use crate::device::TelemetryMessage;
use crate::error::{Error, ErrorKind};
use crate::identity_id::IdentityId;

/// The sender of device-to-cloud messages.
#[derive(Debug)]
pub(super) struct TelemetryLink {
    sender: Mutex<Sender>,
}

impl TelemetryLink {
    pub(super) async fn attach(connection: &AmqpConnection, identity: &IdentityId) -> Result<Self, Error> {
        let terms =
            LinkTerms { address: format!("{}/messages/events", identity.path()), ..LinkTerms::default() };
        Ok(Self { sender: Mutex::new(connection.attach_sender(terms).await?) })
    }

    pub(super) async fn send(
        &self,
        connection: &AmqpConnection,
        message: &TelemetryMessage,
    ) -> Result<(), Error> {
        const DOING: &str = "send a message";
        let failed = |error: fe2o3_amqp::link::SendError| {
            let link_is_usable = error.recovery().link_is_usable();
            let error = error.failed(DOING, ErrorKind::ConnectionLost);
            if !link_is_usable {
                say(connection.report(), error.duplicate());
            }
            error
        };
        let encoded = message::telemetry(message);
        // The lock is for the order of sending only; it is free again before the hub answers.
        let sent = self.sender.lock().await.send_batchable(encoded).await.map_err(failed)?;
        outcome(sent.await.map_err(failed)?, DOING)
    }
}
