//! What devices and services said and were told, and whether it agrees.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Violations that are kept; the first ones tell the most.
const VIOLATIONS: usize = 50;
/// Explicit abandons after which a message is dead (contract/amqp.md 4.2).
const DELIVERIES: u32 = 10;

/// What a run must have seen, or it has shown nothing.
const SEEN: [&str; 11] = [
    "connections",
    "desired notifications",
    "desired patches",
    "feedback records",
    "looks at the connections",
    "messages delivered",
    "methods answered",
    "methods failed",
    "reports",
    "take-overs",
    "telemetry acknowledged",
];

/// How a device settled a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Settled {
    Abandoned,
    Completed,
    Rejected,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    devices: HashMap<String, Device>,
    messages: HashMap<String, Message>,
    methods: HashSet<u64>,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Device {
    /// Whether each was acknowledged.
    telemetry: Vec<bool>,
    reported: Version,
    desired: u64,
}

/// A version that grows by one with each change, some of whose answers were lost with their connection.
#[derive(Debug)]
struct Version {
    last: u64,
    unanswered: u64,
}

impl Default for Version {
    fn default() -> Self {
        Self { last: 1, unanswered: 0 }
    }
}

#[derive(Debug, Default)]
struct Message {
    abandons: u32,
    /// What a device asked for; the hub may not have heard it.
    asked: HashSet<Settled>,
    /// The hub has said that it is over.
    is_over: bool,
    feedback: Vec<String>,
}

/// What devices are registered with: their twins have desired properties, which are the first change of a new twin's.
const DESIRED_VERSION: u64 = 2;

impl Ledger {
    pub(super) fn of(devices: &[String]) -> Self {
        let registered = || Device { desired: DESIRED_VERSION, ..Device::default() };
        let devices = devices.iter().map(|device| (device.clone(), registered()));
        Self { devices: devices.collect(), ..Self::default() }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn violation(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS {
            self.violations.push(what);
        }
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn summary(&self) -> String {
        let counts = self.counts.iter().map(|(what, count)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    fn device(&mut self, device: &str) -> &mut Device {
        self.devices.entry(device.to_owned()).or_default()
    }

    /// The number of the next telemetry of a device, or none when its share is used up.
    pub(super) fn next_telemetry(&mut self, device: &str, share: usize) -> Option<usize> {
        let telemetry = &mut self.device(device).telemetry;
        (telemetry.len() < share).then(|| {
            telemetry.push(false);
            telemetry.len() - 1
        })
    }

    pub(super) fn telemetry_acknowledged(&mut self, device: &str, number: usize) {
        self.count("telemetry acknowledged");
        match self.device(device).telemetry.get_mut(number) {
            Some(acknowledged @ false) => *acknowledged = true,
            other => {
                let other = format!("{device}: acknowledged telemetry {number}, known as {other:?}");
                self.violation(other);
            }
        }
    }

    /// Holds the events of a device, oldest first, to what it was told.
    pub(super) fn check_telemetry(&mut self, device: &str, events: &[usize]) {
        let mut seen = HashMap::new();
        events.iter().for_each(|number| *seen.entry(*number).or_insert(0_u32) += 1);
        let wrong: Vec<_> = (self.device(device).telemetry.iter().enumerate())
            .filter_map(|(number, acknowledged)| match (seen.remove(&number).unwrap_or(0), acknowledged) {
                (1, _) | (0, false) => None,
                (times, _) => {
                    Some(format!("{device}: telemetry {number} (acknowledged: {acknowledged}) {times} times"))
                }
            })
            .collect();
        wrong.into_iter().for_each(|wrong| self.violation(wrong));
        if !seen.is_empty() {
            self.violation(format!("{device}: events that nobody sent: {seen:?}"));
        }
    }

    /// All events of a partition are known, so their numbers have no gaps and none comes twice.
    pub(super) fn check_sequence(&mut self, partition: u64, mut numbers: Vec<u64>) {
        numbers.sort_unstable();
        let gap = numbers.windows(2).find(|pair| pair.first().map(|first| first + 1) != pair.last().copied());
        if let Some(gap) = gap {
            let gap = format!("partition {partition}: sequence numbers {gap:?} follow each other");
            self.violation(gap);
        }
    }

    pub(super) fn report_sent(&mut self, device: &str) {
        self.device(device).reported.unanswered += 1;
    }

    /// A change of reported properties was answered with the version it made.
    pub(super) fn report_answered(&mut self, device: &str, version: u64) {
        self.count("reports");
        let Version { last, unanswered } = self.device(device).reported;
        if !(last + 1..=last + unanswered).contains(&version) {
            self.violation(format!(
                "{device}: reported version {version} after {last}, {unanswered} under way"
            ));
        }
        let unanswered = (last + unanswered).saturating_sub(version);
        self.device(device).reported = Version { last: version, unanswered };
    }

    /// What a reader sees of the reported version.
    pub(super) fn check_reported(&mut self, device: &str, version: u64) {
        let Version { last, unanswered } = self.device(device).reported;
        if !(last..=last + unanswered).contains(&version) {
            self.violation(format!("{device}: reads reported version {version}, {last} was answered"));
        }
    }

    /// The only service of a device changed its desired properties.
    pub(super) fn desired_answered(&mut self, device: &str, version: u64) {
        self.count("desired patches");
        let last = std::mem::replace(&mut self.device(device).desired, version);
        if version != last + 1 {
            self.violation(format!("{device}: desired version {version} after {last}"));
        }
    }

    /// A session is told of a change; `before` is what it was told last.
    pub(super) fn desired_notified(&mut self, device: &str, before: Option<u64>, version: u64) {
        self.count("desired notifications");
        if before.is_some_and(|before| version != before + 1) {
            self.violation(format!("{device}: told of desired version {version} after {before:?}"));
        }
    }

    pub(super) fn check_desired(&mut self, device: &str, version: u64) {
        let last = self.device(device).desired;
        if version != last {
            self.violation(format!("{device}: desired version {version} at the end, {last} was answered"));
        }
    }

    pub(super) fn method_delivered(&mut self, device: &str, number: u64) {
        self.count("methods delivered");
        if !self.methods.insert(number) {
            self.violation(format!("{device}: call {number} was delivered twice"));
        }
    }

    /// Whether a call that was answered had been delivered.
    pub(super) fn method_answered(&mut self, number: u64) {
        self.count("methods answered");
        if !self.methods.contains(&number) {
            self.violation(format!("call {number} was answered by nobody"));
        }
    }

    /// Before it is sent, for it may arrive before the answer.
    pub(super) fn message_sent(&mut self, id: &str) {
        self.messages.insert(id.to_owned(), Message::default());
    }

    pub(super) fn message_refused(&mut self, id: &str) {
        self.count("messages refused by a full queue");
        if self.messages.remove(id).is_none_or(|message| !message.asked.is_empty()) {
            self.violation(format!("{id} was refused and delivered"));
        }
    }

    pub(super) fn message_delivered(&mut self, device: &str, id: &str) {
        self.count("messages delivered");
        match self.messages.get(id) {
            Some(Message { is_over: false, .. }) if id.starts_with(device) => {}
            other => {
                let other = format!("{device}: was given {id}, known as {other:?}");
                self.violation(other);
            }
        }
    }

    /// A device asks for an outcome; written down first, for the hub may tell others before it tells the device.
    pub(super) fn message_settled(&mut self, id: &str, how: Settled) {
        let Some(message) = self.messages.get_mut(id) else { return };
        message.asked.insert(how);
        message.abandons += u32::from(how == Settled::Abandoned);
    }

    /// The hub has confirmed the outcome.
    pub(super) fn message_confirmed(&mut self, id: &str, how: Settled) {
        let Some(message) = self.messages.get_mut(id) else { return };
        message.is_over |= how != Settled::Abandoned;
    }

    pub(super) fn feedback(&mut self, id: &str, status: &str) {
        self.count("feedback records");
        let Some(message) = self.messages.get_mut(id) else {
            return self.violation(format!("feedback {status} for {id}, which nobody sent"));
        };
        message.feedback.push(status.to_owned());
        message.is_over = true;
        let is_true = match status {
            "Success" => message.asked.contains(&Settled::Completed),
            "Rejected" => message.asked.contains(&Settled::Rejected),
            "DeliveryCountExceeded" => message.abandons >= DELIVERIES,
            _ => false,
        };
        if !is_true || message.feedback.len() > 1 {
            let message = format!("feedback {status} for {id}: {message:?}");
            self.violation(message);
        }
    }

    /// Messages whose end was not told yet.
    pub(super) fn messages_open(&self) -> usize {
        self.messages.values().filter(|message| message.feedback.is_empty()).count()
    }

    /// Everything that a run is for has happened.
    pub(super) fn check_seen(&mut self) {
        for what in SEEN {
            if !self.counts.contains_key(what) {
                self.violation(format!("there were no {what}"));
            }
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&mut self) {
        let open: Vec<_> = (self.messages.iter())
            .filter(|(_, message)| message.feedback.is_empty())
            .map(|(id, message)| format!("{id} never ended: {message:?}"))
            .collect();
        open.into_iter().for_each(|open| self.violation(open));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::of(&["d".to_owned()])
    }

    #[test]
    fn telemetry_that_was_acknowledged_must_be_there_once_and_other_may() {
        let mut ledger = ledger();
        for _ in 0..3 {
            ledger.next_telemetry("d", 10);
        }
        ledger.telemetry_acknowledged("d", 0);
        ledger.check_telemetry("d", &[0, 2]);
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        ledger.check_telemetry("d", &[2]);
        ledger.check_telemetry("d", &[0, 2, 2]);
        ledger.check_telemetry("d", &[0, 7]);
        assert_eq!(ledger.violations().len(), 3, "{:?}", ledger.violations());
    }

    #[test]
    fn a_reported_version_grows_by_one_and_by_what_was_under_way() {
        let mut ledger = ledger();
        ledger.report_sent("d");
        ledger.report_answered("d", 2);
        ledger.report_sent("d");
        ledger.report_sent("d");
        ledger.report_answered("d", 4);
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        ledger.report_sent("d");
        ledger.report_answered("d", 6);
        ledger.desired_answered("d", DESIRED_VERSION + 2);
        ledger.desired_notified("d", Some(3), 5);
        assert_eq!(ledger.violations().len(), 3, "{:?}", ledger.violations());
    }

    #[test]
    fn a_message_ends_once_and_as_its_device_said() {
        let mut ledger = ledger();
        ledger.message_sent("d.1");
        ledger.message_delivered("d", "d.1");
        ledger.message_settled("d.1", Settled::Completed);
        ledger.message_confirmed("d.1", Settled::Completed);
        ledger.feedback("d.1", "Success");
        ledger.close();
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        ledger.message_delivered("d", "d.1");
        ledger.feedback("d.1", "Success");
        ledger.message_sent("d.2");
        ledger.feedback("d.2", "Rejected");
        ledger.message_sent("d.3");
        ledger.close();
        assert_eq!(ledger.violations().len(), 4, "{:?}", ledger.violations());
    }

    #[test]
    fn a_run_in_which_nothing_happened_shows_nothing() {
        let mut ledger = ledger();
        ledger.check_seen();
        assert_eq!(ledger.violations().len(), SEEN.len());
    }

    #[test]
    fn sequence_numbers_have_no_gap_and_none_comes_twice() {
        let mut ledger = ledger();
        ledger.check_sequence(0, vec![2, 0, 1]);
        assert!(ledger.violations().is_empty());
        ledger.check_sequence(0, vec![0, 2]);
        ledger.check_sequence(0, vec![0, 1, 1]);
        assert_eq!(ledger.violations().len(), 2, "{:?}", ledger.violations());
    }

    #[test]
    fn a_call_is_delivered_once_and_answered_after_that() {
        let mut ledger = ledger();
        ledger.method_delivered("d", 1);
        ledger.method_answered(1);
        assert!(ledger.violations().is_empty());
        ledger.method_delivered("d", 1);
        ledger.method_answered(2);
        assert_eq!(ledger.violations().len(), 2, "{:?}", ledger.violations());
    }
}
