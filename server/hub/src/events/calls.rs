//! What heads ask of the hub's event hubs.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::Hub;
use crate::events::event_hub::{EventHub, EventHubProperties, PartitionProperties};
use crate::events::names::EventHubName;
use crate::events::read_error::ReadError;
use crate::events::reader::{EventReader, ReaderRequest};
use crate::gate::operations::{GetEventHubProperties, ReadEvents};
use crate::gate::{Admitted, Operation};
use crate::time::Timestamp;

impl Hub {
    /// Describes an event hub.
    ///
    /// # Errors
    /// [`ReadError::EventHubNotFound`].
    pub fn event_hub_properties(
        &self,
        by: Admitted<GetEventHubProperties>,
        event_hub: &str,
    ) -> Result<EventHubProperties, ReadError> {
        let found = self.event_hub(event_hub).map(|event_hub| event_hub.properties());
        conclude(by, found)
    }

    /// Describes a partition.
    ///
    /// # Errors
    /// [`ReadError::EventHubNotFound`], [`ReadError::PartitionOutOfRange`].
    pub fn partition_properties(
        &self,
        by: Admitted<GetEventHubProperties>,
        event_hub: &str,
        partition: &str,
    ) -> Result<PartitionProperties, ReadError> {
        let found = self
            .event_hub(event_hub)
            .and_then(|event_hub| event_hub.partition_properties(partition, by.at()));
        conclude(by, found)
    }

    /// Opens a reader. `wake` is notified when it may read on after it found nothing, and when it has ended; several
    /// readers may share one.
    ///
    /// # Errors
    /// Every [`ReadError`].
    pub fn open_event_reader(
        &self,
        by: Admitted<ReadEvents>,
        request: &ReaderRequest<'_>,
        wake: Arc<Notify>,
    ) -> Result<EventReader, ReadError> {
        let opened = self
            .event_hub(request.event_hub)
            .and_then(|event_hub| event_hub.open_reader(request, wake, by.at()));
        conclude(by, opened)
    }

    /// Runs an `EventExpiry` row.
    pub(crate) fn event_expiry_due(&self, event_hub: &EventHubName, partition: u8, now: Timestamp) {
        if let Some(event_hub) = self.event_hubs().get(event_hub.as_str()) {
            event_hub.expiry_due(partition, now);
        }
    }

    fn event_hub(&self, name: &str) -> Result<Arc<EventHub>, ReadError> {
        let not_found = || ReadError::EventHubNotFound { event_hub: name.to_owned() };
        self.event_hubs().get(name).ok_or_else(not_found)
    }
}

fn conclude<O: Operation, T>(by: Admitted<O>, result: Result<T, ReadError>) -> Result<T, ReadError> {
    by.conclude_with(result, |result| result.as_ref().err().map(ReadError::code))
}
