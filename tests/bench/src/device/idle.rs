//! Connections at rest: resident memory of each, what they cost while nothing happens, and how long a change of a
//! desired property takes to one of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connect::AT_A_TIME;
use super::{Figures, connect, names};
use crate::amqp::frame::{self, code};
use crate::amqp::{Amqp, Link, Message, Value};
use crate::histogram::Histogram;
use crate::mqtt;
use crate::target::{Target, owner_token, request};

/// How long processor time at rest is taken.
const REST: Duration = Duration::from_secs(5);
/// Changes of desired properties that are timed.
const PATCHES: usize = 50;
/// Descriptors that are needed besides those of the connections.
const OTHER_FILES: usize = 200;

pub(super) async fn mqtt(target: &Arc<Target>, connections: usize) -> anyhow::Result<Figures> {
    enough_files(connections)?;
    let before = target.server.rss_mib()?;
    let mut wires = connect::open(target, names(connections), true).await?.wires;
    let mut figures = at_rest(target, before, connections).await?;
    if target.is_hub() {
        let wire = wires.last_mut().context("no connections")?;
        mqtt::subscribed(wire, "$iothub/twin/PATCH/properties/desired/#", 0).await?;
        let mut latency = Histogram::new();
        let mut service = Service::new(target, connections).await?;
        for n in 0..PATCHES {
            let (begun, arrives) =
                (Instant::now(), mqtt::next(wire, |packet| packet.as_publish().map(|_| Instant::now())));
            let (arrived, patched) = tokio::join!(arrives, service.patch(n));
            patched?;
            latency.add(arrived? - begun);
        }
        figures.extend([("patch_p50_us", latency.us(0.5)), ("patch_p99_us", latency.us(0.99))]);
    }
    Ok(figures)
}

pub(super) async fn amqp(target: &Arc<Target>, connections: usize) -> anyhow::Result<Figures> {
    enough_files(connections)?;
    let before = target.server.rss_mib()?;
    let mut held = Vec::new();
    for devices in names(connections).chunks(AT_A_TIME) {
        let mut opening = JoinSet::new();
        for device in devices {
            let (target, device) = (Arc::clone(target), device.clone());
            opening.spawn(async move { amqp_device(&target, &device).await });
        }
        for opened in opening.join_all().await {
            let (mut amqp, _) = opened?;
            amqp.wire.rest();
            held.push(amqp);
        }
    }
    let mut figures = at_rest(target, before, connections).await?;
    let device = names(connections).pop().context("no connections")?;
    drop(held.pop());
    let (mut amqp, _) = amqp_device(target, &device).await?;
    let twin = format!("/devices/{device}/twin");
    let requests = amqp.sender(&twin).await?;
    let answers = amqp.receiver(&twin).await?;
    let subscribe = Message {
        correlation_id: Value::string("put"),
        annotations: Value::Map(
            [("operation", "PUT"), ("resource", "/notifications/twin/properties/desired")]
                .map(|(name, value)| (Value::symbol(name), Value::string(value)))
                .to_vec(),
        ),
        ..Message::data(b" ")
    };
    amqp.transfer(requests, &subscribe.bytes());
    amqp.wire.flush().await?;
    received(&mut amqp, answers).await?;
    let mut latency = Histogram::new();
    let mut service = Service::new(target, connections).await?;
    for n in 0..PATCHES {
        let begun = Instant::now();
        let (arrived, patched) = tokio::join!(received(&mut amqp, answers), service.patch(n));
        patched?;
        latency.add(arrived? - begun);
    }
    figures.extend([("patch_p50_us", latency.us(0.5)), ("patch_p99_us", latency.us(0.99))]);
    Ok(figures)
}

/// A device over AMQP with its telemetry link.
pub(super) async fn amqp_device(target: &Target, device: &str) -> anyhow::Result<(Amqp, Link)> {
    let wire = target.dialler.dial(target.server.port("amqps")?).await?;
    let token = target.token(device).context("devices of the hub have tokens")?;
    let mut amqp = Amqp::open_plain(wire, &format!("{device}@sas.localhost"), &token).await?;
    let link = amqp.sender(&format!("/devices/{device}/messages/events")).await?;
    Ok((amqp, link))
}

async fn received(amqp: &mut Amqp, link: Link) -> anyhow::Result<Instant> {
    loop {
        let frame = frame::next(&mut amqp.wire).await?;
        amqp.note(&frame);
        if frame.code == code::TRANSFER && frame.number(0) == Some(link.0) {
            let at = Instant::now();
            let delivery = frame.number(1).context("a delivery has an id")?;
            amqp.settle(delivery, code::ACCEPTED);
            amqp.wire.flush().await?;
            return Ok(at);
        }
    }
}

/// Memory of each connection, and processor time of all in a while of rest.
async fn at_rest(target: &Target, before: f64, connections: usize) -> anyhow::Result<Figures> {
    let mut ticks = tokio::time::interval(REST);
    ticks.tick().await;
    ticks.tick().await;
    let cpu = target.server.cpu_secs()?;
    ticks.tick().await;
    let cores = (target.server.cpu_secs()? - cpu) / REST.as_secs_f64();
    let rss = target.server.rss_mib()?;
    let kib_each = (rss - before) * 1024.0 / connections as f64;
    Ok(vec![("kib_each", kib_each), ("rss_before_mib", before), ("rss_mib", rss), ("idle_cores", cores)])
}

/// Says beforehand what would fail in the middle.
fn enough_files(connections: usize) -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no such limit")?;
    let allowed: usize = line.split_whitespace().next().context("no such limit")?.parse()?;
    ensure!(
        allowed >= connections + OTHER_FILES,
        "{connections} connections need `ulimit -n {}`, it is {allowed}",
        connections + OTHER_FILES
    );
    Ok(())
}

/// Who changes the twin of the last device.
struct Service {
    client: crate::load::Client,
    path: String,
    token: String,
}

impl Service {
    async fn new(target: &Target, connections: usize) -> anyhow::Result<Self> {
        let device = names(connections).pop().context("no devices")?;
        let client = target.server.connector()?.connect().await?;
        Ok(Self { client, path: format!("/twins/{device}"), token: owner_token()? })
    }

    async fn patch(&mut self, n: usize) -> anyhow::Result<()> {
        let body = format!(r#"{{"properties":{{"desired":{{"n":{n}}}}}}}"#);
        self.client.exchange(&request("PATCH", &self.path, &self.token, &[], &body)).await?;
        Ok(())
    }
}
