//! Services: they change desired properties, send messages, call methods, read feedback, and look at who is
//! connected.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::time::{Instant, interval, timeout};

use super::World;
use crate::dice::Dice;
use crate::http::{Answer, Http};
use crate::target::{owner_token, request};

/// How often a service does something.
const PACE: Duration = Duration::from_millis(100);
/// How often connections are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than any call takes: its own limits are 5 s.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long the last feedback may take, after everything else is over.
const FEEDBACK_LIMIT: Duration = Duration::from_secs(60);

/// A client of the REST API with every right.
pub(super) struct Service {
    http: Http,
    token: String,
}

impl Service {
    pub(super) async fn new(world: &World) -> anyhow::Result<Self> {
        let http = Http::dial(&world.target.dialler, world.target.server.address).await?;
        Ok(Self { http, token: owner_token()? })
    }

    pub(super) async fn call(
        &mut self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        self.http.exchange(&request(verb, path, &self.token, headers, body)).await
    }
}

fn pick<'a>(world: &'a World, dice: &mut Dice, own: &Range<usize>) -> anyhow::Result<&'a str> {
    let number = own.start + dice.below(own.len() as u64) as usize;
    Ok(world.devices.get(number).context("a device of this world")?)
}

/// Changes desired properties of its own devices, and sends them messages.
pub(super) async fn send_and_patch(world: Arc<World>, own: Range<usize>) -> anyhow::Result<()> {
    let mut service = Service::new(&world).await?;
    let mut dice = Dice::of(world.seed.wrapping_add(1_000_000 + own.start as u64));
    let (mut ticks, mut number) = (interval(PACE), 0_u64);
    while !world.is_over() {
        ticks.tick().await;
        number += 1;
        let device = pick(&world, &mut dice, &own)?;
        if dice.below(2) == 0 {
            let body = json!({"properties": {"desired": {"n": number}}}).to_string();
            let answer = service.call("PATCH", &format!("/twins/{device}"), &[], &body).await?.json()?;
            let version =
                answer["properties"]["desired"]["$version"].as_u64().context("a twin has versions")?;
            world.ledger.lock().desired_answered(device, version);
            continue;
        }
        let id = format!("{device}.{number}");
        world.ledger.lock().message_sent(&id);
        let headers = [("iothub-messageid", id.as_str()), ("iothub-ack", "full")];
        let path = format!("/devices/{device}/messages/deviceBound");
        match service.call("POST", &path, &headers, &id).await? {
            Answer { status: 204, .. } => world.ledger.lock().count("messages sent"),
            Answer { status: 403, .. } => world.ledger.lock().message_refused(&id),
            answer => world.ledger.lock().violation(format!("sending {id} was answered {answer:?}")),
        }
    }
    Ok(())
}

/// Calls methods of its own devices, one after another: each call ends, once.
pub(super) async fn call(world: Arc<World>, own: Range<usize>) -> anyhow::Result<()> {
    let mut service = Service::new(&world).await?;
    let mut dice = Dice::of(world.seed.wrapping_add(2_000_000 + own.start as u64));
    let (mut ticks, mut number) = (interval(PACE), own.start as u64 * 1_000_000);
    while !world.is_over() {
        ticks.tick().await;
        number += 1;
        let device = pick(&world, &mut dice, &own)?;
        let body = json!({
            "methodName": "churn",
            "payload": {"n": number},
            "responseTimeoutInSeconds": 5,
            "connectTimeoutInSeconds": dice.below(2),
        });
        let (path, body) = (format!("/twins/{device}/methods"), body.to_string());
        let Ok(answer) = timeout(CALL_LIMIT, service.call("POST", &path, &[], &body)).await else {
            world.ledger.lock().violation(format!("call {number} of {device} never ended"));
            return Ok(());
        };
        let answer = answer?;
        let mut ledger = world.ledger.lock();
        match answer.status {
            200 if answer.json()? == json!({"status": 200, "payload": {"n": number}}) => {
                ledger.method_answered(number);
            }
            404 | 502 | 504 => ledger.count("methods failed"),
            _ => ledger.violation(format!("call {number} of {device} was answered {answer:?}")),
        }
    }
    Ok(())
}

/// Nobody is connected twice.
pub(super) async fn watch_connections(world: Arc<World>) -> anyhow::Result<()> {
    let mut admin = Http::dial_plain(world.target.server.port("admin")?).await?;
    let mut ticks = interval(LOOK);
    while !world.is_over() {
        ticks.tick().await;
        let connected = connections(&mut admin).await?;
        let mut ledger = world.ledger.lock();
        ledger.count("looks at the connections");
        let mut seen = HashSet::new();
        for device in connected.iter().filter(|device| !seen.insert(*device)) {
            ledger.violation(format!("{device} is connected twice"));
        }
    }
    Ok(())
}

/// The identity of each connection.
pub(super) async fn connections(admin: &mut Http) -> anyhow::Result<Vec<String>> {
    let answer =
        admin.exchange(b"GET /admin/connections HTTP/1.1\r\nHost: localhost\r\n\r\n").await?.json()?;
    let rows = answer.as_array().context("a list")?;
    rows.iter().map(|row| Ok(row["deviceId"].as_str().context("a device")?.to_owned())).collect()
}

/// Reads feedback until everything is quiet and every message has ended.
pub(super) async fn read_feedback(world: Arc<World>) -> anyhow::Result<()> {
    let mut service = Service::new(&world).await?;
    let (mut ticks, mut quiet_since) = (interval(PACE), None);
    loop {
        ticks.tick().await;
        if world.is_quiet.load(Ordering::Acquire) {
            let since = *quiet_since.get_or_insert_with(Instant::now);
            if world.ledger.lock().messages_open() == 0 || since.elapsed() > FEEDBACK_LIMIT {
                return Ok(());
            }
        }
        loop {
            let answer = service.call("GET", "/messages/serviceBound/feedback", &[], "").await?;
            if answer.status == 204 {
                break;
            }
            for record in answer.json()?.as_array().context("feedback is a list")? {
                let text = |name| record[name].as_str().with_context(|| format!("{name} in {record}"));
                let (id, status) = (text("originalMessageId")?, text("statusCode")?);
                world.ledger.lock().feedback(id, status);
            }
            let lock = answer.header("etag").context("feedback has a lock")?.trim_matches('"').to_owned();
            let settled =
                service.call("DELETE", &format!("/messages/serviceBound/feedback/{lock}"), &[], "").await?;
            ensure!(settled.status == 204, "feedback was settled with {settled:?}");
        }
    }
}
