//! Telemetry over MQTT: senders with a bounded number of messages not yet acknowledged. At QoS 0 a ping after each
//! batch shows what the server has taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Figures, connect, figures};
use crate::histogram::Histogram;
use crate::mqtt;
use crate::target::Target;
use crate::wire::Wire;

/// Bytes of a message's body.
pub(super) const BODY_BYTES: usize = 256;
/// Messages between two pings at QoS 0, and pings not yet answered.
const BATCH: usize = 64;
const BATCHES_UNDER_WAY: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) qos: u8,
    /// Messages under way at QoS 1.
    pub(crate) window: u16,
    pub(crate) time: Duration,
}

/// What counts: from the end of the warm-up to the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Span {
    /// Starting now, a third of the time to warm up.
    pub(crate) fn starting(time: Duration) -> Self {
        let from = Instant::now() + time / 3;
        Self { from, to: from + time }
    }

    pub(crate) fn has(&self, at: Instant) -> bool {
        at >= self.from && at < self.to
    }
}

pub(crate) async fn run(target: &Arc<Target>, devices: Vec<String>, shape: Shape) -> anyhow::Result<Figures> {
    let wires = connect::open(target, devices.clone(), true).await?.wires;
    let span = Span::starting(shape.time);
    let mut running = JoinSet::new();
    for (wire, device) in wires.into_iter().zip(devices) {
        let topic = format!("devices/{device}/messages/events/");
        running.spawn(async move {
            match shape.qos {
                0 => send_pinged(wire, &topic, span).await,
                _ => send_acknowledged(wire, &topic, shape.window, span).await,
            }
        });
    }
    sleep_until(span.from).await;
    let before = target.server.cpu_secs()?;
    sleep_until(span.to).await;
    let cpu_secs = target.server.cpu_secs()? - before;
    let mut latency = Histogram::new();
    while let Some(done) = running.join_next().await {
        latency.merge(&done??);
    }
    figures(&target.server, &latency, shape.time.as_secs_f64(), cpu_secs)
}

async fn send_acknowledged(
    mut wire: Wire,
    topic: &str,
    window: u16,
    span: Span,
) -> anyhow::Result<Histogram> {
    let (mut latency, body) = (Histogram::new(), [b'x'; BODY_BYTES]);
    let mut sent = vec![span.from; usize::from(window) + 1];
    let mut free: Vec<u16> = (1..=window).collect();
    while Instant::now() < span.to {
        let now = Instant::now();
        for id in free.drain(..) {
            *sent.get_mut(usize::from(id)).context("ids are of the window")? = now;
            mqtt::publish(&mut wire.out, topic.as_bytes(), Some(id), &body);
        }
        wire.flush().await?;
        let Ok(filled) = timeout_at(span.to, wire.fill()).await else { break };
        ensure!(filled?, "the server closed the connection");
        let now = Instant::now();
        mqtt::drain(&mut wire, |packet, _| {
            let Some(id) = mqtt::acknowledged(packet)? else { return Ok(()) };
            let sent = sent.get(usize::from(id)).context("an acknowledgement of nothing that was sent")?;
            free.push(id);
            if span.has(now) {
                latency.add(now - *sent);
            }
            Ok(())
        })?;
    }
    Ok(latency)
}

async fn send_pinged(mut wire: Wire, topic: &str, span: Span) -> anyhow::Result<Histogram> {
    let (mut latency, body) = (Histogram::new(), [b'x'; BODY_BYTES]);
    let mut under_way = VecDeque::new();
    while Instant::now() < span.to {
        while under_way.len() < BATCHES_UNDER_WAY {
            for _ in 0..BATCH {
                mqtt::publish(&mut wire.out, topic.as_bytes(), None, &body);
            }
            mqtt::bare(&mut wire.out, mqtt::PINGREQ);
            under_way.push_back(Instant::now());
            wire.flush().await?;
        }
        let Ok(filled) = timeout_at(span.to, wire.fill()).await else { break };
        ensure!(filled?, "the server closed the connection");
        let now = Instant::now();
        mqtt::drain(&mut wire, |packet, _| {
            if packet.kind == mqtt::PINGRESP {
                let sent = under_way.pop_front().context("an answer to no ping")?;
                if span.has(now) {
                    latency.add_many(now - sent, BATCH as u64);
                }
            }
            Ok(())
        })?;
    }
    Ok(latency)
}
