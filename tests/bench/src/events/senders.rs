//! Devices that send numbered messages at QoS 1: a bounded number under way each, as fast as they are acknowledged or
//! at a pace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::ledger::Ledger;
use crate::device::{Span, names};
use crate::histogram::Histogram;
use crate::mqtt;
use crate::wire::Wire;

/// Messages of a device that are not acknowledged.
const WINDOW: u32 = 16;
/// How long the last acknowledgements may take.
const LAST: Duration = Duration::from_secs(10);

/// Sends until the span ends and everything is acknowledged. `rate` is that of all devices together.
pub(super) async fn send(
    mut wire: Wire,
    device: usize,
    ledger: Arc<Ledger>,
    span: Span,
    rate: Option<u64>,
) -> anyhow::Result<Histogram> {
    let name = names(device + 1).pop().context("a device")?;
    let topic = format!("devices/{name}/messages/events/");
    let mut latency = Histogram::new();
    let mut sent = [span.from; WINDOW as usize];
    let (mut next, mut acknowledged) = (0_u32, 0_u32);
    let mut pace = rate.map(|rate| Pace::new(device, ledger.devices(), rate));
    while Instant::now() < span.to {
        if pace.is_none() {
            ledger.not_ahead().await;
        }
        let now = Instant::now();
        while next - acknowledged < WINDOW && pace.as_mut().is_none_or(|pace| pace.is_due(now)) {
            *sent.get_mut((next % WINDOW) as usize).context("a slot of the window")? = now;
            let id = (next % WINDOW + 1) as u16;
            mqtt::publish(&mut wire.out, topic.as_bytes(), Some(id), &ledger.body(device, next));
            next += 1;
        }
        wire.flush().await?;
        if next == acknowledged {
            sleep_until(pace.as_ref().map_or(span.to, |pace| pace.due).min(span.to)).await;
            continue;
        }
        let until = match &pace {
            Some(pace) if next - acknowledged < WINDOW => pace.due.min(span.to),
            _ => span.to,
        };
        if let Ok(filled) = timeout_at(until, wire.fill()).await {
            ensure!(filled?, "the server closed the connection");
            take(&mut wire, device, &ledger, &mut acknowledged, |number, at| {
                let sent = sent.get((number % WINDOW) as usize).context("a slot of the window")?;
                if span.has(at) {
                    latency.add(at - *sent);
                }
                Ok(())
            })?;
        }
    }
    let last = async {
        while acknowledged < next {
            ensure!(wire.fill().await?, "the server closed the connection");
            take(&mut wire, device, &ledger, &mut acknowledged, |_, _| Ok(()))?;
        }
        anyhow::Ok(())
    };
    timeout(LAST, last).await.context("messages were not acknowledged")??;
    Ok(latency)
}

/// Takes the acknowledgements that have arrived; they come in the order of the messages.
fn take(
    wire: &mut Wire,
    device: usize,
    ledger: &Ledger,
    acknowledged: &mut u32,
    mut each: impl FnMut(u32, Instant) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let now = Instant::now();
    mqtt::drain(wire, |packet, _| {
        let Some(id) = mqtt::acknowledged(packet)? else { return Ok(()) };
        ensure!(u32::from(id) == *acknowledged % WINDOW + 1, "acknowledged out of order");
        ledger.acknowledge(device, *acknowledged, now)?;
        each(*acknowledged, now)?;
        *acknowledged += 1;
        Ok(())
    })
}

/// When a device sends next: all devices in turn, evenly.
struct Pace {
    due: Instant,
    step: Duration,
}

impl Pace {
    fn new(device: usize, devices: usize, rate: u64) -> Self {
        let step = Duration::from_secs_f64(devices as f64 / rate as f64);
        Self { due: Instant::now() + step.mul_f64(device as f64 / devices as f64), step }
    }

    /// Who is late sends what he has missed: the rate is kept.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.due <= now;
        if is_due {
            self.due += self.step;
        }
        is_due
    }
}
