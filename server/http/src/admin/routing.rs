//! `/admin/routing`: routes, endpoints, enrichments and the fallback route, in the shape of `properties.routing` of the
//! hub's resource in Azure Resource Manager, so that a template's part can be sent here as it is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use hub::Hub;
use hub::error::HubError;
use hub::events::{EventHubName, MessageSource};
use hub::json::shown;
use hub::routing::{BUILT_IN_ENDPOINT, Enrichment, EnrichmentSpec, Route, RouteSpec, RoutingSpec};
use serde::Serialize;
use serde_json::Value;

use crate::error::Answer;
use crate::extract::JsonBody;
use crate::json::{self, Members};
use crate::names::{member, routing as name};
use crate::render;

pub(super) async fn get(State(hub): State<Arc<Hub>>) -> Response {
    current(&hub)
}

/// Takes the whole of it and answers with what is in effect then.
pub(super) async fn put(State(hub): State<Arc<Hub>>, JsonBody(bytes): JsonBody) -> Answer {
    let body = json::object(&bytes)?;
    let (spec, event_hubs) = parse(Members::of(&body))?;
    hub.set_routing(&spec, &event_hubs)?;
    tracing::info!(routes = spec.routes.len(), enrichments = spec.enrichments.len(), "routing changed");
    Ok(current(&hub))
}

fn parse(body: Members<'_>) -> Result<(RoutingSpec, Vec<EventHubName>), HubError> {
    let mut event_hubs = Vec::new();
    if let Some(endpoints) = body.object(name::ENDPOINTS)? {
        for kind in name::UNSUPPORTED_ENDPOINTS {
            if endpoints.array(kind)?.is_some_and(|endpoints| !endpoints.is_empty()) {
                return Err(json::invalid(format!(
                    "Endpoints of the kind '{kind}' are not supported yet, '{}' are.",
                    name::EVENT_HUBS
                )));
            }
        }
        for endpoint in objects(endpoints, name::EVENT_HUBS)? {
            event_hubs.push(EventHubName::parse(&required(endpoint, member::NAME)?)?);
        }
    }
    let mut routes = Vec::new();
    for route in objects(body, name::ROUTES)? {
        routes.push(RouteSpec {
            name: required(route, member::NAME)?,
            source: required(route, name::SOURCE)?,
            condition: route.text(name::CONDITION)?.map(str::to_owned),
            endpoints: texts(route, name::ENDPOINT_NAMES)?,
            is_enabled: route.boolean(name::IS_ENABLED)?.unwrap_or(true),
        });
    }
    let mut enrichments = Vec::new();
    for enrichment in objects(body, name::ENRICHMENTS)? {
        enrichments.push(EnrichmentSpec {
            key: required(enrichment, name::KEY)?,
            value: required(enrichment, name::VALUE)?,
            endpoints: texts(enrichment, name::ENDPOINT_NAMES)?,
        });
    }
    let fallback_route = match body.object(name::FALLBACK_ROUTE)? {
        Some(fallback) => is_fallback_enabled(fallback)?,
        // As in a template: who writes routes and no fallback has none, who writes nothing keeps what a hub does anyway.
        None => routes.is_empty(),
    };
    Ok((RoutingSpec { routes, fallback_route, enrichments }, event_hubs))
}

/// The fallback route is one of device messages, without a condition, to the built-in endpoint; it can be switched off.
fn is_fallback_enabled(fallback: Members<'_>) -> Result<bool, HubError> {
    let check = |member, given: Option<&str>, only: &str| match given {
        Some(given) if !given.trim().eq_ignore_ascii_case(only) => Err(json::invalid(format!(
            "The '{member}' of the fallback route is '{}', the only one supported is '{only}'.",
            shown(given)
        ))),
        _ => Ok(()),
    };
    // It can be called anything.
    fallback.text(member::NAME)?;
    check(name::SOURCE, fallback.text(name::SOURCE)?, MessageSource::Telemetry.route_name())?;
    check(name::CONDITION, fallback.text(name::CONDITION)?, name::TRUE)?;
    for endpoint in texts(fallback, name::ENDPOINT_NAMES)? {
        check(name::ENDPOINT_NAMES, Some(&endpoint), BUILT_IN_ENDPOINT)?;
    }
    Ok(fallback.boolean(name::IS_ENABLED)?.unwrap_or(true))
}

/// The objects of an array; nothing when it is absent.
fn objects<'a>(of: Members<'a>, name: &'static str) -> Result<Vec<Members<'a>>, HubError> {
    let elements = of.array(name)?.unwrap_or_default().iter();
    elements
        .map(|element| element.as_object().map(Members::of).ok_or_else(|| wrong(name, "an object")))
        .collect()
}

fn texts(of: Members<'_>, name: &'static str) -> Result<Vec<String>, HubError> {
    let elements = of.array(name)?.unwrap_or_default().iter();
    let text = |element: &Value| element.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "a string"));
    elements.map(text).collect()
}

fn required(of: Members<'_>, name: &'static str) -> Result<String, HubError> {
    let text = of.text(name)?.ok_or_else(|| json::invalid(format!("A member '{name}' is missing.")))?;
    Ok(text.to_owned())
}

fn wrong(name: &str, wanted: &str) -> HubError {
    json::invalid(format!("Every element of '{name}' must be {wanted}."))
}

fn current(hub: &Hub) -> Response {
    let routing = hub.routing();
    let event_hubs = hub.event_hubs().all();
    render::json(&Routing {
        endpoints: Endpoints {
            event_hubs: event_hubs
                .iter()
                .skip(1)
                .map(|event_hub| Named { name: event_hub.name().as_str() })
                .collect(),
        },
        routes: routing.routes().iter().map(RouteBody::from).collect(),
        fallback_route: RouteBody {
            name: name::FALLBACK,
            source: MessageSource::Telemetry.route_name(),
            condition: name::TRUE,
            endpoint_names: vec![BUILT_IN_ENDPOINT],
            is_enabled: routing.fallback_route(),
        },
        enrichments: routing.enrichments().iter().map(EnrichmentBody::from).collect(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Routing<'a> {
    endpoints: Endpoints<'a>,
    routes: Vec<RouteBody<'a>>,
    fallback_route: RouteBody<'a>,
    enrichments: Vec<EnrichmentBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoints<'a> {
    event_hubs: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteBody<'a> {
    name: &'a str,
    source: &'static str,
    condition: &'static str,
    endpoint_names: Vec<&'a str>,
    is_enabled: bool,
}

impl<'a> From<&'a Route> for RouteBody<'a> {
    fn from(route: &'a Route) -> Self {
        Self {
            name: &route.name,
            source: route.source.route_name(),
            condition: name::TRUE,
            endpoint_names: route.endpoints.iter().map(|name| &**name).collect(),
            is_enabled: route.is_enabled,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnrichmentBody<'a> {
    key: &'a str,
    value: &'a str,
    endpoint_names: Vec<&'a str>,
}

impl<'a> From<&'a Enrichment> for EnrichmentBody<'a> {
    fn from(enrichment: &'a Enrichment) -> Self {
        Self {
            key: &enrichment.key,
            value: enrichment.value(),
            endpoint_names: enrichment.endpoints.iter().map(|name| &**name).collect(),
        }
    }
}
