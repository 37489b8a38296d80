//! The mailbox between the core and the head that serves a session: the core drops values in under the device's
//! lock and never waits; the head takes them out when it can write.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits;
use crate::method::{MethodRequest, MethodRequestId};

/// What a session asked to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Cloud-to-device messages.
    CloudToDevice,
    /// Changes of the desired properties.
    DesiredProperties,
    /// Direct methods.
    Methods,
}

/// What a session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The desired properties changed.
    DesiredChanged(DesiredChange),
    /// Cloud-to-device messages may wait; the head takes them when it has room.
    MessagesWaiting,
    /// A direct method was called.
    MethodInvoked(MethodRequest),
    /// The session is over; nothing comes after this.
    Closed(DisconnectReason),
}

impl Delivery {
    /// What it keeps in memory besides itself.
    fn size_bytes(&self) -> usize {
        match self {
            Self::DesiredChanged(change) => change.patch.len(),
            Self::MethodInvoked(request) => request.payload.len(),
            Self::Closed(_) | Self::MessagesWaiting => 0,
        }
    }
}

/// One change of the desired properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredChange {
    /// The new `$version`.
    pub version: u64,
    /// The change as JSON text, nulls for deletions, `$version` included.
    pub patch: Bytes,
}

/// Why the hub ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The credential expired and was not renewed.
    CredentialsExpired,
    /// The hub shuts down.
    HubStopping,
    /// The device or module was deleted.
    IdentityDeleted,
    /// The device was disabled.
    IdentityDisabled,
    /// The way the identity authenticates was changed.
    KeysChanged,
    /// The client left too much unread.
    SlowConsumer,
    /// The same identity connected again.
    TakenOver,
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CredentialsExpired => "the credential expired",
            Self::HubStopping => "the hub is stopping",
            Self::IdentityDeleted => "the identity was deleted",
            Self::IdentityDisabled => "the device was disabled",
            Self::KeysChanged => "the identity's keys or thumbprints were changed",
            Self::SlowConsumer => "the client left too much unread",
            Self::TakenOver => "the same identity connected again",
        })
    }
}

/// A bounded queue with one reader. It allocates nothing until something arrives.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<MailboxState>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct MailboxState {
    waiting: VecDeque<Delivery>,
    waiting_bytes: usize,
    /// A flag and no entry, as nothing is lost when it is raised twice.
    messages_waiting: bool,
    wants_cloud_to_device: bool,
    wants_desired_properties: bool,
    wants_methods: bool,
    closed: Option<DisconnectReason>,
}

impl Mailbox {
    pub(crate) fn subscribe(&self, to: Interest, wanted: bool) {
        let mut state = self.state.lock();
        match to {
            Interest::CloudToDevice => state.wants_cloud_to_device = wanted,
            Interest::DesiredProperties => state.wants_desired_properties = wanted,
            Interest::Methods => state.wants_methods = wanted,
        }
    }

    pub(crate) fn wants(&self, what: Interest) -> bool {
        let state = self.state.lock();
        match what {
            Interest::CloudToDevice => state.wants_cloud_to_device,
            Interest::DesiredProperties => state.wants_desired_properties,
            Interest::Methods => state.wants_methods,
        }
    }

    /// Never blocks. When the box is full the session is closed: its client re-reads its twin when it is back.
    pub(crate) fn push(&self, delivery: Delivery) {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return;
        }
        if state.has_room_for(&delivery) {
            state.waiting_bytes += delivery.size_bytes();
            state.waiting.push_back(delivery);
        } else {
            state.close(DisconnectReason::SlowConsumer);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Raises the flag that messages wait, if the session asked for them.
    pub(crate) fn messages_wait(&self) {
        let mut state = self.state.lock();
        if !state.wants_cloud_to_device {
            return;
        }
        state.messages_waiting = true;
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes back a request nobody waits for any more.
    pub(crate) fn withdraw(&self, id: MethodRequestId) {
        let is_it =
            |waiting: &Delivery| matches!(waiting, Delivery::MethodInvoked(request) if request.id == id);
        let state = &mut *self.state.lock();
        if let Some(index) = state.waiting.iter().position(is_it) {
            let withdrawn = state.waiting.remove(index);
            state.waiting_bytes -= withdrawn.map_or(0, |delivery| delivery.size_bytes());
        }
    }

    /// Overrides everything that still waits, and cannot be lost. The first reason stands.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        self.state.lock().close(reason);
        self.arrived.notify_one();
    }

    /// The next value. Cancel-safe: a value is taken out only when it is returned.
    pub(crate) async fn next(&self) -> Delivery {
        loop {
            if let Some(delivery) = self.take() {
                return delivery;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits until the box is closed, and takes nothing out. There is one reader, so a wake-up it uses up here is
    /// missed by nobody: [`Self::next`] looks before it waits.
    pub(crate) async fn closed(&self) -> DisconnectReason {
        loop {
            if let Some(reason) = self.state.lock().closed {
                return reason;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Delivery> {
        let mut state = self.state.lock();
        if let Some(reason) = state.closed {
            return Some(Delivery::Closed(reason));
        }
        let Some(delivery) = state.waiting.pop_front() else {
            return std::mem::take(&mut state.messages_waiting).then_some(Delivery::MessagesWaiting);
        };
        state.waiting_bytes -= delivery.size_bytes();
        if state.waiting.is_empty() {
            state.waiting = VecDeque::new();
        }
        Some(delivery)
    }
}

impl MailboxState {
    fn has_room_for(&self, delivery: &Delivery) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < limits::MAILBOX_NOTIFICATIONS
                && self.waiting_bytes + delivery.size_bytes() <= limits::MAILBOX_BYTES)
    }

    fn close(&mut self, reason: DisconnectReason) {
        self.closed.get_or_insert(reason);
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::MethodName;

    fn change(version: u64) -> Delivery {
        Delivery::DesiredChanged(DesiredChange { version, patch: Bytes::new() })
    }

    #[tokio::test]
    async fn values_come_out_in_the_order_they_went_in() {
        let mailbox = Mailbox::default();
        mailbox.push(change(1));
        mailbox.push(change(2));
        assert_eq!(mailbox.next().await, change(1));
        assert_eq!(mailbox.next().await, change(2));
    }

    #[tokio::test]
    async fn closing_overrides_what_waits_and_the_first_reason_stands() {
        let mailbox = Mailbox::default();
        mailbox.push(change(1));
        mailbox.close(DisconnectReason::TakenOver);
        mailbox.close(DisconnectReason::HubStopping);
        assert_eq!(mailbox.next().await, Delivery::Closed(DisconnectReason::TakenOver));
        assert_eq!(mailbox.next().await, Delivery::Closed(DisconnectReason::TakenOver));
    }

    #[tokio::test]
    async fn whoever_waits_for_the_end_hears_of_it_and_takes_nothing_out() {
        let mailbox = Mailbox::default();
        let mut closed = std::pin::pin!(mailbox.closed());
        for version in [1, 2] {
            mailbox.push(change(version));
            tokio::select! {
                biased;
                reason = &mut closed => panic!("nobody closed it: {reason}"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!((mailbox.next().await, mailbox.next().await), (change(1), change(2)));
        mailbox.close(DisconnectReason::TakenOver);
        assert_eq!(closed.await, DisconnectReason::TakenOver);
    }

    #[tokio::test]
    async fn one_too_many_unread_closes_the_session_as_too_slow() {
        let mailbox = Mailbox::default();
        for version in 0..limits::MAILBOX_NOTIFICATIONS as u64 {
            mailbox.push(change(version));
        }
        assert_eq!(mailbox.next().await, change(0));
        mailbox.push(change(900));
        mailbox.push(change(901));
        assert_eq!(mailbox.next().await, Delivery::Closed(DisconnectReason::SlowConsumer));
    }

    #[tokio::test]
    async fn bytes_are_bounded_too_and_what_was_read_or_taken_back_makes_room() {
        let large = |bytes| {
            Delivery::DesiredChanged(DesiredChange { version: 1, patch: Bytes::from(vec![b' '; bytes]) })
        };
        let call = |id| {
            let name = MethodName::parse("m").unwrap();
            Delivery::MethodInvoked(MethodRequest {
                id: MethodRequestId(id),
                name,
                payload: Bytes::from(vec![b' '; limits::METHOD_PAYLOAD_BYTES]),
            })
        };
        let mailbox = Mailbox::default();
        for id in 0..limits::METHODS_IN_FLIGHT as u64 {
            mailbox.push(call(id));
        }
        for id in 1..limits::METHODS_IN_FLIGHT as u64 {
            mailbox.withdraw(MethodRequestId(id));
        }
        mailbox.push(large(limits::MAILBOX_BYTES - limits::METHOD_PAYLOAD_BYTES));
        assert_eq!(mailbox.next().await, call(0));
        mailbox.push(large(limits::METHOD_PAYLOAD_BYTES));
        assert!(matches!(mailbox.next().await, Delivery::DesiredChanged(_)));
        mailbox.push(large(limits::MAILBOX_BYTES - limits::METHOD_PAYLOAD_BYTES));
        mailbox.push(large(1));
        assert_eq!(mailbox.next().await, Delivery::Closed(DisconnectReason::SlowConsumer));

        let mailbox = Mailbox::default();
        mailbox.push(large(limits::MAILBOX_BYTES + 1));
        assert!(matches!(mailbox.next().await, Delivery::DesiredChanged(_)), "alone it passes");
    }
}
