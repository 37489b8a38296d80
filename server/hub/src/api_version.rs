//! `api-version`: a date from 2016-02-03 on, optionally a preview (contract/rest.md 0.2). REST calls, MQTT
//! usernames and AMQP links name one.
//!
//! A version newer than any we know is taken as the newest; an older one keeps its older behaviour where the
//! contract names one.

/// The version of the hub's interface that a caller was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    year: u16,
    month: u8,
    day: u8,
}

/// Ends a version that was never final.
const PREVIEW_SUFFIX: &str = "-preview";

impl ApiVersion {
    /// The first version the hub answers to.
    const OLDEST: Self = Self { year: 2016, month: 2, day: 3 };
    /// The first version whose twins may hold arrays (contract/rest.md 3.5).
    pub(crate) const WITH_TWIN_ARRAYS: Self = Self { year: 2019, month: 10, day: 1 };

    /// Reads a version; `None` for what is no date or too old.
    pub fn parse(text: &str) -> Option<Self> {
        let date = text.strip_suffix(PREVIEW_SUFFIX).unwrap_or(text);
        let mut parts = date.split('-');
        let mut digits = |count: usize| {
            let part = parts.next()?;
            (part.len() == count && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse::<u16>().ok())?
        };
        let (year, month, day) = (digits(4)?, digits(2)?, digits(2)?);
        let is_date = parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day);
        let version = Self { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? };
        (is_date && version >= Self::OLDEST).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_the_sdks_send_is_accepted() {
        for text in [
            "2016-02-03",
            "2016-11-14",
            "2018-08-30-preview",
            "2019-10-01",
            "2020-06-30-preview",
            "2020-09-30",
            "2021-04-12",
            "2024-03-31",
            "2999-01-01",
        ] {
            assert!(ApiVersion::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_or_too_old_is_refused() {
        for text in [
            "",
            "2016-02-02",
            "2021-4-12",
            "2021-13-01",
            "2021-04-00",
            "2021-04-12-beta",
            "2021-04-12-preview-preview",
            "2021-04-12-01",
            "+021-04-12",
            "latest",
        ] {
            assert_eq!(ApiVersion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arrays_came_with_2019_10_01() {
        assert!(ApiVersion::parse("2019-10-01").unwrap() >= ApiVersion::WITH_TWIN_ARRAYS);
        assert!(ApiVersion::parse("2019-03-30").unwrap() < ApiVersion::WITH_TWIN_ARRAYS);
    }
}
