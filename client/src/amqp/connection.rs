//! One AMQP connection with one session. A task owns both: it attaches links when asked, notices the end of either,
//! and closes them in order. The opening has no SASL layer, as that of the Node and C# SDKs (contract/amqp.md 1.1).

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::definitions::{Fields, SenderSettleMode};
use fe2o3_amqp::types::messaging::Source;
use fe2o3_amqp::{Connection, Receiver, Sender, Session};
use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::Symbol;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::failure::HubSaid as _;
use crate::byte_stream::{Carrier, Endpoint};
use crate::device::LinkSettings;
use crate::error::{Error, ErrorKind};

/// Largest frame either way, in bytes (contract/amqp.md 1.2).
const MAX_FRAME_BYTES: u32 = 65_536;

/// How long the hub may be silent, in milliseconds.
const IDLE_TIMEOUT_MS: u32 = 120_000;

/// How long the hub's consent to a close is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Requests waiting for the owner of the connection; callers wait beyond that.
const MAX_WAITING_REQUESTS: usize = 8;

const API_VERSION: &str = "2021-04-12";

/// The filter of a source that names a position, and the descriptor of its value.
const SELECTOR: &str = "apache.org:selector-filter:string";

/// Messages the hub may send on a link before it hears from us.
const CREDIT: u32 = 100;

/// How a link is attached.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkTerms {
    pub(super) address: String,
    pub(super) settle_mode: SenderSettleMode,
    pub(super) properties: Vec<(&'static str, Value)>,
    /// Which part of the source is meant (contract/eventhubs.md 4.1).
    pub(super) selector: Option<String>,
}

/// The way to the owner of a connection.
#[derive(Debug)]
pub(super) struct AmqpConnection {
    requests: mpsc::Sender<Request>,
    lost: watch::Receiver<Option<Arc<Error>>>,
    report: watch::Sender<Option<Arc<Error>>>,
    _owner: AbortOnDropHandle<()>,
}

enum Request {
    AttachReceiver { terms: LinkTerms, done: oneshot::Sender<Result<Receiver, Error>> },
    AttachSender { terms: LinkTerms, done: oneshot::Sender<Result<Sender, Error>> },
    Close { done: oneshot::Sender<()> },
}

struct Owner {
    connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
    /// What every link says of us.
    link_properties: Fields,
}

impl AmqpConnection {
    /// Connects as a device or module.
    pub(super) async fn open(settings: &LinkSettings) -> Result<Self, Error> {
        let link_properties = [
            ("com.microsoft:client-version", settings.product_info.as_str()),
            ("com.microsoft:api-version", API_VERSION),
        ];
        let link_properties = link_properties
            .map(|(name, value)| (Symbol::from(name), Value::String(value.to_owned())))
            .into_iter()
            .collect();
        Self::open_at(&settings.endpoint, settings.carrier, &settings.hub, link_properties).await
    }

    /// Connects to `endpoint` as the host of that name.
    pub(super) async fn open_at(
        endpoint: &Endpoint,
        carrier: Carrier,
        host_name: &str,
        link_properties: Fields,
    ) -> Result<Self, Error> {
        let stream = endpoint.connect(carrier).await?;
        let mut connection = Connection::builder()
            .container_id(uuid::Uuid::new_v4().to_string())
            .hostname(host_name)
            .max_frame_size(MAX_FRAME_BYTES)
            .idle_time_out(IDLE_TIMEOUT_MS)
            .open_with_stream(stream)
            .await
            .map_err(|error| {
                // The library keeps the type of this error to itself; its text has what the hub said.
                Error::new(ErrorKind::Connection, "could not open the connection; is this the port for AMQP?")
                    .with_source(error)
            })?;
        let session = Session::begin(&mut connection)
            .await
            .map_err(|error| error.failed("begin a session", ErrorKind::Connection))?;
        let (requests, receiver) = mpsc::channel(MAX_WAITING_REQUESTS);
        let (report, lost) = watch::channel(None);
        let owner = Owner { connection, session, link_properties };
        let owner = tokio::spawn(owner.run(receiver, report.clone()));
        Ok(Self { requests, lost, report, _owner: AbortOnDropHandle::new(owner) })
    }

    pub(super) async fn attach_sender(&self, terms: LinkTerms) -> Result<Sender, Error> {
        self.ask(|done| Request::AttachSender { terms, done }).await?
    }

    pub(super) async fn attach_receiver(&self, terms: LinkTerms) -> Result<Receiver, Error> {
        self.ask(|done| Request::AttachReceiver { terms, done }).await?
    }

    /// Where a link says that it broke: with one of them the connection is of no use.
    pub(super) const fn report(&self) -> &watch::Sender<Option<Arc<Error>>> {
        &self.report
    }

    /// Returns when the connection is over, with the reason. Cancel-safe.
    pub(super) async fn lost(&self) -> Error {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.duplicate(),
            _ => gone("it was dropped"),
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    pub(super) async fn close(&self) {
        let _ = self.ask(|done| Request::Close { done }).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        if self.requests.send(request(done)).await.is_err() {
            return Err(self.lost().await);
        }
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.lost().await),
        }
    }
}

impl Owner {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, report: watch::Sender<Option<Arc<Error>>>) {
        let reason = loop {
            tokio::select! {
                ended = self.connection.on_close() => break match ended {
                    Ok(()) => gone("the hub closed it"),
                    Err(error) => error.failed("keep the connection", ErrorKind::ConnectionLost),
                },
                ended = self.session.on_end() => break match ended {
                    Ok(()) => gone("the hub ended the session"),
                    Err(error) => error.failed("keep the session", ErrorKind::ConnectionLost),
                },
                request = requests.recv() => match request {
                    Some(Request::AttachSender { terms, done }) => {
                        let _ = done.send(self.attach_sender(terms).await);
                    }
                    Some(Request::AttachReceiver { terms, done }) => {
                        let _ = done.send(self.attach_receiver(terms).await);
                    }
                    Some(Request::Close { done }) => {
                        self.close().await;
                        let _ = done.send(());
                        break gone("it was closed");
                    }
                    None => {
                        self.close().await;
                        break gone("it was closed");
                    }
                },
            }
        };
        say(&report, reason);
    }

    async fn attach_sender(&mut self, terms: LinkTerms) -> Result<Sender, Error> {
        let doing = format!("attach to {}", terms.address);
        Sender::builder()
            .name(format!("sender-{}", uuid::Uuid::new_v4()))
            .sender_settle_mode(terms.settle_mode.clone())
            .properties(self.properties(&terms))
            .target(terms.address.as_str())
            .attach(&mut self.session)
            .await
            .map_err(|error| error.failed(&doing, ErrorKind::ConnectionLost))
    }

    async fn attach_receiver(&mut self, terms: LinkTerms) -> Result<Receiver, Error> {
        let doing = format!("attach to {}", terms.address);
        let mut source = Source::builder().address(terms.address.as_str());
        if let Some(selector) = &terms.selector {
            let name = Symbol::from(SELECTOR);
            let value = Described {
                descriptor: Descriptor::Name(name.clone()),
                value: Value::String(selector.clone()),
            };
            source = source.filter([(name, Value::Described(Box::new(value)))].into_iter().collect());
        }
        Receiver::builder()
            .name(format!("receiver-{}", uuid::Uuid::new_v4()))
            .sender_settle_mode(terms.settle_mode.clone())
            .properties(self.properties(&terms))
            .source(source.build())
            .credit_mode(CreditMode::Auto(CREDIT))
            .auto_accept(true)
            .attach(&mut self.session)
            .await
            .map_err(|error| error.failed(&doing, ErrorKind::ConnectionLost))
    }

    fn properties(&self, terms: &LinkTerms) -> Fields {
        let mut properties = self.link_properties.clone();
        for (name, value) in &terms.properties {
            properties.insert(Symbol::from(*name), value.clone());
        }
        properties
    }

    async fn close(&mut self) {
        let _ = timeout(CLOSE_TIMEOUT, self.session.end()).await;
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close()).await;
    }
}

/// The first reason is the true one; what breaks after it is its consequence.
pub(super) fn say(report: &watch::Sender<Option<Arc<Error>>>, reason: Error) {
    report.send_if_modified(|said| {
        let is_first = said.is_none();
        if is_first {
            *said = Some(Arc::new(reason));
        }
        is_first
    });
}

fn gone(why: &str) -> Error {
    Error::new(ErrorKind::ConnectionLost, format!("the connection to the hub was lost: {why}"))
}
