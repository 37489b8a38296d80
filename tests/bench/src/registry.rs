//! A hub in this process that grows, and what its operations cost at each size (PERFORMANCE sections 7 and 13, rows
//! 16 and 17).
//!
//! A figure is the median over many short batches, most of which no other process interrupts. Ids are drawn at
//! random, so a large registry does not live in the processor's caches.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use hub::access::{CredentialKind, Grant, Permissions, Scope, Subject, development_policies};
use hub::entropy::Entropy;
use hub::gate::operations::{
    BulkRegistry, CreateDevice, DeleteDevice, GetDevice, GetTwin, PatchTwin, UpdateReported,
};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::identity::{BulkChange, BulkRow, DeviceSpec, ImportMode, RowId};
use hub::ids::{DeviceId, HubName, IdentityId, IfMatch};
use hub::time::SystemClock;
use hub::twin::{Arrays, ReportedPatch, TwinPatch};
use hub::{Hub, HubConfig, limits};
use tokio::time::Instant;

use crate::rows::{self, Row, median};
use crate::servers::rss_mib;

/// Operations of one batch; what a bulk call may have.
const BATCH: usize = limits::BULK_ROWS;
/// Tags and desired properties of a device; with [`REPORTED`] 220 bytes of JSON.
pub(crate) const CONTENT: &str = r#"{"tags":{"building":"43","floor":1,"owner":"facilities"},"properties":{"desired":{"telemetryInterval":30,"limits":{"low":5,"high":40}}}}"#;
/// What it reports.
pub(crate) const REPORTED: &str =
    r#"{"firmware":"1.4.2","telemetryInterval":30,"battery":0.87,"limits":{"low":5,"high":40}}"#;
/// What a patch changes.
pub(crate) const PATCH: &str = r#"{"properties":{"desired":{"telemetryInterval":60}}}"#;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Devices at which to measure, growing.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    sizes: Vec<usize>,
    /// Batches of 100 operations a figure is the median of.
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
    let mut registry = Registry::new()?;
    let mut rows = Vec::new();
    for &size in &arguments.sizes {
        let bulk_create = registry.grow_to(size).await?;
        let rss = rss_mib("self")?;
        let figures = [
            ("bulk_create_ns", bulk_create),
            ("rss_mib", rss),
            ("get_ns", registry.get(arguments.batches).await?),
            ("twin_get_ns", registry.twin_get(arguments.batches).await?),
            ("twin_patch_ns", registry.twin_patch(arguments.batches).await?),
            ("create_ns", registry.create(arguments.batches).await?),
        ];
        rows::say(&format!("{size} devices: {figures:?}"));
        rows.push(Row::new("registry", "hub", size as u64, &figures));
    }
    Ok(rows)
}

struct Registry {
    hub: Arc<Hub>,
    grant: Arc<Grant>,
    content: TwinPatch,
    reported: ReportedPatch,
    devices: usize,
    random: u64,
}

impl Registry {
    fn new() -> anyhow::Result<Self> {
        let config = HubConfig::new(HubName::parse("bench")?, development_policies(), 4);
        let hub = Hub::new(config, Arc::new(SystemClock), Entropy::seeded(1));
        let rights = [Permissions::REGISTRY_READ, Permissions::REGISTRY_WRITE, Permissions::SERVICE_CONNECT];
        let grant = Arc::new(Grant {
            subject: Subject::Policy(hub.policies().first().context("there are policies")?.name.clone()),
            scope: Scope::Hub,
            permissions: rights.into_iter().fold(Permissions::DEVICE_CONNECT, Permissions::union),
            expires_at: None,
            credential: CredentialKind::SasPolicy,
            revision: None,
        });
        let content = TwinPatch::parse(serde_json::from_str(CONTENT)?, Arrays::Allowed)?;
        let reported = ReportedPatch::parse(REPORTED.as_bytes(), Arrays::Allowed)?;
        Ok(Self { hub, grant, content, reported, devices: 0, random: 1 })
    }

    async fn admit<O: Operation>(&self, target: O::Target) -> anyhow::Result<Admitted<O>> {
        let details = Details { protocol: ProtocolLabel("bench"), connection: None };
        Ok(self.hub.gate().admit(&self.grant, target, details).await?)
    }

    /// Adds devices in bulk until there are as many as asked for, less one batch that single creates may add.
    async fn grow_to(&mut self, size: usize) -> anyhow::Result<f64> {
        let mut batches = Vec::new();
        let target = size.checked_sub(BATCH).context("a registry smaller than one batch")?;
        while self.devices < target {
            let first = self.devices;
            self.devices = target.min(first + BATCH);
            let rows = (first..self.devices).map(|n| self.row(n)).collect();
            let begun = Instant::now();
            let done = self.hub.bulk_registry(self.admit::<BulkRegistry>(()).await?, rows)?;
            batches.push(per_operation(begun, self.devices - first));
            anyhow::ensure!(done.is_successful(), "a row failed: {:?}", done.errors.first());
            for n in first..self.devices {
                let by = self.admit::<UpdateReported>(identity(n)?).await?;
                self.hub.update_reported(by, &self.reported, None)?;
            }
        }
        median(batches).context("a registry that does not grow")
    }

    fn row(&self, n: usize) -> BulkRow {
        let change = BulkChange {
            mode: ImportMode::Create,
            twin: Some(self.content.clone()),
            ..BulkChange::default()
        };
        BulkRow { id: RowId { device: name(n), module: None }, change: Ok(change) }
    }

    /// Identities picked at random (xorshift64).
    fn some(&mut self) -> anyhow::Result<Vec<IdentityId>> {
        let pick = |_| {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            identity((self.random % self.devices as u64) as usize)
        };
        (0..BATCH).map(pick).collect()
    }

    async fn get(&mut self, batches: usize) -> anyhow::Result<f64> {
        let mut costs = Vec::with_capacity(batches);
        for _ in 0..batches {
            let identities = self.some()?;
            let begun = Instant::now();
            for IdentityId { device, .. } in identities {
                black_box(self.hub.device(self.admit::<GetDevice>(device).await?)?);
            }
            costs.push(per_operation(begun, BATCH));
        }
        median(costs).context("no batches")
    }

    async fn twin_get(&mut self, batches: usize) -> anyhow::Result<f64> {
        let mut costs = Vec::with_capacity(batches);
        for _ in 0..batches {
            let identities = self.some()?;
            let begun = Instant::now();
            for identity in identities {
                let twin = self.hub.twin(self.admit::<GetTwin>(identity).await?)?;
                let mut text = Vec::with_capacity(2048);
                twin.write_tags(&mut text);
                twin.write_desired(&mut text);
                twin.write_reported(&mut text);
                black_box(text);
            }
            costs.push(per_operation(begun, BATCH));
        }
        median(costs).context("no batches")
    }

    async fn twin_patch(&mut self, batches: usize) -> anyhow::Result<f64> {
        let patch = TwinPatch::parse(serde_json::from_str(PATCH)?, Arrays::Allowed)?;
        let mut costs = Vec::with_capacity(batches);
        for _ in 0..batches {
            let identities = self.some()?;
            let begun = Instant::now();
            for identity in identities {
                let by = self.admit::<PatchTwin>(identity).await?;
                black_box(self.hub.patch_twin(by, &patch, &IfMatch::Absent)?);
            }
            costs.push(per_operation(begun, BATCH));
        }
        median(costs).context("no batches")
    }

    /// Single creates. What a batch made is deleted again, so that the registry keeps its size.
    async fn create(&mut self, batches: usize) -> anyhow::Result<f64> {
        let (spec, mut costs) = (DeviceSpec::default(), Vec::with_capacity(batches));
        for batch in 0..batches {
            let fresh = (0..BATCH).map(|n| DeviceId::parse(&format!("fresh-{batch}-{n}")));
            let fresh: Vec<_> = fresh.collect::<Result<_, _>>()?;
            let begun = Instant::now();
            for device in &fresh {
                black_box(self.hub.create_device(self.admit::<CreateDevice>(device.clone()).await?, &spec)?);
            }
            costs.push(per_operation(begun, BATCH));
            for device in fresh {
                self.hub.delete_device(self.admit::<DeleteDevice>(device).await?, &IfMatch::Any)?;
            }
        }
        median(costs).context("no batches")
    }
}

fn per_operation(begun: Instant, operations: usize) -> f64 {
    begun.elapsed().as_nanos() as f64 / operations as f64
}

fn name(n: usize) -> String {
    format!("device-{n:07}")
}

fn identity(n: usize) -> anyhow::Result<IdentityId> {
    Ok(IdentityId::parse(&name(n), None)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_twin_of_the_load_is_220_bytes_of_json() {
        let mut twin: serde_json::Value = serde_json::from_str(CONTENT).unwrap();
        let (tags, desired) = (twin["tags"].take(), twin["properties"]["desired"].take());
        let reported: serde_json::Value = serde_json::from_str(REPORTED).unwrap();
        let document = json!({"tags": tags, "desired": desired, "reported": reported});
        assert_eq!(document.to_string().len(), 220, "{document}");
    }

    #[test]
    fn a_registry_of_a_thousand_is_measured_and_full_of_twins() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut registry = Registry::new().unwrap();
            assert!(registry.grow_to(1000).await.unwrap() > 0.0);
            assert_eq!(registry.devices, 900);
            let by = registry.admit::<GetTwin>(identity(899).unwrap()).await.unwrap();
            let twin = registry.hub.twin(by).unwrap();
            let mut reported = Vec::new();
            twin.write_reported(&mut reported);
            let reported = String::from_utf8(reported).unwrap();
            assert!(reported.contains(r#""firmware":"1.4.2""#), "{reported}");
            for cost in [
                registry.get(2).await,
                registry.twin_get(2).await,
                registry.twin_patch(2).await,
                registry.create(2).await,
            ] {
                assert!(cost.unwrap() > 0.0);
            }
        });
    }
}
