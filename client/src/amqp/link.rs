//! The operations of one AMQP connection. Opening shows the token, if there is one, and attaches the telemetry link,
//! so that wrong credentials are noticed there; the twin's links follow when they are first needed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use super::cbs::Cbs;
use super::connection::AmqpConnection;
use super::message::TwinRequest;
use super::telemetry::TelemetryLink;
use super::twin::TwinLink;
use crate::device::{Credentials, DesiredFanOut, LinkSettings, TelemetryMessage};
use crate::error::Error;
use crate::identity_id::IdentityId;

/// A connection that has been accepted.
#[derive(Debug)]
pub(crate) struct AmqpLink {
    identity: IdentityId,
    audience: String,
    desired: Arc<DesiredFanOut>,
    cbs: Option<Mutex<Cbs>>,
    telemetry: TelemetryLink,
    twin: OnceCell<TwinLink>,
    desired_changes: OnceCell<()>,
    // Last, so that links are dropped before what they live on.
    connection: AmqpConnection,
}

impl AmqpLink {
    pub(crate) async fn open(settings: &LinkSettings, desired: Arc<DesiredFanOut>) -> Result<Self, Error> {
        let connection = AmqpConnection::open(settings).await?;
        let audience = format!("{}{}", settings.hub, settings.identity.path());
        let cbs = match settings.credentials.token() {
            None => None,
            Some(token) => {
                let mut cbs = Cbs::attach(&connection).await?;
                cbs.put_token(&audience, &token).await?;
                Some(Mutex::new(cbs))
            }
        };
        let telemetry = TelemetryLink::attach(&connection, &settings.identity).await?;
        Ok(Self {
            identity: settings.identity.clone(),
            audience,
            desired,
            cbs,
            telemetry,
            twin: OnceCell::new(),
            desired_changes: OnceCell::new(),
            connection,
        })
    }

    pub(crate) async fn twin(&self) -> Result<Bytes, Error> {
        let (body, _) = self.request(TwinRequest::Get, Bytes::new(), "read the twin").await?;
        Ok(body)
    }

    pub(crate) async fn update_reported(&self, patch: Bytes) -> Result<Option<u64>, Error> {
        let doing = "update reported properties";
        let (_, version) = self.request(TwinRequest::PatchReported, patch, doing).await?;
        Ok(version)
    }

    pub(crate) async fn subscribe_desired(&self) -> Result<(), Error> {
        self.desired_changes
            .get_or_try_init(async || {
                let doing = "subscribe desired properties";
                self.request(TwinRequest::SubscribeDesired, Bytes::new(), doing).await.map(drop)
            })
            .await
            .copied()
    }

    pub(crate) async fn send(&self, message: &TelemetryMessage) -> Result<(), Error> {
        self.while_up(self.telemetry.send(&self.connection, message)).await
    }

    /// Shows a new token; the links stay (contract/amqp.md 2.1).
    pub(crate) async fn renew(&self, credentials: &Credentials) -> Result<(), Error> {
        match (&self.cbs, credentials.token()) {
            (Some(cbs), Some(token)) => {
                let put = async { cbs.lock().await.put_token(&self.audience, &token).await };
                self.while_up(put).await
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn lost(&self) -> Error {
        self.connection.lost().await
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.connection.is_lost()
    }

    pub(crate) async fn close(&self) {
        self.connection.close().await;
    }

    async fn request(
        &self,
        request: TwinRequest,
        body: Bytes,
        doing: &str,
    ) -> Result<(Bytes, Option<u64>), Error> {
        let attach = || TwinLink::attach(&self.connection, &self.identity, Arc::clone(&self.desired));
        self.while_up(async {
            let twin = self.twin.get_or_try_init(attach).await?;
            twin.request(&self.connection, request, body, doing).await
        })
        .await
    }

    /// Ends an operation with the connection: fe2o3-amqp 0.18 leaves some deliveries without an outcome when the peer
    /// closes it under load.
    async fn while_up<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            outcome = operation => outcome,
            reason = self.connection.lost() => Err(reason),
        }
    }
}
