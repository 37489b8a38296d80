//! What was bought: tier, size and units of a hub, and what they give by default (contract/rest.md 7). The numbers
//! are tables; configuration may put others in their place.

use crate::gate::rates::{Rate, Rates};
use crate::gate::throttle::Throttle;
use crate::limits;

/// The tier of a hub: what it can do at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// Devices and their telemetry, nothing that talks back.
    Basic,
    /// Everything, in small numbers.
    Free,
    /// Everything.
    #[default]
    Standard,
}

/// The size of a unit: the 1, 2 or 3 of S1, S2 and S3, or of B1, B2 and B3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitSize {
    /// S1, B1; the free tier too.
    #[default]
    One,
    /// S2, B2.
    Two,
    /// S3, B3.
    Three,
}

/// Tier, size and number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    tier: Tier,
    size: UnitSize,
    units: u32,
}

/// A scale that cannot be bought, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScaleError(String);

impl Tier {
    /// As the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Free => "free",
            Self::Standard => "standard",
        }
    }

    /// Whether the tier has what only `lowest` and the tiers above it have. Free is standard in small.
    pub const fn includes(self, lowest: Self) -> bool {
        matches!(lowest, Self::Basic) || !matches!(self, Self::Basic)
    }

    /// Devices and modules a hub of this tier holds.
    pub const fn identities(self) -> usize {
        match self {
            Self::Free => limits::IDENTITIES_FREE,
            Self::Basic | Self::Standard => limits::IDENTITIES,
        }
    }

    /// Endpoints a hub of this tier has besides the built-in one.
    pub const fn endpoints(self) -> usize {
        match self {
            Self::Free => limits::ENDPOINTS_FREE,
            Self::Basic | Self::Standard => limits::ENDPOINTS,
        }
    }

    /// Routes a hub of this tier has.
    pub const fn routes(self) -> usize {
        match self {
            Self::Free => limits::ROUTES_FREE,
            Self::Basic | Self::Standard => limits::ROUTES,
        }
    }

    /// Enrichments a hub of this tier has.
    pub const fn enrichments(self) -> usize {
        match self {
            Self::Free => limits::ENRICHMENTS_FREE,
            Self::Basic | Self::Standard => limits::ENRICHMENTS,
        }
    }

    /// Bytes that count as one message of the daily quota.
    pub const fn metered_bytes(self) -> usize {
        match self {
            Self::Free => limits::METERED_BYTES_FREE,
            Self::Basic | Self::Standard => limits::METERED_BYTES,
        }
    }
}

impl Scale {
    /// A scale as it can be bought.
    ///
    /// # Errors
    /// Units past the documented number for tier and size, or none.
    pub fn new(tier: Tier, size: UnitSize, units: u32) -> Result<Self, ScaleError> {
        let most = match (tier, size) {
            (Tier::Free, UnitSize::Two | UnitSize::Three) => {
                return Err(ScaleError("the free tier has one size".to_owned()));
            }
            (Tier::Free, UnitSize::One) => 1,
            (Tier::Basic | Tier::Standard, UnitSize::One | UnitSize::Two) => 200,
            (Tier::Basic | Tier::Standard, UnitSize::Three) => 10,
        };
        match units {
            units if (1..=most).contains(&units) => Ok(Self { tier, size, units }),
            _ => Err(ScaleError(format!("1 to {most} units are allowed in this tier and size"))),
        }
    }

    /// The tier.
    pub const fn tier(self) -> Tier {
        self.tier
    }

    /// The documented rates of this scale.
    pub fn rates(self) -> Rates {
        Rates::new(|throttle| self.rate(throttle))
    }

    /// The documented messages of a day.
    pub fn messages_per_day(self) -> u64 {
        let per_unit = match (self.tier, self.size) {
            (Tier::Free, _) => 8_000,
            (_, UnitSize::One) => 400_000,
            (_, UnitSize::Two) => 6_000_000,
            (_, UnitSize::Three) => 300_000_000,
        };
        per_unit * u64::from(self.units)
    }

    fn rate(self, throttle: Throttle) -> Rate {
        #[rustfmt::skip]
        let [one, two, three] = match throttle {
            //                               Free, B1, S1       B2, S2            B3, S3
            Throttle::CloudToDeviceReceives => [minute(1_000, 0), minute(1_000, 0), minute(50_000, 0)],
            Throttle::CloudToDeviceSends => [minute(100, 0),  minute(100, 0), minute(5_000, 0)],
            Throttle::Connections        => [second(12, 100), second(120, 0), second(6_000, 0)],
            Throttle::DeviceToCloudSends => [second(12, 100), second(120, 0), second(6_000, 0)],
            // In payloads of 4 KB: 160 KB, 480 KB and 24 MB a second.
            Throttle::DirectMethods      => [second(40, 0),   second(120, 0), second(6_144, 0)],
            Throttle::IdentityRegistry   => [minute(100, 0),  minute(100, 0), minute(5_000, 0)],
            Throttle::TwinReads          => [second(0, 100),  second(10, 100), second(500, 0)],
            Throttle::TwinUpdates        => [second(0, 50),   second(5, 50),  second(250, 0)],
        };
        let row = match self.size {
            UnitSize::One => one,
            UnitSize::Two => two,
            UnitSize::Three => three,
        };
        (row.rate)((row.per_unit * self.units).max(row.at_least))
    }
}

impl Default for Scale {
    /// One unit S1.
    fn default() -> Self {
        Self { tier: Tier::default(), size: UnitSize::default(), units: 1 }
    }
}

/// A cell of the table of rates: so much a unit, and so much whatever the units.
struct Cell {
    per_unit: u32,
    at_least: u32,
    rate: fn(u32) -> Rate,
}

fn second(per_unit: u32, at_least: u32) -> Cell {
    Cell { per_unit, at_least, rate: Rate::per_second }
}

fn minute(per_unit: u32, at_least: u32) -> Cell {
    Cell { per_unit, at_least, rate: Rate::per_minute }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_grow_with_units_but_never_below_what_every_hub_has() {
        let rate = |size, units, throttle| {
            Scale::new(Tier::Standard, size, units).unwrap().rates().of(throttle).to_string()
        };
        assert_eq!(rate(UnitSize::One, 2, Throttle::Connections), "100/s");
        assert_eq!(rate(UnitSize::One, 9, Throttle::Connections), "108/s");
        assert_eq!(rate(UnitSize::Two, 3, Throttle::DeviceToCloudSends), "360/s");
        assert_eq!(rate(UnitSize::One, 200, Throttle::TwinReads), "100/s");
        assert_eq!(rate(UnitSize::Two, 20, Throttle::TwinReads), "200/s");
        assert_eq!(rate(UnitSize::Three, 2, Throttle::IdentityRegistry), "10000/min");
        assert_eq!(rate(UnitSize::Two, 2, Throttle::CloudToDeviceReceives), "2000/min");
        assert_eq!(rate(UnitSize::Three, 1, Throttle::CloudToDeviceReceives), "50000/min");
    }

    #[test]
    fn a_scale_nobody_can_buy_is_refused() {
        assert!(Scale::new(Tier::Free, UnitSize::One, 1).is_ok());
        assert!(Scale::new(Tier::Free, UnitSize::One, 2).is_err());
        assert!(Scale::new(Tier::Free, UnitSize::Two, 1).is_err());
        assert!(Scale::new(Tier::Standard, UnitSize::One, 200).is_ok());
        assert!(Scale::new(Tier::Standard, UnitSize::Two, 201).is_err());
        assert!(Scale::new(Tier::Basic, UnitSize::Three, 10).is_ok());
        assert!(Scale::new(Tier::Basic, UnitSize::Three, 11).is_err());
        assert!(Scale::new(Tier::Standard, UnitSize::One, 0).is_err());
    }

    #[test]
    fn the_day_of_a_scale_is_the_documented_one() {
        let day = |tier, size, units| Scale::new(tier, size, units).unwrap().messages_per_day();
        assert_eq!(day(Tier::Free, UnitSize::One, 1), 8_000);
        assert_eq!(day(Tier::Basic, UnitSize::One, 3), 1_200_000);
        assert_eq!(day(Tier::Standard, UnitSize::Two, 1), 6_000_000);
        assert_eq!(day(Tier::Standard, UnitSize::Three, 10), 3_000_000_000);
    }
}
