//! A device over HTTPS (contract/rest.md, device part): a poll for messages is all it can be told.

use anyhow::{Context as _, ensure};

use super::{Event, Lock, Settled};
use crate::churn::World;
use crate::http::{Answer, Http};
use crate::target::request;

pub(crate) struct Session {
    http: Http,
    device: String,
    token: String,
    acknowledged: Option<usize>,
}

impl Session {
    pub(super) async fn connect(world: &World, device: &str) -> anyhow::Result<Self> {
        let http = Http::dial(&world.target.dialler, world.target.server.address).await?;
        let token = world.target.token(device).context("devices of the hub have tokens")?;
        Ok(Self { http, device: device.to_owned(), token, acknowledged: None })
    }

    async fn call(&mut self, verb: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
        let path = format!("/devices/{}/messages/{path}", self.device);
        self.http.exchange(&request(verb, &path, &self.token, &[], body)).await
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Event> {
        if let Some(number) = self.acknowledged.take() {
            return Ok(Event::Acknowledged(number));
        }
        let answer = self.call("GET", "deviceBound", "").await?;
        if answer.status == 204 {
            return Ok(Event::Nothing);
        }
        ensure!(answer.status == 200, "a poll was answered {} {}", answer.status, answer.body);
        let id = answer.header("iothub-messageid").context("a message has an id")?.to_owned();
        let token = answer.header("etag").context("a message has a lock")?.trim_matches('"').to_owned();
        Ok(Event::Message { id, lock: Lock::Token(token) })
    }

    pub(super) async fn send(&mut self, number: usize) -> anyhow::Result<()> {
        let answer = self.call("POST", "events", &number.to_string()).await?;
        ensure!(answer.status == 204, "telemetry was answered {} {}", answer.status, answer.body);
        self.acknowledged = Some(number);
        Ok(())
    }

    /// Whether it was confirmed; a lock that another session has broken is no fault.
    pub(super) async fn settle(&mut self, token: &str, how: Settled) -> anyhow::Result<bool> {
        let answer = match how {
            Settled::Abandoned => self.call("POST", &format!("deviceBound/{token}/abandon"), "").await?,
            Settled::Completed => self.call("DELETE", &format!("deviceBound/{token}"), "").await?,
            Settled::Rejected => self.call("DELETE", &format!("deviceBound/{token}?reject"), "").await?,
        };
        ensure!(matches!(answer.status, 204 | 412), "{how:?} was answered {} {}", answer.status, answer.body);
        Ok(answer.status == 204)
    }
}
