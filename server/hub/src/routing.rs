//! Routes: which events go to which event hub, and what they are enriched with on the way (contract/rest.md 6.2, 7;
//! contract/mqtt.md 12).
//!
//! In reading order: `source` are the names of what can be routed, `endpoint` where it can go, `spec` is routing as an
//! operator writes it and as it is once checked, `enrichment` what is added for an endpoint, `router` all of it compiled for the hot path,
//! `hub_event` the events the hub itself has to tell.

mod endpoint;
mod enrichment;
mod hub_event;
mod router;
mod source;
mod spec;

pub use endpoint::{BUILT_IN_ENDPOINT, Endpoints};
pub(crate) use hub_event::HubEvent;
pub(crate) use router::Router;
pub use spec::{Enrichment, EnrichmentSpec, Route, RouteSpec, Routing, RoutingSpec};
