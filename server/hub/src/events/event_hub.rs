//! An event hub: partitions, the choice of one by device (everything of a device is in one place and in order), and
//! the consumer groups that read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{ErrorCode, HubError};
use crate::events::consumer_group::{ConsumerGroup, ReaderPlace};
use crate::events::event::{AddedProperty, Event, EventData, EventPosition};
use crate::events::event_hubs::EventHubConfig;
use crate::events::names::{self, ConsumerGroupName, EventHubName};
use crate::events::partition::{EventRetention, Partition};
use crate::events::read_error::ReadError;
use crate::events::reader::{EventReader, ReaderRequest};
use crate::ids::DeviceId;
use crate::limits;
use crate::time::{Deadline, Deadlines, Timestamp};

/// A named, append-only log in partitions.
#[derive(Debug)]
pub struct EventHub {
    name: EventHubName,
    created_at: Timestamp,
    partitions: Box<[Partition]>,
    groups: Mutex<BTreeMap<String, ConsumerGroup>>,
    are_groups_made_on_first_use: bool,
    deadlines: Arc<Deadlines>,
}

/// What an event hub says of itself (contract/eventhubs.md 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHubProperties {
    /// As it was given.
    pub name: EventHubName,
    /// When it was made.
    pub created_at: Timestamp,
    /// Their ids are the numbers from 0 on.
    pub partitions: u8,
}

/// What a partition says of itself (contract/eventhubs.md 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProperties {
    /// The event hub it is of.
    pub event_hub: EventHubName,
    /// Its id.
    pub partition: u8,
    /// Of the oldest event kept, or of the next one to come.
    pub begin_sequence_number: i64,
    /// Of the newest event, even if retention took it since.
    pub last_enqueued: Option<EventPosition>,
    /// Whether there is nothing to read.
    pub is_empty: bool,
}

impl EventHub {
    pub(crate) fn new(
        config: EventHubConfig,
        retention: EventRetention,
        are_groups_made_on_first_use: bool,
        created_at: Timestamp,
        deadlines: Arc<Deadlines>,
    ) -> Self {
        let count = config.partitions.clamp(1, limits::PARTITIONS_MAX);
        let bytes = retention.bytes / usize::from(count);
        let groups = config
            .consumer_groups
            .into_iter()
            .chain([ConsumerGroupName::default()])
            .map(|name| (names::key(name.as_str()), ConsumerGroup::new(name, usize::from(count))))
            .collect();
        Self {
            name: config.name,
            created_at,
            partitions: (0..count).map(|_| Partition::new(retention.time, bytes)).collect(),
            groups: Mutex::new(groups),
            are_groups_made_on_first_use,
            deadlines,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &EventHubName {
        &self.name
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u8 {
        u8::try_from(self.partitions.len()).expect("partitions are at most PARTITIONS_MAX")
    }

    pub(crate) fn append(
        &self,
        event: Arc<EventData>,
        enrichments: Option<Arc<[AddedProperty]>>,
    ) -> EventPosition {
        let chosen = self.partition_of(&event.identity.device);
        let appended = self.partition(chosen).append(event, enrichments);
        if let Some(at) = appended.expires_at {
            self.expire_at(at, chosen);
        }
        appended.position
    }

    /// Runs an `EventExpiry` row.
    pub(crate) fn expiry_due(&self, partition: u8, now: Timestamp) {
        let next = self.partitions.get(usize::from(partition)).and_then(|partition| partition.expire(now));
        if let Some(at) = next {
            self.expire_at(at.max(now.plus(limits::EVENT_EXPIRY_PAUSE)), partition);
        }
    }

    fn expire_at(&self, at: Timestamp, partition: u8) {
        let event_hub = self.name.clone();
        self.deadlines.push(at, Deadline::EventExpiry { event_hub, partition });
    }

    /// At most `limit` events, newest first, of one device or of all; with the partition each is in.
    pub fn newest(&self, limit: usize, device: Option<&DeviceId>) -> Vec<(u8, Event)> {
        let mut found: Vec<_> = match device {
            Some(device) => vec![self.partition_of(device)],
            None => (0..self.partitions()).collect(),
        }
        .into_iter()
        .flat_map(|n| self.partition(n).newest(limit, device).into_iter().map(move |event| (n, event)))
        .collect();
        found.sort_by_key(|(_, event)| std::cmp::Reverse(event.position.enqueued_at));
        found.truncate(limit);
        found
    }

    pub(crate) fn properties(&self) -> EventHubProperties {
        EventHubProperties {
            name: self.name.clone(),
            created_at: self.created_at,
            partitions: self.partitions(),
        }
    }

    pub(crate) fn partition_properties(
        &self,
        partition: &str,
        now: Timestamp,
    ) -> Result<PartitionProperties, ReadError> {
        let number = self.partition_number(partition)?;
        let partition = self.partition(number);
        partition.trim_to(now);
        let bounds = partition.bounds();
        Ok(PartitionProperties {
            event_hub: self.name.clone(),
            partition: number,
            begin_sequence_number: bounds.begin,
            last_enqueued: bounds.last,
            is_empty: bounds.begin == bounds.end,
        })
    }

    /// The names of the consumer groups, in their order.
    pub fn consumer_groups(&self) -> Vec<ConsumerGroupName> {
        self.groups.lock().values().map(|group| group.name().clone()).collect()
    }

    /// The name under which a consumer group was made.
    pub fn consumer_group(&self, name: &str) -> Option<ConsumerGroupName> {
        self.groups.lock().get(&names::key(name)).map(|group| group.name().clone())
    }

    /// Makes a consumer group unless there is one of that name; returns whether it is new.
    ///
    /// # Errors
    /// `GenericForbidden` when there are [`limits::CONSUMER_GROUPS`] already.
    pub fn create_consumer_group(&self, name: ConsumerGroupName) -> Result<bool, HubError> {
        create(&mut self.groups.lock(), name, self.partitions.len())
    }

    /// Removes a consumer group; its readers end.
    ///
    /// # Errors
    /// `GenericNotFound`; `ArgumentInvalid` for the one that always exists.
    pub fn delete_consumer_group(&self, name: &str) -> Result<(), HubError> {
        let mut groups = self.groups.lock();
        let group = groups.remove(&names::key(name));
        match group {
            Some(group) if group.name().is_default() => {
                groups.insert(names::key(name), group);
                let message = format!("The consumer group {name} cannot be removed.");
                Err(HubError::new(ErrorCode::ArgumentInvalid, message))
            }
            Some(group) => {
                group.close(&self.group_not_found(name));
                Ok(())
            }
            None => Err(HubError::new(ErrorCode::GenericNotFound, self.group_not_found(name).to_string())),
        }
    }

    pub(crate) fn open_reader(
        self: Arc<Self>,
        request: &ReaderRequest<'_>,
        wake: Arc<Notify>,
        now: Timestamp,
    ) -> Result<EventReader, ReadError> {
        let partition = self.partition_number(request.partition)?;
        let key = names::key(request.consumer_group);
        let mut groups = self.groups.lock();
        if self.are_groups_made_on_first_use && !groups.contains_key(&key) {
            ConsumerGroupName::parse(request.consumer_group)
                .and_then(|name| create(&mut groups, name, self.partitions.len()))
                .map_err(ReadError::ConsumerGroupRefused)?;
        }
        let group = groups.get_mut(&key).ok_or_else(|| self.group_not_found(request.consumer_group))?;
        let place = group.enter(usize::from(partition), request.owner_level, wake)?;
        drop(groups);
        self.partition(partition).trim_to(now);
        let cursor = self.partition(partition).cursor(request.start);
        Ok(EventReader::new(self, key.into(), partition, place, cursor))
    }

    /// Frees a reader's place.
    pub(crate) fn leave(&self, consumer_group: &str, partition: u8, place: &Arc<ReaderPlace>) {
        if let Some(group) = self.groups.lock().get_mut(consumer_group) {
            group.leave(usize::from(partition), place);
        }
    }

    /// The partition of a number that [`Self::partition_number`] or [`Self::partition_of`] gave.
    pub(crate) fn partition(&self, number: u8) -> &Partition {
        &self.partitions[usize::from(number)]
    }

    fn partition_number(&self, id: &str) -> Result<u8, ReadError> {
        let known = |number: &u8| *number < self.partitions() && number.to_string() == id;
        id.parse().ok().filter(known).ok_or_else(|| ReadError::PartitionOutOfRange {
            event_hub: self.name.clone(),
            partition: id.to_owned(),
            partitions: self.partitions(),
        })
    }

    fn partition_of(&self, device: &DeviceId) -> u8 {
        let count = self.partitions.len() as u64;
        u8::try_from(stable_hash(device.as_str()) % count).expect("a partition's number is small")
    }

    fn group_not_found(&self, name: &str) -> ReadError {
        ReadError::ConsumerGroupNotFound { event_hub: self.name.clone(), consumer_group: name.to_owned() }
    }
}

fn create(
    groups: &mut BTreeMap<String, ConsumerGroup>,
    name: ConsumerGroupName,
    partitions: usize,
) -> Result<bool, HubError> {
    let key = names::key(name.as_str());
    if groups.contains_key(&key) {
        return Ok(false);
    }
    if groups.len() >= limits::CONSUMER_GROUPS {
        let message = format!("An event hub has at most {} consumer groups.", limits::CONSUMER_GROUPS);
        return Err(HubError::new(ErrorCode::GenericForbidden, message));
    }
    groups.insert(key, ConsumerGroup::new(name, partitions));
    Ok(true)
}

/// FNV-1a: the same on every machine and in every release, so a device stays in its partition.
fn stable_hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
