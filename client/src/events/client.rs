//! The reading side of an event hub: one connection that all readers of a client share, made again when it is lost,
//! its tokens renewed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::connection_string::EventHubConnectionString;
use super::event::{EventHubProperties, PartitionProperties};
use super::position::StartPosition;
use super::reader::EventReader;
use crate::amqp::{EventHubLink, EventHubSettings};
use crate::byte_stream::{Carrier, EVENT_HUB_WEBSOCKET, Endpoint};
use crate::error::Error;
use crate::tls::{TrustedRoots, client_config};

/// The consumer group every event hub has.
const DEFAULT_CONSUMER_GROUP: &str = "$Default";

/// Default time for connecting, and for one operation.
const DEFAULT_OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a token is valid, as the Event Hubs clients have it.
const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// What carries a client's conversation with an event hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventHubTransport {
    /// AMQP 1.0 over TLS on port 5671; for an emulator over TCP alone on port 5672.
    Amqp,
    /// AMQP 1.0 over WebSocket on port 443; for an emulator, on port 80, without TLS.
    AmqpWs,
}

/// Reads an event hub in one consumer group. Cheap to clone; clones share the connection.
///
/// A lost connection is made again, and readers go on where they were. The example of [the module](super) reads all
/// partitions with checkpoints; this one follows a single partition:
///
/// ```no_run
/// # async fn example() -> Result<(), iothub_client::Error> {
/// use iothub_client::events::{EventHubClient, EventHubConnectionString, StartPosition};
///
/// let text = std::env::var("EVENT_HUB_CONNECTION_STRING").unwrap_or_default();
/// let client = EventHubClient::builder(EventHubConnectionString::parse(&text)?).open().await?;
/// for id in client.properties().await?.partition_ids {
///     println!("{:?}", client.partition_properties(&id).await?);
/// }
/// let mut reader = client.read("0", StartPosition::Latest).await?;
/// while let Some(event) = reader.next().await {
///     println!("{:?}", event?);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct EventHubClient {
    pub(super) shared: Arc<Shared>,
}

/// Settings of an [`EventHubClient`] beyond its connection string.
#[derive(Clone, Debug)]
pub struct EventHubClientBuilder {
    connection_string: EventHubConnectionString,
    consumer_group: String,
    owner_level: Option<i64>,
    transport: EventHubTransport,
    port: Option<u16>,
    roots: TrustedRoots,
    operation_timeout: Duration,
    token_lifetime: Duration,
}

#[derive(Debug)]
pub(super) struct Shared {
    settings: EventHubSettings,
    operation_timeout: Duration,
    /// Whoever finds it lost makes it again; the others wait for that.
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    link: Arc<EventHubLink>,
    _renewal: AbortOnDropHandle<()>,
}

impl EventHubClientBuilder {
    /// Reads in this consumer group; `$Default` when not set.
    #[must_use]
    pub fn consumer_group(mut self, name: impl Into<String>) -> Self {
        self.consumer_group = name.into();
        self
    }

    /// Reads as the only one: takes each partition from readers of the same and of lower levels and from those
    /// without one, until one of the same or a higher level takes it in turn (`OwnershipLost`). Without a level, up
    /// to five readers of a partition are served side by side.
    #[must_use]
    pub const fn owner_level(mut self, level: i64) -> Self {
        self.owner_level = Some(level);
        self
    }

    /// Uses this transport; AMQP over TCP when not set.
    #[must_use]
    pub const fn transport(mut self, transport: EventHubTransport) -> Self {
        self.transport = transport;
        self
    }

    /// Uses another port than the connection string or the transport has.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Believes these root certificates.
    #[must_use]
    pub fn trusted_roots(mut self, roots: TrustedRoots) -> Self {
        self.roots = roots;
        self
    }

    /// Gives connecting, and each operation, this long; 60 s by default.
    #[must_use]
    pub const fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Signs tokens for this long, 1 h by default; they are renewed after four fifths of it.
    #[must_use]
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Connects. Whether the event hub lets this client read shows when it is first asked something.
    ///
    /// # Errors
    /// `Connection`, `TimedOut`, or `InvalidConfiguration` when there is no usable root certificate.
    pub async fn open(self) -> Result<EventHubClient, Error> {
        let text = self.connection_string;
        let is_plain = text.is_emulator();
        let (carrier, default_port) = match (self.transport, is_plain) {
            (EventHubTransport::Amqp, false) => (Carrier::Tcp, 5671),
            (EventHubTransport::Amqp, true) => (Carrier::Tcp, 5672),
            (EventHubTransport::AmqpWs, false) => (WEBSOCKET, 443),
            (EventHubTransport::AmqpWs, true) => (WEBSOCKET, 80),
        };
        let endpoint = Endpoint {
            host: text.host_name().to_owned(),
            port: self.port.or_else(|| text.port()).unwrap_or(default_port),
            tls: if is_plain { None } else { Some(client_config(&self.roots, None)?) },
        };
        let settings = EventHubSettings {
            host_name: text.host_name().to_owned(),
            event_hub: text.event_hub().to_owned(),
            consumer_group: self.consumer_group,
            owner_level: self.owner_level,
            credential: text.credential().clone(),
            token_lifetime: self.token_lifetime,
            endpoint,
            carrier,
        };
        let operation_timeout = self.operation_timeout;
        let shared = Arc::new(Shared { settings, operation_timeout, current: Mutex::new(None) });
        shared.link().await?;
        Ok(EventHubClient { shared })
    }
}

impl EventHubClient {
    /// A client with default settings.
    ///
    /// # Errors
    /// As [`EventHubClientBuilder::open`].
    pub async fn open(connection_string: EventHubConnectionString) -> Result<Self, Error> {
        Self::builder(connection_string).open().await
    }

    /// Sets consumer group, owner level, transport, trust and time-outs.
    #[must_use]
    pub fn builder(connection_string: EventHubConnectionString) -> EventHubClientBuilder {
        EventHubClientBuilder {
            connection_string,
            consumer_group: DEFAULT_CONSUMER_GROUP.to_owned(),
            owner_level: None,
            transport: EventHubTransport::Amqp,
            port: None,
            roots: TrustedRoots::system(),
            operation_timeout: DEFAULT_OPERATION_TIMEOUT,
            token_lifetime: DEFAULT_TOKEN_LIFETIME,
        }
    }

    /// Asks the event hub for its name and partitions.
    ///
    /// # Errors
    /// `Unauthorized`, `NotFound`, or the connection failed.
    pub async fn properties(&self) -> Result<EventHubProperties, Error> {
        self.shared
            .on_link("the event hub's properties", async |link: Arc<EventHubLink>| link.event_hub().await)
            .await
    }

    /// Asks what a partition holds.
    ///
    /// # Errors
    /// `Unauthorized`, `NotFound` or `InvalidArgument` when there is no such partition, or the connection failed.
    pub async fn partition_properties(&self, id: &str) -> Result<PartitionProperties, Error> {
        let read = async |link: Arc<EventHubLink>| link.partition(id).await;
        self.shared.on_link("the partition's properties", read).await
    }

    /// Reads one partition. When this returns, reading has begun: what is sent from now on arrives, whatever the
    /// position.
    ///
    /// # Errors
    /// `NotFound` when there is no such consumer group or partition, `OwnershipLost` when another reader has a higher
    /// owner level, `Refused` when there are too many readers, `Unauthorized`, or the connection failed.
    pub async fn read(&self, partition: &str, start: StartPosition) -> Result<EventReader, Error> {
        EventReader::open(&self.shared, vec![(partition.to_owned(), start)]).await
    }

    /// Reads all partitions, each from where `start` says. The events of one partition, and so of one device, come in
    /// their order.
    ///
    /// # Errors
    /// As [`EventHubClient::read`].
    pub async fn read_all(&self, mut start: impl FnMut(&str) -> StartPosition) -> Result<EventReader, Error> {
        let partitions = self.properties().await?.partition_ids;
        let from = |id: String| {
            let position = start(&id);
            (id, position)
        };
        EventReader::open(&self.shared, partitions.into_iter().map(from).collect()).await
    }

    /// Says goodbye. Readers that are still open connect again: drop them first.
    pub async fn close(self) {
        if let Some(current) = self.shared.current.lock().await.take() {
            let _ = timeout(self.shared.operation_timeout, current.link.close()).await;
        }
    }
}

impl Shared {
    /// The connection, made again if it is lost.
    pub(super) async fn link(&self) -> Result<Arc<EventHubLink>, Error> {
        let mut current = self.current.lock().await;
        if let Some(current) = current.as_ref().filter(|current| !current.link.is_lost()) {
            return Ok(Arc::clone(&current.link));
        }
        let link = timeout(self.operation_timeout, EventHubLink::open(&self.settings))
            .await
            .unwrap_or_else(|_| Err(Error::timed_out("the event hub to accept the connection")))?;
        let link = Arc::new(link);
        let renewal = AbortOnDropHandle::new(tokio::spawn(self.renewal(Arc::clone(&link))));
        *current = Some(Current { link: Arc::clone(&link), _renewal: renewal });
        Ok(link)
    }

    pub(super) async fn on_link<T>(
        &self,
        waiting_for: &str,
        operation: impl AsyncFnOnce(Arc<EventHubLink>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let link = self.link().await?;
        timeout(self.operation_timeout, operation(link))
            .await
            .unwrap_or_else(|_| Err(Error::timed_out(waiting_for)))
    }

    /// Renews tokens for as long as the connection is used; one that cannot be renewed ends it, and readers come back.
    fn renewal(&self, link: Arc<EventHubLink>) -> impl Future<Output = ()> + Send + 'static {
        let every = self.settings.token_lifetime.mul_f64(0.8);
        let is_renewable = self.settings.credential.is_renewable();
        async move {
            if !is_renewable {
                return;
            }
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = link.renew().await {
                    tracing::debug!(%error, "tokens not renewed");
                    return;
                }
            }
        }
    }
}

const WEBSOCKET: Carrier = Carrier::WebSocket { path: EVENT_HUB_WEBSOCKET, subprotocol: "AMQPWSB10" };
