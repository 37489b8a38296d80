//! Who reads: AMQP readers with credit of the emulator, subscribers of a broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::time::{Instant, sleep_until};

use super::ledger::Ledger;
use crate::amqp::skim::{self, Skimmed};
use crate::amqp::{Amqp, Link};
use crate::device::Span;
use crate::histogram::Histogram;
use crate::mqtt;
use crate::target::{Target, owner_token};
use crate::wire::Wire;

/// Of a hub as it is unless configured.
const PARTITIONS: usize = 4;
/// What a reader lets come, and after how many it says so again.
const CREDIT: u32 = 1000;
const RENEWED_AFTER: u32 = 500;
/// What a reader that will stall lets come: all there is, so that nothing but the server bounds what waits for it. The
/// server hangs up on who leaves its bytes unread for half a minute, so longer stalls are of readers with usual credit.
const CREDIT_STALLED: u32 = 10_000_000;
const STALL_OF_BYTES: Duration = Duration::from_secs(20);

/// One reader of a group.
pub(super) struct Reader {
    pub(super) group: usize,
    connection: Connection,
}

enum Connection {
    Amqp { amqp: Box<Amqp>, link: Link },
    Mqtt(Wire),
}

/// How old messages were when they were read.
#[derive(Debug)]
pub(super) struct Latencies {
    pub(super) after_acknowledgement: Histogram,
    pub(super) after_send: Histogram,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { after_acknowledgement: Histogram::new(), after_send: Histogram::new() }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.after_acknowledgement.merge(&other.after_acknowledgement);
        self.after_send.merge(&other.after_send);
    }
}

/// The consumer group of a number.
pub(super) fn group_name(group: usize) -> String {
    format!("bench-{group}")
}

/// Readers of everything from now on, for each group.
pub(super) async fn open(target: &Target, groups: usize) -> anyhow::Result<Vec<Reader>> {
    let mut readers = Vec::new();
    for group in 0..groups {
        if !target.is_hub() {
            let mut wire = target.connect(&format!("reader-{group}")).await?;
            mqtt::subscribed(&mut wire, "devices/+/messages/events/", 1).await?;
            readers.push(Reader { group, connection: Connection::Mqtt(wire) });
            continue;
        }
        for partition in 0..PARTITIONS {
            let wire = target.dialler.dial(target.server.port("amqps")?).await?;
            let user = "iothubowner@sas.root.localhost";
            let mut amqp = Box::new(Amqp::open_plain(wire, user, &owner_token()?).await?);
            let name = group_name(group);
            let address = format!("localhost/ConsumerGroups/{name}/Partitions/{partition}");
            let link = amqp.event_receiver(&address).await?;
            readers.push(Reader { group, connection: Connection::Amqp { amqp, link } });
        }
    }
    Ok(readers)
}

impl Reader {
    /// Reads until everything that was sent is read; takes no byte during `stall`.
    pub(super) async fn run(
        mut self,
        ledger: Arc<Ledger>,
        span: Span,
        stall: Option<Span>,
    ) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new();
        let (mut received, mut granted) = (0, 0);
        let is_of_bytes = stall.is_some_and(|stall| stall.to - stall.from <= STALL_OF_BYTES);
        let credit = if is_of_bytes { CREDIT_STALLED } else { CREDIT };
        loop {
            if let Connection::Amqp { amqp, link } = &mut self.connection
                && (granted == 0 || granted - received <= credit - RENEWED_AFTER)
            {
                amqp.put_much_credit(*link, received, credit);
                granted = received + credit;
            }
            self.wire().flush().await?;
            if let Some(stall) = stall.filter(|stall| stall.has(Instant::now())) {
                sleep_until(stall.to).await;
            }
            let group = self.group;
            let wire = self.wire();
            let is_open = tokio::select! {
                filled = wire.fill() => filled?,
                () = ledger.all_read(group) => return Ok(latencies),
            };
            ensure!(is_open, "the server closed a reader's connection");
            let now = Instant::now();
            received += self.take(|body| {
                let ages = ledger.note(group, body, now)?;
                if span.has(now) {
                    latencies.after_send.add(ages.since_sent);
                    ages.since_acknowledged
                        .into_iter()
                        .for_each(|age| latencies.after_acknowledgement.add(age));
                }
                Ok(())
            })?;
        }
    }

    fn wire(&mut self) -> &mut Wire {
        match &mut self.connection {
            Connection::Amqp { amqp, .. } => &mut amqp.wire,
            Connection::Mqtt(wire) => wire,
        }
    }

    /// Takes the messages that have arrived whole; how many.
    fn take(&mut self, mut each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<u32> {
        let mut taken = 0;
        match &mut self.connection {
            Connection::Amqp { amqp, .. } => {
                while let Some((frame, length)) = skim::frame(amqp.wire.arrived())? {
                    match frame {
                        Skimmed::Event(body) => {
                            each(body)?;
                            taken += 1;
                        }
                        Skimmed::Other(code @ (0x16..=0x18)) => bail!("the hub ended a reader: {code:#x}"),
                        Skimmed::Other(_) => {}
                    }
                    amqp.wire.take(length);
                }
            }
            Connection::Mqtt(wire) => mqtt::drain(wire, |packet, out| {
                if let Some(publish) = packet.as_publish() {
                    each(publish.payload)?;
                    taken += 1;
                    publish.id.into_iter().for_each(|id| mqtt::puback(out, id));
                }
                Ok(())
            })?,
        }
        Ok(taken)
    }
}
