//! Where in a partition reading begins, and how an event hub is told (contract/eventhubs.md 4.1).

use std::time::{SystemTime, UNIX_EPOCH};

/// A place in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartPosition {
    /// The oldest event there still is.
    Earliest,
    /// What arrives from the moment reading begins.
    Latest,
    /// The event at an offset, or the one behind it.
    Offset {
        /// As an event carries it: a number for today's event hubs, and not to be calculated with.
        value: String,
        /// Whether that event itself is wanted.
        inclusive: bool,
    },
    /// The event of a number, or the one behind it.
    SequenceNumber {
        /// Counts the events of a partition from 0.
        value: i64,
        /// Whether that event itself is wanted.
        inclusive: bool,
    },
    /// The first event that came after a time, which counts in whole milliseconds.
    EnqueuedTime(SystemTime),
}

impl StartPosition {
    /// Behind the event of this sequence number: where a program goes on that has done with it.
    #[must_use]
    pub const fn after(sequence_number: i64) -> Self {
        Self::SequenceNumber { value: sequence_number, inclusive: false }
    }

    pub(crate) fn selector(&self) -> String {
        let (field, inclusive, value) = match self {
            Self::Earliest => ("offset", false, "-1".to_owned()),
            Self::Latest => ("offset", false, "@latest".to_owned()),
            Self::Offset { value, inclusive } => ("offset", *inclusive, value.clone()),
            Self::SequenceNumber { value, inclusive } => ("sequence-number", *inclusive, value.to_string()),
            Self::EnqueuedTime(time) => {
                let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                ("enqueued-time", false, since_epoch.as_millis().to_string())
            }
        };
        let operator = if inclusive { ">=" } else { ">" };
        format!("amqp.annotation.x-opt-{field} {operator} '{value}'")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_position_is_told_in_the_words_of_event_hubs() {
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_900);
        for (position, selector) in [
            (StartPosition::Earliest, "amqp.annotation.x-opt-offset > '-1'"),
            (StartPosition::Latest, "amqp.annotation.x-opt-offset > '@latest'"),
            (
                StartPosition::Offset { value: "7".into(), inclusive: true },
                "amqp.annotation.x-opt-offset >= '7'",
            ),
            (StartPosition::after(7), "amqp.annotation.x-opt-sequence-number > '7'"),
            (StartPosition::EnqueuedTime(time), "amqp.annotation.x-opt-enqueued-time > '1700000000123'"),
        ] {
            assert_eq!(position.selector(), selector);
        }
    }
}
