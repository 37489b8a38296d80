//! A device over MQTT (contract/mqtt.md 5 to 8).

use std::collections::HashMap;

use anyhow::Context as _;
use serde_json::Value;

use super::{Event, Lock, Request};
use crate::churn::World;
use crate::mqtt::{self, Packet};
use crate::wire::Wire;

pub(crate) struct Session {
    wire: Wire,
    telemetry_topic: String,
    under_way: HashMap<u16, usize>,
    next_id: u16,
}

impl Session {
    pub(super) async fn connect(world: &World, device: &str, is_websocket: bool) -> anyhow::Result<Self> {
        let (server, dialler) = (&world.target.server, &world.target.dialler);
        let mut wire = if is_websocket {
            dialler.dial_websocket(server.address, "mqtt").await?
        } else {
            dialler.dial(server.port("mqtts")?).await?
        };
        mqtt::log_in(&mut wire, &world.target.login(device)).await?;
        // A session's last messages may come before the grant, so that is not waited for.
        mqtt::subscribe(
            &mut wire.out,
            1,
            &[
                ("$iothub/twin/res/#", 0),
                ("$iothub/twin/PATCH/properties/desired/#", 0),
                ("$iothub/methods/POST/#", 0),
                (&format!("devices/{device}/messages/devicebound/#"), 1),
            ],
        );
        wire.flush().await?;
        let telemetry_topic = format!("devices/{device}/messages/events/");
        Ok(Self { wire, telemetry_topic, under_way: HashMap::new(), next_id: 1 })
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some((packet, length)) = mqtt::parse(self.wire.arrived())? {
                let event = event(&packet, &mut self.under_way)?;
                self.wire.take(length);
                return Ok(event);
            }
            if !self.wire.fill().await.unwrap_or(false) {
                return Ok(Event::Closed);
            }
        }
    }

    pub(super) async fn send(&mut self, number: usize) -> anyhow::Result<()> {
        self.next_id = self.next_id % 60_000 + 1;
        self.under_way.insert(self.next_id, number);
        let body = number.to_string();
        mqtt::publish(
            &mut self.wire.out,
            self.telemetry_topic.as_bytes(),
            Some(self.next_id),
            body.as_bytes(),
        );
        self.wire.flush().await
    }

    pub(super) async fn report(&mut self, number: u64) -> anyhow::Result<()> {
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={number}");
        let body = format!(r#"{{"n":{number}}}"#);
        mqtt::publish(&mut self.wire.out, topic.as_bytes(), None, body.as_bytes());
        self.wire.flush().await
    }

    pub(super) async fn answer(&mut self, request: &str, number: u64) -> anyhow::Result<()> {
        let (topic, body) =
            (format!("$iothub/methods/res/200/?$rid={request}"), format!(r#"{{"n":{number}}}"#));
        mqtt::publish(&mut self.wire.out, topic.as_bytes(), None, body.as_bytes());
        self.wire.flush().await
    }

    pub(super) async fn complete(&mut self, id: u16) -> anyhow::Result<()> {
        mqtt::puback(&mut self.wire.out, id);
        self.wire.flush().await
    }

    pub(super) async fn leave(mut self) -> anyhow::Result<()> {
        mqtt::bare(&mut self.wire.out, mqtt::DISCONNECT);
        self.wire.flush().await?;
        self.wire.shut().await;
        Ok(())
    }
}

fn event(packet: &Packet<'_>, under_way: &mut HashMap<u16, usize>) -> anyhow::Result<Event> {
    if let Some(id) = mqtt::acknowledged(packet)? {
        return Ok(under_way.remove(&id).map_or(Event::Nothing, Event::Acknowledged));
    }
    let Some(publish) = packet.as_publish() else { return Ok(Event::Nothing) };
    let topic = std::str::from_utf8(publish.topic)?;
    let json = || serde_json::from_slice::<Value>(publish.payload);
    let query = |name: &str| {
        let pairs = topic.rsplit_once('?')?.1.split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
        return Ok(Event::DesiredChanged(json()?["$version"].as_u64().context("a change has a version")?));
    }
    if topic.starts_with("$iothub/methods/POST/") {
        let request = Request::RequestId(query("$rid").context("a call has an id")?.to_owned());
        return Ok(Event::MethodCalled { request, number: json()?["n"].as_u64().context("our payload")? });
    }
    if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
        return Ok(match (rest.starts_with("204"), query("$version")) {
            (true, Some(version)) => Event::Reported(version.parse()?),
            _ => Event::Refused(format!("{topic} {}", String::from_utf8_lossy(publish.payload))),
        });
    }
    let bag = topic.rsplit_once('/').map_or("", |(_, bag)| bag);
    let id = bag.split('&').find_map(|pair| pair.strip_prefix("%24.mid=")).context("a message has an id")?;
    Ok(Event::Message { id: id.to_owned(), lock: Lock::PacketId(publish.id.context("QoS 1 was asked for")?) })
}
