//! Every event hub of the hub, by name: the built-in one and those made beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::HubConfig;
use crate::error::{ErrorCode, HubError};
use crate::events::event_hub::EventHub;
use crate::events::names::{self, ConsumerGroupName, EventHubName};
use crate::events::partition::EventRetention;
use crate::limits;
use crate::time::{Deadlines, Timestamp};

/// What an event hub is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHubConfig {
    /// Its name, and the topic of readers.
    pub name: EventHubName,
    /// Its partitions, 1 to [`limits::PARTITIONS_MAX`].
    pub partitions: u8,
    /// Its consumer groups besides `$Default`.
    pub consumer_groups: Vec<ConsumerGroupName>,
}

/// The event hubs of a hub.
#[derive(Debug)]
pub struct EventHubs {
    built_in: Arc<EventHub>,
    further: Mutex<BTreeMap<String, Arc<EventHub>>>,
    retention: EventRetention,
    are_groups_made_on_first_use: bool,
    deadlines: Arc<Deadlines>,
}

impl EventHubs {
    /// Those of `config`. Of several with one name the first is made.
    pub(crate) fn new(config: &HubConfig, at: Timestamp, deadlines: &Arc<Deadlines>) -> Self {
        let built_in = EventHubConfig {
            name: EventHubName::from(&config.name),
            partitions: config.partitions,
            consumer_groups: config.consumer_groups.clone(),
        };
        let make = |event_hub: EventHubConfig| {
            let (retention, on_first_use) = (config.event_retention, config.create_consumer_groups);
            Arc::new(EventHub::new(event_hub, retention, on_first_use, at, Arc::clone(deadlines)))
        };
        let built_in = make(built_in);
        let mut further = BTreeMap::new();
        for event_hub in &config.event_hubs {
            let key = names::key(event_hub.name.as_str());
            if key == names::key(built_in.name().as_str()) {
                continue;
            }
            further.entry(key).or_insert_with(|| make(event_hub.clone()));
        }
        Self {
            built_in,
            further: Mutex::new(further),
            retention: config.event_retention,
            are_groups_made_on_first_use: config.create_consumer_groups,
            deadlines: Arc::clone(deadlines),
        }
    }

    /// The one that readers find under the hub's own name.
    pub const fn built_in(&self) -> &Arc<EventHub> {
        &self.built_in
    }

    /// The event hub of a name, in any case.
    pub fn get(&self, name: &str) -> Option<Arc<EventHub>> {
        if name.eq_ignore_ascii_case(self.built_in.name().as_str()) {
            return Some(Arc::clone(&self.built_in));
        }
        self.further.lock().get(&names::key(name)).cloned()
    }

    /// All of them, the built-in one first.
    pub fn all(&self) -> Vec<Arc<EventHub>> {
        let further = self.further.lock();
        std::iter::once(&self.built_in).chain(further.values()).map(Arc::clone).collect()
    }

    /// Makes an event hub unless there is one of that name.
    ///
    /// # Errors
    /// `GenericForbidden` when there are [`limits::EVENT_HUBS`] beside the built-in one.
    pub fn create(&self, config: EventHubConfig, at: Timestamp) -> Result<Arc<EventHub>, HubError> {
        if let Some(known) = self.get(config.name.as_str()) {
            return Ok(known);
        }
        let mut further = self.further.lock();
        let key = names::key(config.name.as_str());
        if further.len() >= limits::EVENT_HUBS && !further.contains_key(&key) {
            let message = format!("A hub has at most {} event hubs beside its own.", limits::EVENT_HUBS);
            return Err(HubError::new(ErrorCode::GenericForbidden, message));
        }
        let make = || {
            let deadlines = Arc::clone(&self.deadlines);
            Arc::new(EventHub::new(config, self.retention, self.are_groups_made_on_first_use, at, deadlines))
        };
        Ok(Arc::clone(further.entry(key).or_insert_with(make)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hub, hub_with};

    fn config(name: &str) -> EventHubConfig {
        let name = EventHubName::parse(name).unwrap();
        EventHubConfig { name, partitions: 2, consumer_groups: vec![ConsumerGroupName::parse("g").unwrap()] }
    }

    #[test]
    fn an_event_hub_is_found_in_any_case_and_beside_the_built_in_one() {
        let (hub, _) = hub_with(|config_of_hub| {
            config_of_hub.event_hubs = vec![config("Alerts"), config("alerts"), config("TEST")];
            config_of_hub.consumer_groups = vec![ConsumerGroupName::parse("own").unwrap()];
        });
        let hubs = hub.event_hubs();
        let alerts = hubs.get("aLERTS").unwrap();
        assert_eq!((alerts.name().as_str(), alerts.partitions()), ("Alerts", 2));
        assert!(alerts.consumer_group("G").is_some() && alerts.consumer_group("own").is_none());
        assert!(Arc::ptr_eq(&hubs.get("Test").unwrap(), hubs.built_in()));
        assert!(hubs.built_in().consumer_group("own").is_some());
        assert!(hubs.get("other").is_none());
        assert_eq!(hubs.all().len(), 2, "a name is given once");
    }

    #[test]
    fn event_hubs_are_made_up_to_their_limit() {
        let (hub, _) = hub();
        let create = |n: usize| hub.event_hubs().create(config(&format!("e{n}")), hub.clock().now());
        let made: Vec<_> = (0..limits::EVENT_HUBS).map(|n| create(n).unwrap()).collect();
        assert!(Arc::ptr_eq(&create(0).unwrap(), &made[0]), "one that is there is no more");
        assert_eq!(create(limits::EVENT_HUBS).unwrap_err().code(), ErrorCode::GenericForbidden);
    }
}
