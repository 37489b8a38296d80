//! Link addresses: text to [`Node`] and back (contract/amqp.md 1.5, 3, contract/eventhubs.md 3, 4, 7).
//!
//! Clients write them absolute or relative, with or without leading and trailing slash, fixed segments in any
//! case, ids encoded or raw. A raw id may hold `?`, `#` or `%`, so this is no URL parser: segments are split at
//! slashes and nothing else, and only `%XX` is decoded.

#![warn(clippy::indexing_slicing)]

use std::fmt;

use hub::ids::IdentityId;
use percent_encoding::percent_decode_str;

use crate::names::segments;

/// What a link address names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// Claims: `$cbs`.
    Cbs,
    /// Something of an event hub.
    EventHub(EventHubNode),
    /// Something of a device or module.
    Identity(IdentityAddress, IdentityNode),
    /// Something of the built-in event hub under its old name, `messages/events`; what stands behind it as it was
    /// written, without slashes round it.
    Moved(String),
    /// Something of the service side.
    Service(ServiceNode),
}

/// The nodes of event hubs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EventHubNode {
    /// Where events would be sent to: `{hub}`, `{hub}/Partitions/{id}`.
    Ingress { event_hub: String },
    /// Questions about event hubs: `$management`, `{hub}/$management`. The request names the event hub again.
    Management,
    /// Events of a partition: `{hub}/ConsumerGroups/{group}/Partitions/{id}`.
    Partition { event_hub: String, consumer_group: String, partition: String },
}

/// A device or module as an address writes it: decoded, and raw in case the id itself holds a `%`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdentityAddress {
    /// The likelier reading.
    pub(crate) decoded: IdentityId,
    /// The text as it stood, where that is a valid and different id.
    pub(crate) raw: Option<IdentityId>,
}

/// The nodes of a device or module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IdentityNode {
    /// Cloud-to-device messages: `messages/devicebound`.
    DeviceBound,
    /// Telemetry when the client sends, module inputs when it receives: `messages/events`.
    Events,
    /// Direct methods: `methods/devicebound`.
    Methods,
    /// Twin requests and replies: `twin`.
    Twin,
}

/// The nodes of the service side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ServiceNode {
    /// Sending cloud-to-device messages: `messages/devicebound`.
    DeviceBound,
    /// Feedback of cloud-to-device messages: `messages/serviceBound/feedback`.
    Feedback,
    /// File upload notifications: `messages/serviceBound/filenotifications`.
    FileNotifications,
}

impl Node {
    /// Reads an address; `None` when it names nothing a hub has.
    pub(crate) fn parse(address: &str) -> Option<Self> {
        let path = without_authority(address);
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let parts: Vec<&str> = path.splitn(SEGMENTS_MAX + 1, '/').collect();
        match parts.as_slice() {
            [only] if is(only, segments::CBS) => Some(Self::Cbs),
            [messages, events, ..] if is(messages, segments::MESSAGES) && is(events, segments::EVENTS) => {
                let behind = path.splitn(3, '/').nth(2).unwrap_or_default();
                Some(Self::Moved(behind.trim_matches('/').to_owned()))
            }
            [devices, device, modules, module, node @ ..]
                if is(devices, segments::DEVICES) && is(modules, segments::MODULES) =>
            {
                Some(Self::Identity(
                    IdentityAddress::parse(device, Some(module))?,
                    IdentityNode::parse(node)?,
                ))
            }
            [devices, device, node @ ..] if is(devices, segments::DEVICES) => {
                Some(Self::Identity(IdentityAddress::parse(device, None)?, IdentityNode::parse(node)?))
            }
            [messages, node @ ..] if is(messages, segments::MESSAGES) => {
                Some(Self::Service(ServiceNode::parse(node)?))
            }
            node => Some(Self::EventHub(EventHubNode::parse(node)?)),
        }
    }
}

/// Parts of the longest address: `devices/d/modules/m/messages/events`.
const SEGMENTS_MAX: usize = 6;

/// Cuts `scheme://host[:port]` off.
fn without_authority(address: &str) -> &str {
    let Some((scheme, rest)) = address.split_once("://") else { return address };
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return address;
    }
    rest.find('/').map_or("", |slash| rest.get(slash..).unwrap_or_default())
}

fn is(segment: &str, fixed: &str) -> bool {
    segment.eq_ignore_ascii_case(fixed)
}

impl IdentityAddress {
    fn parse(device: &str, module: Option<&str>) -> Option<Self> {
        let raw = IdentityId::parse(device, module).ok();
        let device = percent_decode_str(device).decode_utf8().ok();
        let module = module.map(|module| percent_decode_str(module).decode_utf8());
        let decoded = match (device, module) {
            (Some(device), None) => IdentityId::parse(&device, None).ok(),
            (Some(device), Some(Ok(module))) => IdentityId::parse(&device, Some(&module)).ok(),
            _ => None,
        };
        match (decoded, raw) {
            (Some(decoded), Some(raw)) if decoded == raw => Some(Self { decoded, raw: None }),
            (Some(decoded), raw) => Some(Self { decoded, raw }),
            (None, Some(raw)) => Some(Self { decoded: raw, raw: None }),
            (None, None) => None,
        }
    }

    /// The readings, likelier first.
    pub(crate) fn readings(&self) -> impl Iterator<Item = &IdentityId> {
        std::iter::once(&self.decoded).chain(&self.raw)
    }
}

impl IdentityNode {
    fn parse(segments: &[&str]) -> Option<Self> {
        match segments {
            [twin] if is(twin, segments::TWIN) => Some(Self::Twin),
            [messages, events] if is(messages, segments::MESSAGES) && is(events, segments::EVENTS) => {
                Some(Self::Events)
            }
            [messages, bound] if is(messages, segments::MESSAGES) && is(bound, segments::DEVICEBOUND) => {
                Some(Self::DeviceBound)
            }
            [methods, bound] if is(methods, segments::METHODS) && is(bound, segments::DEVICEBOUND) => {
                Some(Self::Methods)
            }
            _ => None,
        }
    }
}

impl EventHubNode {
    fn parse(segments: &[&str]) -> Option<Self> {
        let decoded = |segment: &str| {
            let text = percent_decode_str(segment).decode_utf8().ok()?;
            (!text.is_empty()).then(|| text.into_owned())
        };
        match segments {
            [only] | [_, only] if is(only, segments::MANAGEMENT) => Some(Self::Management),
            [event_hub] => Some(Self::Ingress { event_hub: decoded(event_hub)? }),
            [event_hub, partitions, _] if is(partitions, segments::PARTITIONS) => {
                Some(Self::Ingress { event_hub: decoded(event_hub)? })
            }
            [event_hub, groups, group, partitions, partition]
                if is(groups, segments::CONSUMER_GROUPS) && is(partitions, segments::PARTITIONS) =>
            {
                Some(Self::Partition {
                    event_hub: decoded(event_hub)?,
                    consumer_group: decoded(group)?,
                    partition: decoded(partition)?,
                })
            }
            _ => None,
        }
    }
}

impl ServiceNode {
    fn parse(segments: &[&str]) -> Option<Self> {
        match segments {
            [bound] if is(bound, segments::DEVICEBOUND) => Some(Self::DeviceBound),
            [bound, kind] if is(bound, segments::SERVICEBOUND) && is(kind, segments::FEEDBACK) => {
                Some(Self::Feedback)
            }
            [bound, kind] if is(bound, segments::SERVICEBOUND) && is(kind, segments::FILE_NOTIFICATIONS) => {
                Some(Self::FileNotifications)
            }
            _ => None,
        }
    }
}

/// The address as the Node SDK writes it, with the ids encoded.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use segments as s;
        match self {
            Self::Cbs => f.write_str(s::CBS),
            Self::Identity(IdentityAddress { decoded, .. }, node) => {
                write!(f, "/{}/{}", s::DEVICES, encoded(decoded.device.as_str()))?;
                if let Some(module) = &decoded.module {
                    write!(f, "/{}/{}", s::MODULES, encoded(module.as_str()))?;
                }
                match node {
                    IdentityNode::DeviceBound => write!(f, "/{}/{}", s::MESSAGES, s::DEVICEBOUND),
                    IdentityNode::Events => write!(f, "/{}/{}", s::MESSAGES, s::EVENTS),
                    IdentityNode::Methods => write!(f, "/{}/{}", s::METHODS, s::DEVICEBOUND),
                    IdentityNode::Twin => write!(f, "/{}", s::TWIN),
                }
            }
            Self::EventHub(node) => match node {
                EventHubNode::Ingress { event_hub } => write!(f, "/{}", encoded(event_hub)),
                EventHubNode::Management => write!(f, "/{}", s::MANAGEMENT),
                EventHubNode::Partition { event_hub, consumer_group, partition } => {
                    write!(f, "/{}/{}", encoded(event_hub), s::CONSUMER_GROUPS)?;
                    write!(f, "/{}/{}/{}", encoded(consumer_group), s::PARTITIONS, encoded(partition))
                }
            },
            Self::Moved(behind) => write!(f, "/{}/{}/{behind}", s::MESSAGES, s::EVENTS),
            Self::Service(node) => match node {
                ServiceNode::DeviceBound => write!(f, "/{}/{}", s::MESSAGES, s::DEVICEBOUND),
                ServiceNode::Feedback => write!(f, "/{}/{}/{}", s::MESSAGES, s::SERVICEBOUND, s::FEEDBACK),
                ServiceNode::FileNotifications => {
                    write!(f, "/{}/{}/{}", s::MESSAGES, s::SERVICEBOUND, s::FILE_NOTIFICATIONS)
                }
            },
        }
    }
}

fn encoded(id: &str) -> impl fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(device: &str, module: Option<&str>, node: IdentityNode) -> Node {
        let decoded = IdentityId::parse(device, module).unwrap();
        Node::Identity(IdentityAddress { decoded, raw: None }, node)
    }

    fn moved(behind: &str) -> Node {
        Node::Moved(behind.to_owned())
    }

    fn partition(consumer_group: &str, partition: &str) -> Node {
        let (consumer_group, partition) = (consumer_group.to_owned(), partition.to_owned());
        Node::EventHub(EventHubNode::Partition { event_hub: "hub".to_owned(), consumer_group, partition })
    }

    fn ingress(event_hub: &str) -> Node {
        Node::EventHub(EventHubNode::Ingress { event_hub: event_hub.to_owned() })
    }

    #[test]
    fn every_form_clients_write_is_understood() {
        let module_twin = identity("d", Some("m"), IdentityNode::Twin);
        for (text, node) in [
            ("$cbs", Node::Cbs),
            ("/$cbs", Node::Cbs),
            ("amqps://localhost/$cbs", Node::Cbs),
            ("/devices/d/modules/m/twin", module_twin.clone()),
            ("devices/d/modules/m/twin/", module_twin.clone()),
            ("amqps://localhost/devices/d/modules/m/twin", module_twin.clone()),
            ("amqps://localhost:5671/devices/d/modules/m/twin", module_twin),
            ("/devices/d/messages/deviceBound", identity("d", None, IdentityNode::DeviceBound)),
            ("/devices/d/messages/devicebound", identity("d", None, IdentityNode::DeviceBound)),
            ("/devices/modules/messages/events", identity("modules", None, IdentityNode::Events)),
            ("/devices/d/methods/devicebound", identity("d", None, IdentityNode::Methods)),
            ("messages/events", moved("")),
            ("messages/events/", moved("")),
            ("/Messages/Events/$management", moved("$management")),
            (
                "amqps://h/messages/events/ConsumerGroups/$Default/Partitions/0",
                moved("ConsumerGroups/$Default/Partitions/0"),
            ),
            ("$management", Node::EventHub(EventHubNode::Management)),
            ("hub/$Management", Node::EventHub(EventHubNode::Management)),
            ("amqps://h:5671/hub/$management", Node::EventHub(EventHubNode::Management)),
            ("hub/ConsumerGroups/$Default/Partitions/0", partition("$Default", "0")),
            ("/hub/consumergroups/%24Default/partitions/31", partition("$Default", "31")),
            ("amqps://h/hub/CONSUMERGROUPS/My-Group/PARTITIONS/x", partition("My-Group", "x")),
            ("sb://h:5672/hub/ConsumerGroups/g/Partitions/1/", partition("g", "1")),
            ("hub", ingress("hub")),
            ("/hub/Partitions/3", ingress("hub")),
            ("/messages/devicebound", Node::Service(ServiceNode::DeviceBound)),
            ("/messages/serviceBound/feedback", Node::Service(ServiceNode::Feedback)),
            ("/messages/servicebound/filenotifications", Node::Service(ServiceNode::FileNotifications)),
        ] {
            assert_eq!(Node::parse(text), Some(node), "{text}");
        }
    }

    #[test]
    fn what_a_hub_does_not_have_is_not_a_node() {
        for text in [
            "",
            "/",
            "amqps://localhost",
            "/devices/d",
            "/devices/d/twins",
            "/devices//twin",
            "/devices/d/modules/m",
            "/devices/d/modules/m/twin/x/y",
            "/devices/a b/twin",
            "/messages/serviceBound/other",
            "/messages",
            "hub/ConsumerGroups/g",
            "hub/ConsumerGroups//Partitions/0",
            "hub/ConsumerGroups/g/Partitions/0/x",
            "hub/ConsumerGroups/%ff/Partitions/0",
            "hub/Publishers/p",
        ] {
            assert_eq!(Node::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_are_decoded_once_and_may_be_raw() {
        assert_eq!(Node::parse("/devices/a?b#c/twin"), Some(identity("a?b#c", None, IdentityNode::Twin)));
        assert_eq!(Node::parse("/devices/a+b/twin"), Some(identity("a+b", None, IdentityNode::Twin)));
        for (text, likelier, raw) in
            [("/devices/a%25b/twin", "a%b", "a%25b"), ("/devices/a%2Bb/twin", "a+b", "a%2Bb")]
        {
            let Some(Node::Identity(address, _)) = Node::parse(text) else { panic!("not understood") };
            let readings: Vec<String> = address.readings().map(ToString::to_string).collect();
            assert_eq!(readings, [likelier, raw]);
        }
    }

    proptest! {
        #[test]
        fn a_written_address_is_read_back(
            device in "[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,40}",
            module in proptest::option::of("[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,40}"),
            node in proptest::sample::select(vec![
                IdentityNode::DeviceBound, IdentityNode::Events, IdentityNode::Methods, IdentityNode::Twin,
            ]),
        ) {
            let written = identity(&device, module.as_deref(), node);
            let Some(Node::Identity(address, read)) = Node::parse(&written.to_string()) else {
                return Err(TestCaseError::fail("not understood"));
            };
            prop_assert_eq!(address.decoded, IdentityId::parse(&device, module.as_deref()).unwrap());
            prop_assert_eq!(read, node);
        }

        #[test]
        fn a_written_partition_is_read_back(hub in ".{1,20}", group in ".{1,20}", partition in ".{1,4}") {
            prop_assume!(!is(&hub, segments::DEVICES) && !is(&hub, segments::MESSAGES));
            let node = EventHubNode::Partition { event_hub: hub, consumer_group: group, partition };
            let node = Node::EventHub(node);
            prop_assert_eq!(Node::parse(&node.to_string()), Some(node));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            let _ = Node::parse(&text);
        }
    }
}
