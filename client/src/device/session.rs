//! Keeps an identity connected. One task, the keeper, owns the life of the links: it renews credentials, connects
//! again after a loss with growing pauses, restores the subscription and catches up on missed changes. Operations
//! wait for a link, use it once, and report its failure; they are never repeated behind the caller's back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::builder::Transport;
use super::desired::{DesiredChanges, DesiredFanOut};
use super::link::{Link, LinkSettings, Renewal};
use super::message::TelemetryMessage;
use super::twin::{ReportedVersion, Twin};
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};
use crate::identity_id::IdentityId;

/// Pause before the first attempt to connect again; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long saying goodbye may take before the socket is just dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest patch of reported properties sent, in bytes: a section holds 32 KiB by the hub's count
/// (contract/rest.md 3.4), the rest is room for how JSON spells them.
const MAX_PATCH_BYTES: usize = 256 * 1024;

/// A connected identity.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    settings: LinkSettings,
    transport: Transport,
    operation_timeout: Duration,
    desired: Arc<DesiredFanOut>,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

#[derive(Clone, Debug)]
enum State {
    Connected(Arc<Link>),
    /// With the reason why the last attempt failed, if there was one.
    Connecting(Option<Arc<Error>>),
    Over(Arc<Error>),
}

/// Why a link is not used any longer.
#[derive(Clone, Copy, Debug)]
enum LinkEnd {
    Lost,
    /// Its credentials are about to expire.
    Outlived,
    /// The client was closed.
    Stopped,
}

impl Session {
    /// Connects once; only a session that was up is connected again.
    pub(super) async fn open(
        settings: LinkSettings,
        transport: Transport,
        operation_timeout: Duration,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            settings,
            transport,
            operation_timeout,
            desired: Arc::default(),
            state: watch::Sender::new(State::Connecting(None)),
            stop: CancellationToken::new(),
        });
        let link = shared.connect().await?;
        shared.state.send_replace(State::Connected(Arc::clone(&link)));
        let keeper = tokio::spawn(Arc::clone(&shared).keep(link));
        Ok(Self { shared, keeper })
    }

    pub(super) fn identity(&self) -> &IdentityId {
        &self.shared.settings.identity
    }

    pub(super) async fn twin(&self) -> Result<Twin, Error> {
        let twin = self.on_link("the twin", async |link: Arc<Link>| link.twin().await).await?;
        self.shared.desired.saw(twin.desired_version());
        Ok(twin)
    }

    pub(super) async fn update_reported(&self, patch: &Value) -> Result<ReportedVersion, Error> {
        if !patch.is_object() {
            return Err(Error::new(ErrorKind::InvalidArgument, "reported properties are a JSON object"));
        }
        let patch = Bytes::from(patch.to_string());
        if patch.len() > MAX_PATCH_BYTES {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the patch has {} bytes; {MAX_PATCH_BYTES} are allowed", patch.len()),
            ));
        }
        self.on_link("the hub to take reported properties", async |link: Arc<Link>| {
            link.update_reported(patch).await
        })
        .await
    }

    pub(super) async fn desired_changes(&self) -> Result<DesiredChanges, Error> {
        // The reader first: a change may come right behind the hub's consent.
        let changes = self.shared.desired.subscribe();
        self.on_link("the hub to subscribe desired properties", async |link: Arc<Link>| {
            link.subscribe_desired().await
        })
        .await?;
        Ok(changes)
    }

    pub(super) async fn send(&self, message: &TelemetryMessage) -> Result<(), Error> {
        message.check_size()?;
        self.on_link("the hub to store a message", async |link: Arc<Link>| link.send(message).await).await
    }

    pub(super) async fn close(mut self) {
        self.shared.stop.cancel();
        // The keeper bounds its own goodbye; it cannot panic on anything from the network.
        let _ = (&mut self.keeper).await;
    }

    async fn on_link<T>(
        &self,
        waiting_for: &str,
        operation: impl AsyncFnOnce(Arc<Link>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        timeout(self.shared.operation_timeout, async { operation(self.shared.link().await?).await })
            .await
            .unwrap_or_else(|_| Err(self.shared.timed_out(waiting_for)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                // A link that is lost stands here until the keeper has seen it too.
                State::Connected(link) if link.is_lost() => {}
                State::Connected(link) => return Ok(Arc::clone(link)),
                State::Over(reason) => return Err(reason.duplicate()),
                State::Connecting(_) => {}
            }
            state.changed().await.map_err(|_| closed())?;
        }
    }

    fn timed_out(&self, waiting_for: &str) -> Error {
        match &*self.state.borrow() {
            State::Connecting(Some(reason)) => {
                Error::timed_out(&format!("{waiting_for}; the connection was lost and not made again"))
                    .with_source(reason.duplicate())
            }
            State::Connected(_) | State::Connecting(None) | State::Over(_) => Error::timed_out(waiting_for),
        }
    }

    async fn connect(&self) -> Result<Arc<Link>, Error> {
        let opening = Link::open(&self.settings, self.transport, Arc::clone(&self.desired));
        let link = timeout(self.operation_timeout, opening)
            .await
            .unwrap_or_else(|_| Err(Error::timed_out("the hub to accept the connection")))?;
        Ok(Arc::new(link))
    }

    /// The keeper's life.
    async fn keep(self: Arc<Self>, mut link: Arc<Link>) {
        let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE);
        let reason = loop {
            let since = Instant::now();
            let end = self.tend(&link).await;
            if matches!(end, LinkEnd::Stopped) {
                break closed();
            }
            self.state.send_replace(State::Connecting(None));
            let _ = timeout(CLOSE_TIMEOUT, link.close()).await;
            if matches!(end, LinkEnd::Lost) && since.elapsed() < MAX_PAUSE {
                // Short-lived links: somebody else with this identity takes over each time, or the hub is unwell.
                if self.rest(&mut backoff).await.is_err() {
                    break closed();
                }
            } else {
                backoff.reset();
            }
            match self.connect_again(&mut backoff).await {
                Ok(again) => link = again,
                Err(reason) => break reason,
            }
            self.state.send_replace(State::Connected(Arc::clone(&link)));
        };
        // Readers end before the goodbye, so that nobody waits for it who need not.
        self.state.send_replace(State::Over(Arc::new(reason)));
        self.desired.end();
        let _ = timeout(CLOSE_TIMEOUT, link.close()).await;
    }

    /// Renews the credentials of a link for as long as it lives.
    async fn tend(&self, link: &Link) -> LinkEnd {
        loop {
            let due = self.settings.credentials.renewal_after().map(|after| Instant::now() + after);
            let renewal = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return LinkEnd::Stopped,
                error = link.lost() => {
                    tracing::debug!(identity = %self.settings.identity, %error, "connection lost");
                    return LinkEnd::Lost;
                }
                () = renewal => {}
            }
            match timeout(self.operation_timeout, link.renew(&self.settings.credentials)).await {
                Ok(Ok(Renewal::Done)) => tracing::debug!(identity = %self.settings.identity, "token renewed"),
                Ok(Ok(Renewal::NeedsNewLink)) => return LinkEnd::Outlived,
                Ok(Err(error)) => {
                    tracing::debug!(identity = %self.settings.identity, %error, "token not renewed");
                    return LinkEnd::Lost;
                }
                Err(_) => return LinkEnd::Lost,
            }
        }
    }

    async fn connect_again(&self, backoff: &mut Backoff) -> Result<Arc<Link>, Error> {
        loop {
            let attempt = async {
                let link = self.connect().await?;
                timeout(self.operation_timeout, self.restore(&link))
                    .await
                    .unwrap_or_else(|_| Err(Error::timed_out("the subscription to be restored")))?;
                Ok::<_, Error>(link)
            };
            let outcome = tokio::select! {
                () = self.stop.cancelled() => return Err(closed()),
                outcome = attempt => outcome,
            };
            match outcome {
                Ok(link) => return Ok(link),
                Err(error) if error.is_transient() => {
                    tracing::debug!(identity = %self.settings.identity, %error, "not connected yet");
                    self.state.send_replace(State::Connecting(Some(Arc::new(error))));
                }
                Err(error) => return Err(error),
            }
            self.rest(backoff).await?;
        }
    }

    /// Waits for the next attempt, or until the client is closed.
    async fn rest(&self, backoff: &mut Backoff) -> Result<(), Error> {
        tokio::select! {
            () = self.stop.cancelled() => Err(closed()),
            () = backoff.rest() => Ok(()),
        }
    }

    /// Brings a new link to where the lost one was.
    async fn restore(&self, link: &Link) -> Result<(), Error> {
        if self.desired.has_readers() {
            link.subscribe_desired().await?;
            self.desired.catch_up(link.twin().await?.desired);
        }
        Ok(())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "this client was closed")
}
