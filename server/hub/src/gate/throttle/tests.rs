//! Turns: how many come at once, how long the next one takes, who is refused, and what is left behind.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::gate::Scale;
use crate::time::ManualClock;

const RATE: &str = "12/min";
const BURST: usize = 12;
const INTERVAL: Duration = Duration::from_secs(5);

struct World {
    throttles: Throttles,
    deadlines: Arc<Deadlines>,
    clock: ManualClock,
}

type Waiting<'a> = Pin<&'a mut dyn Future<Output = Result<Timestamp, HubError>>>;

impl World {
    fn new(rate: &str) -> Self {
        let mut rates = Scale::default().rates();
        rates.set(Throttle::TwinReads, rate.parse().unwrap());
        let deadlines = Arc::new(Deadlines::default());
        let clock = ManualClock::at(Timestamp::from_unix_secs(1_767_225_600));
        Self { throttles: Throttles::new(rates, Arc::clone(&deadlines)), deadlines, clock }
    }

    fn turn(&self) -> impl Future<Output = Result<Timestamp, HubError>> {
        self.throttles.turn(Throttle::TwinReads, &self.clock)
    }

    /// Takes every turn that comes without waiting.
    fn use_up(&self) {
        for n in 0..BURST {
            assert!(matches!(poll(pin!(self.turn())), Poll::Ready(Ok(_))), "{n}");
        }
    }

    /// Moves the clock and calls whose turn has come, as the hub does.
    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        while let Some((_, deadline)) = self.deadlines.pop_due(self.clock.now()) {
            match deadline {
                Deadline::ThrottleTurn { ticket } => self.throttles.turn_due(ticket),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn poll(turn: Waiting<'_>) -> Poll<Result<Timestamp, HubError>> {
    turn.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_minutes_worth_passes_at_once_and_the_next_waits_for_its_turn() {
    let world = World::new(RATE);
    world.use_up();
    let mut next = pin!(world.turn());
    assert!(poll(next.as_mut()).is_pending());
    world.advance(INTERVAL - Duration::from_nanos(100));
    assert!(poll(next.as_mut()).is_pending());
    world.advance(Duration::from_nanos(100));
    assert_eq!(poll(next.as_mut()), Poll::Ready(Ok(world.clock.now())));
    assert_eq!(world.deadlines.next(), None);
}

#[test]
fn who_would_wait_too_long_is_refused_and_told_when_to_come_back() {
    let world = World::new(RATE);
    world.use_up();
    let mut waiting = pin!(world.turn());
    assert!(poll(waiting.as_mut()).is_pending());
    let Poll::Ready(Err(refused)) = poll(pin!(world.turn())) else { panic!("ten seconds are too long") };
    assert_eq!(refused.code(), ErrorCode::ThrottlingException);
    assert_eq!(refused.retry_after(), Some(2 * INTERVAL));
    assert!(refused.reason().contains("twin-reads is 12/min"), "{}", refused.reason());
}

#[test]
fn a_refusal_takes_nothing_from_the_rate() {
    let world = World::new("2/min");
    for _ in 0..2 {
        assert!(matches!(poll(pin!(world.turn())), Poll::Ready(Ok(_))));
    }
    for _ in 0..100 {
        assert!(matches!(poll(pin!(world.turn())), Poll::Ready(Err(_))));
    }
    world.advance(Duration::from_secs(30));
    assert!(matches!(poll(pin!(world.turn())), Poll::Ready(Ok(_))));
}

#[test]
fn turns_come_in_the_order_they_were_asked_for() {
    let world = World::new("30/min");
    for _ in 0..30 {
        assert!(poll(pin!(world.turn())).is_ready());
    }
    let (mut first, mut second) = (pin!(world.turn()), pin!(world.turn()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    world.advance(Duration::from_secs(2));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(first.as_mut()).is_ready());
    world.advance(Duration::from_secs(2));
    assert!(poll(second.as_mut()).is_ready());
}

#[test]
fn who_stops_waiting_gives_the_turn_back() {
    let world = World::new(RATE);
    world.use_up();
    for _ in 0..100 {
        let mut given_up = Box::pin(world.turn());
        assert!(poll(given_up.as_mut()).is_pending());
    }
    assert_eq!(world.deadlines.len(), 0);
    assert!(world.throttles.queue.lock().waiting.is_empty());
    let mut next = pin!(world.turn());
    assert!(poll(next.as_mut()).is_pending());
    world.advance(INTERVAL);
    assert!(poll(next.as_mut()).is_ready());
}

#[test]
fn one_throttle_does_not_slow_another() {
    let world = World::new(RATE);
    world.use_up();
    let mut update = pin!(world.throttles.turn(Throttle::TwinUpdates, &world.clock));
    assert!(matches!(poll(update.as_mut()), Poll::Ready(Ok(_))));
}

#[test]
fn a_large_payload_delays_who_comes_after_it() {
    let world = World::new(RATE);
    assert!(poll(pin!(world.turn())).is_ready());
    world.throttles.charge(Throttle::TwinReads, BURST - 1, world.clock.now());
    assert!(poll(pin!(world.turn())).is_pending());
}

#[test]
fn nobody_waits_for_a_hub_that_stops() {
    let world = World::new("30/min");
    world.throttles.charge(Throttle::TwinReads, 30, world.clock.now());
    let mut waiting = pin!(world.turn());
    assert!(poll(waiting.as_mut()).is_pending());
    world.throttles.close();
    let code = |turn: Poll<Result<Timestamp, HubError>>| match turn {
        Poll::Ready(Err(error)) => error.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(poll(waiting)), ErrorCode::ServiceUnavailable);
    assert_eq!(code(poll(pin!(world.turn()))), ErrorCode::ServiceUnavailable);
}

#[test]
fn the_queue_has_an_end() {
    let world = World::new("5000/s");
    world.throttles.charge(Throttle::TwinReads, 5000 * 60, world.clock.now());
    let mut waiting: Vec<_> = (0..limits::THROTTLE_WAITERS).map(|_| Box::pin(world.turn())).collect();
    assert!(waiting.iter_mut().all(|turn| poll(turn.as_mut()).is_pending()));
    assert!(matches!(poll(pin!(world.turn())), Poll::Ready(Err(_))));
    drop(waiting.pop());
    assert!(poll(pin!(world.turn())).is_pending());
}
