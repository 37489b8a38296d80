//! What a client subscribed to: which filters there are and what they mean to the hub, `contract/mqtt.md 3`; the
//! set a session has, kept for the next one if the client wants that, `2.9`.
#![warn(clippy::indexing_slicing)]

use hub::device_session::{SavedSession, SavedSubscription};
use hub::ids::IdentityId;
use hub::limits::SAVED_SUBSCRIPTIONS;
use hub::time::Timestamp;

use crate::names::{filter, telemetry};
use crate::packet::{FilterRequest, GrantedQos, SubscribeCode};

/// Longest filter in bytes: two ids of 128 ASCII characters, and the fixed parts.
const MAX_FILTER_BYTES: usize = 512;

/// The filters of one session. At most [`SAVED_SUBSCRIPTIONS`]: the service documents 5 and is lenient, a client
/// with more distinct ones gets 0x80 for the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    means: Subscription,
    saved: SavedSubscription,
}

impl Subscriptions {
    /// What an earlier connection of the identity left.
    pub(crate) fn restore(saved: SavedSession, identity: &IdentityId) -> Self {
        let entries = saved.subscriptions.into_iter();
        Self(
            entries
                .filter_map(|saved| {
                    Some(Entry { means: Subscription::parse(&saved.filter, identity)?, saved })
                })
                .collect(),
        )
    }

    pub(crate) fn to_saved(&self) -> SavedSession {
        SavedSession { subscriptions: self.0.iter().map(|entry| entry.saved.clone()).collect() }
    }

    pub(crate) fn has(&self, wanted: Subscription) -> bool {
        self.0.iter().any(|entry| entry.means == wanted)
    }

    /// The QoS of cloud-to-device messages: of several filters that ask for them the best; none if none does.
    pub(crate) fn message_qos(&self) -> Option<GrantedQos> {
        let asking = self.0.iter().filter(|entry| entry.means == Subscription::CloudToDevice);
        asking.map(|entry| GrantedQos::of_requested(entry.saved.qos)).max()
    }

    /// Whether a method's topic is one that a filter asks for: all methods, or single ones.
    pub(crate) fn lets_through(&self, method_topic: &str) -> bool {
        self.0
            .iter()
            .any(|entry| entry.means == Subscription::Methods && matches(&entry.saved.filter, method_topic))
    }

    /// Grants a filter or refuses it. One that is there already keeps its time, unless its QoS changes.
    pub(crate) fn add(
        &mut self,
        request: FilterRequest,
        identity: &IdentityId,
        at: Timestamp,
    ) -> SubscribeCode {
        let FilterRequest { filter, qos } = request;
        let Some(means) = Subscription::parse(&filter, identity) else { return SubscribeCode::Refused };
        let granted = GrantedQos::of_requested(qos);
        let saved = SavedSubscription { filter: filter.into(), qos: granted.number(), created_at: at };
        let has_room = self.0.len() < SAVED_SUBSCRIPTIONS;
        match self.0.iter_mut().find(|entry| entry.saved.filter == saved.filter) {
            Some(entry) if entry.saved.qos == saved.qos => {}
            Some(entry) => entry.saved = saved,
            None if has_room => self.0.push(Entry { means, saved }),
            None => return SubscribeCode::Refused,
        }
        SubscribeCode::Granted(granted)
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.0.retain(|entry| *entry.saved.filter != *filter);
    }
}

/// What a filter lets through to one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscription {
    /// Cloud-to-device messages, which only devices have.
    CloudToDevice,
    /// Changes of the desired properties.
    DesiredProperties,
    /// Direct methods, all or some.
    Methods,
    /// What is under a module's own path: granted, and silent, as only an Edge Hub sends anything there.
    ModulePath,
    /// Answers to twin requests.
    TwinResponses,
}

impl Subscription {
    /// None for a filter that this identity cannot have.
    pub(crate) fn parse(text: &str, identity: &IdentityId) -> Option<Self> {
        if text.len() > MAX_FILTER_BYTES || text.contains('\0') {
            return None;
        }
        match text {
            filter::TWIN_RESPONSES => return Some(Self::TwinResponses),
            filter::DESIRED_PROPERTIES => return Some(Self::DesiredProperties),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix(filter::METHODS) {
            return is_well_formed(rest).then_some(Self::Methods);
        }
        let (device, rest) = text.strip_prefix(telemetry::DEVICES)?.split_once('/')?;
        if device != identity.device.as_str() && device != filter::ANY_LEVEL {
            return None;
        }
        let Some(own_module) = &identity.module else {
            // No topic name may hold what some ids hold, so no message could be sent to them.
            let has_topics = !identity.device.as_str().contains(['+', '#']);
            return (rest == filter::DEVICE_BOUND && has_topics).then_some(Self::CloudToDevice);
        };
        let (module, rest) = rest.strip_prefix(telemetry::MODULES)?.split_once('/')?;
        if module != own_module.as_str() {
            return None;
        }
        match rest {
            filter::ANY_REST | filter::DEVICE_BOUND | filter::INPUTS => Some(Self::ModulePath),
            _ => None,
        }
    }
}

/// Whether wildcards stand alone in their level, and `#` only in the last one.
fn is_well_formed(levels: &str) -> bool {
    let mut levels = levels.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        let wildcard_is_right = match level {
            filter::ANY_LEVEL => true,
            filter::ANY_REST => is_last,
            other => !other.contains(['+', '#']),
        };
        if !wildcard_is_right || (level.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// Whether a well-formed filter asks for a topic.
fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            (filter::ANY_REST, _) => return true,
            (filter::ANY_LEVEL, Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    fn identity(text: &str) -> IdentityId {
        let (device, module) = text.split_once('/').map_or((text, None), |(d, m)| (d, Some(m)));
        IdentityId::parse(device, module).expect("test ids are valid")
    }

    #[test]
    fn each_filter_of_an_sdk_is_understood() {
        use Subscription::*;
        let rows = [
            ("d", "devices/d/messages/devicebound/#", CloudToDevice),
            ("d", "devices/+/messages/devicebound/#", CloudToDevice),
            ("d", "$iothub/methods/POST/#", Methods),
            ("d", "$iothub/methods/POST/reboot/#", Methods),
            ("d", "$iothub/twin/res/#", TwinResponses),
            ("d", "$iothub/twin/PATCH/properties/desired/#", DesiredProperties),
            ("d/m", "$iothub/twin/PATCH/properties/desired/#", DesiredProperties),
            ("d/m", "devices/d/modules/m/messages/devicebound/#", ModulePath),
            ("d/m", "devices/d/modules/m/inputs/#", ModulePath),
            ("d/m", "devices/d/modules/m/#", ModulePath),
            ("d/m", "devices/+/modules/m/#", ModulePath),
        ];
        for (id, text, expected) in rows {
            assert_eq!(Subscription::parse(text, &identity(id)), Some(expected), "{text} by {id}");
        }
    }

    #[test]
    fn a_filter_of_another_identity_or_of_nothing_is_not() {
        let rows = [
            ("d", "devices/other/messages/devicebound/#"),
            ("d", "devices/D/messages/devicebound/#"),
            ("d", "devices/d/modules/m/#"),
            ("d/m", "devices/d/messages/devicebound/#"),
            ("d/m", "devices/d/modules/other/#"),
            ("d/m", "devices/d/modules/+/#"),
            ("d", "devices/d/#"),
            ("d", "devices/d/messages/events/#"),
            ("d", "$iothub/twin/#"),
            ("d", "$iothub/methods/POST/a#"),
            ("d", "$iothub/methods/POST/#/more"),
            ("d", "#"),
            ("d", ""),
            ("a+b", "devices/a+b/messages/devicebound/#"),
            ("a+b", "devices/+/messages/devicebound/#"),
            ("a#b", "devices/a#b/messages/devicebound/#"),
        ];
        for (id, text) in rows {
            assert_eq!(Subscription::parse(text, &identity(id)), None, "{text} by {id}");
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    fn request(filter: &str, qos: u8) -> FilterRequest {
        FilterRequest { filter: filter.to_owned(), qos }
    }

    #[test]
    fn a_filter_asked_for_again_keeps_its_time_unless_its_qos_changes() {
        let (identity, filter) = (identity("d"), "$iothub/twin/res/#");
        let mut subscriptions = Subscriptions::default();
        let created_at = |subscriptions: &Subscriptions| subscriptions.to_saved().subscriptions[0].created_at;
        for (qos, secs, granted, expected) in [
            (2, 1, GrantedQos::AtLeastOnce, 1),
            (1, 2, GrantedQos::AtLeastOnce, 1),
            (0, 3, GrantedQos::AtMostOnce, 3),
        ] {
            let code = subscriptions.add(request(filter, qos), &identity, at(secs));
            assert_eq!(code, SubscribeCode::Granted(granted));
            assert_eq!(created_at(&subscriptions), at(expected));
        }
        assert_eq!(subscriptions.to_saved().subscriptions.len(), 1);
    }

    #[test]
    fn one_subscription_past_the_limit_is_refused_and_known_ones_are_not() {
        let identity = identity("d");
        let mut subscriptions = Subscriptions::default();
        let filter = |n: usize| request(&format!("$iothub/methods/POST/m{n}/#"), 0);
        for n in 0..SAVED_SUBSCRIPTIONS {
            assert_ne!(subscriptions.add(filter(n), &identity, at(0)), SubscribeCode::Refused);
        }
        assert_eq!(subscriptions.add(filter(SAVED_SUBSCRIPTIONS), &identity, at(0)), SubscribeCode::Refused);
        assert_ne!(subscriptions.add(filter(0), &identity, at(0)), SubscribeCode::Refused);
        subscriptions.remove(&filter(0).filter);
        assert_ne!(subscriptions.add(filter(SAVED_SUBSCRIPTIONS), &identity, at(0)), SubscribeCode::Refused);
    }

    #[test]
    fn method_filters_let_through_the_methods_they_name() {
        let topic = "$iothub/methods/POST/reboot/?$rid=1";
        for (filter, lets_through) in [
            ("$iothub/methods/POST/#", true),
            ("$iothub/methods/POST/reboot/#", true),
            ("$iothub/methods/POST/+/#", true),
            ("$iothub/methods/POST/reboot/+", true),
            ("$iothub/methods/POST/+/+", true),
            ("$iothub/methods/POST/reboot/?$rid=1/#", true),
            ("$iothub/methods/POST/reboot", false),
            ("$iothub/methods/POST/reboo/#", false),
            ("$iothub/methods/POST/reboot2/#", false),
            ("$iothub/methods/POST/+", false),
            ("$iothub/methods/POST/+/+/+", false),
        ] {
            let mut subscriptions = Subscriptions::default();
            let code = subscriptions.add(request(filter, 1), &identity("d"), at(0));
            assert_ne!(code, SubscribeCode::Refused, "{filter}");
            assert_eq!(subscriptions.lets_through(topic), lets_through, "{filter}");
        }
        let mut others = Subscriptions::default();
        others.add(request("$iothub/twin/res/#", 0), &identity("d"), at(0));
        assert!(!others.lets_through(topic));
    }

    #[test]
    fn what_was_saved_is_restored_without_what_the_identity_cannot_have() {
        let identity = identity("d");
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(request("$iothub/twin/PATCH/properties/desired/#", 1), &identity, at(5));
        let mut saved = subscriptions.to_saved();
        assert_eq!(Subscriptions::restore(saved.clone(), &identity), subscriptions);
        saved.subscriptions[0].filter = "devices/other/messages/devicebound/#".into();
        assert_eq!(Subscriptions::restore(saved, &identity), Subscriptions::default());
    }

    #[test]
    fn a_filter_past_its_longest_is_refused() {
        let longest = format!("$iothub/methods/POST/{}/#", "a".repeat(MAX_FILTER_BYTES - 23));
        assert_eq!(longest.len(), MAX_FILTER_BYTES);
        assert!(Subscription::parse(&longest, &identity("d")).is_some());
        assert!(Subscription::parse(&format!("{longest}x"), &identity("d")).is_none());
    }
}
