//! What became of messages whose sender asked: records batched for the back end, each batch delivered under a lock
//! until it is completed (contract/amqp.md 4.3, contract/rest.md 1.14).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::Hub;
use crate::c2d::message::{LockToken, Outcome};
use crate::c2d::queue::Settlement;
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::{ReceiveFeedback, SettleFeedback};
use crate::identity::GenerationId;
use crate::ids::{ConnectionId, DeviceId};
use crate::limits;
use crate::time::{Deadline, Timestamp};

/// The fate of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRecord {
    /// The message's id.
    pub original_message_id: Option<String>,
    /// When the outcome came about.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// The device it was for.
    pub device: DeviceId,
    /// That device's generation.
    pub generation_id: GenerationId,
}

/// Records handed out together under one lock.
#[derive(Clone, Debug)]
pub struct FeedbackBatch {
    /// Settles the batch.
    pub token: LockToken,
    /// When the batch was made.
    pub enqueued_at: Timestamp,
    /// Oldest first, 1 to [`limits::FEEDBACK_BATCH_RECORDS`].
    pub records: Arc<[FeedbackRecord]>,
}

impl FeedbackBatch {
    /// The records as the JSON array that is the body of a feedback message, over AMQP and over REST.
    pub fn to_json(&self) -> String {
        let record = |record: &FeedbackRecord| {
            let outcome = record.outcome.as_str();
            json!({
                "originalMessageId": record.original_message_id,
                "enqueuedTimeUtc": record.at.to_string(),
                "statusCode": outcome,
                "description": outcome,
                "deviceId": record.device.as_str(),
                "deviceGenerationId": record.generation_id.to_string(),
            })
        };
        Value::Array(self.records.iter().map(record).collect()).to_string()
    }
}

/// The hub's feedback queue.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<FeedbackRecord>,
    batches: VecDeque<Batch>,
    /// When the outstanding deadline row falls due.
    row: Option<Timestamp>,
}

#[derive(Debug)]
struct Batch {
    records: Arc<[FeedbackRecord]>,
    enqueued_at: Timestamp,
    delivery_count: u8,
    lock: Option<Lock>,
}

#[derive(Debug)]
struct Lock {
    token: LockToken,
    until: Timestamp,
    holder: Option<ConnectionId>,
}

impl Feedback {
    /// Notes an outcome. Records nobody fetches are kept up to a limit, then the oldest go.
    pub(crate) fn add(&self, record: FeedbackRecord) {
        let mut state = self.state.lock();
        if state.records.len() == limits::FEEDBACK_RECORDS {
            state.records.pop_front();
        }
        state.records.push_back(record);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    fn lock_next(
        &mut self,
        token: LockToken,
        at: Timestamp,
        holder: Option<ConnectionId>,
    ) -> Option<FeedbackBatch> {
        self.run_due(at);
        let index = match self.batches.iter().position(|batch| batch.lock.is_none()) {
            Some(index) => index,
            None => self.make_batch(at)?,
        };
        let batch = self.batches.get_mut(index)?;
        batch.lock = Some(Lock { token, until: at.plus(limits::C2D_LOCK), holder });
        Some(FeedbackBatch { token, enqueued_at: batch.enqueued_at, records: Arc::clone(&batch.records) })
    }

    /// Batches stay few: a new one is made only when the others are all being read.
    fn make_batch(&mut self, at: Timestamp) -> Option<usize> {
        if self.records.is_empty() || self.batches.len() >= limits::FEEDBACK_BATCHES {
            return None;
        }
        let count = self.records.len().min(limits::FEEDBACK_BATCH_RECORDS);
        let records = self.records.drain(..count).collect();
        self.batches.push_back(Batch { records, enqueued_at: at, delivery_count: 0, lock: None });
        Some(self.batches.len() - 1)
    }

    fn settle(&mut self, token: LockToken, how: Settlement, at: Timestamp) -> Result<(), HubError> {
        self.run_due(at);
        let holds = |batch: &Batch| batch.lock.as_ref().is_some_and(|lock| lock.token == token);
        let Some(index) = self.batches.iter().position(holds) else {
            return Err(HubError::new(
                ErrorCode::DeviceMessageLockLost,
                "The lock on the feedback has ended.",
            ));
        };
        let batch = &mut self.batches[index];
        batch.lock = None;
        match how {
            Settlement::Unlock => {}
            Settlement::Abandon if batch.delivery_count + 1 < limits::C2D_DELIVERIES => {
                batch.delivery_count += 1;
            }
            Settlement::Abandon | Settlement::Complete | Settlement::Reject => {
                self.batches.remove(index);
            }
        }
        Ok(())
    }

    /// Ends locks that ran out and forgets what is too old.
    fn run_due(&mut self, at: Timestamp) {
        for batch in &mut self.batches {
            if batch.lock.as_ref().is_some_and(|lock| lock.until <= at) {
                batch.lock = None;
            }
        }
        let is_fresh = |since: Timestamp| since.plus(limits::C2D_TTL_DEFAULT) > at;
        self.batches.retain(|batch| batch.lock.is_some() || is_fresh(batch.enqueued_at));
        while self.records.front().is_some_and(|record| !is_fresh(record.at)) {
            self.records.pop_front();
        }
    }

    fn unlock_all_of(&mut self, connection: ConnectionId) -> bool {
        let held =
            |batch: &&mut Batch| batch.lock.as_ref().is_some_and(|lock| lock.holder == Some(connection));
        self.batches.iter_mut().filter(held).map(|batch| batch.lock = None).count() > 0
    }
}

impl Hub {
    /// The next batch of records nobody holds, locked for a minute.
    ///
    /// # Errors
    /// None of its own.
    pub fn lock_next_feedback(
        &self,
        by: Admitted<ReceiveFeedback>,
    ) -> Result<Option<FeedbackBatch>, HubError> {
        let (at, holder) = (by.at(), by.connection());
        let token = LockToken::from_random(self.entropy.wide());
        let mut state = self.feedback.state.lock();
        let batch = state.lock_next(token, at, holder);
        self.watch_feedback(&mut state);
        drop(state);
        by.conclude(Ok(batch))
    }

    /// Ends the lock on a batch.
    ///
    /// # Errors
    /// `DeviceMessageLockLost` when the token holds nothing.
    pub fn settle_feedback(
        &self,
        by: Admitted<SettleFeedback>,
        token: LockToken,
        how: Settlement,
    ) -> Result<(), HubError> {
        let at = by.at();
        let mut state = self.feedback.state.lock();
        let settled = state.settle(token, how, at);
        self.watch_feedback(&mut state);
        drop(state);
        self.feedback.changed.notify_waiters();
        by.conclude(settled)
    }

    /// A connection that read feedback is gone: what it held is free again.
    pub fn unlock_feedback_of(&self, connection: ConnectionId) {
        let mut state = self.feedback.state.lock();
        let held_some = state.unlock_all_of(connection);
        self.watch_feedback(&mut state);
        drop(state);
        if held_some {
            self.feedback.changed.notify_waiters();
        }
    }

    /// Resolves when there may be feedback to read. Make it before asking [`Self::lock_next_feedback`] and await it
    /// after, so that no wake-up is lost.
    pub fn feedback_changed(&self) -> Notified<'_> {
        self.feedback.changed.notified()
    }

    /// Runs a `Feedback` row: a lock may have run out.
    pub(crate) fn feedback_due(&self, now: Timestamp) {
        let mut state = self.feedback.state.lock();
        state.run_due(now);
        self.watch_feedback(&mut state);
        drop(state);
        self.feedback.changed.notify_waiters();
    }

    /// Sees to it that one row falls due when the next lock runs out, however many there were before.
    fn watch_feedback(&self, state: &mut State) {
        let next = state.batches.iter().filter_map(|batch| batch.lock.as_ref()).map(|lock| lock.until).min();
        if next == state.row {
            return;
        }
        if let Some(due) = std::mem::replace(&mut state.row, next) {
            self.deadlines.remove(due, Deadline::Feedback);
        }
        if let Some(due) = next {
            self.deadlines.push(due, Deadline::Feedback);
        }
    }
}
