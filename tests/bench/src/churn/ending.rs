//! When the churn is over: everybody connects once more and is counted, leaves and is counted, takes what messages
//! are left; then twins and events are held to the ledger.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, interval};

use super::World;
use super::ledger::Settled;
use super::service::{self, Service};
use super::session::{Event, Session, Transport};
use crate::http::Http;

/// How long the hub's view may take to follow, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
/// What a device is connected with for the count.
const COUNTED: [Transport; 4] = [Transport::Amqp, Transport::Mqtt, Transport::AmqpWs, Transport::MqttWs];

pub(super) async fn check(world: &World) -> anyhow::Result<()> {
    let mut service = Service::new(world).await?;
    let mut admin = Http::dial_plain(world.target.server.port("admin")?).await?;
    let mut sessions = Vec::new();
    for (device, transport) in world.devices.iter().zip(COUNTED.iter().cycle()) {
        sessions.push(Session::connect(world, device, *transport).await?);
    }
    presence(world, &mut service, &mut admin, true).await?;
    for session in sessions {
        session.leave().await?;
    }
    presence(world, &mut service, &mut admin, false).await?;
    for device in &world.devices {
        take_messages(world, device).await?;
    }
    world.is_quiet.store(true, Ordering::Release);
    let mut sequences: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for device in &world.devices {
        twin(world, &mut service, device).await?;
        events(world, &mut admin, device, &mut sequences).await?;
    }
    for (partition, numbers) in sequences {
        world.ledger.lock().check_sequence(partition, numbers);
    }
    Ok(())
}

/// Statistics, connection states and connections say that everybody is there, or nobody.
async fn presence(
    world: &World,
    service: &mut Service,
    admin: &mut Http,
    are_connected: bool,
) -> anyhow::Result<()> {
    let expected = if are_connected { world.devices.len() } else { 0 };
    let (begun, mut looks) = (Instant::now(), interval(LOOK));
    loop {
        looks.tick().await;
        let statistics = service.call("GET", "/statistics/service", &[], "").await?.json()?;
        let connected = service::connections(admin).await?.len();
        let is_true =
            statistics["connectedDeviceCount"].as_u64() == Some(expected as u64) && connected == expected;
        if is_true {
            break;
        }
        if begun.elapsed() > PATIENCE {
            let wrong = format!("{expected} devices are connected; {statistics}, {connected} connections");
            world.ledger.lock().violation(wrong);
            break;
        }
    }
    let state = if are_connected { "Connected" } else { "Disconnected" };
    for device in &world.devices {
        let identity = service.call("GET", &format!("/devices/{device}"), &[], "").await?.json()?;
        if identity["connectionState"] != state {
            let wrong = format!("{device} should be {state}: {}", identity["connectionState"]);
            world.ledger.lock().violation(wrong);
        }
    }
    Ok(())
}

/// Completes what is left in a device's queue.
async fn take_messages(world: &World, device: &str) -> anyhow::Result<()> {
    let mut session = Session::connect(world, device, Transport::Https).await?;
    while let Event::Message { id, lock } = session.next().await? {
        world.ledger.lock().message_delivered(device, &id);
        world.ledger.lock().message_settled(&id, Settled::Completed);
        if session.settle(lock, Settled::Completed).await? {
            world.ledger.lock().message_confirmed(&id, Settled::Completed);
        }
    }
    Ok(())
}

async fn twin(world: &World, service: &mut Service, device: &str) -> anyhow::Result<()> {
    let twin = service.call("GET", &format!("/twins/{device}"), &[], "").await?.json()?;
    let version =
        |section: &str| twin["properties"][section]["$version"].as_u64().context("a twin has versions");
    let mut ledger = world.ledger.lock();
    ledger.check_reported(device, version("reported")?);
    ledger.check_desired(device, version("desired")?);
    Ok(())
}

/// What the hub has of a device's telemetry, and where.
async fn events(
    world: &World,
    admin: &mut Http,
    device: &str,
    sequences: &mut BTreeMap<u64, Vec<u64>>,
) -> anyhow::Result<()> {
    let request = format!("GET /admin/events?device={device}&limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let rows = admin.exchange(request.as_bytes()).await?.json()?;
    let mut telemetry = Vec::new();
    for row in rows.as_array().context("a list")? {
        let number = |name: &str| row[name].as_u64().with_context(|| format!("{name} in {row}"));
        sequences.entry(number("partition")?).or_default().push(number("sequenceNumber")?);
        telemetry.push(row["body"].as_str().context("a body")?.parse()?);
    }
    world.ledger.lock().check_telemetry(device, &telemetry);
    Ok(())
}
