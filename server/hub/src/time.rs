//! Hub time: instants, the clock they come from, and the one heap of work that falls due later.
//!
//! Hub time is what the service documents (expiry, stamps, retention); keep-alive and handshake limits are wire
//! time and belong to tokio. See ARCHITECTURE section 5.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;

use crate::events::EventHubName;
use crate::ids::{DeviceId, IdentityId};
use crate::method::MethodRequestId;

/// The first instant that four-digit years can show, 0001-01-01T00:00:00.
const FIRST_TICKS: i64 = -DOTNET_TICKS_AT_EPOCH;
/// The last one, 9999-12-31T23:59:59.9999999.
const LAST_TICKS: i64 = 253_402_300_800 * TICKS_PER_SEC - 1;
const TICKS_PER_SEC: i64 = 10_000_000;
const SECS_PER_DAY: i64 = 24 * 60 * 60;
/// How long an instant is as text.
const TEXT_BYTES: usize = 28;
/// .NET ticks (100 ns since year 1) at the Unix epoch; generation ids look like ticks.
const DOTNET_TICKS_AT_EPOCH: i64 = 621_355_968_000_000_000;

/// An instant in hub time, in steps of 100 ns like the service's own stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest instant there is; "never" for an expiry.
    pub const MAX: Self = Self(i64::MAX);

    /// Whole seconds since 1970, saturating at the ends of the range.
    pub const fn from_unix_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(TICKS_PER_SEC))
    }

    /// 100 ns ticks since 1970.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// 100 ns ticks since 1970.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn unix_secs(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SEC)
    }

    /// Milliseconds since 1970, rounded down, as AMQP timestamps are.
    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SEC / 1000)
    }

    /// 100 ns since year 1, the form generation ids take.
    pub const fn dotnet_ticks(self) -> i64 {
        self.0.saturating_add(DOTNET_TICKS_AT_EPOCH)
    }

    /// This instant moved on, saturating at [`Self::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let ticks = i64::try_from(by.as_nanos() / 100).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ticks))
    }

    /// How long from `earlier` to here; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        let ticks = u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0);
        Duration::from_nanos(ticks.saturating_mul(100))
    }

    /// The text that [`fmt::Display`] shows, in ASCII; a twin holds one for every write.
    pub(crate) fn text(self) -> [u8; TEXT_BYTES] {
        let ticks = self.0.clamp(FIRST_TICKS, LAST_TICKS);
        let (secs, fraction) = (ticks.div_euclid(TICKS_PER_SEC), ticks.rem_euclid(TICKS_PER_SEC));
        let (days, second) = (secs.div_euclid(SECS_PER_DAY), secs.rem_euclid(SECS_PER_DAY));
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.0000000Z";
        for (end, digits, mut number) in [
            (4, 4, year),
            (7, 2, month),
            (10, 2, day),
            (13, 2, second / 3600),
            (16, 2, second / 60 % 60),
            (19, 2, second % 60),
            (27, 7, fraction),
        ] {
            for place in text[end - digits..end].iter_mut().rev() {
                *place += u8::try_from(number % 10).expect("a digit is below ten");
                number /= 10;
            }
        }
        text
    }

    /// Reads RFC 3339 text such as `2026-01-01T00:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 100).ok().map(Self)
    }
}

/// `2026-01-01T00:00:00.1234567Z`: always seven digits, always UTC (contract/rest.md 0.6).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("digits and marks are ASCII"))
    }
}

/// Year, month and day of a day counted from 1970, by the proleptic Gregorian calendar.
const fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    // Counted from 0000-03-01, a leap day ends its year and the months repeat every five.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}

/// Where hub time comes from; the core asks once per operation.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current hub time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Timestamp(i64::try_from(nanos / 100).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until told to move; for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// Stands at `now`.
    pub const fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves on by `by`. What falls due runs at the next `Hub::run_due`.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock();
        *now = now.plus(by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// Something the hub does later without anybody asking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// A head wants to be woken.
    Alarm { number: u64 },
    /// A direct method was not delivered, or not answered, in its time.
    MethodTimeout { identity: IdentityId, id: MethodRequestId },
    /// A lock or a message of a device's queue ends.
    CloudToDevice { device: DeviceId },
    /// Events of a partition reach the end of their retention.
    EventExpiry { event_hub: EventHubName, partition: u8 },
    /// The lock on a feedback batch ends.
    Feedback,
    /// The credential an identity is connected with may have expired.
    SessionExpiry { identity: IdentityId },
    /// Somebody's turn at a throttle has come.
    ThrottleTurn { ticket: u64 },
}

/// Everything due later, in order; the assembly's ticker sleeps until its earliest row.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    rows: Mutex<BTreeSet<(Timestamp, Deadline)>>,
    earlier: Notify,
}

impl Deadlines {
    pub(crate) fn push(&self, at: Timestamp, deadline: Deadline) {
        let mut rows = self.rows.lock();
        let is_earliest = rows.first().is_none_or(|(first, _)| at < *first);
        rows.insert((at, deadline));
        drop(rows);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.rows.lock().first().map(|(at, _)| *at)
    }

    /// Takes back a row that another one replaces.
    pub(crate) fn remove(&self, at: Timestamp, deadline: Deadline) {
        self.rows.lock().remove(&(at, deadline));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.lock().len()
    }

    /// Takes the earliest row if it is due.
    pub(crate) fn pop_due(&self, now: Timestamp) -> Option<(Timestamp, Deadline)> {
        let mut rows = self.rows.lock();
        if rows.first().is_some_and(|(at, _)| *at <= now) { rows.pop_first() } else { None }
    }

    /// Resolves when a row earlier than all others was added.
    pub(crate) async fn changed(&self) {
        self.earlier.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceId;

    #[test]
    fn a_timestamp_always_shows_seven_digits_and_z() {
        let at = Timestamp::from_unix_secs(1_767_225_600);
        assert_eq!(at.to_string(), "2026-01-01T00:00:00.0000000Z");
        assert_eq!(at.plus(Duration::from_nanos(123_456_700)).to_string(), "2026-01-01T00:00:00.1234567Z");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_798_761_599, "2026-12-31T23:59:59"),
            (-62_135_596_800, "0001-01-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
        ] {
            assert_eq!(Timestamp::from_unix_secs(secs).to_string(), format!("{text}.0000000Z"));
        }
        let earliest = Timestamp::from_ticks(i64::MIN).to_string();
        assert_eq!(earliest, "0001-01-01T00:00:00.0000000Z", "years below one are not shown");
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same_instant(ticks in FIRST_TICKS..=LAST_TICKS) {
            let at = Timestamp::from_ticks(ticks);
            proptest::prop_assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        }
    }

    #[test]
    fn a_generation_id_has_eighteen_digits_like_dotnet_ticks() {
        assert_eq!(Timestamp::from_unix_secs(1_468_627_961).dotnet_ticks().to_string().len(), 18);
    }

    #[test]
    fn an_absurd_expiry_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp::from_unix_secs(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.9999999Z");
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn deadlines_come_out_in_time_order_and_only_when_due() {
        let deadlines = Deadlines::default();
        let row = |id| Deadline::SessionExpiry { identity: IdentityId::device(DeviceId::parse(id).unwrap()) };
        let at = Timestamp::from_unix_secs;
        deadlines.push(at(20), row("late"));
        deadlines.push(at(10), row("early"));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(15)), Some((at(10), row("early"))));
        assert_eq!(deadlines.pop_due(at(15)), None);
    }
}
