//! The twin's pair of links (contract/amqp.md 4.5): requests on one, on the other their answers and, uninvited,
//! changes of the desired properties. A task reads the second and hands everything to whom it belongs.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::messaging::Body;
use fe2o3_amqp::types::primitives::Value;
use fe2o3_amqp::{Receiver, Sender};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{AmqpConnection, LinkTerms, say};
use super::failure::HubSaid as _;
use super::message::{self, Incoming, TwinRequest};
use crate::device::DesiredFanOut;
use crate::error::{Error, ErrorKind};
use crate::identity_id::IdentityId;
use crate::refusal;

/// Requests not yet answered; one more is refused.
const MAX_UNANSWERED: usize = 256;

/// The two links.
#[derive(Debug)]
pub(super) struct TwinLink {
    sender: AsyncMutex<Sender>,
    unanswered: Arc<Unanswered>,
    _reader: AbortOnDropHandle<()>,
}

type Unanswered = Mutex<HashMap<String, oneshot::Sender<Incoming>>>;

impl TwinLink {
    /// Attaches the sender first, then the receiver, as the Node SDK does (contract/amqp.md section 6).
    pub(super) async fn attach(
        connection: &AmqpConnection,
        identity: &IdentityId,
        desired: Arc<DesiredFanOut>,
    ) -> Result<Self, Error> {
        let terms = LinkTerms {
            address: format!("{}/twin", identity.path()),
            settle_mode: SenderSettleMode::Settled,
            // Pairs the two links (contract/amqp.md section 3).
            properties: vec![(
                "com.microsoft:channel-correlation-id",
                Value::String(format!("twin:{}", uuid::Uuid::new_v4())),
            )],
            ..LinkTerms::default()
        };
        let sender = connection.attach_sender(terms.clone()).await?;
        let receiver = connection.attach_receiver(terms).await?;
        let unanswered = Arc::new(Unanswered::default());
        let reader = read(receiver, Arc::clone(&unanswered), desired, connection.report().clone());
        Ok(Self {
            sender: AsyncMutex::new(sender),
            unanswered,
            _reader: AbortOnDropHandle::new(tokio::spawn(reader)),
        })
    }

    /// Sends a request and returns the answer's body and version.
    pub(super) async fn request(
        &self,
        connection: &AmqpConnection,
        request: TwinRequest,
        body: Bytes,
        doing: &str,
    ) -> Result<(Bytes, Option<u64>), Error> {
        let id = uuid::Uuid::new_v4().to_string();
        let answer = self.expect(&id, doing)?;
        let message = message::twin_request(request, &id, body);
        if let Err(error) = self.sender.lock().await.send(message).await {
            self.unanswered.lock().remove(&id);
            let link_is_usable = error.recovery().link_is_usable();
            let error = error.failed(doing, ErrorKind::ConnectionLost);
            if !link_is_usable {
                say(connection.report(), error.duplicate());
            }
            return Err(error);
        }
        let Ok(answer) = answer.await else { return Err(connection.lost().await) };
        let version = message::annotation(&answer, "version").and_then(|version| u64::try_from(version).ok());
        // An answer without a status is a good one, as the Node SDK takes it.
        let status = message::annotation(&answer, "status").unwrap_or(200);
        let body = message::body(answer);
        if (200..300).contains(&status) {
            return Ok((body, version));
        }
        Err(Error::refused(doing, refusal::of_twin(u16::try_from(status).unwrap_or_default(), &body)))
    }

    fn expect(&self, id: &str, doing: &str) -> Result<oneshot::Receiver<Incoming>, Error> {
        let (done, answer) = oneshot::channel();
        let mut unanswered = self.unanswered.lock();
        if unanswered.len() >= MAX_UNANSWERED {
            unanswered.retain(|_, waiting| !waiting.is_closed());
        }
        if unanswered.len() >= MAX_UNANSWERED {
            return Err(Error::new(
                ErrorKind::Throttled,
                format!("could not {doing}: {MAX_UNANSWERED} twin requests wait for an answer already"),
            ));
        }
        unanswered.insert(id.to_owned(), done);
        Ok(answer)
    }
}

async fn read(
    mut receiver: Receiver,
    unanswered: Arc<Unanswered>,
    desired: Arc<DesiredFanOut>,
    report: watch::Sender<Option<Arc<Error>>>,
) {
    loop {
        let message = match receiver.recv::<Body<Value>>().await {
            Ok(delivery) => delivery.into_message(),
            Err(error) => {
                say(&report, error.failed("hear from the twin", ErrorKind::ConnectionLost));
                return;
            }
        };
        let waiting = match message::correlation_id(&message) {
            Some(id) => unanswered.lock().remove(id),
            None => {
                desired.notify(&message::body(message));
                continue;
            }
        };
        if let Some(waiting) = waiting {
            let _ = waiting.send(message);
        }
    }
}
