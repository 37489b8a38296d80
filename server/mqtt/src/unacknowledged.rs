//! Messages a client got with QoS 1 and has not acknowledged: which packet id stands for which lock, and how many
//! may be out at once; `contract/mqtt.md 4` and `6.3`.
#![warn(clippy::indexing_slicing)]

use hub::c2d::{LockToken, LockedMessage};
use hub::limits::C2D_QUEUE_MESSAGES;
use hub::time::Timestamp;

/// Messages out at once. `contract/mqtt.md 4`.
const WINDOW: usize = 10;
/// The last packet id before they begin anew. `contract/mqtt.md 4`.
const LAST_PACKET_ID: u16 = 32_767;

/// At most as many as a device's queue holds: what is beyond can only be messages that are gone.
#[derive(Debug, Default)]
pub(crate) struct Unacknowledged {
    /// Holds no memory while empty.
    messages: Vec<Entry>,
    last_packet_id: u16,
}

#[derive(Debug)]
struct Entry {
    packet_id: u16,
    sequence: u64,
    token: LockToken,
    locked_until: Timestamp,
}

impl Unacknowledged {
    /// Whether one more message may go out. One whose lock has ended waits in the queue again and takes no room.
    pub(crate) fn has_room(&self, at: Timestamp) -> bool {
        self.messages.iter().filter(|entry| entry.locked_until > at).count() < WINDOW
    }

    /// The packet id to send a message with: the one it had, if it was sent on this connection before.
    pub(crate) fn add(&mut self, message: &LockedMessage) -> u16 {
        let LockedMessage { sequence, token, locked_until, .. } = *message;
        if let Some(entry) = self.messages.iter_mut().find(|entry| entry.sequence == sequence) {
            (entry.token, entry.locked_until) = (token, locked_until);
            return entry.packet_id;
        }
        if self.messages.len() >= C2D_QUEUE_MESSAGES {
            let oldest = self.messages.iter().map(|entry| entry.locked_until).min();
            self.messages.retain(|entry| Some(entry.locked_until) != oldest);
        }
        let packet_id = self.free_packet_id();
        self.messages.push(Entry { packet_id, sequence, token, locked_until });
        packet_id
    }

    /// The client acknowledged this; the lock it ends, if the id stands for any.
    pub(crate) fn take(&mut self, packet_id: u16) -> Option<LockToken> {
        let index = self.messages.iter().position(|entry| entry.packet_id == packet_id)?;
        let token = self.messages.remove(index).token;
        if self.messages.is_empty() {
            self.messages = Vec::new();
        }
        Some(token)
    }

    fn free_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id % LAST_PACKET_ID + 1;
            if self.messages.iter().all(|entry| entry.packet_id != self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hub::c2d::CloudToDeviceMessage;
    use hub::limits::C2D_LOCK;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);

    fn token(number: u64) -> LockToken {
        LockToken::parse(&format!("00000000-0000-4000-8000-{number:012}")).expect("a GUID")
    }

    fn locked(sequence: u64, at: Timestamp) -> LockedMessage {
        LockedMessage {
            token: token(sequence),
            locked_until: at.plus(C2D_LOCK),
            sequence,
            enqueued_at: at,
            expires_at: at.plus(C2D_LOCK * 60),
            delivery_count: 0,
            is_redelivery: false,
            message: Arc::new(CloudToDeviceMessage::default()),
        }
    }

    #[test]
    fn ten_may_be_out_and_an_acknowledgement_makes_room_in_any_order() {
        let mut out = Unacknowledged::default();
        for sequence in 1..=10 {
            assert!(out.has_room(NOW), "{sequence}");
            out.add(&locked(sequence, NOW));
        }
        assert!(!out.has_room(NOW));
        assert_eq!(out.take(7), Some(token(7)));
        assert!(out.has_room(NOW));
        assert_eq!(out.take(7), None, "acknowledged once");
    }

    #[test]
    fn a_lock_that_ended_takes_no_room_and_its_message_keeps_its_packet_id() {
        let mut out = Unacknowledged::default();
        (1..=10).for_each(|sequence| {
            out.add(&locked(sequence, NOW));
        });
        let later = NOW.plus(C2D_LOCK);
        assert!(!out.has_room(NOW.plus(C2D_LOCK - Duration::from_secs(1))));
        assert!(out.has_room(later));
        let again = LockedMessage { token: token(99), ..locked(3, later) };
        assert_eq!(out.add(&again), 3);
        assert_eq!(out.take(3), Some(token(99)));
    }

    #[test]
    fn packet_ids_end_at_32767_and_pass_over_those_in_use() {
        let mut out = Unacknowledged::default();
        assert_eq!(out.add(&locked(1, NOW)), 1);
        for sequence in 2..=u64::from(LAST_PACKET_ID) {
            let packet_id = out.add(&locked(sequence, NOW));
            assert_eq!(u64::from(packet_id), sequence);
            assert!(out.take(packet_id).is_some());
        }
        assert_eq!(out.add(&locked(40_000, NOW)), 2, "1 is still out");
    }

    #[test]
    fn what_nobody_ever_acknowledges_does_not_pile_up() {
        let mut out = Unacknowledged::default();
        for sequence in 1..=200 {
            out.add(&locked(sequence, NOW.plus(C2D_LOCK * u32::try_from(sequence).expect("small"))));
        }
        assert_eq!(out.messages.len(), C2D_QUEUE_MESSAGES);
        assert_eq!((out.take(150), out.take(151)), (None, Some(token(151))));
    }
}
