//! A place below the hub's event hubs, as the resource of a token and the address of a link name it: an event hub, or
//! a consumer group or partition of it (contract/eventhubs.md 2).

use std::fmt;

use crate::ids::HubName;

/// Characters of a path; ours, three times the longest a client can need.
const PATH_CHARS_MAX: usize = 1024;
/// Segments of the longest path: `{hub}/ConsumerGroups/{group}/Partitions/{number}`.
const SEGMENTS_MAX: usize = 5;
/// What stands below an event hub.
const PARTS: [&str; 3] = ["$management", "consumergroups", "partitions"];
/// How IoT Hub itself names its built-in event hub.
const BUILT_IN: [&str; 2] = ["messages", "events"];

/// Segments below the host, in lower case: event hubs and consumer groups are named without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventsPath(Box<str>);

impl EventsPath {
    /// Reads a path without its host. `messages/events`, which is how IoT Hub names the event hub of `hub`, is read as
    /// that; `None` for what can be no such path.
    pub fn parse(path: &str, hub: &HubName) -> Option<Self> {
        if path.len() > PATH_CHARS_MAX {
            return None;
        }
        let path = path.trim_matches('/').to_ascii_lowercase();
        let mut segments: Vec<&str> = path.split('/').collect();
        let name = hub.as_str().to_ascii_lowercase();
        if segments.starts_with(&BUILT_IN) {
            segments.splice(..BUILT_IN.len(), [name.as_str()]);
        }
        let is_path = segments.len() <= SEGMENTS_MAX
            && segments.iter().all(|segment| !segment.is_empty())
            && segments.get(1).is_none_or(|part| PARTS.contains(part));
        is_path.then(|| Self(segments.join("/").into()))
    }

    /// Whether `other` is this or lies below it.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for EventsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<EventsPath> {
        EventsPath::parse(text, &HubName::parse("Hub").unwrap())
    }

    #[test]
    fn a_path_covers_itself_and_what_lies_below_it_by_segment() {
        for (outer, inner, covers) in [
            ("hub", "hub", true),
            ("HUB", "hub/ConsumerGroups/$Default/Partitions/0", true),
            ("hub/consumergroups/$default", "hub/ConsumerGroups/$Default/Partitions/0", true),
            ("hub/ConsumerGroups/a/Partitions/0", "hub/ConsumerGroups/a/Partitions/0", true),
            ("hub/ConsumerGroups/a/Partitions/1", "hub/ConsumerGroups/a/Partitions/10", false),
            ("hub/ConsumerGroups/a", "hub/ConsumerGroups/ab/Partitions/0", false),
            ("hub/ConsumerGroups/a/Partitions/0", "hub/ConsumerGroups/a", false),
            ("hub2", "hub", false),
            ("hub", "hub2", false),
        ] {
            assert_eq!(path(outer).unwrap().covers(&path(inner).unwrap()), covers, "{outer} and {inner}");
        }
    }

    #[test]
    fn the_built_in_event_hub_has_two_names() {
        assert_eq!(path("messages/events"), path("hub"));
        assert_eq!(path("/Messages/Events/$management"), path("hub/$management"));
        assert_ne!(path("messages"), path("hub"));
    }

    #[test]
    fn what_is_empty_too_long_or_too_deep_or_of_the_hub_itself_is_no_path() {
        for text in ["", "/", "hub//x", "a/partitions/0/d/e/f", "devices/d", "messages/devicebound"] {
            assert_eq!(path(text), None, "{text}");
        }
        assert!(path(&"h".repeat(PATH_CHARS_MAX)).is_some());
        assert_eq!(path(&"h".repeat(PATH_CHARS_MAX + 1)), None);
    }
}
