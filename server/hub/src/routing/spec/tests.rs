//! What can be configured, and in which words the rest is refused.

use super::*;
use crate::events::EventHubName;
use crate::ids::HubName;

fn route(name: &str) -> RouteSpec {
    RouteSpec {
        name: name.into(),
        source: "DeviceMessages".into(),
        condition: None,
        endpoints: vec!["events".into()],
        is_enabled: true,
    }
}

fn enrichment(key: &str, value: &str) -> EnrichmentSpec {
    EnrichmentSpec { key: key.into(), value: value.into(), endpoints: vec!["events".into()] }
}

fn parse_in(
    tier: Tier,
    routes: Vec<RouteSpec>,
    enrichments: Vec<EnrichmentSpec>,
) -> Result<Routing, HubError> {
    let names = vec![EventHubName::parse("alerts").unwrap()];
    let endpoints = Endpoints::new(&HubName::parse("hub").unwrap(), names, tier).unwrap();
    Routing::parse(&RoutingSpec { routes, enrichments, fallback_route: true }, &endpoints, tier)
}

fn parse(routes: Vec<RouteSpec>, enrichments: Vec<EnrichmentSpec>) -> Result<Routing, HubError> {
    parse_in(Tier::Standard, routes, enrichments)
}

fn refusal(parsed: Result<Routing, HubError>) -> String {
    let error = parsed.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ArgumentInvalid);
    error.message().to_owned()
}

#[test]
fn a_route_is_read_with_its_source_and_endpoints() {
    let spec = RouteSpec {
        source: "twinchangeevents".into(),
        condition: Some(" TRUE ".into()),
        endpoints: vec!["ALERTS".into(), "events".into(), "alerts".into()],
        is_enabled: false,
        ..route("r.1_a-B")
    };
    let routing = parse(vec![spec], vec![]).unwrap();
    let expected = Route {
        name: "r.1_a-B".into(),
        source: MessageSource::TwinChange,
        endpoints: vec!["alerts".into(), "events".into()],
        is_enabled: false,
    };
    assert_eq!(routing.routes(), [expected]);
}

#[test]
fn every_documented_source_is_taken_and_no_other() {
    for source in MessageSource::ALL {
        let spec = RouteSpec { source: source.route_name().into(), ..route("r") };
        assert_eq!(parse(vec![spec], vec![]).unwrap().routes()[0].source, source);
    }
    let refusal = refusal(parse(vec![RouteSpec { source: "Telemetry".into(), ..route("r") }], vec![]));
    assert!(refusal.starts_with("Route 'r': there is no source 'Telemetry'"), "{refusal}");
    assert!(refusal.contains("DeviceMessages") && refusal.contains("TwinChangeEvents"), "{refusal}");
}

#[test]
fn a_condition_other_than_true_is_refused_as_not_supported_yet() {
    for condition in ["level > 3", "false", "", "true AND true"] {
        let spec = RouteSpec { condition: Some(condition.into()), ..route("hot") };
        let refusal = refusal(parse(vec![spec], vec![]));
        let words = format!("Route 'hot': the condition '{condition}' is not supported yet");
        assert!(refusal.starts_with(&words), "{refusal}");
    }
}

#[test]
fn a_route_needs_an_endpoint_that_exists() {
    let of = |endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(|name| (*name).to_owned()).collect();
        refusal(parse(vec![RouteSpec { endpoints, ..route("r") }], vec![]))
    };
    assert!(of(&[]).contains("Route 'r': it names no endpoint"), "{}", of(&[]));
    assert!(of(&["alerts", "cold"]).contains("there is no endpoint 'cold'"), "{}", of(&["cold"]));
}

#[test]
fn names_and_keys_keep_to_the_grammar_and_are_unique() {
    let name = "n".repeat(64);
    assert!(parse(vec![route(&name)], vec![enrichment(&name, "v")]).is_ok());
    for bad in ["", "a b", "a/b", "\u{e9}", &"n".repeat(65)] {
        assert!(refusal(parse(vec![route(bad)], vec![])).contains("1 to 64 letters"), "{bad}");
        assert!(refusal(parse(vec![], vec![enrichment(bad, "v")])).contains("1 to 64 letters"), "{bad}");
    }
    let twice = refusal(parse(vec![route("r"), route("R")], vec![]));
    assert_eq!(twice, "The name of a route 'R' occurs twice, it has to be unique.");
    let twice = refusal(parse(vec![], vec![enrichment("k", "1"), enrichment("K", "2")]));
    assert_eq!(twice, "The key of an enrichment 'K' occurs twice, it has to be unique.");
}

#[test]
fn a_tier_has_its_documented_number_of_routes_and_enrichments_and_no_more() {
    for (tier, routes, enrichments) in [(Tier::Standard, 100, 10), (Tier::Basic, 100, 10), (Tier::Free, 5, 2)]
    {
        let some_routes = |count: usize| (0..count).map(|n| route(&format!("r{n}"))).collect::<Vec<_>>();
        let some_enrichments =
            |count| (0..count).map(|n| enrichment(&format!("k{n}"), "v")).collect::<Vec<_>>();
        assert!(parse_in(tier, some_routes(routes), some_enrichments(enrichments)).is_ok());
        let many = refusal(parse_in(tier, some_routes(routes + 1), vec![]));
        assert_eq!(
            many,
            format!("{} routes are too many: the {} tier allows {routes}.", routes + 1, tier.as_str())
        );
        let many = refusal(parse_in(tier, vec![], some_enrichments(enrichments + 1)));
        assert!(many.contains(&format!("allows {enrichments}.")), "{many}");
    }
}

#[test]
fn an_enrichment_keeps_the_value_as_it_was_written() {
    for value in
        ["", "Plant 43", "$iothubname", "$twin.tags.a.b", "$twin.properties.reported.x", "$twinning", "$x"]
    {
        let routing = parse(vec![], vec![enrichment("k", value)]).unwrap();
        assert_eq!(routing.enrichments()[0].value(), value);
    }
}

#[test]
fn a_twin_path_that_can_lead_nowhere_is_refused_with_an_example() {
    for value in ["$twin", "$twin.tags", "$twin.deviceId", "$twin.properties.x"] {
        let refusal = refusal(parse(vec![], vec![enrichment("place", value)]));
        assert!(refusal.starts_with(&format!("Enrichment 'place': '{value}' is no path")), "{refusal}");
        assert!(refusal.contains("$twin.tags.building"), "{refusal}");
    }
}

#[test]
fn a_value_of_4096_bytes_is_taken_and_one_byte_more_refused() {
    assert!(parse(vec![], vec![enrichment("k", &"v".repeat(4096))]).is_ok());
    assert!(refusal(parse(vec![], vec![enrichment("k", &"v".repeat(4097))])).contains("longer than 4096"));
}
