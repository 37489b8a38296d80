//! One device's queue: order, locks, delivery counts, expiry. It knows no hub and no session: time and who holds
//! what are handed in, so every rule is a plain function of its state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::c2d::message::{CloudToDeviceMessage, LockToken, Outcome};
use crate::error::{ErrorCode, HubError};
use crate::limits;
use crate::time::Timestamp;

/// A message handed out under a lock.
#[derive(Clone, Debug)]
pub struct LockedMessage {
    /// Settles it.
    pub token: LockToken,
    /// When the lock ends by itself.
    pub locked_until: Timestamp,
    /// Its place in the device's order, from 1.
    pub sequence: u64,
    /// When the hub took it in.
    pub enqueued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// How often it was given back.
    pub delivery_count: u8,
    /// Whether it was handed out before.
    pub is_redelivery: bool,
    /// What the back end sent.
    pub message: Arc<CloudToDeviceMessage>,
}

/// What a device does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Gives it back; it counts as a failed delivery.
    Abandon,
    /// Has dealt with it.
    Complete,
    /// Refuses it for good.
    Reject,
    /// Lets go of it without having tried: its link or connection is gone.
    Unlock,
}

/// A message that left the queue.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) message: Arc<CloudToDeviceMessage>,
    pub(crate) outcome: Outcome,
}

/// The messages of one device, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    last_sequence: u64,
    /// When the outstanding deadline row of this queue falls due.
    pub(crate) row: Option<Timestamp>,
}

#[derive(Debug)]
struct Queued {
    sequence: u64,
    enqueued_at: Timestamp,
    expires_at: Timestamp,
    delivery_count: u8,
    is_redelivery: bool,
    lock: Option<Lock>,
    message: Arc<CloudToDeviceMessage>,
}

#[derive(Debug)]
struct Lock {
    token: LockToken,
    until: Timestamp,
    /// The generation of the session that holds it; `None` for a caller without a session (HTTPS).
    holder: Option<u64>,
}

impl Queue {
    /// How many messages wait or are locked.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes a message in.
    pub(crate) fn push(&mut self, message: CloudToDeviceMessage, at: Timestamp) -> Result<(), HubError> {
        if self.messages.len() >= limits::C2D_QUEUE_MESSAGES {
            return Err(HubError::new(
                ErrorCode::DeviceMaximumQueueDepthExceeded,
                format!("The device has its limit of {} messages pending.", limits::C2D_QUEUE_MESSAGES),
            ));
        }
        let latest = at.plus(limits::C2D_TTL_MAX);
        let expires_at = message.expires_at.unwrap_or_else(|| at.plus(limits::C2D_TTL_DEFAULT));
        if expires_at <= at || expires_at > latest {
            return Err(HubError::new(
                ErrorCode::InvalidMessageExpiryTime,
                format!("The message expires at {expires_at}; it may expire after now and until {latest}."),
            ));
        }
        self.last_sequence += 1;
        self.messages.push_back(Queued {
            sequence: self.last_sequence,
            enqueued_at: at,
            expires_at,
            delivery_count: 0,
            is_redelivery: false,
            lock: None,
            message: Arc::new(message),
        });
        Ok(())
    }

    /// Hands out the oldest message nobody holds. A lock whose session is not the live one any more is void.
    pub(crate) fn lock_next(
        &mut self,
        token: LockToken,
        at: Timestamp,
        lock_for: Duration,
        holder: Option<u64>,
    ) -> Option<LockedMessage> {
        let queued =
            self.messages.iter_mut().find(|queued| queued.lock.is_none() && queued.expires_at > at)?;
        let is_redelivery = std::mem::replace(&mut queued.is_redelivery, true);
        let locked_until = at.plus(lock_for);
        queued.lock = Some(Lock { token, until: locked_until, holder });
        Some(LockedMessage {
            token,
            locked_until,
            sequence: queued.sequence,
            enqueued_at: queued.enqueued_at,
            expires_at: queued.expires_at,
            delivery_count: queued.delivery_count,
            is_redelivery,
            message: Arc::clone(&queued.message),
        })
    }

    /// Ends a lock as its holder wishes. `None` when the message stays in the queue.
    pub(crate) fn settle(&mut self, token: LockToken, how: Settlement) -> Result<Option<Ended>, HubError> {
        let holds = |queued: &Queued| queued.lock.as_ref().is_some_and(|lock| lock.token == token);
        let lost = || HubError::new(ErrorCode::DeviceMessageLockLost, "The lock on the message has ended.");
        let index = self.messages.iter().position(holds).ok_or_else(lost)?;
        let outcome = match how {
            Settlement::Complete => Outcome::Success,
            Settlement::Reject => Outcome::Rejected,
            Settlement::Unlock => {
                self.messages[index].lock = None;
                return Ok(None);
            }
            Settlement::Abandon => {
                let queued = &mut self.messages[index];
                queued.lock = None;
                queued.delivery_count += 1;
                if queued.delivery_count < limits::C2D_DELIVERIES {
                    return Ok(None);
                }
                Outcome::DeliveryCountExceeded
            }
        };
        Ok(self.messages.remove(index).map(|queued| Ended { message: queued.message, outcome }))
    }

    /// A session lets go of all it holds.
    pub(crate) fn unlock_all_of(&mut self, holder: u64) {
        for queued in &mut self.messages {
            if queued.lock.as_ref().is_some_and(|lock| lock.holder == Some(holder)) {
                queued.lock = None;
            }
        }
    }

    /// Everything goes, locked or not.
    pub(crate) fn purge(&mut self) -> Vec<Ended> {
        let ended = |queued: Queued| Ended { message: queued.message, outcome: Outcome::Purged };
        self.messages.drain(..).map(ended).collect()
    }

    /// Ends locks that ran out or whose session is not `live`, then what expired and is held by nobody.
    pub(crate) fn run_due(&mut self, at: Timestamp, live: Option<u64>) -> Vec<Ended> {
        for queued in &mut self.messages {
            let is_void =
                |lock: &Lock| lock.until <= at || lock.holder.is_some_and(|held| Some(held) != live);
            if queued.lock.as_ref().is_some_and(is_void) {
                queued.lock = None;
            }
        }
        let mut expired = Vec::new();
        self.messages.retain(|queued| {
            let stays = queued.lock.is_some() || queued.expires_at > at;
            if !stays {
                expired.push(Ended { message: Arc::clone(&queued.message), outcome: Outcome::Expired });
            }
            stays
        });
        expired
    }

    /// Whether a message could be handed out.
    pub(crate) fn has_waiting(&self) -> bool {
        self.messages.iter().any(|queued| queued.lock.is_none())
    }

    /// When [`Self::run_due`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let due = |queued: &Queued| queued.lock.as_ref().map_or(queued.expires_at, |lock| lock.until);
        self.messages.iter().map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);

    fn queue(messages: usize) -> Queue {
        let mut queue = Queue::default();
        for n in 1..=messages {
            let message =
                CloudToDeviceMessage { message_id: Some(n.to_string()), ..CloudToDeviceMessage::default() };
            queue.push(message, NOW).unwrap();
        }
        queue
    }

    fn lock(queue: &mut Queue, at: Timestamp) -> Option<LockedMessage> {
        let token = LockToken::from_random(
            u128::from(queue.last_sequence)
                + at.ticks() as u128 * 1000
                + queue.messages.iter().filter(|queued| queued.lock.is_some()).count() as u128,
        );
        queue.lock_next(token, at, limits::C2D_LOCK, Some(1))
    }

    fn secs(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    #[test]
    fn fifty_messages_fit_and_the_next_is_refused() {
        let mut queue = queue(limits::C2D_QUEUE_MESSAGES);
        let refused = queue.push(CloudToDeviceMessage::default(), NOW).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::DeviceMaximumQueueDepthExceeded);
        assert_eq!(queue.len(), 50);
    }

    #[test]
    fn an_expiry_in_the_past_or_beyond_two_days_is_refused() {
        for (expires_at, accepted) in [
            (NOW, false),
            (secs(1), true),
            (NOW.plus(limits::C2D_TTL_MAX), true),
            (NOW.plus(limits::C2D_TTL_MAX + Duration::from_secs(1)), false),
        ] {
            let message = CloudToDeviceMessage { expires_at: Some(expires_at), ..Default::default() };
            assert_eq!(queue(0).push(message, NOW).is_ok(), accepted, "{expires_at}");
        }
    }

    #[test]
    fn messages_come_out_in_order_and_a_locked_one_is_skipped() {
        let mut queue = queue(2);
        let first = lock(&mut queue, NOW).unwrap();
        assert_eq!((first.sequence, first.locked_until), (1, NOW.plus(limits::C2D_LOCK)));
        assert_eq!(lock(&mut queue, NOW).unwrap().sequence, 2);
        assert!(lock(&mut queue, NOW).is_none());
    }

    #[test]
    fn an_expired_lock_returns_the_message_before_newer_ones_and_raises_no_count() {
        let mut queue = queue(2);
        let first = lock(&mut queue, NOW).unwrap();
        assert!(queue.run_due(NOW.plus(limits::C2D_LOCK), Some(1)).is_empty());
        let again = lock(&mut queue, secs(60)).unwrap();
        assert_eq!((again.sequence, again.delivery_count, again.is_redelivery), (1, 0, true));
        let late = queue.settle(first.token, Settlement::Complete).unwrap_err();
        assert_eq!(late.code(), ErrorCode::DeviceMessageLockLost);
    }

    #[test]
    fn a_lock_of_a_session_that_is_gone_is_void_at_once() {
        let mut queue = queue(1);
        lock(&mut queue, NOW).unwrap();
        queue.run_due(NOW, Some(1));
        assert!(lock(&mut queue, NOW).is_none());
        queue.run_due(NOW, None);
        assert!(lock(&mut queue, NOW).is_some());
    }

    #[test]
    fn the_tenth_abandon_dead_letters_and_the_ninth_does_not() {
        let mut queue = queue(1);
        for count in 1..limits::C2D_DELIVERIES {
            let locked = lock(&mut queue, secs(u64::from(count))).unwrap();
            assert_eq!(locked.delivery_count, count - 1);
            assert!(queue.settle(locked.token, Settlement::Abandon).unwrap().is_none());
        }
        let last = lock(&mut queue, secs(100)).unwrap();
        let ended = queue.settle(last.token, Settlement::Abandon).unwrap().unwrap();
        assert_eq!(ended.outcome, Outcome::DeliveryCountExceeded);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_message_expires_only_when_nobody_holds_it() {
        let mut queue = queue(2);
        let at = NOW.plus(limits::C2D_TTL_DEFAULT);
        queue.lock_next(LockToken::from_random(9), secs(3590), limits::C2D_LOCK, Some(1)).unwrap();
        let expired = queue.run_due(at, Some(1));
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].message.message_id.as_deref(), Some("2"));
        assert_eq!(queue.run_due(secs(3650), Some(1)).len(), 1);
    }

    #[test]
    fn complete_and_reject_end_a_message_once() {
        for (how, outcome) in
            [(Settlement::Complete, Outcome::Success), (Settlement::Reject, Outcome::Rejected)]
        {
            let mut queue = queue(1);
            let locked = lock(&mut queue, NOW).unwrap();
            assert_eq!(queue.settle(locked.token, how).unwrap().unwrap().outcome, outcome);
            assert!(queue.settle(locked.token, how).is_err());
        }
    }

    #[test]
    fn the_next_due_instant_is_the_earliest_lock_or_expiry() {
        let mut queue = queue(1);
        assert_eq!(queue.next_due(), Some(NOW.plus(limits::C2D_TTL_DEFAULT)));
        lock(&mut queue, NOW).unwrap();
        assert_eq!(queue.next_due(), Some(NOW.plus(limits::C2D_LOCK)));
    }
}
