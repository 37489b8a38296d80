//! Reads partitions, one task each, and hands the events over in one stream that holds the tasks back when nobody
//! takes from it. A task that loses its link begins again behind the last event it handed over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::client::Shared;
use super::event::Event;
use super::position::StartPosition;
use crate::amqp::{EventHubLink, EventLink};
use crate::backoff::Backoff;
use crate::error::Error;

/// Events waiting to be taken; partitions are read no further beyond that, save for what their links have under way.
const MAX_WAITING_EVENTS: usize = 100;

/// Pause before the first attempt to read again; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The events of one or of all partitions. Reading ends when it is dropped.
#[derive(Debug)]
pub struct EventReader {
    events: mpsc::Receiver<Result<Event, Error>>,
    _partitions: Vec<AbortOnDropHandle<()>>,
}

/// One partition.
struct Partition {
    shared: Arc<Shared>,
    id: String,
    position: StartPosition,
    events: mpsc::Sender<Result<Event, Error>>,
}

impl EventReader {
    pub(super) async fn open(
        shared: &Arc<Shared>,
        partitions: Vec<(String, StartPosition)>,
    ) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(MAX_WAITING_EVENTS);
        let mut begun = Vec::with_capacity(partitions.len());
        for (id, position) in partitions {
            let mut partition =
                Partition { shared: Arc::clone(shared), id, position, events: sender.clone() };
            let link = partition.begin().await?;
            begun.push(AbortOnDropHandle::new(tokio::spawn(partition.run(link))));
        }
        Ok(Self { events, _partitions: begun })
    }

    /// The next event, or what a partition is read no further for; none when that is true of all. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        self.events.recv().await
    }
}

impl Partition {
    async fn run(mut self, mut link: EventLink) {
        let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE);
        loop {
            let error = match link.next().await {
                Ok(event) => {
                    let position = StartPosition::after(event.sequence_number);
                    if self.events.send(Ok(event)).await.is_err() {
                        return;
                    }
                    self.position = position;
                    backoff.reset();
                    continue;
                }
                Err(error) => error,
            };
            link = match self.begin_again(error, &mut backoff).await {
                Ok(link) => link,
                Err(error) => {
                    let _ = self.events.send(Err(error)).await;
                    return;
                }
            };
        }
    }

    async fn begin_again(&mut self, mut error: Error, backoff: &mut Backoff) -> Result<EventLink, Error> {
        while error.is_transient() {
            tracing::debug!(partition = self.id, %error, "reading is interrupted");
            backoff.rest().await;
            match self.begin().await {
                Ok(link) => return Ok(link),
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    async fn begin(&mut self) -> Result<EventLink, Error> {
        let shared = Arc::clone(&self.shared);
        shared
            .on_link("a partition to be read", async |link: Arc<EventHubLink>| {
                if self.position == StartPosition::Latest {
                    // Or what comes while a connection is lost that has brought nothing yet would be missed.
                    self.position = match link.partition(&self.id).await?.last_enqueued_sequence_number {
                        ..0 => StartPosition::Earliest,
                        last => StartPosition::after(last),
                    };
                }
                link.read(&self.id, self.position.selector()).await
            })
            .await
    }
}
