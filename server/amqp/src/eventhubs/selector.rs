//! Where a reader wants to begin: the text of its filter (contract/eventhubs.md 4.1).
//!
//! `amqp.annotation.{field} {> or >=} {value}`, the value in quotes or not: .NET and az CLI write none.

#![warn(clippy::indexing_slicing)]

use hub::events::StartPosition;
use hub::time::Timestamp;

use crate::names::selector as names;

/// Ticks of 100 ns in a millisecond.
const TICKS_PER_MILLI: i64 = 10_000;

/// What a selector says; the error is a sentence for the reader's developer.
pub(crate) fn parse(text: &str) -> Result<StartPosition, String> {
    let rest = text.trim().strip_prefix(names::ANNOTATION).ok_or_else(|| malformed(text))?;
    let operator_at = rest.find('>').ok_or_else(|| malformed(text))?;
    let (field, rest) = rest.split_at(operator_at);
    let (inclusive, value) = match rest.strip_prefix(">=") {
        Some(value) => (true, value),
        None => (false, rest.strip_prefix('>').unwrap_or(rest)),
    };
    let value = unquoted(value.trim()).ok_or_else(|| malformed(text))?;
    let number = || {
        let number = value.parse::<i64>().ok().filter(|_| !value.starts_with('+'));
        number.ok_or_else(|| malformed(text))
    };
    match field.trim_end() {
        names::OFFSET => match value {
            names::EARLIEST => Ok(StartPosition::Earliest),
            names::LATEST => Ok(StartPosition::Latest),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let value = digits.parse().map_err(|_| malformed(text))?;
                Ok(StartPosition::Offset { value, inclusive })
            }
            _ => Err(malformed(text)),
        },
        names::SEQUENCE_NUMBER => Ok(StartPosition::SequenceNumber { value: number()?, inclusive }),
        names::ENQUEUED_TIME | names::ENQUEUED_TIME_UTC => {
            // What is too far away to be a time here is as good as the end of time, or its beginning.
            let at = Timestamp::from_ticks(number()?.saturating_mul(TICKS_PER_MILLI));
            Ok(StartPosition::EnqueuedTime { at, inclusive })
        }
        _ => Err(malformed(text)),
    }
}

/// The text between two quotes, or one that holds none.
fn unquoted(value: &str) -> Option<&str> {
    let inside = match value.strip_prefix('\'') {
        Some(rest) => rest.strip_suffix('\'')?,
        None => value,
    };
    (!inside.is_empty() && !inside.contains('\'')).then_some(inside)
}

fn malformed(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    format!(
        "'{shown}' is no selector; it reads amqp.annotation.FIELD > 'VALUE' or >= 'VALUE', where FIELD is {}, {} or {}",
        names::OFFSET,
        names::SEQUENCE_NUMBER,
        names::ENQUEUED_TIME
    )
}

/// Characters of a malformed selector that its refusal quotes; ours.
const SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(millis: i64, inclusive: bool) -> StartPosition {
        StartPosition::EnqueuedTime { at: Timestamp::from_ticks(millis * TICKS_PER_MILLI), inclusive }
    }

    #[test]
    fn every_selector_clients_write_is_understood() {
        use StartPosition::{Earliest, Latest, Offset, SequenceNumber};
        for (text, position) in [
            ("amqp.annotation.x-opt-offset > '-1'", Earliest),
            ("amqp.annotation.x-opt-offset >= '-1'", Earliest),
            ("amqp.annotation.x-opt-offset > -1", Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", Latest),
            ("amqp.annotation.x-opt-offset >= '@latest'", Latest),
            ("amqp.annotation.x-opt-offset > '1234'", Offset { value: 1234, inclusive: false }),
            ("amqp.annotation.x-opt-offset >= 1234", Offset { value: 1234, inclusive: true }),
            ("amqp.annotation.x-opt-offset>='7'", Offset { value: 7, inclusive: true }),
            ("amqp.annotation.x-opt-sequence-number > '5'", SequenceNumber { value: 5, inclusive: false }),
            ("amqp.annotation.x-opt-sequence-number >= 0", SequenceNumber { value: 0, inclusive: true }),
            ("amqp.annotation.x-opt-sequence-number > '-1'", SequenceNumber { value: -1, inclusive: false }),
            ("amqp.annotation.x-opt-enqueued-time > '1700000000123'", time(1_700_000_000_123, false)),
            ("amqp.annotation.x-opt-enqueued-time >= 1700000000123", time(1_700_000_000_123, true)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > '1700000000123'", time(1_700_000_000_123, false)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > 1700000000123", time(1_700_000_000_123, false)),
        ] {
            assert_eq!(parse(text), Ok(position), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_grammar() {
        for text in [
            "",
            "amqp.annotation.",
            "amqp.annotation.x-opt-offset",
            "amqp.annotation.x-opt-offset > ",
            "amqp.annotation.x-opt-offset > ''",
            "amqp.annotation.x-opt-offset > '5",
            "amqp.annotation.x-opt-offset > 5'",
            "amqp.annotation.x-opt-offset > ''5''",
            "amqp.annotation.x-opt-offset > '+5'",
            "amqp.annotation.x-opt-offset > '-2'",
            "amqp.annotation.x-opt-offset > 'a:b'",
            "amqp.annotation.x-opt-offset > '99999999999999999999'",
            "amqp.annotation.x-opt-offset < '5'",
            "amqp.annotation.x-opt-offset = '5'",
            "amqp.annotation.x-opt-offset > '5' OR 1 > 0",
            "amqp.annotation.x-opt-offset >> '5'",
            "amqp.annotation.x-opt-sequence-number > '+5'",
            "amqp.annotation.x-opt-sequence-number > '@latest'",
            "amqp.annotation.x-opt-enqueued-time > '2026-01-01T00:00:00Z'",
            "amqp.annotation.x-opt-other > '5'",
            "x-opt-offset > '5'",
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains("is no selector"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_refusal_does_not_quote_without_end() {
        assert!(parse(&"x".repeat(100_000)).unwrap_err().len() < 1000);
    }

    proptest! {
        #[test]
        fn quotes_and_spaces_make_no_difference(
            field in proptest::sample::select(vec![names::OFFSET, names::SEQUENCE_NUMBER, names::ENQUEUED_TIME]),
            value in 0..=i64::MAX,
            operator in proptest::sample::select(vec![">", ">="]),
        ) {
            let quoted = parse(&format!("amqp.annotation.{field} {operator} '{value}'"));
            prop_assert!(quoted.is_ok());
            prop_assert_eq!(&parse(&format!("amqp.annotation.{field}{operator}{value}")), &quoted);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}", value in ".{0,20}") {
            let _ = parse(&text);
            let _ = parse(&format!("amqp.annotation.x-opt-offset > {value}"));
            let _ = parse(&format!("amqp.annotation.x-opt-enqueued-time >= '{value}'"));
        }
    }
}
