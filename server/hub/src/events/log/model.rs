//! A log against a list that forgets nothing: random appends, trims, seeks and reads by several cursors, a clock that
//! goes back now and then. Nothing within retention is lost or read twice.

use proptest::prelude::*;

use super::tests::{at, event};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append { count: usize, bytes: usize, secs: i64 },
    Expire { secs: u64 },
    Read { reader: usize, events: usize, bytes: usize },
    Seek { reader: usize, start: StartPosition },
    Trim { bytes: u64 },
}

/// Every event ever, with its size; where what is kept begins.
#[derive(Default)]
struct Naive {
    all: Vec<(EventPosition, u64)>,
    begin: usize,
    now: i64,
    readers: [usize; 3],
}

impl Naive {
    fn append(&mut self, bytes: usize) -> EventPosition {
        let (sequence_number, offset, earliest) = match self.all.last() {
            None => (0, 0, at(self.now)),
            Some((last, size)) => (last.sequence_number + 1, last.offset + size, last.enqueued_at),
        };
        let position = EventPosition { sequence_number, offset, enqueued_at: at(self.now).max(earliest) };
        self.all.push((position, bytes as u64));
        position
    }

    fn expire(&mut self, secs: u64) {
        let cutoff = at(self.now - i64::try_from(secs).unwrap());
        let is_kept = |(position, _): &(EventPosition, u64)| position.enqueued_at > cutoff;
        let kept = self.all[self.begin..].iter().position(is_kept);
        self.begin = kept.map_or(self.all.len(), |kept| self.begin + kept);
    }

    fn trim(&mut self, bytes: u64) {
        while self.begin + 1 < self.all.len()
            && self.all[self.begin..].iter().map(|(_, size)| size).sum::<u64>() > bytes
        {
            self.begin += 1;
        }
    }

    fn seek(&mut self, reader: usize, start: StartPosition) {
        let fits = |position: &EventPosition| match start {
            StartPosition::Earliest => true,
            StartPosition::Latest => false,
            StartPosition::Offset { value, inclusive: true } => position.offset >= value,
            StartPosition::Offset { value, inclusive: false } => position.offset > value,
            StartPosition::SequenceNumber { value, inclusive: true } => position.sequence_number >= value,
            StartPosition::SequenceNumber { value, inclusive: false } => position.sequence_number > value,
            StartPosition::EnqueuedTime { at, inclusive: true } => position.enqueued_at >= at,
            StartPosition::EnqueuedTime { at, inclusive: false } => position.enqueued_at > at,
        };
        let found = self.all[self.begin..].iter().position(|(position, _)| fits(position));
        self.readers[reader] = found.map_or(self.all.len(), |found| self.begin + found);
    }

    fn read(&mut self, reader: usize, events: usize, bytes: usize) -> Vec<EventPosition> {
        let next = self.readers[reader].max(self.begin);
        let (mut read, mut taken) = (Vec::new(), 0);
        for (position, size) in &self.all[next..] {
            if read.len() == events || taken >= bytes.max(1) as u64 {
                break;
            }
            read.push(*position);
            taken += size;
        }
        self.readers[reader] = next + read.len();
        read
    }
}

fn start() -> impl Strategy<Value = StartPosition> {
    prop_oneof![
        Just(StartPosition::Earliest),
        Just(StartPosition::Latest),
        (0..3_000_000_u64, any::<bool>())
            .prop_map(|(value, inclusive)| StartPosition::Offset { value, inclusive }),
        (-10..3000_i64, any::<bool>())
            .prop_map(|(value, inclusive)| StartPosition::SequenceNumber { value, inclusive }),
        (-10..300_i64, any::<bool>())
            .prop_map(|(secs, inclusive)| StartPosition::EnqueuedTime { at: at(secs), inclusive }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..400_usize, 512..2000_usize, -5..20_i64)
            .prop_map(|(count, bytes, secs)| Step::Append { count, bytes, secs }),
        1 => (0..60_u64).prop_map(|secs| Step::Expire { secs }),
        4 => (0..3_usize, 0..700_usize, 0..800_000_usize)
            .prop_map(|(reader, events, bytes)| Step::Read { reader, events, bytes }),
        1 => (0..3_usize, start()).prop_map(|(reader, start)| Step::Seek { reader, start }),
        1 => (0..2_000_000_u64).prop_map(|bytes| Step::Trim { bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_log_does_what_a_list_that_forgets_nothing_does(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let (mut log, mut naive) = (Log::default(), Naive::default());
        let mut cursors = [0; 3];
        for step in steps {
            match step {
                Step::Append { count, bytes, secs } => {
                    for _ in 0..count {
                        prop_assert_eq!(log.append(event(bytes, at(naive.now)), None), naive.append(bytes));
                    }
                    naive.now += secs;
                }
                Step::Expire { secs } => {
                    log.expire(Duration::from_secs(secs), at(naive.now));
                    naive.expire(secs);
                }
                Step::Read { reader, events, bytes } => {
                    let mut read = Vec::new();
                    cursors[reader] = log.read(cursors[reader], events, bytes, &mut read);
                    let read: Vec<_> = read.iter().map(|event| event.position).collect();
                    prop_assert_eq!(read, naive.read(reader, events, bytes));
                }
                Step::Seek { reader, start } => {
                    cursors[reader] = log.seek(start);
                    naive.seek(reader, start);
                }
                Step::Trim { bytes } => {
                    log.trim(bytes);
                    naive.trim(bytes);
                }
            }
            prop_assert_eq!(log.begin(), i64::try_from(naive.begin).unwrap());
            prop_assert_eq!(log.end(), i64::try_from(naive.all.len()).unwrap());
            prop_assert_eq!(log.last(), naive.all.last().map(|(position, _)| *position));
        }
    }
}
