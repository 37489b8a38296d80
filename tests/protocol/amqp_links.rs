//! Thousands of links on one connection: taken up to the limit, refused beyond it, and cheap all the way.

use fe2o3_amqp::frames::amqp::FrameBody;
use fe2o3_amqp::types::definitions::Role;

use crate::harness::amqp::{Link, Reason, attach_frame};
use crate::harness::{Amqp, Emulator, Neighbours, Port};

/// Links of one connection: the 995 devices of a C# pool with eight links each.
const LINKS_PER_CONNECTION: usize = 7960;
/// Links of one session; handle-max is 8191.
const LINKS_PER_SESSION: u32 = 5000;
/// Bytes of a link's name, which nobody needs to keep.
const NAME_BYTES: usize = 4096;
/// What the process may grow by, tests running beside this one included: a quarter of the names.
const GROWTH_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Default)]
struct Tally {
    granted: usize,
    refused: usize,
}

/// Attaches `count` links to `$cbs`, reading what comes back in between, until the hub has answered or closed.
async fn attach_many(amqp: &mut Amqp, count: u32) -> (Tally, Option<Reason>) {
    let (name, mut tally) = ("n".repeat(NAME_BYTES), Tally::default());
    for number in 0..count {
        let (channel, handle) = (number / LINKS_PER_SESSION, number % LINKS_PER_SESSION);
        let channel = u16::try_from(channel).expect("two or three sessions");
        if handle == 0 && channel > 0 {
            amqp.begin(channel).await;
        }
        let attach = attach_frame(&format!("{name}{number}"), Link(handle), Role::Receiver, "$cbs");
        amqp.send(channel, FrameBody::Attach(attach)).await;
        loop {
            match amqp.next().await {
                Some(FrameBody::Attach(attach)) if attach.source.is_some() => {
                    tally.granted += 1;
                    break;
                }
                Some(FrameBody::Attach(_)) => {}
                Some(FrameBody::Detach(detach)) => {
                    let condition = Reason::of(detach.error.as_ref()).condition;
                    assert_eq!(condition, "amqp:resource-limit-exceeded");
                    tally.refused += 1;
                    break;
                }
                Some(FrameBody::Close(close)) => return (tally, Some(Reason::of(close.error.as_ref()))),
                other => panic!("{other:?}"),
            }
        }
    }
    (tally, None)
}

#[tokio::test]
async fn of_10000_attaches_those_past_the_limit_are_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let before = resident_bytes();
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    let (tally, closed) = attach_many(&mut amqp, 10_000).await;
    assert_eq!((tally.granted, tally.refused), (LINKS_PER_CONNECTION, 10_000 - LINKS_PER_CONNECTION));
    assert_eq!(closed, None);
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES, "the process grew by {growth} bytes");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn attaches_without_end_close_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    let (tally, closed) = attach_many(&mut amqp, 20_000).await;
    assert_eq!(tally.granted, LINKS_PER_CONNECTION);
    assert!(tally.refused <= LINKS_PER_CONNECTION, "{tally:?}");
    assert!(closed.is_some(), "the hub has enough of it");
    neighbours.are_untouched().await;
}

/// The memory of this process, from Linux; 0 elsewhere, where growth is not watched.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
