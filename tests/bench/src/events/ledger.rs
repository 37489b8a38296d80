//! What was sent, acknowledged and read. Devices number their messages; a reader of a group expects of each device the
//! numbers in their order, and each once.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Acknowledgements of which the time is kept, of each device.
const KEPT: usize = 4096;
/// Bytes of a body's head: device, number, nanoseconds since the ledger began.
const HEAD_BYTES: usize = 16;
/// Events of a group between two looks at how far it is.
const LOOK: u64 = 256;
/// How far senders may be ahead of the slowest group at full rate: less than the emulator keeps in one partition.
const LEAD: u64 = 15_000;
/// Bytes of a message's body.
pub(super) const BODY_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct Ledger {
    began: Instant,
    devices: Vec<Device>,
    acknowledged: AtomicU64,
    groups: Vec<Group>,
    is_closed: AtomicBool,
    /// Senders may go on, or the ledger was closed.
    moved: Notify,
}

#[derive(Debug)]
struct Device {
    acknowledged: AtomicU32,
    /// When, in nanoseconds; by number modulo [`KEPT`].
    times: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Group {
    read: AtomicU64,
    /// What comes next of each device.
    expected: Vec<AtomicU32>,
    lost: AtomicU64,
    doubled: AtomicU64,
}

/// When a message that was read had been sent and acknowledged, before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ages {
    pub(super) since_sent: Duration,
    /// Zero if its sender has not heard of it yet; `None` if that is forgotten.
    pub(super) since_acknowledged: Option<Duration>,
}

impl Ledger {
    pub(super) fn new(devices: usize, groups: usize) -> Self {
        let device = |_| Device {
            acknowledged: AtomicU32::new(0),
            times: (0..KEPT).map(|_| AtomicU64::new(0)).collect(),
        };
        let group = |_| Group {
            read: AtomicU64::new(0),
            expected: (0..devices).map(|_| AtomicU32::new(0)).collect(),
            lost: AtomicU64::new(0),
            doubled: AtomicU64::new(0),
        };
        Self {
            began: Instant::now(),
            devices: (0..devices).map(device).collect(),
            acknowledged: AtomicU64::new(0),
            groups: (0..groups).map(group).collect(),
            is_closed: AtomicBool::new(false),
            moved: Notify::new(),
        }
    }

    /// The body of a device's next message.
    pub(super) fn body(&self, device: usize, number: u32) -> [u8; BODY_BYTES] {
        let mut body = [b'x'; BODY_BYTES];
        let nanos = self.nanos(Instant::now()).to_be_bytes();
        let head = (device as u32).to_be_bytes().into_iter().chain(number.to_be_bytes()).chain(nanos);
        body.iter_mut().zip(head).for_each(|(byte, of_head)| *byte = of_head);
        body
    }

    /// A device's messages are acknowledged in their order.
    pub(super) fn acknowledge(&self, device: usize, number: u32, at: Instant) -> anyhow::Result<()> {
        let device = self.devices.get(device).context("a device of the load")?;
        let time = device.times.get(number as usize % KEPT).context("a slot")?;
        time.store(self.nanos(at), Ordering::Relaxed);
        let before = device.acknowledged.swap(number + 1, Ordering::Release);
        ensure!(before == number, "message {number} was acknowledged after {before} others");
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Notes a message that a group has read.
    pub(super) fn note(&self, group: usize, body: &[u8], at: Instant) -> anyhow::Result<Ages> {
        let (device, rest) = body.split_first_chunk().context("a body without its head")?;
        let (number, rest) = rest.split_first_chunk().context("a body without its head")?;
        let (sent, _) = rest.split_first_chunk().context("a body without its head")?;
        ensure!(body.len() == BODY_BYTES, "a body of {} bytes", body.len());
        let (device, number) = (u32::from_be_bytes(*device) as usize, u32::from_be_bytes(*number));
        let group = self.groups.get(group).context("a group of the load")?;
        // One reader has all of a device.
        let expected = group.expected.get(device).context("a device of the load")?;
        let next = expected.load(Ordering::Relaxed);
        if number < next {
            group.doubled.fetch_add(1, Ordering::Relaxed);
        } else {
            group.lost.fetch_add(u64::from(number - next), Ordering::Relaxed);
            expected.store(number + 1, Ordering::Relaxed);
        }
        let before = group.read.fetch_add(1, Ordering::Relaxed);
        // Senders that wait are many: they are woken when there is room for all of them.
        if before % LOOK == 0 && self.lag() <= LEAD / 2 {
            self.moved.notify_waiters();
        }
        let device = self.devices.get(device).context("a device of the load")?;
        let now = self.nanos(at);
        let acknowledged = device.acknowledged.load(Ordering::Acquire);
        let since_acknowledged = if acknowledged <= number {
            Some(Duration::ZERO)
        } else if (acknowledged - number) as usize >= KEPT {
            None
        } else {
            let time = device.times.get(number as usize % KEPT).context("a slot")?.load(Ordering::Relaxed);
            Some(Duration::from_nanos(now.saturating_sub(time)))
        };
        let since_sent = Duration::from_nanos(now.saturating_sub(u64::from_be_bytes(*sent)));
        Ok(Ages { since_sent, since_acknowledged })
    }

    /// Waits while the slowest group is more than [`LEAD`] behind.
    pub(super) async fn not_ahead(&self) {
        loop {
            let moved = self.moved.notified();
            if self.lag() <= LEAD {
                return;
            }
            moved.await;
        }
    }

    /// How far the slowest group is behind; 0 if nobody reads.
    fn lag(&self) -> u64 {
        let slowest = self.groups.iter().map(|group| group.read.load(Ordering::Relaxed)).min();
        slowest.map_or(0, |read| self.acknowledged().saturating_sub(read))
    }

    /// Nothing more is sent.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Waits until everything was sent, and this group has read it all.
    pub(super) async fn all_read(&self, group: usize) {
        loop {
            let moved = self.moved.notified();
            let read = self.groups.get(group).map_or(0, |group| group.read.load(Ordering::Relaxed));
            if self.is_closed.load(Ordering::Acquire) && read >= self.acknowledged() {
                // Readers of the same group wait for the same.
                self.moved.notify_waiters();
                return;
            }
            moved.await;
        }
    }

    pub(super) fn devices(&self) -> usize {
        self.devices.len()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Of all groups together.
    pub(super) fn read(&self) -> u64 {
        self.groups.iter().map(|group| group.read.load(Ordering::Relaxed)).sum()
    }

    /// Fails unless every group has read everything once.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        for (number, group) in self.groups.iter().enumerate() {
            let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
            let (read, lost, doubled) = (count(&group.read), count(&group.lost), count(&group.doubled));
            ensure!(
                read == self.acknowledged() && lost == 0 && doubled == 0,
                "group {number} read {read} of {} messages, {lost} lost, {doubled} doubled or out of order",
                self.acknowledged()
            );
        }
        Ok(())
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from((at - self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

const _: () = assert!(HEAD_BYTES <= BODY_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn two_sent() -> (Ledger, [[u8; BODY_BYTES]; 2]) {
        let ledger = Ledger::new(2, 1);
        let bodies = [0, 1].map(|number| ledger.body(1, number));
        for number in [0, 1] {
            ledger.acknowledge(1, number, Instant::now()).unwrap();
        }
        (ledger, bodies)
    }

    #[test]
    fn each_message_once_and_in_order_is_well() {
        let (ledger, bodies) = two_sent();
        assert!(ledger.verdict().is_err(), "nothing was read yet");
        for body in &bodies {
            let ages = ledger.note(0, body, Instant::now()).unwrap();
            assert!(ages.since_acknowledged.unwrap() <= ages.since_sent);
        }
        assert!(ledger.verdict().is_ok());
    }

    #[test]
    fn a_lost_a_doubled_and_a_late_message_are_seen() {
        for order in [&[1][..], &[0, 1, 1], &[1, 0]] {
            let (ledger, bodies) = two_sent();
            for number in order {
                ledger.note(0, &bodies[*number], Instant::now()).unwrap();
            }
            assert!(ledger.verdict().is_err(), "{order:?}");
        }
    }

    #[test]
    fn a_message_acknowledged_out_of_order_is_an_error() {
        assert!(Ledger::new(1, 0).acknowledge(0, 1, Instant::now()).is_err());
    }
}
