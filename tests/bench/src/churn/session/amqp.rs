//! A device over AMQP with a token by CBS (contract/amqp.md 2 to 4).

use std::collections::HashMap;

use anyhow::Context as _;
use serde_json::Value as Json;

use super::{Event, Lock, Request, Settled};
use crate::amqp::frame::{self, Frame, code};
use crate::amqp::{Amqp, Link, Message, Value};
use crate::churn::World;

/// Deliveries after which a receiver lets more come.
const TOP_UP: u32 = 50;

pub(crate) struct Session {
    amqp: Amqp,
    device: String,
    links: Links,
    received: HashMap<u32, u32>,
    under_way: HashMap<u32, usize>,
}

#[derive(Clone, Copy)]
struct Links {
    cbs: Link,
    telemetry: Link,
    twin: Link,
    twin_in: Link,
    methods: Link,
    methods_in: Link,
    messages_in: Link,
}

impl Session {
    pub(super) async fn connect(world: &World, device: &str, is_websocket: bool) -> anyhow::Result<Self> {
        let (server, dialler) = (&world.target.server, &world.target.dialler);
        let wire = if is_websocket {
            dialler.dial_websocket(server.address, "AMQPWSB10").await?
        } else {
            dialler.dial(server.port("amqps")?).await?
        };
        let mut amqp = Amqp::open(wire).await?;
        let cbs = amqp.cbs().await?;
        let token = world.target.token(device).context("devices of the hub have tokens")?;
        amqp.authorize(cbs, &audience(device), &token).await?;
        let node = |node: &str| format!("/devices/{device}/{node}");
        let links = Links {
            cbs,
            telemetry: amqp.sender(&node("messages/events")).await?,
            twin: amqp.sender(&node("twin")).await?,
            twin_in: amqp.silent_receiver(&node("twin")).await?,
            methods: amqp.sender(&node("methods/devicebound")).await?,
            methods_in: amqp.silent_receiver(&node("methods/devicebound")).await?,
            messages_in: amqp.silent_receiver(&node("messages/devicebound")).await?,
        };
        // From here on deliveries may come, and somebody reads them.
        for link in [links.twin_in, links.methods_in, links.messages_in] {
            amqp.put_credit(link, 0);
        }
        let mut session = Self {
            amqp,
            device: device.to_owned(),
            links,
            received: HashMap::new(),
            under_way: HashMap::new(),
        };
        session.ask_twin("PUT", "/notifications/twin/properties/desired", "put", b" ").await?;
        Ok(session)
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(frame) = frame::arrived(&mut self.amqp.wire)? {
                self.amqp.note(&frame);
                return self.event(&frame).await;
            }
            if !self.amqp.wire.fill().await.unwrap_or(false) {
                return Ok(Event::Closed);
            }
        }
    }

    async fn event(&mut self, frame: &Frame) -> anyhow::Result<Event> {
        match frame.code {
            code::TRANSFER => self.delivery(frame).await,
            code::DISPOSITION if *frame.field(0) == Value::Bool(true) => {
                let id = frame.number(1).context("a disposition says of what")?;
                let is_accepted = frame.field(4).split().is_some_and(|(state, _)| state == code::ACCEPTED);
                let number = self.under_way.remove(&id).filter(|_| is_accepted);
                Ok(number.map_or(Event::Nothing, Event::Acknowledged))
            }
            code::DETACH | code::END | code::CLOSE => Ok(Event::Closed),
            _ => Ok(Event::Nothing),
        }
    }

    async fn delivery(&mut self, frame: &Frame) -> anyhow::Result<Event> {
        let link = Link(frame.number(0).context("a transfer names its link")?);
        let id = frame.number(1).context("a delivery has an id")?;
        let received = self.received.entry(link.0).or_default();
        *received += 1;
        if received.is_multiple_of(TOP_UP) {
            self.amqp.put_credit(link, *received);
        }
        let message = Message::parse(&frame.payload)?;
        if link != self.links.messages_in {
            self.amqp.settle(id, code::ACCEPTED);
        }
        self.amqp.wire.flush().await?;
        let json = || serde_json::from_slice::<Json>(message.body_bytes());
        if link == self.links.messages_in {
            let message = message.message_id.text().context("a message has an id")?;
            return Ok(Event::Message { id: message.to_owned(), lock: Lock::Delivery(id) });
        }
        if link == self.links.methods_in {
            let Value::Uuid(correlation) = message.correlation_id else { anyhow::bail!("a call has a uuid") };
            let number = json()?["n"].as_u64().context("our payload")?;
            return Ok(Event::MethodCalled { request: Request::Correlation(correlation), number });
        }
        if link == self.links.twin_in {
            let status = message.annotations.get("status").and_then(Value::number);
            return Ok(match (message.correlation_id.text(), status) {
                (None, _) => {
                    Event::DesiredChanged(json()?["$version"].as_u64().context("a change has a version")?)
                }
                (Some("put"), Some(200)) => Event::Nothing,
                (Some("patch"), Some(200 | 204)) => {
                    let version = message.annotations.get("version").and_then(Value::number);
                    Event::Reported(version.context("an answer to a patch has a version")?)
                }
                (Some(request), status) => Event::Refused(format!("{request}: {status:?} {message:?}")),
            });
        }
        let status = message.application.get("status-code").and_then(Value::number);
        Ok(Event::Renewed(status == Some(200)))
    }

    pub(super) async fn send(&mut self, number: usize) -> anyhow::Result<()> {
        let message = Message::data(number.to_string().as_bytes()).bytes();
        let id = self.amqp.transfer(self.links.telemetry, &message);
        self.under_way.insert(id, number);
        self.amqp.wire.flush().await
    }

    pub(super) async fn report(&mut self, number: u64) -> anyhow::Result<()> {
        let body = format!(r#"{{"n":{number}}}"#);
        self.ask_twin("PATCH", "/properties/reported", "patch", body.as_bytes()).await
    }

    async fn ask_twin(
        &mut self,
        operation: &str,
        resource: &str,
        id: &str,
        body: &[u8],
    ) -> anyhow::Result<()> {
        let annotations = [("operation", operation), ("resource", resource)];
        let message = Message {
            correlation_id: Value::string(id),
            annotations: Value::Map(
                annotations.map(|(name, value)| (Value::symbol(name), Value::string(value))).to_vec(),
            ),
            ..Message::data(body)
        };
        self.amqp.transfer(self.links.twin, &message.bytes());
        self.amqp.wire.flush().await
    }

    pub(super) async fn renew(&mut self, world: &World) -> anyhow::Result<()> {
        let token = world.target.token(&self.device).context("devices of the hub have tokens")?;
        self.amqp.put_token(self.links.cbs, &audience(&self.device), &token, "renewed");
        self.amqp.wire.flush().await
    }

    pub(super) async fn answer(&mut self, correlation: [u8; 16], number: u64) -> anyhow::Result<()> {
        let message = Message {
            correlation_id: Value::Uuid(correlation),
            application: Value::Map(vec![(Value::string("IoThub-status"), Value::Int(200))]),
            ..Message::data(format!(r#"{{"n":{number}}}"#).as_bytes())
        };
        self.amqp.transfer(self.links.methods, &message.bytes());
        self.amqp.wire.flush().await
    }

    pub(super) async fn settle(&mut self, delivery: u32, how: Settled) -> anyhow::Result<()> {
        self.amqp.settle(
            delivery,
            match how {
                Settled::Abandoned => code::RELEASED,
                Settled::Completed => code::ACCEPTED,
                Settled::Rejected => code::REJECTED,
            },
        );
        self.amqp.wire.flush().await
    }

    pub(super) async fn leave(mut self) -> anyhow::Result<()> {
        frame::put(&mut self.amqp.wire.out, code::CLOSE, vec![Value::Null], &[]);
        self.amqp.wire.flush().await?;
        self.amqp.wire.shut().await;
        Ok(())
    }
}

fn audience(device: &str) -> String {
    format!("localhost/devices/{device}")
}
