//! An event log in this process that grows, and what appends, seeks, reads and retention cost at each size
//! (PERFORMANCE section 13, row 20). Events have a body of 256 bytes and go the way a device's message goes, from
//! admission to the partition.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hub::access::{CredentialKind, EventsPath, Grant, Permissions, Scope, Subject, development_policies};
use hub::entropy::Entropy;
use hub::events::{EventRetention, ReaderRequest, StartPosition};
use hub::gate::operations::{CreateDevice, ReadEvents, SendTelemetry};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::identity::DeviceSpec;
use hub::ids::{DeviceId, HubName, IdentityId};
use hub::telemetry::DeviceMessage;
use hub::time::{Clock as _, ManualClock, SystemClock, Timestamp};
use hub::{Hub, HubConfig};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::rows::{self, Row, median};
use crate::servers::rss_mib;

/// Appends, seeks of one batch; events of one read.
const BATCH: usize = 100;
const BODY: &[u8] = &[b'x'; 256];
const DEVICES: usize = 100;
/// Hub time between two batches of appends: times to seek by.
const STEP: Duration = Duration::from_millis(1);
/// Longer than all steps together.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Events at which to measure, growing.
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    sizes: Vec<usize>,
    /// Batches of 100 seeks a figure is the median of.
    #[arg(long, default_value_t = 300)]
    batches: usize,
    /// A file to add the rows to.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let rows = runtime.block_on(measure(arguments))?;
    rows::append(&rows, arguments.out.as_deref())?;
    rows::say(&rows::table(&rows));
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &size in &arguments.sizes {
        let mut log = Log::new().await?;
        let before = rss_mib("self")?;
        // What one more event costs there, not what the way there cost.
        log.append(size.saturating_sub(arguments.batches * BATCH)).await?;
        let append_ns = log.append(size - log.events).await?;
        let rss = rss_mib("self")? - before;
        let figures = [
            ("append_ns", append_ns),
            ("rss_mib", rss),
            ("seek_offset_ns", log.seek(arguments.batches, Log::some_offset).await?),
            ("seek_time_ns", log.seek(arguments.batches, Log::some_time).await?),
            ("read_ns", log.read().await?),
            ("expire_ns", log.expire()?),
        ];
        rows::say(&format!("{size} events: {figures:?}"));
        rows.push(Row::new("log", "hub", size as u64, &figures));
    }
    Ok(rows)
}

struct Log {
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
    began: Timestamp,
    grant: Arc<Grant>,
    devices: Vec<IdentityId>,
    events: usize,
    dice: Dice,
}

impl Log {
    async fn new() -> anyhow::Result<Self> {
        let began = SystemClock.now();
        let clock = Arc::new(ManualClock::at(began));
        let mut config = HubConfig::new(HubName::parse("bench")?, development_policies(), 4);
        config.event_retention = EventRetention { time: RETENTION, bytes: usize::MAX };
        let hub = Hub::new(config, Arc::clone(&clock) as _, Entropy::seeded(1));
        let rights = [Permissions::REGISTRY_WRITE, Permissions::SERVICE_CONNECT];
        let grant = Arc::new(Grant {
            subject: Subject::Policy(hub.policies().first().context("there are policies")?.name.clone()),
            scope: Scope::Hub,
            permissions: rights.into_iter().fold(Permissions::DEVICE_CONNECT, Permissions::union),
            expires_at: None,
            credential: CredentialKind::SasPolicy,
            revision: None,
        });
        let mut log = Self { hub, clock, began, grant, devices: Vec::new(), events: 0, dice: Dice::of(1) };
        for n in 0..DEVICES {
            let device = DeviceId::parse(&format!("device-{n:05}"))?;
            log.hub
                .create_device(log.admit::<CreateDevice>(device.clone()).await?, &DeviceSpec::default())?;
            log.devices.push(IdentityId::device(device));
        }
        Ok(log)
    }

    async fn admit<O: Operation>(&self, target: O::Target) -> anyhow::Result<Admitted<O>> {
        let details = Details { protocol: ProtocolLabel("bench"), connection: None };
        Ok(self.hub.gate().admit(&self.grant, target, details).await?)
    }

    /// Appends that many; what one costs.
    async fn append(&mut self, events: usize) -> anyhow::Result<f64> {
        let mut costs = Vec::new();
        for _ in 0..events.div_ceil(BATCH) {
            let begun = Instant::now();
            for n in 0..BATCH {
                let device = self.devices.get(n % DEVICES).context("a device")?.clone();
                let message = DeviceMessage { body: Bytes::from_static(BODY), ..DeviceMessage::default() };
                black_box(self.hub.send_telemetry(self.admit::<SendTelemetry>(device).await?, message)?);
            }
            costs.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
            self.clock.advance(STEP);
        }
        self.events += events.div_ceil(BATCH) * BATCH;
        Ok(median(costs).unwrap_or_default())
    }

    fn some_offset(&mut self) -> StartPosition {
        let last = self.hub.events().newest(1, None).first().map_or(0, |(_, event)| event.position.offset);
        StartPosition::Offset { value: self.dice.below(last.max(1)), inclusive: true }
    }

    fn some_time(&mut self) -> StartPosition {
        let steps = self.dice.below((self.events / BATCH) as u64);
        let at = self.began.plus(STEP * u32::try_from(steps).unwrap_or(u32::MAX));
        StartPosition::EnqueuedTime { at, inclusive: true }
    }

    /// Opens readers at places all over a partition; admission and the end of the reader are in it.
    async fn seek(
        &mut self,
        batches: usize,
        some: impl Fn(&mut Self) -> StartPosition,
    ) -> anyhow::Result<f64> {
        let wake = Arc::new(Notify::new());
        let mut costs = Vec::with_capacity(batches);
        for _ in 0..batches {
            let starts: Vec<_> = (0..BATCH).map(|_| some(self)).collect();
            let begun = Instant::now();
            for start in starts {
                let by = self.admit::<ReadEvents>(path(&self.hub)?).await?;
                black_box(self.hub.open_event_reader(by, &request("0", start), Arc::clone(&wake))?);
            }
            costs.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
        }
        median(costs).context("no batches")
    }

    /// Reads everything; what one event costs.
    async fn read(&self) -> anyhow::Result<f64> {
        let (mut costs, mut read) = (Vec::new(), 0);
        for partition in ["0", "1", "2", "3"] {
            let by = self.admit::<ReadEvents>(path(&self.hub)?).await?;
            let request = request(partition, StartPosition::Earliest);
            let mut reader = self.hub.open_event_reader(by, &request, Arc::default())?;
            let mut events = Vec::with_capacity(BATCH);
            loop {
                let begun = Instant::now();
                reader.read(BATCH, usize::MAX, &mut events);
                if events.is_empty() {
                    break;
                }
                read += events.len();
                let few = events.len();
                events.clear();
                costs.push(begun.elapsed().as_nanos() as f64 / few as f64);
            }
        }
        ensure!(read == self.events, "{read} of {} events were read", self.events);
        median(costs).context("no events")
    }

    /// Lets everything reach its end; what one event costs.
    fn expire(&self) -> anyhow::Result<f64> {
        self.clock.advance(RETENTION);
        let begun = Instant::now();
        self.hub.run_due();
        let cost = begun.elapsed().as_nanos() as f64 / self.events as f64;
        ensure!(self.hub.events().newest(1, None).is_empty(), "retention leaves events");
        Ok(cost)
    }
}

fn path(hub: &Hub) -> anyhow::Result<EventsPath> {
    EventsPath::parse("bench", hub.name()).context("the path of an event hub")
}

fn request(partition: &str, start: StartPosition) -> ReaderRequest<'_> {
    ReaderRequest { event_hub: "bench", consumer_group: "$Default", partition, start, owner_level: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_two_thousand_is_measured_and_emptied() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let arguments = Arguments { sizes: vec![1000, 2000], batches: 2, out: None };
        let rows = runtime.block_on(measure(&arguments)).unwrap();
        assert_eq!(rows.iter().map(|row| row.at).collect::<Vec<_>>(), [1000, 2000]);
        assert!(rows.iter().all(|row| row.figures["append_ns"] > 0.0 && row.figures["read_ns"] > 0.0));
    }
}
