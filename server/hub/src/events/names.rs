//! Names of event hubs and consumer groups. Both are told apart without regard to case (contract/eventhubs.md 1, 4).

use std::fmt;
use std::sync::Arc;

use crate::error::{ErrorCode, HubError};
use crate::ids::HubName;

/// An event hub's name, as it was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventHubName(Arc<str>);

/// A consumer group's name, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupName(Arc<str>);

impl EventHubName {
    /// Letters, digits and `. _ -`, 1 to 256 characters, the first and the last a letter or digit.
    ///
    /// # Errors
    /// `ArgumentInvalid` for anything else.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        if text.len() <= EVENT_HUB_NAME_CHARS && is_entity_name(text) {
            return Ok(Self(text.into()));
        }
        Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!(
                "'{text}' is no name of an event hub: 1 to {EVENT_HUB_NAME_CHARS} letters, digits and . _ -, \
                 the first and the last a letter or digit."
            ),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The built-in event hub bears the hub's name.
impl From<&HubName> for EventHubName {
    fn from(hub: &HubName) -> Self {
        Self(hub.as_str().into())
    }
}

impl fmt::Display for EventHubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ConsumerGroupName {
    /// `$Default`, or letters, digits and `. _ -`, 1 to 50 characters, the first and the last a letter or digit.
    ///
    /// # Errors
    /// `ArgumentInvalid` for anything else.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        if text.eq_ignore_ascii_case(DEFAULT_GROUP) {
            return Ok(Self::default());
        }
        if text.len() <= CONSUMER_GROUP_NAME_CHARS && is_entity_name(text) {
            return Ok(Self(text.into()));
        }
        Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!(
                "'{text}' is no name of a consumer group: {DEFAULT_GROUP}, or 1 to {CONSUMER_GROUP_NAME_CHARS} \
                 letters, digits and . _ -, the first and the last a letter or digit."
            ),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names the group that always exists.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT_GROUP
    }
}

/// The group every event hub has.
impl Default for ConsumerGroupName {
    fn default() -> Self {
        Self(DEFAULT_GROUP.into())
    }
}

impl fmt::Display for ConsumerGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a name is looked up by.
pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn is_entity_name(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

const DEFAULT_GROUP: &str = "$Default";
const EVENT_HUB_NAME_CHARS: usize = 256;
const CONSUMER_GROUP_NAME_CHARS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_fifty_documented_characters_and_no_more() {
        for good in ["g", "reader-1", "a.b_c", &"x".repeat(50)] {
            assert_eq!(ConsumerGroupName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "a b", "$other", "a/b", "é", &"x".repeat(51)] {
            assert!(ConsumerGroupName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_group_is_known_in_any_case() {
        assert!(ConsumerGroupName::parse("$default").unwrap().is_default());
        assert_eq!(ConsumerGroupName::parse("$DEFAULT").unwrap().as_str(), "$Default");
        assert!(!ConsumerGroupName::parse("default").unwrap().is_default());
    }

    #[test]
    fn an_event_hub_is_named_by_256_documented_characters_and_no_more() {
        assert!(EventHubName::parse(&"x".repeat(256)).is_ok());
        for bad in ["", ".a", "a.", "a b", "a/b", "$a", &"x".repeat(257)] {
            assert!(EventHubName::parse(bad).is_err(), "{bad}");
        }
    }
}
