//! Routing compiled: for every source where its events go, each endpoint once. Made anew for every change and swapped
//! whole; whoever routes loads it once and takes no lock.

use std::sync::Arc;

use arc_swap::Guard;

use crate::Hub;
use crate::error::HubError;
use crate::events::{EventData, EventHub, EventHubConfig, EventHubName, EventHubs, MessageSource};
use crate::ids::HubName;
use crate::limits;
use crate::routing::endpoint::{BUILT_IN_ENDPOINT, Endpoints};
use crate::routing::enrichment::Enrichments;
use crate::routing::spec::{Routing, RoutingSpec};
use crate::twin::StoredTwin;

/// Where events go.
#[derive(Debug)]
pub(crate) struct Router {
    routing: Routing,
    /// In the order of [`MessageSource::ALL`].
    targets: [Box<[Target]>; MessageSource::ALL.len()],
}

/// An endpoint that something is routed to.
#[derive(Debug)]
struct Target {
    event_hub: Arc<EventHub>,
    enrichments: Enrichments,
}

impl Router {
    /// What a hub does that nobody configured.
    pub(crate) fn unconfigured(hub_name: &HubName, event_hubs: &EventHubs) -> Self {
        Self::compile(Routing::default(), hub_name, event_hubs)
    }

    /// An endpoint without its event hub gets nothing; [`Hub::set_routing`] sees to it that there is none.
    fn compile(routing: Routing, hub_name: &HubName, event_hubs: &EventHubs) -> Self {
        let target = |endpoint: &str| {
            let event_hub = match endpoint {
                BUILT_IN_ENDPOINT => Some(Arc::clone(event_hubs.built_in())),
                name => event_hubs.get(name),
            };
            let enrichments = Enrichments::of_endpoint(endpoint, routing.enrichments(), hub_name);
            Some(Target { event_hub: event_hub?, enrichments })
        };
        let targets = MessageSource::ALL.map(|source| {
            let routes = routing.routes().iter().filter(|route| route.is_enabled && route.source == source);
            let mut endpoints: Vec<&str> = Vec::new();
            for endpoint in routes.flat_map(|route| &route.endpoints) {
                if !endpoints.contains(&&**endpoint) {
                    endpoints.push(endpoint);
                }
            }
            // With `true` as the only condition a message matches no route exactly if there is none for messages.
            if source == MessageSource::Telemetry && endpoints.is_empty() && routing.fallback_route() {
                endpoints.push(BUILT_IN_ENDPOINT);
            }
            endpoints.into_iter().filter_map(target).collect()
        });
        Self { routing, targets }
    }

    /// Whether anybody wants events of this source. Those of the hub itself are not even made otherwise.
    pub(crate) fn wants(&self, source: MessageSource) -> bool {
        !self.targets(source).is_empty()
    }

    /// Appends an event wherever it is to go. The caller holds the lock of the device it is about, so the events of a
    /// device are everywhere in the order in which they happened.
    pub(crate) fn route(&self, event: EventData, twin: &StoredTwin) {
        let targets = self.targets(event.source);
        let Some((last, others)) = targets.split_last() else { return };
        let event = event.into_shared();
        others.iter().for_each(|target| target.append(Arc::clone(&event), twin));
        last.append(event, twin);
    }

    fn targets(&self, source: MessageSource) -> &[Target] {
        &self.targets[source as usize]
    }
}

impl Target {
    fn append(&self, event: Arc<EventData>, twin: &StoredTwin) {
        // Digital twin changes are not enriched, and what grows past the limit is dropped; see `enrichment`.
        let added = match event.source {
            MessageSource::DigitalTwinChange => None,
            _ => self.enrichments.of_event(twin),
        };
        if let Some(added) = &added {
            let added: usize = added.iter().map(|added| added.name.len() + added.value.len()).sum();
            let bytes = event.body.len() + event.properties.text_bytes() + added;
            if bytes > limits::TELEMETRY_BYTES {
                tracing::warn!(
                    device = %event.identity.device,
                    bytes,
                    "an event is dropped: with its enrichments for '{}' it is too large",
                    self.event_hub.name()
                );
                return;
            }
        }
        self.event_hub.append(event, added);
    }
}

impl Hub {
    /// Puts other routing in the place of what there is. `event_hubs` are further ones it needs; those that do not exist
    /// are made, with as many partitions as the built-in one.
    ///
    /// # Errors
    /// `ArgumentInvalid` when a rule is broken, see [`Routing::parse`]; nothing changes then.
    pub fn set_routing(&self, spec: &RoutingSpec, event_hubs: &[EventHubName]) -> Result<(), HubError> {
        let _one_at_a_time = self.routing_changes.lock();
        let mut names: Vec<_> =
            self.event_hubs.all().iter().skip(1).map(|further| further.name().clone()).collect();
        let is_missing = |name: &&EventHubName| self.event_hubs.get(name.as_str()).is_none();
        let missing: Vec<_> = event_hubs.iter().filter(is_missing).cloned().collect();
        names.extend_from_slice(&missing);
        let tier = self.gate.tier();
        let routing = Routing::parse(spec, &Endpoints::new(&self.name, names, tier)?, tier)?;
        for name in missing {
            let partitions = self.events().partitions();
            let config = EventHubConfig { name, partitions, consumer_groups: Vec::new() };
            self.event_hubs.create(config, self.clock.now())?;
        }
        let router = Router::compile(routing, &self.name, &self.event_hubs);
        if !router.wants(MessageSource::Telemetry) {
            tracing::warn!("no route takes device messages and the fallback route is off: they are dropped");
        }
        self.router.store(Arc::new(router));
        Ok(())
    }

    /// The routing in effect.
    pub fn routing(&self) -> Routing {
        self.router.load().routing.clone()
    }

    /// The router in effect, for one event or several that belong together.
    pub(crate) fn router(&self) -> Guard<Arc<Router>> {
        self.router.load()
    }
}

#[cfg(test)]
mod tests;
