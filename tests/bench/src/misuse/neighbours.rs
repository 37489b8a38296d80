//! Devices that behave: each asks for its twin every now and then and waits for the answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::offenders;
use crate::device::names;
use crate::histogram::Histogram;
use crate::mqtt;
use crate::target::Target;
use crate::wire::Wire;

pub(super) const DEVICES: usize = 20;
/// Between two questions of one device.
const PAUSE: Duration = Duration::from_millis(20);
/// A neighbour that waits longer was not kept waiting but forgotten.
const PATIENCE: Duration = Duration::from_secs(30);

/// Their connections, which have to last as long as the run.
pub(super) struct Neighbours {
    home: Handle,
    wires: Vec<Wire>,
}

impl Neighbours {
    pub(super) async fn move_in(target: &Arc<Target>, home: &Handle) -> anyhow::Result<Self> {
        let mut moving = JoinSet::new();
        for device in names(offenders::DEVICES + DEVICES).split_off(offenders::DEVICES) {
            let target = Arc::clone(target);
            let move_in = async move {
                let mut wire = target.connect(&device).await?;
                mqtt::subscribed(&mut wire, "$iothub/twin/res/#", 0).await?;
                anyhow::Ok(wire)
            };
            moving.spawn_on(move_in, home);
        }
        let wires = moving.join_all().await.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(Self { home: home.clone(), wires })
    }

    /// The latency of all their questions until then.
    pub(super) async fn ask(&mut self, until: Instant) -> anyhow::Result<Histogram> {
        let mut asking = JoinSet::new();
        for (n, wire) in std::mem::take(&mut self.wires).into_iter().enumerate() {
            // Not all at the same moment.
            let from = Instant::now() + PAUSE * n as u32 / DEVICES as u32;
            asking.spawn_on(ask(wire, from, until), &self.home);
        }
        let mut latency = Histogram::new();
        while let Some(asked) = asking.join_next().await {
            let (wire, measured) = asked?.context("a neighbour lost its connection")?;
            latency.merge(&measured);
            self.wires.push(wire);
        }
        Ok(latency)
    }
}

async fn ask(mut wire: Wire, from: Instant, until: Instant) -> anyhow::Result<(Wire, Histogram)> {
    let mut latency = Histogram::new();
    let mut pauses = interval_at(from, PAUSE);
    pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while pauses.tick().await < until {
        let asked = Instant::now();
        mqtt::publish(&mut wire.out, b"$iothub/twin/GET/?$rid=1", None, b"");
        wire.flush().await?;
        timeout(PATIENCE, mqtt::next(&mut wire, |packet| packet.as_publish().map(|_| ()))).await??;
        latency.add(asked.elapsed());
    }
    Ok((wire, latency))
}
