//! A request and its answer on one connection, one after another: the hub is asked for the twin, a broker returns a
//! message to its sender. Both take one packet in and one out, at QoS 0.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Figures, figures, names};
use crate::histogram::Histogram;
use crate::mqtt;
use crate::target::Target;

pub(super) async fn run(target: &Arc<Target>, time: Duration) -> anyhow::Result<Figures> {
    let device = names(1).concat();
    let mut wire = target.connect(&device).await?;
    let (filter, topic, body): (&str, &str, &[u8]) = if target.is_hub() {
        ("$iothub/twin/res/#", "$iothub/twin/GET/?$rid=1", b"")
    } else {
        ("echo", "echo", &[b'x'; 256])
    };
    mqtt::subscribed(&mut wire, filter, 0).await?;
    let (mut latency, begun) = (Histogram::new(), Instant::now());
    let mut measured_from = None;
    while begun.elapsed() < time + time / 3 {
        if measured_from.is_none() && begun.elapsed() >= time / 3 {
            measured_from = Some((Instant::now(), target.server.cpu_secs()?));
            latency = Histogram::new();
        }
        let sent = Instant::now();
        mqtt::publish(&mut wire.out, topic.as_bytes(), None, body);
        wire.flush().await?;
        mqtt::next(&mut wire, |packet| packet.as_publish().map(|_| ())).await?;
        latency.add(sent.elapsed());
    }
    let (from, before) = measured_from.unwrap_or((begun, 0.0));
    figures(&target.server, &latency, from.elapsed().as_secs_f64(), target.server.cpu_secs()? - before)
}
