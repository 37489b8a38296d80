//! Telemetry over AMQP: 50 senders with 16 messages not yet settled.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ingest::{BODY_BYTES, Span};
use super::{Figures, figures, idle, names};
use crate::amqp::frame::{self, code};
use crate::amqp::{Amqp, Link, Message};
use crate::histogram::Histogram;
use crate::target::Target;

const SENDERS: usize = 50;
const UNDER_WAY: u32 = 16;

pub(super) async fn run(target: &Arc<Target>, time: Duration) -> anyhow::Result<Figures> {
    let mut senders = Vec::new();
    for device in names(SENDERS) {
        senders.push(idle::amqp_device(target, &device).await?);
    }
    let span = Span::starting(time);
    let mut running = JoinSet::new();
    for (amqp, link) in senders {
        running.spawn(send(amqp, link, span));
    }
    sleep_until(span.from).await;
    let before = target.server.cpu_secs()?;
    sleep_until(span.to).await;
    let cpu_secs = target.server.cpu_secs()? - before;
    let mut latency = Histogram::new();
    while let Some(done) = running.join_next().await {
        latency.merge(&done??);
    }
    figures(&target.server, &latency, time.as_secs_f64(), cpu_secs)
}

async fn send(mut amqp: Amqp, link: Link, span: Span) -> anyhow::Result<Histogram> {
    let message = Message::data(&[b'x'; BODY_BYTES]).bytes();
    let mut latency = Histogram::new();
    let mut sent = vec![span.from; UNDER_WAY as usize];
    let (mut first, mut next) = (0_u32, 0_u32);
    while Instant::now() < span.to {
        let now = Instant::now();
        while next - first < UNDER_WAY && amqp.may_transfer(link) {
            next = amqp.transfer(link, &message) + 1;
            *sent.get_mut((next % UNDER_WAY) as usize).context("a slot of the window")? = now;
        }
        amqp.wire.flush().await?;
        let Ok(filled) = timeout_at(span.to, amqp.wire.fill()).await else { break };
        ensure!(filled?, "the server closed the connection");
        let now = Instant::now();
        while let Some(frame) = frame::arrived(&mut amqp.wire)? {
            amqp.note(&frame);
            match frame.code {
                code::DISPOSITION => {
                    let from = frame.number(1).context("a disposition says of what")?;
                    let last = frame.number(2).unwrap_or(from);
                    let accepted = frame.field(4).split().is_some_and(|(state, _)| state == code::ACCEPTED);
                    ensure!(
                        accepted && from == first && last < next,
                        "out of order or not accepted: {frame:?}"
                    );
                    for id in from..=last {
                        let sent =
                            sent.get(((id + 1) % UNDER_WAY) as usize).context("a slot of the window")?;
                        if span.has(now) {
                            latency.add(now - *sent);
                        }
                    }
                    first = last + 1;
                }
                code::DETACH | code::END | code::CLOSE => bail!("the hub ended it: {frame:?}"),
                _ => {}
            }
        }
    }
    Ok(latency)
}
