//! Event hubs and what is routed to them: the built-in one, further ones, consumer groups, retention, routes and
//! enrichments (contract/eventhubs.md 6, contract/rest.md 6.2, 7).

use std::time::Duration;

use hub::error::HubError;
use hub::events::{ConsumerGroupName, EventHubConfig, EventHubName, EventRetention};
use hub::gate::Tier;
use hub::ids::HubName;
use hub::limits;
use hub::routing::{Endpoints, EnrichmentSpec, RouteSpec, Routing, RoutingSpec};
use serde::Deserialize;

use super::options::Options;
use super::setting::{Origin, Picker, Setting};
use super::{ConfigError, checked, invalid};

/// The event hubs and the way to them.
#[derive(Clone, Debug)]
pub struct EventsConfig {
    /// Partitions of the built-in event hub.
    pub partitions: Setting<u8>,
    /// Consumer groups of the built-in event hub besides `$Default`.
    pub consumer_groups: Setting<Vec<ConsumerGroupName>>,
    /// Whether a consumer group is made when somebody first reads with it.
    pub create_consumer_groups: Setting<bool>,
    /// Hours an event is kept.
    pub retention_hours: Setting<u32>,
    /// MiB of events an event hub keeps.
    pub retention_mib: Setting<u32>,
    /// Event hubs beside the built-in one.
    pub event_hubs: Setting<Vec<EventHubConfig>>,
    /// Routes, enrichments and fallback route; checked.
    pub routing: RoutingConfig,
}

/// Routing as it was written, and who wrote which part.
#[derive(Clone, Debug)]
pub struct RoutingConfig {
    /// Checked against the event hubs and the tier.
    pub spec: RoutingSpec,
    routes: Origin,
    enrichments: Origin,
    fallback_route: Origin,
}

/// `[[event-hub]]`: an event hub beside the built-in one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EventHubOptions {
    /// Its name, for routes and readers.
    pub name: String,
    /// Its partitions; as many as the built-in one has if absent.
    pub partitions: Option<u8>,
    /// Its consumer groups besides `$Default`.
    #[serde(default)]
    pub consumer_groups: Vec<String>,
}

/// `[[route]]`: what goes to which endpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RouteOptions {
    /// Its name.
    pub name: String,
    /// Such as `DeviceMessages`.
    pub source: String,
    /// `true` is the only one yet, and the default.
    pub condition: Option<String>,
    /// Names of event hubs, `events` for the built-in one.
    pub endpoints: Vec<String>,
    /// Whether it counts.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

/// `[[enrichment]]`: an application property added on the way to endpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnrichmentOptions {
    /// The property.
    pub key: String,
    /// Its value: any text, `$iothubname` or a path such as `$twin.tags.building`.
    pub value: String,
    /// Names of event hubs, `events` for the built-in one.
    pub endpoints: Vec<String>,
}

const fn enabled() -> bool {
    true
}

impl EventsConfig {
    pub(super) fn resolve(
        from: &Picker<'_>,
        given: &Options,
        file: &Options,
        tier: Tier,
        hub_name: &HubName,
    ) -> Result<Self, ConfigError> {
        let partitions = from.pick_or("partitions", given.partitions, file.partitions, || match tier {
            Tier::Free => Setting { value: limits::PARTITIONS_FREE, origin: Origin::Derived("tier") },
            Tier::Basic | Tier::Standard => {
                Setting { value: limits::PARTITIONS_DEFAULT, origin: Origin::Default }
            }
        });
        let partitions = checked("partitions", partitions, check_partitions)?;

        let (flag, in_file) = (given.consumer_groups.clone(), file.consumer_groups.clone());
        let consumer_groups = from.pick("consumer-group", flag, in_file, Vec::new());
        let consumer_groups = checked("consumer-groups", consumer_groups, |names| parse_groups(&names))?;
        let (flag, in_file) = (given.create_consumer_groups, file.create_consumer_groups);
        let create_consumer_groups = from.pick("create-consumer-groups", flag, in_file, false);

        let within = |count: u32, most| match count {
            count if (1..=most).contains(&count) => Ok(count),
            _ => Err(format!("1 to {most} are allowed")),
        };
        let (flag, in_file) = (given.event_retention_hours, file.event_retention_hours);
        let retention_hours = from.pick("event-retention-hours", flag, in_file, RETENTION_HOURS_DEFAULT);
        let retention_hours =
            checked("event-retention-hours", retention_hours, |hours| within(hours, RETENTION_HOURS_MAX))?;
        let (flag, in_file) = (given.event_retention_mib, file.event_retention_mib);
        let retention_mib = from.pick("event-retention-mib", flag, in_file, RETENTION_MIB_DEFAULT);
        let retention_mib =
            checked("event-retention-mib", retention_mib, |mib| within(mib, RETENTION_MIB_MAX))?;

        let event_hubs = from.pick("event-hub", None, given_in_file(&file.event_hub), Vec::new());
        let event_hubs = checked("event-hub", event_hubs, |options| {
            options.iter().map(|options| options.parse(*partitions)).collect::<Result<Vec<_>, _>>()
        })?;
        let names = event_hubs.iter().map(|event_hub| event_hub.name.clone()).collect();
        let endpoints = Endpoints::new(hub_name, names, tier)
            .map_err(|error| invalid("event-hub", &event_hubs.origin, error.message().to_owned()))?;
        let routing = RoutingConfig::resolve(from, given, file, &endpoints, tier)?;
        Ok(Self {
            partitions,
            consumer_groups,
            create_consumer_groups,
            retention_hours,
            retention_mib,
            event_hubs,
            routing,
        })
    }

    /// How much each event hub keeps.
    pub fn retention(&self) -> EventRetention {
        EventRetention {
            time: Duration::from_secs(u64::from(*self.retention_hours) * 60 * 60),
            bytes: usize::try_from(*self.retention_mib).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_MIB),
        }
    }

    /// As [`super::Config::rows`].
    pub(super) fn rows(&self) -> Vec<(String, toml::Value, &Origin)> {
        let row = |name: &str, value: toml::Value, origin| (name.to_owned(), value, origin);
        let groups: Vec<_> = self.consumer_groups.iter().map(ConsumerGroupName::as_str).collect();
        let mut rows = vec![
            row("partitions", i64::from(*self.partitions).into(), &self.partitions.origin),
            row("consumer-groups", groups.into(), &self.consumer_groups.origin),
            row(
                "create-consumer-groups",
                (*self.create_consumer_groups).into(),
                &self.create_consumer_groups.origin,
            ),
            row(
                "event-retention-hours",
                i64::from(*self.retention_hours).into(),
                &self.retention_hours.origin,
            ),
            row("event-retention-mib", i64::from(*self.retention_mib).into(), &self.retention_mib.origin),
            row("fallback-route", self.routing.spec.fallback_route.into(), &self.routing.fallback_route),
        ];
        rows.extend(self.event_hubs.iter().map(|event_hub| {
            let groups = event_hub.consumer_groups.iter().map(|group| format!(" {group}"));
            let value =
                format!("{} partitions, $Default{}", event_hub.partitions, groups.collect::<String>());
            (format!("event-hub {}", event_hub.name), value.into(), &self.event_hubs.origin)
        }));
        rows.extend(self.routing.spec.routes.iter().map(|route| {
            let state = if route.is_enabled { "" } else { " (disabled)" };
            let value = format!("{} to {}{state}", route.source, route.endpoints.join(", "));
            (format!("route {}", route.name), value.into(), &self.routing.routes)
        }));
        rows.extend(self.routing.spec.enrichments.iter().map(|enrichment| {
            let value = format!("{} for {}", enrichment.value, enrichment.endpoints.join(", "));
            (format!("enrichment {}", enrichment.key), value.into(), &self.routing.enrichments)
        }));
        rows
    }
}

impl RoutingConfig {
    fn resolve(
        from: &Picker<'_>,
        given: &Options,
        file: &Options,
        endpoints: &Endpoints,
        tier: Tier,
    ) -> Result<Self, ConfigError> {
        let routes = from.pick("route", None, given_in_file(&file.route), Vec::new());
        let enrichments = from.pick("enrichment", None, given_in_file(&file.enrichment), Vec::new());
        let fallback = from.pick("fallback-route", given.fallback_route, file.fallback_route, true);
        let spec = RoutingSpec {
            routes: routes.value.into_iter().map(RouteSpec::from).collect(),
            fallback_route: fallback.value,
            enrichments: enrichments.value.into_iter().map(EnrichmentSpec::from).collect(),
        };
        let origin = if spec.routes.is_empty() { &enrichments.origin } else { &routes.origin };
        Routing::parse(&spec, endpoints, tier)
            .map_err(|error| invalid("routing", origin, error.message().to_owned()))?;
        Ok(Self {
            spec,
            routes: routes.origin,
            enrichments: enrichments.origin,
            fallback_route: fallback.origin,
        })
    }
}

impl EventHubOptions {
    fn parse(&self, partitions: u8) -> Result<EventHubConfig, String> {
        let of_this = |problem: String| format!("event hub '{}': {problem}", self.name);
        Ok(EventHubConfig {
            name: EventHubName::parse(&self.name).map_err(in_words)?,
            partitions: check_partitions(self.partitions.unwrap_or(partitions)).map_err(of_this)?,
            consumer_groups: parse_groups(&self.consumer_groups).map_err(of_this)?,
        })
    }
}

impl From<RouteOptions> for RouteSpec {
    fn from(options: RouteOptions) -> Self {
        let RouteOptions { name, source, condition, endpoints, enabled } = options;
        Self { name, source, condition, endpoints, is_enabled: enabled }
    }
}

impl From<EnrichmentOptions> for EnrichmentSpec {
    fn from(EnrichmentOptions { key, value, endpoints }: EnrichmentOptions) -> Self {
        Self { key, value, endpoints }
    }
}

fn given_in_file<T: Clone>(rows: &[T]) -> Option<Vec<T>> {
    (!rows.is_empty()).then(|| rows.to_vec())
}

fn check_partitions(count: u8) -> Result<u8, String> {
    match count {
        limits::PARTITIONS_MIN..=limits::PARTITIONS_MAX => Ok(count),
        _ => Err(format!("{} to {} partitions are allowed", limits::PARTITIONS_MIN, limits::PARTITIONS_MAX)),
    }
}

fn parse_groups(names: &[String]) -> Result<Vec<ConsumerGroupName>, String> {
    if names.len() >= limits::CONSUMER_GROUPS {
        return Err(format!("an event hub has at most {} consumer groups", limits::CONSUMER_GROUPS));
    }
    names.iter().map(|name| ConsumerGroupName::parse(name).map_err(in_words)).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn in_words(error: HubError) -> String {
    error.message().to_owned()
}

const BYTES_PER_MIB: usize = 1024 * 1024;
/// One day, the service's default.
const RETENTION_HOURS_DEFAULT: u32 = 24;
/// Seven days, the longest the service offers (contract/eventhubs.md 6).
const RETENTION_HOURS_MAX: u32 = 7 * 24;
const RETENTION_MIB_DEFAULT: u32 = 256;
/// 64 GiB: beyond that it is a mistake.
const RETENTION_MIB_MAX: u32 = 64 * 1024;
