//! The core of the emulated IoT hub: all state, all decisions, no protocol.
//!
//! Reading order: [`ids`], [`time`], [`error`], [`json`], [`api_version`], [`access`] and [`limits`] are the
//! vocabulary; [`gate`] is the one door in; behind it [`identity`], [`twin`], [`device_session`], [`method`],
//! [`telemetry`], [`routing`] and [`events`] are the capabilities, which share the per-device lock of `state`. Everything is
//! synchronous: what a head awaits is [`gate::Gate::admit`], [`device_session::DeviceSession::next`], an [`alarm`] and
//! the answer to [`Hub::invoke_method`].

pub mod access;
pub mod alarm;
pub mod api_version;
pub mod c2d;
pub mod device_session;
pub mod entropy;
pub mod error;
pub mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gate;
pub mod identity;
pub mod ids;
pub mod json;
pub mod limits;
pub mod method;
pub mod routing;
mod state;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod time;
pub mod twin;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::access::SharedAccessPolicy;
use crate::alarm::Alarms;
use crate::c2d::Feedback;
use crate::entropy::Entropy;
use crate::events::{ConsumerGroupName, EventHub, EventHubConfig, EventHubs, EventRetention};
use crate::gate::{Gate, Journal, Rates, Tier};
use crate::ids::{HubName, TrackingId};
use crate::method::MethodRequestId;
use crate::routing::Router;
use crate::state::Devices;
use crate::time::{Clock, Deadline, Deadlines, Timestamp};

/// What a hub is made from.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Its name in events.
    pub name: HubName,
    /// Its shared access policies.
    pub policies: Vec<SharedAccessPolicy>,
    /// Partitions of its built-in event hub, 1 to [`limits::PARTITIONS_MAX`].
    pub partitions: u8,
    /// Consumer groups of its built-in event hub besides `$Default`.
    pub consumer_groups: Vec<ConsumerGroupName>,
    /// Event hubs beside the built-in one, each of another name.
    pub event_hubs: Vec<EventHubConfig>,
    /// Whether a consumer group that somebody wants to read with is made.
    pub create_consumer_groups: bool,
    /// How much each event hub keeps.
    pub event_retention: EventRetention,
    /// What it can do, and how much of it.
    pub tier: Tier,
    /// The rates it keeps its callers to; `None` lets everybody go as fast as they can.
    pub throttles: Option<Rates>,
    /// The messages of a day; `None` counts none.
    pub messages_per_day: Option<u64>,
}

impl HubConfig {
    /// A hub of the standard tier, without throttles and quota.
    pub fn new(name: HubName, policies: Vec<SharedAccessPolicy>, partitions: u8) -> Self {
        Self {
            name,
            policies,
            partitions,
            consumer_groups: Vec::new(),
            event_hubs: Vec::new(),
            create_consumer_groups: false,
            event_retention: EventRetention::default(),
            tier: Tier::Standard,
            throttles: None,
            messages_per_day: None,
        }
    }
}

/// One IoT hub.
#[derive(Debug)]
pub struct Hub {
    name: HubName,
    policies: Vec<SharedAccessPolicy>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    journal: Arc<Journal>,
    gate: Gate,
    devices: Devices,
    event_hubs: EventHubs,
    router: ArcSwap<Router>,
    /// Held while the router is made anew; nothing waits for it but another change.
    routing_changes: Mutex<()>,
    deadlines: Arc<Deadlines>,
    feedback: Feedback,
    alarms: Alarms,
    started_at: Timestamp,
    session_generations: AtomicU64,
    method_requests: AtomicU64,
}

impl Hub {
    /// An empty hub.
    pub fn new(config: HubConfig, clock: Arc<dyn Clock>, entropy: Entropy) -> Arc<Self> {
        let journal = Arc::new(Journal::default());
        let deadlines = Arc::new(Deadlines::default());
        let started_at = clock.now();
        let event_hubs = EventHubs::new(&config, started_at, &deadlines);
        let router = Router::unconfigured(&config.name, &event_hubs);
        Arc::new(Self {
            gate: Gate::new(&config, Arc::clone(&clock), Arc::clone(&journal), &deadlines),
            event_hubs,
            router: ArcSwap::from_pointee(router),
            routing_changes: Mutex::default(),
            name: config.name,
            policies: config.policies,
            clock,
            entropy,
            journal,
            devices: Devices::new(config.tier.identities()),
            deadlines,
            feedback: Feedback::default(),
            alarms: Alarms::default(),
            started_at,
            session_generations: AtomicU64::new(0),
            method_requests: AtomicU64::new(1),
        })
    }

    /// The hub's name.
    pub const fn name(&self) -> &HubName {
        &self.name
    }

    /// The shared access policies.
    pub fn policies(&self) -> &[SharedAccessPolicy] {
        &self.policies
    }

    /// Hub time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The door to every operation.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Recent operations.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The built-in event hub.
    pub fn events(&self) -> &EventHub {
        self.event_hubs.built_in()
    }

    /// Every event hub.
    pub const fn event_hubs(&self) -> &EventHubs {
        &self.event_hubs
    }

    /// A fresh id for an error that goes out.
    pub fn tracking_id(&self) -> TrackingId {
        TrackingId::new(self.entropy.wide(), self.clock.now())
    }

    /// Random bits for ids that a head gives out.
    pub fn random_bits(&self) -> u128 {
        self.entropy.wide()
    }

    /// When the earliest thing falls due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// Resolves when [`Self::next_deadline`] moved to an earlier instant. For one waiter.
    pub async fn deadlines_changed(&self) {
        self.deadlines.changed().await;
    }

    /// Does everything that is due, in time order.
    pub fn run_due(&self) {
        let now = self.clock.now();
        while let Some((due, deadline)) = self.deadlines.pop_due(now) {
            match &deadline {
                Deadline::Alarm { number } => self.alarm_due(*number),
                Deadline::CloudToDevice { device } => self.cloud_to_device_due(device, now),
                Deadline::EventExpiry { event_hub, partition } => {
                    self.event_expiry_due(event_hub, *partition, now);
                }
                Deadline::Feedback => self.feedback_due(now),
                Deadline::MethodTimeout { identity, id } => self.method_timeout_due(identity, *id),
                Deadline::SessionExpiry { identity } => self.session_expiry_due(identity, due, now),
                Deadline::ThrottleTurn { ticket } => self.gate.turn_due(*ticket),
            }
        }
    }

    /// Tells every session that the hub is stopping, and everybody who waits at a throttle.
    pub fn stop(&self) {
        self.gate.close();
        self.each_attachment(|attachment| attachment.stop(self));
    }

    fn next_method_request(&self) -> MethodRequestId {
        MethodRequestId(self.method_requests.fetch_add(1, Ordering::Relaxed))
    }

    fn next_session_generation(&self) -> u64 {
        self.session_generations.fetch_add(1, Ordering::Relaxed)
    }
}
