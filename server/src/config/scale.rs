//! Tier, units, and what is enforced of their rates and quota (PRODUCT sections 3 and 7, contract/rest.md 7).

use hub::gate::{Rate, Rates, Scale, Throttle, Tier, UnitSize};

use super::options::{Options, TierOption};
use super::setting::{Origin, Picker, Setting};
use super::{ConfigError, invalid};

/// What was bought, and what is enforced of it besides the tier.
#[derive(Clone, Debug)]
pub struct ScaleConfig {
    /// What the hub can do.
    pub tier: Setting<Tier>,
    /// 1 to 3, as in S1 to S3.
    pub unit_size: Setting<u8>,
    /// How many units.
    pub units: Setting<u32>,
    /// Whether callers are kept to the rates.
    pub throttling: Setting<bool>,
    /// The rate of each throttle, in the order of [`Throttle::ALL`].
    pub throttles: [(Throttle, Setting<Rate>); Throttle::ALL.len()],
    /// Whether the messages of a day are counted.
    pub daily_quota: Setting<bool>,
    /// How many there are.
    pub messages_per_day: Setting<u64>,
}

impl ScaleConfig {
    pub(super) fn resolve(from: &Picker<'_>, given: &Options, file: &Options) -> Result<Self, ConfigError> {
        let tier = from.pick("tier", given.tier, file.tier, TierOption::Standard);
        let tier = Setting { value: Tier::from(tier.value), origin: tier.origin };
        let unit_size = from.pick("unit-size", given.unit_size, file.unit_size, 1);
        let size = match *unit_size {
            1 => UnitSize::One,
            2 => UnitSize::Two,
            3 => UnitSize::Three,
            _ => return Err(invalid("unit-size", &unit_size.origin, "1, 2 or 3 are allowed".to_owned())),
        };
        let units = from.pick("units", given.units, file.units, 1);
        let scale = Scale::new(*tier, size, *units)
            .map_err(|error| invalid("units", &units.origin, error.to_string()))?;

        let messages_per_day =
            from.pick_or("messages-per-day", given.messages_per_day, file.messages_per_day, || Setting {
                value: scale.messages_per_day(),
                origin: Origin::Derived(TIER_AND_UNITS),
            });
        let rates = scale.rates();
        let rate = |throttle| {
            let otherwise = || Setting { value: rates.of(throttle), origin: Origin::Derived(TIER_AND_UNITS) };
            (throttle, from.pick_or(THROTTLES, None, file.throttles.of(throttle), otherwise))
        };
        Ok(Self {
            throttling: from.pick("throttling", given.throttling, file.throttling, false),
            throttles: Throttle::ALL.map(rate),
            daily_quota: from.pick("daily-quota", given.daily_quota, file.daily_quota, false),
            messages_per_day,
            tier,
            unit_size,
            units,
        })
    }

    /// The rates that are enforced, if any are.
    pub fn enforced_rates(&self) -> Option<Rates> {
        let mut rates = Scale::default().rates();
        self.throttles.iter().for_each(|(throttle, rate)| rates.set(*throttle, **rate));
        self.throttling.then_some(rates)
    }

    /// The messages of a day that are enforced, if they are.
    pub fn enforced_messages_per_day(&self) -> Option<u64> {
        self.daily_quota.then_some(*self.messages_per_day)
    }

    /// As [`super::Config::rows`].
    pub(super) fn rows(&self) -> Vec<(String, toml::Value, &Origin)> {
        let row = |name: &str, value: toml::Value, origin| (name.to_owned(), value, origin);
        let messages = i64::try_from(*self.messages_per_day).unwrap_or(i64::MAX);
        let mut rows = vec![
            row("tier", self.tier.as_str().into(), &self.tier.origin),
            row("unit-size", i64::from(*self.unit_size).into(), &self.unit_size.origin),
            row("units", i64::from(*self.units).into(), &self.units.origin),
            row("throttling", (*self.throttling).into(), &self.throttling.origin),
            row("daily-quota", (*self.daily_quota).into(), &self.daily_quota.origin),
            row("messages-per-day", messages.into(), &self.messages_per_day.origin),
        ];
        rows.extend(self.throttles.iter().map(|(throttle, rate)| {
            (format!("{THROTTLES}.{}", throttle.as_str()), rate.to_string().into(), &rate.origin)
        }));
        rows
    }
}

const THROTTLES: &str = "throttles";
/// What rates and quota follow from.
const TIER_AND_UNITS: &str = "tier and units";
