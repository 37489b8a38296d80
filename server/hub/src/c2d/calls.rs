//! The operations on a device's queue. Each runs under the device's lock, so what the device sees is in the order
//! of the sequence numbers and each message ends exactly once.

use std::time::Duration;

use crate::Hub;
use crate::c2d::feedback::FeedbackRecord;
use crate::c2d::message::{CloudToDeviceMessage, LockToken};
use crate::c2d::queue::{Ended, LockedMessage, Queue, Settlement};
use crate::device_session::DeviceSession;
use crate::error::{ErrorCode, HubError};
use crate::gate::operations::{
    PollCloudToDevice, PurgeCloudToDevice, ReceiveCloudToDevice, SendCloudToDevice, SettleCloudToDevice,
};
use crate::gate::{Admitted, Operation};
use crate::ids::{ConnectionId, DeviceId};
use crate::limits;
use crate::state::DeviceState;
use crate::time::{Deadline, Timestamp};

impl Hub {
    /// Queues a message for a device, connected or not.
    ///
    /// # Errors
    /// `DeviceNotFound`, `MessageTooLarge`, `InvalidMessageExpiryTime`, `DeviceMaximumQueueDepthExceeded`.
    pub fn send_cloud_to_device(
        &self,
        by: Admitted<SendCloudToDevice>,
        message: CloudToDeviceMessage,
    ) -> Result<(), HubError> {
        let at = by.at();
        let send = || {
            let bytes = message.size_bytes();
            check_size(bytes)?;
            self.with_queue(&by, |_, queue| queue.push(message, at).map(|()| Vec::new()))?;
            self.gate().meter(&by, || bytes);
            Ok(())
        };
        let sent = send();
        by.conclude(sent)
    }

    /// Hands out the oldest message nobody holds, locked for a minute.
    ///
    /// # Errors
    /// `DeviceNotFound`; `IotHubUnauthorizedAccess` when the session of the connection ended or the device is
    /// disabled.
    pub fn lock_next_message(
        &self,
        by: Admitted<ReceiveCloudToDevice>,
    ) -> Result<Option<LockedMessage>, HubError> {
        let locked = self.lock_next(&by, limits::C2D_LOCK);
        by.conclude(locked)
    }

    /// The same for a device that asks over HTTPS and has no session: nobody holds the lock but who knows its token, and
    /// it lasts for as long as the device asks, within limits.
    ///
    /// # Errors
    /// As [`Self::lock_next_message`].
    pub fn poll_next_message(
        &self,
        by: Admitted<PollCloudToDevice>,
        lock_for: Option<Duration>,
    ) -> Result<Option<LockedMessage>, HubError> {
        let lock_for = lock_for
            .map_or(limits::C2D_LOCK, |asked| asked.clamp(limits::C2D_LOCK_MIN, limits::C2D_LOCK_MAX));
        let locked = self.lock_next(&by, lock_for);
        by.conclude(locked)
    }

    fn lock_next<O: Operation<Target = DeviceId>>(
        &self,
        by: &Admitted<O>,
        lock_for: Duration,
    ) -> Result<Option<LockedMessage>, HubError> {
        let (at, connection) = (by.at(), by.connection());
        let mut locked = None;
        self.with_queue(by, |state, queue| {
            let holder = holder(state, connection, at)?;
            let token = LockToken::from_random(self.entropy.wide());
            locked = queue.lock_next(token, at, lock_for, holder);
            Ok(Vec::new())
        })?;
        Ok(locked)
    }

    /// Ends the lock on a message.
    ///
    /// # Errors
    /// `DeviceMessageLockLost` when the token holds nothing; `DeviceNotFound`; `IotHubUnauthorizedAccess` as above.
    pub fn settle_message(
        &self,
        by: Admitted<SettleCloudToDevice>,
        token: LockToken,
        how: Settlement,
    ) -> Result<(), HubError> {
        let (at, connection) = (by.at(), by.connection());
        let settled = self.with_queue(&by, |state, queue| {
            holder(state, connection, at)?;
            Ok(queue.settle(token, how)?.into_iter().collect())
        });
        by.conclude(settled)
    }

    /// Empties a device's queue; returns how many messages went.
    ///
    /// # Errors
    /// `DeviceNotFound`.
    pub fn purge_messages(&self, by: Admitted<PurgeCloudToDevice>) -> Result<usize, HubError> {
        let mut count = 0;
        let purged = self.with_queue(&by, |_, queue| {
            let ended = queue.purge();
            count = ended.len();
            Ok(ended)
        });
        by.conclude(purged.map(|()| count))
    }

    /// A session that stays receives no messages any more, or by another link: what it holds is free again, and no
    /// delivery count is raised.
    pub fn unlock_messages_of(&self, session: &DeviceSession) {
        let device = &session.identity().device;
        let Ok(cell) = self.devices.get(device) else { return };
        let Ok(mut state) = cell.lock(device) else { return };
        if state.c2d.is_some() {
            let unlock = |_: &mut DeviceState, queue: &mut Queue| {
                queue.unlock_all_of(session.generation());
                Ok(Vec::new())
            };
            self.change_queue(&mut state, device, self.clock.now(), unlock)
                .expect("to let go is not refused");
        }
    }

    /// Runs a `CloudToDevice` row.
    pub(crate) fn cloud_to_device_due(&self, device: &DeviceId, now: Timestamp) {
        let Ok(cell) = self.devices.get(device) else { return };
        let Ok(mut state) = cell.lock(device) else { return };
        self.refresh_queue(&mut state, device, now);
    }

    /// Does what is due in a device's queue and tells its session if messages wait.
    pub(crate) fn refresh_queue(&self, state: &mut DeviceState, device: &DeviceId, at: Timestamp) {
        if state.c2d.is_some() {
            self.change_queue(state, device, at, |_, _| Ok(Vec::new()))
                .expect("nothing was asked of the queue that it could refuse");
        }
    }

    /// A device that is deleted takes its messages along, and what falls due for them.
    pub(crate) fn drop_queue(&self, state: &mut DeviceState, device: &DeviceId) {
        if let Some(due) = state.c2d.take().and_then(|queue| queue.row) {
            self.deadlines.remove(due, Deadline::CloudToDevice { device: device.clone() });
        }
    }

    fn with_queue<O: Operation<Target = DeviceId>>(
        &self,
        by: &Admitted<O>,
        act: impl FnOnce(&mut DeviceState, &mut Queue) -> Result<Vec<Ended>, HubError>,
    ) -> Result<(), HubError> {
        let device = by.target();
        let cell = self.devices.get(device)?;
        let mut state = cell.lock(device)?;
        self.change_queue(&mut state, device, by.at(), act)
    }

    /// Does what is due, then `act`; afterwards feedback, deadline row and session are brought in line.
    fn change_queue(
        &self,
        state: &mut DeviceState,
        device: &DeviceId,
        at: Timestamp,
        act: impl FnOnce(&mut DeviceState, &mut Queue) -> Result<Vec<Ended>, HubError>,
    ) -> Result<(), HubError> {
        let live = state.own.attachment.session().map(|session| session.generation);
        let mut queue = state.c2d.take().unwrap_or_default();
        let mut ended = queue.run_due(at, live);
        let acted = act(state, &mut queue).map(|more| ended.extend(more));
        for ended in ended {
            self.report(state, device, at, &ended);
        }
        self.watch_queue(device, &mut queue);
        if let Some(session) = state.own.attachment.session()
            && queue.has_waiting()
        {
            session.mailbox.messages_wait();
        }
        state.c2d = Some(queue);
        acted
    }

    fn report(&self, state: &DeviceState, device: &DeviceId, at: Timestamp, ended: &Ended) {
        if ended.message.acknowledgement.is_some_and(|ack| ack.wants(ended.outcome)) {
            self.feedback.add(FeedbackRecord {
                original_message_id: ended.message.message_id.clone(),
                at,
                outcome: ended.outcome,
                device: device.clone(),
                generation_id: state.record.generation_id,
            });
        }
    }

    /// Sees to it that one row falls due when the queue next changes by itself.
    fn watch_queue(&self, device: &DeviceId, queue: &mut Queue) {
        let next = queue.next_due();
        if next == queue.row {
            return;
        }
        let row = || Deadline::CloudToDevice { device: device.clone() };
        if let Some(due) = std::mem::replace(&mut queue.row, next) {
            self.deadlines.remove(due, row());
        }
        if let Some(due) = next {
            self.deadlines.push(due, row());
        }
    }
}

/// Who is about to hold or settle a message: the live session, or nobody in particular over HTTPS.
fn holder(
    state: &mut DeviceState,
    connection: Option<ConnectionId>,
    at: Timestamp,
) -> Result<Option<u64>, HubError> {
    if !state.is_enabled() {
        return Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized")
            .with_reason("the device is disabled"));
    }
    let Some(_) = connection else { return Ok(None) };
    state.own.attachment.heard_on(connection, at)?;
    Ok(state.own.attachment.session().map(|session| session.generation))
}

fn check_size(size_bytes: usize) -> Result<(), HubError> {
    if size_bytes <= limits::C2D_BYTES {
        return Ok(());
    }
    Err(HubError::new(
        ErrorCode::MessageTooLarge,
        format!(
            "The message takes {size_bytes} bytes with its properties; the limit is {}.",
            limits::C2D_BYTES
        ),
    ))
}

#[cfg(test)]
mod tests;
