//! Rates: so many operations a second or a minute, one for each throttle, spelled `100/min` in the configuration.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::gate::throttle::Throttle;

/// So many operations in a time, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Minute,
    Second,
}

/// A rate that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no rate; write it as 100/min or 50/s, at least 1")]
pub struct RateError(String);

impl Rate {
    /// `count` a second; one if it is zero.
    pub fn per_second(count: u32) -> Self {
        Self { count: count.max(1), per: Period::Second }
    }

    /// `count` a minute; one if it is zero.
    pub fn per_minute(count: u32) -> Self {
        Self { count: count.max(1), per: Period::Minute }
    }

    /// The time between two operations, in ticks of hub time.
    pub(super) fn interval_ticks(self) -> i64 {
        let period = match self.per {
            Period::Minute => Duration::from_secs(60),
            Period::Second => Duration::from_secs(1),
        };
        let ticks = i64::try_from(period.as_nanos() / 100).unwrap_or(i64::MAX);
        (ticks / i64::from(self.count)).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per {
            Period::Minute => MINUTE,
            Period::Second => SECOND,
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let parsed = || {
            let (count, unit) = text.split_once('/')?;
            let per = match unit {
                MINUTE => Period::Minute,
                SECOND => Period::Second,
                _ => return None,
            };
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self { count, per })
        };
        parsed().ok_or_else(|| RateError(text.to_owned()))
    }
}

const MINUTE: &str = "min";
const SECOND: &str = "s";

/// One rate for each throttle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates([Rate; Throttle::ALL.len()]);

impl Rates {
    pub(super) fn new(rate: impl Fn(Throttle) -> Rate) -> Self {
        Self(Throttle::ALL.map(rate))
    }

    /// The rate of one throttle.
    pub const fn of(&self, throttle: Throttle) -> Rate {
        self.0[throttle as usize]
    }

    /// Puts another rate in place.
    pub const fn set(&mut self, throttle: Throttle, rate: Rate) {
        self.0[throttle as usize] = rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_what_it_prints() {
        for text in ["100/min", "1/s", "6000/s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_by_its_text() {
        for text in ["", "100", "0/s", "-1/s", "1/h", "1 / s", "x/min", "5000000000/s"] {
            assert!(text.parse::<Rate>().unwrap_err().to_string().contains(text), "{text}");
        }
    }
}
