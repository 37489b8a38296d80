//! The twin as the device sees it (contract/rest.md 3.3): two sections of properties, each with its version.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// Desired and reported properties at one moment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Twin {
    /// What the service side wants, with `$version`.
    pub desired: Value,
    /// What was reported last, with `$version`.
    pub reported: Value,
}

/// The version of the reported properties after an update; none where the hub does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedVersion(pub Option<u64>);

impl Twin {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(body)
            .map_err(|error| Error::protocol("the hub sent a twin that is not understood").with_source(error))
    }

    /// The version of the desired properties; 0 where the hub does not say.
    #[must_use]
    pub fn desired_version(&self) -> u64 {
        version(&self.desired)
    }

    /// The version of the reported properties; 0 where the hub does not say.
    #[must_use]
    pub fn reported_version(&self) -> u64 {
        version(&self.reported)
    }
}

pub(super) fn version(section: &Value) -> u64 {
    section.get("$version").and_then(Value::as_u64).unwrap_or_default()
}
