//! Changes of the desired properties: from the link that receives them to every stream that wants them. A reader
//! that falls behind is told so instead of holding up the connection.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;

use super::twin::version;
use crate::error::{Error, ErrorKind};

/// Changes kept for one reader that is busy; a twin changes a few times a minute, not a second.
const MAX_WAITING_CHANGES: usize = 64;

/// A change of the desired properties.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DesiredChange {
    /// The version of the desired properties with this change.
    pub version: u64,
    /// What changed, `null` for a deleted property. When the service side replaced all desired properties, the new
    /// ones; the hub does not tell the two apart.
    pub properties: Value,
    /// Whether these are all desired properties, read anew because changes may have been missed while the
    /// connection was down.
    pub is_complete: bool,
}

/// A stream of changes. It lives through lost connections and ends when the client is closed.
pub struct DesiredChanges {
    receiver: mpsc::Receiver<DesiredChange>,
    has_missed: Arc<AtomicBool>,
}

/// Hands every change to every reader.
#[derive(Default)]
pub(crate) struct DesiredFanOut {
    readers: Mutex<Vec<Reader>>,
    newest_version: AtomicU64,
}

struct Reader {
    sender: mpsc::Sender<DesiredChange>,
    has_missed: Arc<AtomicBool>,
}

impl DesiredChanges {
    /// The next change; none after the client was closed. Cancel-safe.
    ///
    /// # Errors
    /// `MissedChanges` when this reader was too slow: read the twin, then go on.
    pub async fn next(&mut self) -> Option<Result<DesiredChange, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for DesiredChanges {
    type Item = Result<DesiredChange, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // What still waits is older than what was dropped, so it comes first.
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(change)) => Poll::Ready(Some(Ok(change))),
            _ if self.has_missed.swap(false, Ordering::AcqRel) => Poll::Ready(Some(Err(Error::new(
                ErrorKind::MissedChanges,
                "more desired-property changes came than were taken: read the twin again",
            )))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for DesiredChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DesiredChanges")
    }
}

impl DesiredFanOut {
    pub(crate) fn subscribe(&self) -> DesiredChanges {
        let (sender, receiver) = mpsc::channel(MAX_WAITING_CHANGES);
        let has_missed = Arc::new(AtomicBool::new(false));
        let mut readers = self.readers.lock();
        readers.retain(|reader| !reader.sender.is_closed());
        readers.push(Reader { sender, has_missed: Arc::clone(&has_missed) });
        DesiredChanges { receiver, has_missed }
    }

    /// A notification as it came from the hub: the patch with `$version`.
    pub(crate) fn notify(&self, body: &[u8]) {
        match serde_json::from_slice::<Value>(body) {
            Ok(properties) => {
                let version = version(&properties);
                self.newest_version.fetch_max(version, Ordering::AcqRel);
                self.hand_out(&DesiredChange { version, properties, is_complete: false });
            }
            Err(error) => tracing::warn!(%error, "the hub sent a desired-property change that is not JSON"),
        }
    }

    /// The whole document after a connection was lost: handed out only if it moved on meanwhile.
    pub(super) fn catch_up(&self, desired: Value) {
        let version = version(&desired);
        if self.newest_version.fetch_max(version, Ordering::AcqRel) < version {
            self.hand_out(&DesiredChange { version, properties: desired, is_complete: true });
        }
    }

    /// Somebody read the twin: what it says need not be handed out again.
    pub(super) fn saw(&self, version: u64) {
        self.newest_version.fetch_max(version, Ordering::AcqRel);
    }

    pub(super) fn has_readers(&self) -> bool {
        self.readers.lock().iter().any(|reader| !reader.sender.is_closed())
    }

    /// Ends every stream, after what still waits in it.
    pub(super) fn end(&self) {
        self.readers.lock().clear();
    }

    fn hand_out(&self, change: &DesiredChange) {
        self.readers.lock().retain(|reader| match reader.sender.try_send(change.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                reader.has_missed.store(true, Ordering::Release);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}

impl fmt::Debug for DesiredFanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DesiredFanOut({} readers)", self.readers.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_reader_gets_every_change_in_order() {
        let fan_out = DesiredFanOut::default();
        let (mut one, mut two) = (fan_out.subscribe(), fan_out.subscribe());
        fan_out.notify(br#"{"a":1,"$version":2}"#);
        fan_out.notify(br#"{"a":null,"$version":3}"#);
        for reader in [&mut one, &mut two] {
            assert_eq!(reader.next().await.unwrap().unwrap().version, 2);
            let change = reader.next().await.unwrap().unwrap();
            assert_eq!(change.properties, json!({ "a": null, "$version": 3 }));
            assert!(!change.is_complete);
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_once_that_it_missed_something() {
        let fan_out = DesiredFanOut::default();
        let mut changes = fan_out.subscribe();
        for version in 0..=MAX_WAITING_CHANGES {
            fan_out.notify(json!({ "$version": version }).to_string().as_bytes());
        }
        for _ in 0..MAX_WAITING_CHANGES {
            assert!(changes.next().await.unwrap().is_ok());
        }
        assert_eq!(changes.next().await.unwrap().unwrap_err().kind(), ErrorKind::MissedChanges);
        fan_out.end();
        assert!(changes.next().await.is_none());
    }

    #[tokio::test]
    async fn after_a_lost_connection_only_news_is_handed_out() {
        let fan_out = DesiredFanOut::default();
        let mut changes = fan_out.subscribe();
        fan_out.saw(4);
        fan_out.catch_up(json!({ "$version": 4 }));
        fan_out.catch_up(json!({ "a": 1, "$version": 6 }));
        fan_out.end();
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!((change.version, change.is_complete), (6, true));
        assert!(changes.next().await.is_none());
    }

    #[test]
    fn a_change_that_is_not_json_is_dropped() {
        let fan_out = DesiredFanOut::default();
        let changes = fan_out.subscribe();
        fan_out.notify(b"\xff");
        assert!(changes.receiver.is_empty());
        drop(changes);
        assert!(!fan_out.has_readers());
    }
}
