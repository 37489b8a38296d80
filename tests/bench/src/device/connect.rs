//! New connections: a full handshake, CONNECT, CONNACK, goodbye; 32 at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Figures, figures};
use crate::histogram::Histogram;
use crate::mqtt;
use crate::target::Target;
use crate::wire::Wire;

/// Connections under way at any time.
pub(super) const AT_A_TIME: usize = 32;

pub(crate) async fn run(target: &Arc<Target>, devices: Vec<String>) -> anyhow::Result<Figures> {
    let (before, begun) = (target.server.cpu_secs()?, Instant::now());
    let opened = open(target, devices, false).await?;
    figures(
        &target.server,
        &opened.latency,
        begun.elapsed().as_secs_f64(),
        target.server.cpu_secs()? - before,
    )
}

/// Connections that were made.
pub(crate) struct Opened {
    /// In the order of the devices; none where they were not to be kept.
    pub(crate) wires: Vec<Wire>,
    pub(super) latency: Histogram,
}

/// Connects devices, and keeps their connections or says goodbye.
pub(crate) async fn open(target: &Arc<Target>, devices: Vec<String>, keep: bool) -> anyhow::Result<Opened> {
    let (next, devices) = (Arc::new(AtomicUsize::new(0)), Arc::new(devices));
    let mut running = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (target, next, devices) = (Arc::clone(target), Arc::clone(&next), Arc::clone(&devices));
        running.spawn(async move {
            let (mut wires, mut latency) = (Vec::new(), Histogram::new());
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(device) = devices.get(n) else { return anyhow::Ok((wires, latency)) };
                let begun = Instant::now();
                let mut wire = target.connect(device).await?;
                latency.add(begun.elapsed());
                if keep {
                    wire.rest();
                    wires.push((n, wire));
                } else {
                    mqtt::bare(&mut wire.out, mqtt::DISCONNECT);
                    wire.flush().await?;
                }
            }
        });
    }
    let (mut wires, mut latency) = (Vec::new(), Histogram::new());
    while let Some(done) = running.join_next().await {
        let (kept, measured) = done??;
        wires.extend(kept);
        latency.merge(&measured);
    }
    wires.sort_by_key(|(n, _)| *n);
    Ok(Opened { wires: wires.into_iter().map(|(_, wire)| wire).collect(), latency })
}
