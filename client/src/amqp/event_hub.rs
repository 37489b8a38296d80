//! The operations of one connection to an event hub (contract/eventhubs.md): a token is shown for each address before
//! it is used, and again while it is.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::Receiver;
use fe2o3_amqp::types::definitions::Fields;
use fe2o3_amqp::types::messaging::Body;
use serde_amqp::Value;
use tokio::sync::{Mutex, OnceCell};

use super::cbs::Cbs;
use super::connection::{AmqpConnection, LinkTerms};
use super::failure::HubSaid as _;
use super::management::{MANAGEMENT, Management};
use super::{event, failure};
use crate::byte_stream::{Carrier, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::events::{Event, EventHubCredential, EventHubProperties, PartitionProperties};

/// Everything needed to connect, as often as necessary.
#[derive(Clone, Debug)]
pub(crate) struct EventHubSettings {
    pub(crate) host_name: String,
    pub(crate) event_hub: String,
    pub(crate) consumer_group: String,
    pub(crate) owner_level: Option<i64>,
    pub(crate) credential: EventHubCredential,
    pub(crate) token_lifetime: Duration,
    pub(crate) endpoint: Endpoint,
    pub(crate) carrier: Carrier,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct EventHubLink {
    settings: EventHubSettings,
    cbs: Mutex<Shown>,
    management: OnceCell<Mutex<Management>>,
    // Last, so that links are dropped before what they live on.
    connection: AmqpConnection,
}

/// The links tokens are shown on, and what they have been shown for.
#[derive(Debug)]
struct Shown {
    cbs: Cbs,
    audiences: Vec<String>,
}

/// One partition being read.
#[derive(Debug)]
pub(crate) struct EventLink {
    partition: String,
    receiver: Receiver,
    // Reading ends with the last of these.
    _connection: Arc<EventHubLink>,
}

impl EventHubLink {
    pub(crate) async fn open(settings: &EventHubSettings) -> Result<Self, Error> {
        let connection =
            AmqpConnection::open_at(&settings.endpoint, settings.carrier, &settings.host_name, Fields::new())
                .await?;
        let cbs = Cbs::attach(&connection).await?;
        Ok(Self {
            settings: settings.clone(),
            cbs: Mutex::new(Shown { cbs, audiences: Vec::new() }),
            management: OnceCell::new(),
            connection,
        })
    }

    pub(crate) async fn event_hub(&self) -> Result<EventHubProperties, Error> {
        let event_hub = &self.settings.event_hub;
        self.while_up(async { self.management().await?.lock().await.event_hub(event_hub).await }).await
    }

    pub(crate) async fn partition(&self, id: &str) -> Result<PartitionProperties, Error> {
        let event_hub = &self.settings.event_hub;
        self.while_up(async { self.management().await?.lock().await.partition(event_hub, id).await }).await
    }

    /// Begins to read where the selector says.
    pub(crate) async fn read(
        self: &Arc<Self>,
        partition: &str,
        selector: String,
    ) -> Result<EventLink, Error> {
        let EventHubSettings { event_hub, consumer_group, owner_level, .. } = &self.settings;
        let address = format!("{event_hub}/ConsumerGroups/{consumer_group}/Partitions/{partition}");
        let attached = async {
            self.show_token(&address).await?;
            let properties = owner_level.map(|level| (EPOCH, Value::Long(level)));
            let terms = LinkTerms {
                address,
                properties: properties.into_iter().collect(),
                selector: Some(selector),
                ..LinkTerms::default()
            };
            self.connection.attach_receiver(terms).await.map_err(taken_over)
        };
        Ok(EventLink {
            partition: partition.to_owned(),
            receiver: self.while_up(attached).await?,
            _connection: Arc::clone(self),
        })
    }

    /// Shows new tokens for all that is in use; the links stay.
    pub(crate) async fn renew(&self) -> Result<(), Error> {
        let renewed = async {
            let mut shown = self.cbs.lock().await;
            let Shown { cbs, audiences } = &mut *shown;
            for audience in audiences {
                cbs.put_token(
                    audience,
                    &self.settings.credential.token(audience, self.settings.token_lifetime),
                )
                .await?;
            }
            Ok(())
        };
        self.while_up(renewed).await
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.connection.is_lost()
    }

    pub(crate) async fn close(&self) {
        self.connection.close().await;
    }

    async fn management(&self) -> Result<&Mutex<Management>, Error> {
        self.management
            .get_or_try_init(async || {
                self.show_token(&format!("{}/{MANAGEMENT}", self.settings.event_hub)).await?;
                Management::attach(&self.connection).await.map(Mutex::new)
            })
            .await
    }

    async fn show_token(&self, address: &str) -> Result<(), Error> {
        let audience = format!("sb://{}/{address}", self.settings.host_name);
        let token = self.settings.credential.token(&audience, self.settings.token_lifetime);
        let mut shown = self.cbs.lock().await;
        shown.cbs.put_token(&audience, &token).await?;
        if !shown.audiences.contains(&audience) {
            shown.audiences.push(audience);
        }
        Ok(())
    }

    /// Ends an operation with the connection.
    async fn while_up<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            outcome = operation => outcome,
            reason = self.connection.lost() => Err(reason),
        }
    }
}

impl EventLink {
    /// The next event, however long it takes to come. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        let doing = format!("read partition {}", self.partition);
        match self.receiver.recv::<Body<Value>>().await {
            Ok(delivery) => event::event(&self.partition, delivery.into_message()),
            Err(error) => Err(taken_over(error.failed(&doing, ErrorKind::ConnectionLost))),
        }
    }
}

/// Coming back would only take the partition from whoever has it now.
fn taken_over(error: Error) -> Error {
    match error.hub().and_then(|hub| hub.name.as_deref()) {
        Some(failure::STOLEN) => error.with_kind(ErrorKind::OwnershipLost),
        _ => error,
    }
}

/// The owner level of a reader (contract/eventhubs.md 4.2).
const EPOCH: &str = "com.microsoft:epoch";
