//! What a log keeps, and where a reader of it begins.

use bytes::Bytes;

use super::*;
use crate::events::event::MessageSource;
use crate::ids::IdentityId;
use crate::telemetry::MessageProperties;

/// An event of so many bytes in all: an empty one takes 512.
pub(super) fn event(bytes: usize, at: Timestamp) -> Arc<EventData> {
    Arc::new(EventData {
        identity: IdentityId::parse("d", None).unwrap(),
        source: MessageSource::Telemetry,
        sender: None,
        properties: MessageProperties::default(),
        body: Bytes::from(vec![0; bytes - 512]),
        accepted_at: at,
    })
}

pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(secs)
}

/// So many events of 1000 bytes, one each second.
fn log(events: i64) -> Log {
    let mut log = Log::default();
    for n in 0..events {
        log.append(event(1000, at(n)), None);
    }
    log
}

fn numbers(log: &Log, from: i64, max_events: usize, max_bytes: usize) -> Vec<i64> {
    let mut events = Vec::new();
    let next = log.read(from, max_events, max_bytes, &mut events);
    let numbers: Vec<_> = events.iter().map(|event| event.position.sequence_number).collect();
    if let Some(last) = numbers.last() {
        assert_eq!(next, last + 1);
    }
    numbers
}

#[test]
fn sequence_numbers_have_no_gaps_and_offsets_never_repeat() {
    let mut log = Log::default();
    let positions: Vec<_> = [512, 600, 700].map(|bytes| log.append(event(bytes, at(0)), None)).into();
    assert_eq!(positions.iter().map(|p| p.sequence_number).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(positions.iter().map(|p| p.offset).collect::<Vec<_>>(), [0, 512, 1112]);
}

#[test]
fn numbers_go_on_after_retention_took_everything() {
    let mut log = log(3);
    log.expire(Duration::ZERO, at(10));
    assert_eq!((log.begin(), log.end(), log.oldest()), (3, 3, None));
    let position = log.append(event(1000, at(11)), None);
    assert_eq!((position.sequence_number, position.offset), (3, 3000));
    assert_eq!(numbers(&log, 0, 10, usize::MAX), [3]);
}

#[test]
fn an_enqueued_time_never_goes_back_even_if_the_clock_does() {
    let mut log = Log::default();
    let stamped = [10, 5, 11].map(|secs| log.append(event(512, at(secs)), None).enqueued_at);
    assert_eq!(stamped, [at(10), at(10), at(11)]);
    log.expire(Duration::ZERO, at(20));
    assert_eq!(log.append(event(512, at(3)), None).enqueued_at, at(11), "nor when nothing is left");
}

#[test]
fn size_trims_the_oldest_and_never_the_newest() {
    let mut log = log(10);
    log.trim(3000);
    assert_eq!(numbers(&log, 0, 100, usize::MAX), [7, 8, 9]);
    log.trim(2999);
    assert_eq!(numbers(&log, 0, 100, usize::MAX), [8, 9]);
    log.trim(0);
    assert_eq!(numbers(&log, 0, 100, usize::MAX), [9]);
}

#[test]
fn properties_count_for_retention_like_bodies_do() {
    let mut properties =
        MessageProperties { message_id: Some("m".repeat(1000)), ..MessageProperties::default() };
    properties.application = vec![(String::new(), None); 20];
    let plain = event(512, at(0));
    let data = Arc::new(EventData { properties, ..Arc::into_inner(plain).unwrap() });
    let mut log = Log::default();
    log.append(data, None);
    assert!(log.append(event(512, at(0)), None).offset > 512 + 1000 + 20 * 90);
}

#[test]
fn enrichments_count_for_retention_like_properties_do() {
    let added = || -> Option<Arc<[AddedProperty]>> {
        Some(Arc::new([AddedProperty { name: "name".into(), value: "v".repeat(1000).into() }]))
    };
    let mut log = Log::default();
    let positions = [(); 2].map(|()| log.append(event(512, at(0)), added()));
    assert_eq!(positions[1].offset - positions[0].offset, 512 + 4 + 1000 + 96);
}

#[test]
fn age_takes_what_has_reached_it_and_nothing_younger() {
    let mut log = log(1000);
    log.expire(Duration::from_secs(100), at(799));
    assert_eq!(log.begin(), 700);
    log.expire(Duration::from_secs(100), at(798));
    assert_eq!(log.begin(), 700, "what is gone stays gone");
    log.expire(Duration::from_secs(100), at(1098));
    assert_eq!(numbers(&log, 0, 10, usize::MAX), [999]);
}

#[test]
fn a_read_ends_at_its_limits_and_goes_on_where_it_ended() {
    let log = log(1500);
    assert_eq!(numbers(&log, 510, 4, usize::MAX), [510, 511, 512, 513], "across segments");
    assert_eq!(numbers(&log, 1498, 10, usize::MAX), [1498, 1499]);
    assert_eq!(numbers(&log, 0, 10, 2001), [0, 1, 2], "the event that reaches the limit is the last");
    assert_eq!(numbers(&log, 0, 10, 2000), [0, 1]);
    assert_eq!(numbers(&log, 0, 10, 0), [0], "one event is always read");
    assert_eq!(numbers(&log, 1500, 10, usize::MAX), [0; 0]);
    assert_eq!(numbers(&log, 0, 0, usize::MAX), [0; 0]);
}

#[test]
fn a_reader_behind_retention_goes_on_at_the_oldest_event() {
    let mut log = log(1500);
    log.trim(2000);
    assert_eq!(numbers(&log, 3, 10, usize::MAX), [1498, 1499]);
}

#[test]
fn a_start_means_the_event_it_names_or_the_next_one() {
    use StartPosition as S;
    let mut log = log(1500);
    log.trim(1_400_000);
    assert_eq!((log.begin(), log.end()), (100, 1500));
    let ms = |millis: i64| Timestamp::from_ticks(millis * 10_000);
    for (start, expected) in [
        (S::Earliest, 100),
        (S::Latest, 1500),
        (S::Offset { value: 700_000, inclusive: true }, 700),
        (S::Offset { value: 700_000, inclusive: false }, 701),
        (S::Offset { value: 700_001, inclusive: true }, 701),
        (S::Offset { value: 699_999, inclusive: false }, 700),
        (S::Offset { value: 0, inclusive: true }, 100),
        (S::Offset { value: 1_499_000, inclusive: false }, 1500),
        (S::Offset { value: u64::MAX, inclusive: true }, 1500),
        (S::SequenceNumber { value: 700, inclusive: true }, 700),
        (S::SequenceNumber { value: 700, inclusive: false }, 701),
        (S::SequenceNumber { value: -1, inclusive: false }, 100),
        (S::SequenceNumber { value: i64::MIN, inclusive: true }, 100),
        (S::SequenceNumber { value: 99, inclusive: false }, 100),
        (S::SequenceNumber { value: i64::MAX, inclusive: false }, 1500),
        (S::EnqueuedTime { at: at(700), inclusive: true }, 700),
        (S::EnqueuedTime { at: at(700), inclusive: false }, 701),
        (S::EnqueuedTime { at: ms(700_001), inclusive: true }, 701),
        (S::EnqueuedTime { at: at(-9), inclusive: true }, 100),
        (S::EnqueuedTime { at: at(1499), inclusive: false }, 1500),
        (S::EnqueuedTime { at: Timestamp::MAX, inclusive: true }, 1500),
    ] {
        assert_eq!(log.seek(start), expected, "{start:?}");
    }
}

#[test]
fn times_are_told_apart_by_the_millisecond_readers_see() {
    let mut log = Log::default();
    let tick = |ticks: i64| Timestamp::from_ticks(ticks);
    log.append(event(512, tick(10_000)), None);
    log.append(event(512, tick(19_999)), None);
    log.append(event(512, tick(20_000)), None);
    let seen = Timestamp::from_ticks(10_000);
    assert_eq!(log.seek(StartPosition::EnqueuedTime { at: seen, inclusive: false }), 2);
    assert_eq!(log.seek(StartPosition::EnqueuedTime { at: seen, inclusive: true }), 0);
}

#[test]
fn an_empty_log_begins_at_its_end() {
    let log = Log::default();
    for start in [
        StartPosition::Earliest,
        StartPosition::Latest,
        StartPosition::Offset { value: 7, inclusive: true },
        StartPosition::SequenceNumber { value: 7, inclusive: true },
        StartPosition::EnqueuedTime { at: at(0), inclusive: true },
    ] {
        assert_eq!(log.seek(start), 0, "{start:?}");
    }
    assert_eq!(numbers(&log, 0, 1, 1), [0; 0]);
}
