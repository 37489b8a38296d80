//! Where those are sent who attach to the built-in event hub by its old name, `messages/events`
//! (contract/eventhubs.md 7). IoT Explorer, az CLI and Go read the new address by patterns of their own, which demand
//! the port, and one slash behind the event hub's name.

use std::fmt;
use std::net::Ipv6Addr;

use auth::resource::HostName;

use crate::engine::{Condition, Info};
use crate::names::{conditions, redirect as names};

/// Where Event Hubs clients find the hub.
#[derive(Clone, Debug)]
pub struct EventEndpoint {
    /// The name to give to everybody; without one each is given the name by which it came here, which resolves for it.
    pub host_name: Option<String>,
    /// The name for those who came by none.
    pub default_host_name: String,
    /// The port of AMQP over TLS.
    pub port: u16,
}

/// What a client is told that asked for `behind` below the old name, and that came by the name `host`.
pub(crate) fn redirect(
    endpoint: &EventEndpoint,
    host: Option<&str>,
    event_hub: &str,
    behind: &str,
) -> Condition {
    let came_by = host.map(HostName::parse);
    let came_by = came_by.filter(|host| (1..=HOST_CHARS_MAX).contains(&host.as_str().len()));
    let host = match (&endpoint.host_name, &came_by) {
        (Some(name), _) => name,
        (None, Some(host)) => host.as_str(),
        (None, None) => &endpoint.default_host_name,
    };
    let port = endpoint.port;
    let address = format!("{}://{}:{port}/{event_hub}/{behind}", names::SCHEME, Authority(host));
    Condition {
        name: conditions::REDIRECT,
        description: "the events of this hub are read at another address".to_owned(),
        info: vec![
            (names::HOST_NAME, Info::Text(host.to_owned())),
            (names::NETWORK_HOST, Info::Text(host.to_owned())),
            (names::PORT, Info::Uint(port.into())),
            (names::ADDRESS, Info::Text(address)),
        ],
    }
}

/// A host as it stands in an address.
struct Authority<'a>(&'a str);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.parse::<Ipv6Addr>().is_ok() { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// Characters of a host name; what DNS allows.
const HOST_CHARS_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host_name: Option<&str>) -> EventEndpoint {
        EventEndpoint {
            host_name: host_name.map(str::to_owned),
            default_host_name: "default.example".to_owned(),
            port: 5671,
        }
    }

    fn told(condition: &Condition, key: &str) -> Info {
        condition.info.iter().find(|(name, _)| *name == key).unwrap().1.clone()
    }

    fn address(endpoint: &EventEndpoint, host: Option<&str>, behind: &str) -> Info {
        told(&redirect(endpoint, host, "hub", behind), "address")
    }

    #[test]
    fn the_address_keeps_what_stands_behind_the_old_name() {
        for (behind, text) in [
            ("", "amqps://localhost:5671/hub/"),
            ("$management", "amqps://localhost:5671/hub/$management"),
            (
                "ConsumerGroups/$Default/Partitions/0",
                "amqps://localhost:5671/hub/ConsumerGroups/$Default/Partitions/0",
            ),
        ] {
            assert_eq!(address(&endpoint(None), Some("localhost"), behind), Info::Text(text.to_owned()));
        }
    }

    #[test]
    fn the_host_is_the_one_set_else_the_callers_own_name_else_the_default() {
        for (set, came_by, host) in [
            (Some("eh.example"), Some("localhost"), "eh.example"),
            (None, Some("MyHub.example:5671"), "myhub.example"),
            (None, Some(""), "default.example"),
            (None, None, "default.example"),
        ] {
            let condition = redirect(&endpoint(set), came_by, "hub", "");
            assert_eq!(condition.name, "amqp:link:redirect");
            for key in ["hostname", "network-host"] {
                assert_eq!(told(&condition, key), Info::Text(host.to_owned()), "{set:?} {came_by:?}");
            }
            assert_eq!(told(&condition, "port"), Info::Uint(5671));
            assert_eq!(told(&condition, "address"), Info::Text(format!("amqps://{host}:5671/hub/")));
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let text = Info::Text("amqps://[::1]:5671/hub/".to_owned());
        assert_eq!(address(&endpoint(None), Some("[::1]:5671"), ""), text);
    }
}
