//! Where events can go: the built-in endpoint, and event hubs beside it, each under its own name (contract/rest.md 7).

use crate::error::{ErrorCode, HubError};
use crate::events::EventHubName;
use crate::gate::Tier;
use crate::ids::HubName;
use crate::json::shown;

/// The name of the built-in endpoint.
pub const BUILT_IN_ENDPOINT: &str = "events";

/// Names the service keeps for itself.
const RESERVED: [&str; 4] =
    [BUILT_IN_ENDPOINT, "$default", "fileNotifications", "operationsMonitoringEvents"];

/// The endpoints of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    event_hubs: Vec<EventHubName>,
}

impl Endpoints {
    /// The built-in endpoint and these event hubs.
    ///
    /// # Errors
    /// `ArgumentInvalid` when there are more than the tier allows, or one has a name that means something else.
    pub fn new(hub: &HubName, event_hubs: Vec<EventHubName>, tier: Tier) -> Result<Self, HubError> {
        if event_hubs.len() > tier.endpoints() {
            return Err(invalid(format!(
                "{} event hubs beside the built-in one are too many: the {} tier allows {}.",
                event_hubs.len(),
                tier.as_str(),
                tier.endpoints()
            )));
        }
        for (place, name) in event_hubs.iter().map(EventHubName::as_str).enumerate() {
            if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
                return Err(invalid(format!(
                    "No event hub can be called '{name}': the service keeps that name for itself."
                )));
            }
            if name.eq_ignore_ascii_case(hub.as_str()) {
                return Err(invalid(format!(
                    "'{name}' is the built-in event hub already. As an endpoint it is called '{BUILT_IN_ENDPOINT}'."
                )));
            }
            if event_hubs.iter().take(place).any(|other| other.as_str().eq_ignore_ascii_case(name)) {
                return Err(invalid(format!("Two event hubs are called '{name}', names are unique.")));
            }
        }
        Ok(Self { event_hubs })
    }

    /// Those a route or enrichment names, in their own spelling and each once; the error says what is wrong.
    pub(crate) fn named(&self, names: &[String]) -> Result<Vec<Box<str>>, String> {
        if names.is_empty() {
            return Err(format!("it names no endpoint. '{BUILT_IN_ENDPOINT}' is the built-in one."));
        }
        let mut found: Vec<Box<str>> = Vec::new();
        for name in names {
            let Some(endpoint) = self.all().find(|known| known.eq_ignore_ascii_case(name)) else {
                let known = self.all().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "there is no endpoint '{}', only {known}. An event hub has to be configured before anything can \
                     be routed to it.",
                    shown(name)
                ));
            };
            if !found.iter().any(|found| **found == *endpoint) {
                found.push(endpoint.into());
            }
        }
        Ok(found)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(BUILT_IN_ENDPOINT).chain(self.event_hubs.iter().map(EventHubName::as_str))
    }
}

fn invalid(message: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(names: &[&str], tier: Tier) -> Result<Endpoints, HubError> {
        let names = names.iter().map(|name| EventHubName::parse(name).unwrap()).collect();
        Endpoints::new(&HubName::parse("MyHub").unwrap(), names, tier)
    }

    fn refusal(names: &[&str], tier: Tier) -> String {
        let error = endpoints(names, tier).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ArgumentInvalid);
        error.message().to_owned()
    }

    #[test]
    fn a_tier_has_its_documented_number_of_endpoints_and_no_more() {
        let names: Vec<_> = (0..11).map(|n| format!("hub{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for (tier, most) in [(Tier::Standard, 10), (Tier::Basic, 10), (Tier::Free, 1)] {
            assert!(endpoints(&names[..most], tier).is_ok());
            let refusal = refusal(&names[..=most], tier);
            assert!(refusal.contains(&format!("the {} tier allows {most}", tier.as_str())), "{refusal}");
        }
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for (names, words) in [
            (["a", "Events"], "keeps that name"),
            (["a", "fileNotifications"], "keeps that name"),
            (["a", "myhub"], "called 'events'"),
            (["a", "A"], "names are unique"),
        ] {
            let refusal = refusal(&names, Tier::Standard);
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn endpoints_are_found_in_any_case_and_each_once() {
        let endpoints = endpoints(&["Alerts", "cold"], Tier::Standard).unwrap();
        let named = |names: &[&str]| {
            endpoints.named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let found = named(&["alerts", "EVENTS", "ALERTS"]).unwrap();
        assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), ["Alerts", "events"]);
        assert!(named(&[]).unwrap_err().contains("'events'"));
        let refusal = named(&["events", "hot"]).unwrap_err();
        assert!(refusal.contains("'hot'") && refusal.contains("'events', 'Alerts', 'cold'"), "{refusal}");
    }
}
