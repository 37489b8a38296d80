//! Routing as an operator writes it (`properties.routing` of the hub's resource), and the same once it has been
//! checked: names, sources, endpoints that exist, the numbers a tier allows (contract/rest.md 6.2, 7).

use std::collections::HashSet;

use crate::error::{ErrorCode, HubError};
use crate::events::MessageSource;
use crate::gate::Tier;
use crate::json::shown;
use crate::limits;
use crate::routing::endpoint::Endpoints;
use crate::routing::enrichment::EnrichmentValue;

/// Routing as it was written, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingSpec {
    /// The routes.
    pub routes: Vec<RouteSpec>,
    /// Whether device messages that no route takes go to the built-in endpoint.
    pub fallback_route: bool,
    /// What is added to events.
    pub enrichments: Vec<EnrichmentSpec>,
}

/// A hub nobody configured: no routes, so everything devices say falls back to the built-in endpoint.
impl Default for RoutingSpec {
    fn default() -> Self {
        Self { routes: Vec::new(), fallback_route: true, enrichments: Vec::new() }
    }
}

/// A route as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// 1 to 64 letters, digits and `.`, `_`, `-`; unique.
    pub name: String,
    /// A [`MessageSource::route_name`].
    pub source: String,
    /// `true`, the default, is the only one there is yet.
    pub condition: Option<String>,
    /// [`BUILT_IN_ENDPOINT`](crate::routing::BUILT_IN_ENDPOINT), or names of event hubs.
    pub endpoints: Vec<String>,
    /// Whether it counts.
    pub is_enabled: bool,
}

/// An enrichment as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrichmentSpec {
    /// The application property; grammar as of a route's name, unique.
    pub key: String,
    /// Any text, `$iothubname`, or a path into the sender's twin such as `$twin.tags.building`.
    pub value: String,
    /// As [`RouteSpec::endpoints`].
    pub endpoints: Vec<String>,
}

/// Routing that has been checked against the event hubs there are and the tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    routes: Vec<Route>,
    fallback_route: bool,
    enrichments: Vec<Enrichment>,
}

/// As of a hub nobody configured.
impl Default for Routing {
    fn default() -> Self {
        Self { routes: Vec::new(), fallback_route: true, enrichments: Vec::new() }
    }
}

/// A checked route; its condition is `true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: Box<str>,
    /// What it takes.
    pub source: MessageSource,
    /// Where to: at least one name, none twice.
    pub endpoints: Vec<Box<str>>,
    /// Whether it counts.
    pub is_enabled: bool,
}

/// A checked enrichment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrichment {
    /// The application property.
    pub key: Box<str>,
    /// What it is set to.
    pub(crate) value: EnrichmentValue,
    /// For which endpoints: at least one name, none twice.
    pub endpoints: Vec<Box<str>>,
}

impl Enrichment {
    /// The value as it was written.
    pub fn value(&self) -> &str {
        self.value.as_str()
    }
}

impl Routing {
    /// Checks what was written.
    ///
    /// # Errors
    /// `ArgumentInvalid` with the rule that is broken, and by which route or enrichment.
    pub fn parse(spec: &RoutingSpec, endpoints: &Endpoints, tier: Tier) -> Result<Self, HubError> {
        let check_count = |what, count, most| match count {
            count if count <= most => Ok(()),
            _ => Err(invalid(format!(
                "{count} {what} are too many: the {} tier allows {most}.",
                tier.as_str()
            ))),
        };
        check_count("routes", spec.routes.len(), tier.routes())?;
        check_count("enrichments", spec.enrichments.len(), tier.enrichments())?;

        let (mut names, mut keys) = (HashSet::new(), HashSet::new());
        let route = |route: &RouteSpec| {
            check_name("name of a route", &route.name)?;
            check_distinct("name of a route", &route.name, &mut names)?;
            route.parse(endpoints).map_err(|problem| invalid(format!("Route '{}': {problem}", route.name)))
        };
        let routes = spec.routes.iter().map(route).collect::<Result<_, _>>()?;
        let enrichment = |enrichment: &EnrichmentSpec| {
            check_name("key of an enrichment", &enrichment.key)?;
            check_distinct("key of an enrichment", &enrichment.key, &mut keys)?;
            let parsed = enrichment.parse(endpoints);
            parsed.map_err(|problem| invalid(format!("Enrichment '{}': {problem}", enrichment.key)))
        };
        let enrichments = spec.enrichments.iter().map(enrichment).collect::<Result<_, _>>()?;
        Ok(Self { routes, fallback_route: spec.fallback_route, enrichments })
    }

    /// The routes as written.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether device messages that no route takes go to the built-in endpoint.
    pub const fn fallback_route(&self) -> bool {
        self.fallback_route
    }

    /// The enrichments as written.
    pub fn enrichments(&self) -> &[Enrichment] {
        &self.enrichments
    }
}

impl RouteSpec {
    fn parse(&self, endpoints: &Endpoints) -> Result<Route, String> {
        let Some(source) = MessageSource::of_route(&self.source) else {
            let names = MessageSource::ALL.map(MessageSource::route_name).join(", ");
            return Err(format!("there is no source '{}', only {names}.", shown(&self.source)));
        };
        match self.condition.as_deref().map(str::trim) {
            None => {}
            Some(condition) if condition.eq_ignore_ascii_case("true") => {}
            Some(condition) => {
                return Err(format!(
                    "the condition '{}' is not supported yet, only 'true' is, which may be left out.",
                    shown(condition)
                ));
            }
        }
        let endpoints = endpoints.named(&self.endpoints)?;
        Ok(Route { name: self.name.as_str().into(), source, endpoints, is_enabled: self.is_enabled })
    }
}

impl EnrichmentSpec {
    fn parse(&self, endpoints: &Endpoints) -> Result<Enrichment, String> {
        Ok(Enrichment {
            key: self.key.as_str().into(),
            value: EnrichmentValue::parse(&self.value)?,
            endpoints: endpoints.named(&self.endpoints)?,
        })
    }
}

/// Routes and keys of enrichments have the same documented grammar.
fn check_name(what: &str, name: &str) -> Result<(), HubError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=limits::ROUTING_NAME_CHARS).contains(&name.chars().count()) && name.chars().all(is_fine) {
        return Ok(());
    }
    Err(invalid(format!(
        "The {what} is '{}', and 1 to {} letters, digits, '.', '_' and '-' are allowed.",
        shown(name),
        limits::ROUTING_NAME_CHARS
    )))
}

/// Refuses a name that was seen before; the service compares them without regard to case (unverified).
fn check_distinct(what: &str, name: &str, seen: &mut HashSet<String>) -> Result<(), HubError> {
    if seen.insert(name.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(invalid(format!("The {what} '{name}' occurs twice, it has to be unique.")))
}

fn invalid(message: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

#[cfg(test)]
mod tests;
