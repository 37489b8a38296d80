//! The ways to misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

use crate::device::{connect, names};
use crate::mqtt;
use crate::target::{Target, owner_token, request};
use crate::wire::Wire;

/// Devices that an offence may use: those of the cut, which needs the most.
pub(super) const DEVICES: usize = 1000;
/// Clients that stop reading, what each asks for, and its desired properties: so long that a few hundred answers fill
/// every buffer on the way, and the hub has to stop reading the questions.
const STALLED: usize = 20;
const ASKED: usize = 2000;
const LONG_PROPERTIES: usize = 7;
const LONG_BYTES: usize = 4000;
/// Body of a flooding message, and messages of one write.
const FLOOD_BYTES: usize = 1024;
const FLOOD_BATCH: usize = 64;
/// Between two connections of the one that reconnects; some may be under way at a time.
const RECONNECT: Duration = Duration::from_millis(10);
const RECONNECTS_UNDER_WAY: usize = 16;
/// Memory that grew by less than this in a round of warming up does so no more.
const LEVEL_MIB: f64 = 2.0;
const WARM_UPS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Offence {
    /// A thousand connections end at once, half of them reset and half closed without a goodbye.
    Cut,
    /// One device sends telemetry as fast as it is taken.
    Flood,
    /// One device connects a hundred times a second, over itself.
    Reconnect,
    /// Devices ask and ask and never read an answer.
    Stall,
}

impl Offence {
    pub(super) const fn load(self) -> &'static str {
        match self {
            Self::Cut => "misuse-cut",
            Self::Flood => "misuse-flood",
            Self::Reconnect => "misuse-reconnect",
            Self::Stall => "misuse-stall",
        }
    }
}

pub(super) struct Offenders {
    offence: Offence,
    target: Arc<Target>,
    gathered: Vec<Wire>,
}

impl Offenders {
    pub(super) fn new(offence: Offence, target: &Arc<Target>) -> Self {
        Self { offence, target: Arc::clone(target), gathered: Vec::new() }
    }

    /// Offends until memory levels off: the event hub keeps what it is sent up to a limit, the allocator what it
    /// needed once. What still grows afterwards is a leak.
    pub(super) async fn warm_up(&mut self, time: Duration) -> anyhow::Result<()> {
        if self.offence == Offence::Stall {
            self.lengthen_answers().await?;
        }
        let mut level = self.target.server.rss_mib()?;
        for _ in 0..WARM_UPS {
            self.gather().await?;
            self.offend(Instant::now() + time).await?;
            let rss = self.target.server.rss_mib()?;
            if rss < level + LEVEL_MIB {
                break;
            }
            level = rss;
        }
        Ok(())
    }

    async fn lengthen_answers(&self) -> anyhow::Result<()> {
        let (token, mut client) = (owner_token()?, self.target.server.connector()?.connect().await?);
        let desired: Map<_, _> =
            (0..LONG_PROPERTIES).map(|n| (format!("long{n}"), json!("x".repeat(LONG_BYTES)))).collect();
        let body = json!({"properties": {"desired": desired}}).to_string();
        for device in names(STALLED) {
            client.exchange(&request("PATCH", &format!("/twins/{device}"), &token, &[], &body)).await?;
        }
        Ok(())
    }

    /// What is to be there before it begins.
    pub(super) async fn gather(&mut self) -> anyhow::Result<()> {
        if self.offence == Offence::Cut {
            self.gathered = connect::open(&self.target, names(DEVICES), true).await?.wires;
        }
        Ok(())
    }

    /// Misbehaves until then; how often.
    pub(super) async fn offend(&mut self, until: Instant) -> anyhow::Result<u64> {
        let acts = Arc::new(AtomicU64::new(0));
        match self.offence {
            Offence::Cut => {
                for (n, wire) in self.gathered.drain(..).enumerate() {
                    wire.cut(n % 2 == 0)?;
                    acts.fetch_add(1, Ordering::Relaxed);
                }
                sleep_until(until).await;
            }
            Offence::Flood => flood(&self.target, &acts, until).await,
            Offence::Reconnect => reconnect(&self.target, &acts, until).await,
            Offence::Stall => {
                let mut stalling = JoinSet::new();
                for device in names(STALLED) {
                    let (target, acts) = (Arc::clone(&self.target), Arc::clone(&acts));
                    stalling.spawn(async move { stall(&target, &device, &acts, until).await });
                }
                stalling.join_all().await;
            }
        }
        Ok(acts.load(Ordering::Relaxed))
    }
}

/// Asks for more than the buffers on the way hold, and reads nothing until the end.
async fn stall(target: &Target, device: &str, acts: &AtomicU64, until: Instant) {
    let ask = async {
        let Ok(mut wire) = target.connect(device).await else { return };
        if mqtt::subscribed(&mut wire, "$iothub/twin/res/#", 0).await.is_err() {
            return;
        }
        for _ in 0..ASKED {
            mqtt::publish(&mut wire.out, b"$iothub/twin/GET/?$rid=1", None, b"");
            if wire.flush().await.is_err() {
                return;
            }
            acts.fetch_add(1, Ordering::Relaxed);
        }
        sleep_until(until).await;
    };
    // It may hang in a write, and the time runs out.
    let _ = timeout_at(until, ask).await;
}

async fn flood(target: &Target, acts: &AtomicU64, until: Instant) {
    let device = names(1).concat();
    let (topic, body) = (format!("devices/{device}/messages/events/"), [b'x'; FLOOD_BYTES]);
    let send = async {
        while Instant::now() < until {
            let Ok(mut wire) = target.connect(&device).await else { continue };
            while wire.flush().await.is_ok() {
                for _ in 0..FLOOD_BATCH {
                    mqtt::publish(&mut wire.out, topic.as_bytes(), None, &body);
                }
                acts.fetch_add(FLOOD_BATCH as u64, Ordering::Relaxed);
            }
        }
    };
    let _ = timeout_at(until, send).await;
}

async fn reconnect(target: &Arc<Target>, acts: &Arc<AtomicU64>, until: Instant) {
    let mut ticks = interval(RECONNECT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut connecting = JoinSet::new();
    while ticks.tick().await < until {
        while connecting.try_join_next().is_some() {}
        if connecting.len() < RECONNECTS_UNDER_WAY {
            let (target, acts) = (Arc::clone(target), Arc::clone(acts));
            connecting.spawn(async move {
                let device = names(1).concat();
                // One of them may be thrown out by the next before it is in.
                if let Ok(_wire) = target.connect(&device).await {
                    acts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    connecting.join_all().await;
}
