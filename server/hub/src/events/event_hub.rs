//! The partitions, and the choice of one by device: everything of a device is in one place and in order.

use crate::events::partition::{Event, EventData, EventPosition, Partition};
use crate::ids::DeviceId;
use crate::limits;

/// An append-only log in partitions.
#[derive(Debug)]
pub struct EventHub {
    partitions: Box<[Partition]>,
}

impl EventHub {
    pub(crate) fn new(partitions: u8) -> Self {
        let partitions = partitions.clamp(1, limits::PARTITIONS_MAX);
        let retention_bytes = limits::EVENT_RETENTION_BYTES / usize::from(partitions);
        Self { partitions: (0..partitions).map(|_| Partition::new(retention_bytes)).collect() }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn append(&self, event: EventData) -> EventPosition {
        let chosen = self.partition_of(&event.identity.device);
        self.partitions[chosen].append(event)
    }

    /// At most `limit` events, newest first, of one device or of all; with the partition each is in.
    pub fn newest(&self, limit: usize, device: Option<&DeviceId>) -> Vec<(usize, Event)> {
        let mut found: Vec<_> = match device {
            Some(device) => vec![self.partition_of(device)],
            None => (0..self.partitions.len()).collect(),
        }
        .into_iter()
        .flat_map(|n| self.partitions[n].newest(limit, device).into_iter().map(move |event| (n, event)))
        .collect();
        found.sort_by_key(|(_, event)| std::cmp::Reverse(event.position.enqueued_at));
        found.truncate(limit);
        found
    }

    fn partition_of(&self, device: &DeviceId) -> usize {
        let count = self.partitions.len() as u64;
        usize::try_from(stable_hash(device.as_str()) % count).expect("a partition's number is small")
    }
}

/// FNV-1a: the same on every machine and in every release, so a device stays in its partition.
fn stable_hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_fnv_1a() {
        assert_eq!(stable_hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(stable_hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
