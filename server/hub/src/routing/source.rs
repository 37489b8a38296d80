//! What can be routed, by the names configurations use (contract/mqtt.md 12).

use crate::events::MessageSource;

impl MessageSource {
    /// Every source, in order of declaration.
    pub const ALL: [Self; 6] = [
        Self::DeviceConnectionState,
        Self::DeviceJobLifecycle,
        Self::DeviceLifecycle,
        Self::DigitalTwinChange,
        Self::Telemetry,
        Self::TwinChange,
    ];

    /// The name a route says it by.
    pub const fn route_name(self) -> &'static str {
        match self {
            Self::DeviceConnectionState => "DeviceConnectionStateEvents",
            Self::DeviceJobLifecycle => "DeviceJobLifecycleEvents",
            Self::DeviceLifecycle => "DeviceLifecycleEvents",
            Self::DigitalTwinChange => "DigitalTwinChangeEvents",
            Self::Telemetry => "DeviceMessages",
            Self::TwinChange => "TwinChangeEvents",
        }
    }

    /// Reads a route's source, without regard to case as .NET's enum reader does.
    pub fn of_route(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.route_name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_stands_in_the_list_where_its_number_says() {
        for (place, source) in MessageSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, place);
        }
    }

    #[test]
    fn every_source_is_read_back_from_its_name_in_any_case() {
        for source in MessageSource::ALL {
            assert_eq!(MessageSource::of_route(source.route_name()), Some(source));
            assert_eq!(MessageSource::of_route(&source.route_name().to_uppercase()), Some(source));
        }
        assert_eq!(MessageSource::of_route("Telemetry"), None, "that is what the event says, not the route");
        assert_eq!(MessageSource::of_route(""), None);
    }
}
