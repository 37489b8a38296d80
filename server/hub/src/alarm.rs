//! Waking a head at an instant of hub time: for what ends with a credential, and that no session ends
//! (contract/amqp.md 2.1: the links of the service side).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Hub;
use crate::time::{Deadline, Timestamp};

/// Who waits for which alarm. As many as heads keep, one for a connection.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<Set>);

#[derive(Debug, Default)]
struct Set {
    waiting: HashMap<u64, oneshot::Sender<()>>,
    last: u64,
}

/// Rings once. Dropping it takes it back.
#[derive(Debug)]
pub struct Alarm {
    hub: Arc<Hub>,
    at: Timestamp,
    number: u64,
    rings: oneshot::Receiver<()>,
}

impl Hub {
    /// Sets an alarm for `at`; one for the past rings when due work is next run.
    pub fn alarm(self: &Arc<Self>, at: Timestamp) -> Alarm {
        let (waiter, rings) = oneshot::channel();
        let mut set = self.alarms.0.lock();
        set.last += 1;
        let number = set.last;
        set.waiting.insert(number, waiter);
        drop(set);
        self.deadlines.push(at, Deadline::Alarm { number });
        Alarm { hub: Arc::clone(self), at, number, rings }
    }

    /// Runs an `Alarm` row.
    pub(crate) fn alarm_due(&self, number: u64) {
        if let Some(waiter) = self.alarms.0.lock().waiting.remove(&number) {
            // Who dropped its alarm meanwhile hears nothing.
            let _ = waiter.send(());
        }
    }
}

impl Alarm {
    /// What it is set for.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Resolves at its instant; afterwards it must not be awaited again. Cancel-safe.
    pub async fn rings(&mut self) {
        // An error would mean that the hub, which this holds, dropped its alarms.
        let _ = (&mut self.rings).await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.hub.alarms.0.lock().waiting.remove(&self.number).is_some() {
            self.hub.deadlines.remove(self.at, Deadline::Alarm { number: self.number });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::hub;

    #[tokio::test]
    async fn an_alarm_rings_when_the_hub_reaches_its_instant_and_not_before() {
        let (hub, clock) = hub();
        let mut alarm = hub.alarm(hub.clock().now().plus(Duration::from_secs(10)));
        clock.advance(Duration::from_secs(9));
        hub.run_due();
        assert!(tokio::time::timeout(Duration::ZERO, alarm.rings()).await.is_err());
        clock.advance(Duration::from_secs(1));
        hub.run_due();
        alarm.rings().await;
    }

    #[test]
    fn an_alarm_taken_back_leaves_nothing_behind() {
        let (hub, _) = hub();
        let before = hub.deadlines.len();
        drop(hub.alarm(Timestamp::MAX));
        assert_eq!((hub.deadlines.len(), hub.alarms.0.lock().waiting.len()), (before, 0));
    }
}
