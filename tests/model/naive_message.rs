//! Naive cloud-to-device messages (contract/mqtt.md 6.1, contract/amqp.md 4.2, 4.3): a plain list for each device, put
//! in order before and after whatever happens to it, and a list of what became of messages whose sender asked.

use std::time::Duration;

use hub::c2d::{Acknowledgement, CloudToDeviceMessage, LockToken, Outcome, Settlement};
use hub::error::ErrorCode;
use hub::ids::{DeviceId, IdentityId};
use hub::time::Timestamp;

use crate::naive::{Naive, NaiveIdentity};

const HOUR: Duration = Duration::from_secs(3600);

/// The messages of a device, oldest first.
#[derive(Debug, Default)]
pub(crate) struct NaiveQueue {
    messages: Vec<NaiveMessage>,
    sent: u64,
    /// When the ticker has to look at it.
    pub(crate) due: Option<Timestamp>,
}

#[derive(Debug)]
struct NaiveMessage {
    id: String,
    acknowledgement: Option<Acknowledgement>,
    sequence: u64,
    expires_at: Timestamp,
    delivery_count: u8,
    was_out: bool,
    lock: Option<NaiveLock>,
}

#[derive(Debug)]
struct NaiveLock {
    /// Learned.
    token: Option<LockToken>,
    until: Timestamp,
    /// The session it is for; none over HTTPS.
    holder: Option<usize>,
}

/// What a device gets.
#[derive(Debug, PartialEq)]
pub(crate) struct NaiveDelivery {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) delivery_count: u8,
    pub(crate) is_redelivery: bool,
    pub(crate) expires_at: Timestamp,
    pub(crate) locked_until: Timestamp,
}

/// What a back end is told: the message, its end and when that was, the device and its generation.
pub(crate) type NaiveRecord = (String, Outcome, Timestamp, DeviceId, String);

impl NaiveQueue {
    /// Those that wait and those that are locked.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

impl Naive {
    pub(crate) fn send_message(
        &mut self,
        device: &DeviceId,
        message: &CloudToDeviceMessage,
    ) -> Result<(), ErrorCode> {
        if message.size_bytes() > 64 * 1024 {
            return Err(ErrorCode::MessageTooLarge);
        }
        self.with_queue(device, |naive| {
            let now = naive.now;
            let queue = &mut naive.device(device).messages;
            let expires_at = message.expires_at.unwrap_or_else(|| now.plus(HOUR));
            if queue.len() >= 50 {
                return Err(ErrorCode::DeviceMaximumQueueDepthExceeded);
            }
            if expires_at <= now || expires_at > now.plus(48 * HOUR) {
                return Err(ErrorCode::InvalidMessageExpiryTime);
            }
            queue.sent += 1;
            queue.messages.push(NaiveMessage {
                id: message.message_id.clone().expect("the model names its messages"),
                acknowledgement: message.acknowledgement,
                sequence: queue.sent,
                expires_at,
                delivery_count: 0,
                was_out: false,
                lock: None,
            });
            Ok(())
        })
    }

    /// The oldest message that is nobody's becomes the caller's for some time.
    pub(crate) fn lock_message(
        &mut self,
        device: &DeviceId,
        connection: Option<u64>,
        lock_for: Duration,
    ) -> Result<Option<NaiveDelivery>, ErrorCode> {
        self.with_queue(device, |naive| {
            let (now, holder) = (naive.now, naive.holder(device, connection)?);
            let mut free = naive.device(device).messages.messages.iter_mut().filter(|it| it.lock.is_none());
            Ok(free.next().map(|message| {
                let until = now.plus(lock_for);
                message.lock = Some(NaiveLock { token: None, until, holder });
                NaiveDelivery {
                    id: message.id.clone(),
                    sequence: message.sequence,
                    delivery_count: message.delivery_count,
                    is_redelivery: std::mem::replace(&mut message.was_out, true),
                    expires_at: message.expires_at,
                    locked_until: until,
                }
            }))
        })
    }

    /// The hub chose this token for a lock.
    pub(crate) fn learn_token(&mut self, device: &DeviceId, sequence: u64, token: LockToken) {
        let mut messages = self.device(device).messages.messages.iter_mut();
        let message = messages.find(|message| message.sequence == sequence).expect("it is locked");
        message.lock.as_mut().expect("it is locked").token = Some(token);
    }

    pub(crate) fn settle_message(
        &mut self,
        device: &DeviceId,
        connection: Option<u64>,
        token: LockToken,
        how: Settlement,
    ) -> Result<(), ErrorCode> {
        self.with_queue(device, |naive| {
            naive.holder(device, connection)?;
            let messages = &mut naive.device(device).messages.messages;
            let is_it = |lock: &NaiveLock| lock.token == Some(token);
            let found = messages.iter_mut().find(|message| message.lock.as_ref().is_some_and(is_it));
            let message = found.ok_or(ErrorCode::DeviceMessageLockLost)?;
            let outcome = match how {
                Settlement::Complete => Outcome::Success,
                Settlement::Reject => Outcome::Rejected,
                Settlement::Abandon if message.delivery_count == 9 => Outcome::DeliveryCountExceeded,
                Settlement::Abandon | Settlement::Unlock => {
                    message.delivery_count += u8::from(how == Settlement::Abandon);
                    message.lock = None;
                    return Ok(());
                }
            };
            let sequence = message.sequence;
            naive.end_messages(device, outcome, |message| message.sequence == sequence);
            Ok(())
        })
    }

    pub(crate) fn purge_messages(&mut self, device: &DeviceId) -> Result<usize, ErrorCode> {
        self.with_queue(device, |naive| Ok(naive.end_messages(device, Outcome::Purged, |_| true)))
    }

    /// A session lets go of all it holds.
    pub(crate) fn unlock_messages_of(&mut self, handle: usize) {
        let device = self.sessions[&handle].identity.device.clone();
        let unlocked = self.with_queue(&device, |naive| {
            for message in &mut naive.device(&device).messages.messages {
                message.lock.take_if(|lock| lock.holder == Some(handle));
            }
            Ok(())
        });
        unlocked.expect("the device is there");
    }

    /// What is due in the queue is done, and its session told if messages wait.
    pub(crate) fn refresh_queue(&mut self, device: &DeviceId) {
        self.with_queue(device, |_| Ok(())).expect("the device is there");
    }

    /// Up to a batch of records that are not too old.
    pub(crate) fn take_feedback(&mut self) -> Option<Vec<NaiveRecord>> {
        let now = self.now;
        self.feedback.retain(|(_, _, at, ..)| at.plus(HOUR) > now);
        let batch: Vec<_> = self.feedback.drain(..self.feedback.len().min(64)).collect();
        (!batch.is_empty()).then_some(batch)
    }

    fn device(&mut self, device: &DeviceId) -> &mut NaiveIdentity {
        self.identities.get_mut(&IdentityId::device(device.clone())).expect("it was found")
    }

    /// Whoever is about to hold or settle a message: the session on this connection, or nobody in particular.
    fn holder(&mut self, device: &DeviceId, connection: Option<u64>) -> Result<Option<usize>, ErrorCode> {
        if !self.is_enabled(device) {
            return Err(ErrorCode::IotHubUnauthorizedAccess);
        }
        self.heard(&IdentityId::device(device.clone()), connection)?;
        Ok(connection.and_then(|_| self.device(device).live))
    }

    /// First the locks that ended and the messages that expired, then `act`, then whoever is to know.
    fn with_queue<T>(
        &mut self,
        device: &DeviceId,
        act: impl FnOnce(&mut Self) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        self.find(&IdentityId::device(device.clone()))?;
        let (now, live) = (self.now, self.device(device).live);
        for message in &mut self.device(device).messages.messages {
            message.lock.take_if(|lock| lock.until <= now || (lock.holder.is_some() && lock.holder != live));
        }
        self.end_messages(device, Outcome::Expired, |message| {
            message.lock.is_none() && message.expires_at <= now
        });
        let acted = act(self);
        let queue = &mut self.device(device).messages;
        let ends =
            |message: &NaiveMessage| message.lock.as_ref().map_or(message.expires_at, |lock| lock.until);
        queue.due = queue.messages.iter().map(ends).min();
        let some_wait = queue.messages.iter().any(|message| message.lock.is_none());
        if let Some(handle) = live.filter(|_| some_wait) {
            let session = self.sessions.get_mut(&handle).expect("a live session is held by its head");
            session.messages_wait |= session.wants_messages;
        }
        acted
    }

    /// Messages leave the queue, each once; who asked is told.
    fn end_messages(
        &mut self,
        device: &DeviceId,
        outcome: Outcome,
        which: impl Fn(&NaiveMessage) -> bool,
    ) -> usize {
        let own = self.device(device);
        let generation = own.generation_id.clone().expect("it is learned by now");
        let (ended, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut own.messages.messages).into_iter().partition(which);
        own.messages.messages = stay;
        let count = ended.len();
        for message in ended {
            assert!(self.ended.insert(message.id.clone()), "{} ends twice", message.id);
            let is_wanted = match message.acknowledgement {
                None | Some(Acknowledgement::None) => false,
                Some(Acknowledgement::Full) => true,
                Some(Acknowledgement::Positive) => outcome == Outcome::Success,
                Some(Acknowledgement::Negative) => outcome != Outcome::Success,
            };
            if is_wanted {
                self.feedback.push((message.id, outcome, self.now, device.clone(), generation.clone()));
            }
        }
        count
    }
}
