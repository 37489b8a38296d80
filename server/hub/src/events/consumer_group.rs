//! A consumer group: a view of an event hub with its own readers, and who of them may read a partition at the same time
//! (contract/eventhubs.md 4.2).

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::events::names::ConsumerGroupName;
use crate::events::read_error::ReadError;
use crate::limits;

#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    name: ConsumerGroupName,
    partitions: Box<[Owners]>,
}

/// Who reads one partition.
#[derive(Debug, Default)]
struct Owners {
    /// The owner level of the one reader there is, if it has one.
    level: Option<i64>,
    readers: Vec<Arc<ReaderPlace>>,
}

/// A reader's place in its group: how it hears that there is something to read, or that it has lost its place.
#[derive(Debug)]
pub(crate) struct ReaderPlace {
    pub(crate) wake: Arc<Notify>,
    pub(crate) ended: OnceLock<ReadError>,
}

impl ReaderPlace {
    fn end(&self, why: ReadError) {
        if self.ended.set(why).is_ok() {
            self.wake.notify_one();
        }
    }
}

impl ConsumerGroup {
    pub(crate) fn new(name: ConsumerGroupName, partitions: usize) -> Self {
        Self { name, partitions: (0..partitions).map(|_| Owners::default()).collect() }
    }

    pub(crate) const fn name(&self) -> &ConsumerGroupName {
        &self.name
    }

    /// Gives a reader a place, and ends those it displaces.
    pub(crate) fn enter(
        &mut self,
        partition: usize,
        level: Option<i64>,
        wake: Arc<Notify>,
    ) -> Result<Arc<ReaderPlace>, ReadError> {
        let owners = &mut self.partitions[partition];
        match (level, owners.level) {
            (Some(new), Some(owner_level)) if new < owner_level => {
                return Err(ReadError::OwnedByHigherLevel { owner_level });
            }
            (None, Some(owner_level)) => return Err(ReadError::OwnedByHigherLevel { owner_level }),
            (None, None) if owners.readers.len() >= limits::READERS_WITHOUT_OWNER_LEVEL => {
                return Err(ReadError::TooManyReaders { readers: owners.readers.len() });
            }
            (Some(owner_level), _) => {
                owners.level = Some(owner_level);
                for displaced in owners.readers.drain(..) {
                    displaced.end(ReadError::Disowned { owner_level });
                }
            }
            (None, None) => {}
        }
        let place = Arc::new(ReaderPlace { wake, ended: OnceLock::new() });
        owners.readers.push(Arc::clone(&place));
        Ok(place)
    }

    /// Frees a place; one that was displaced is free already.
    pub(crate) fn leave(&mut self, partition: usize, place: &Arc<ReaderPlace>) {
        let owners = &mut self.partitions[partition];
        owners.readers.retain(|reader| !Arc::ptr_eq(reader, place));
        if owners.readers.is_empty() {
            owners.level = None;
        }
    }

    /// Ends every reader.
    pub(crate) fn close(self, why: &ReadError) {
        for owners in self.partitions {
            for reader in owners.readers {
                reader.end(why.clone());
            }
        }
    }
}
