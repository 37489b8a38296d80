//! A bounded memory of recent operations and refusals, for the admin API and for tests.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::access::{CredentialKind, Subject};
use crate::error::ErrorCode;
use crate::gate::admit::ProtocolLabel;
use crate::gate::operations::Target;
use crate::ids::{ConnectionId, IdentityId};
use crate::limits;
use crate::time::Timestamp;

/// The last operations the hub was asked for, newest kept.
#[derive(Debug, Default)]
pub struct Journal(Mutex<VecDeque<JournalEntry>>);

/// One operation: when, what, by whom, how it ended.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// When it was admitted or refused.
    pub at: Timestamp,
    /// The operation's name, `Authenticate` when a credential was refused before there was one.
    pub operation: &'static str,
    /// What it was to act on.
    pub target: Target,
    /// Whose credential; `None` when none was proven.
    pub subject: Option<Subject>,
    /// What kind of credential; `None` when none was proven.
    pub credential: Option<CredentialKind>,
    /// The protocol it came by.
    pub protocol: ProtocolLabel,
    /// The connection it came on.
    pub connection: Option<ConnectionId>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Admitted, but given up before it was done.
    Abandoned,
    /// Done in vain: the core said no.
    Failed(ErrorCode),
    /// Never admitted.
    Refused(ErrorCode),
    /// Done.
    Succeeded,
}

impl Journal {
    /// Adds an entry, forgetting the oldest when full.
    pub fn record(&self, entry: JournalEntry) {
        let mut entries = self.0.lock();
        let is_full = entries.len() == limits::JOURNAL_ENTRIES;
        let oldest = if is_full { entries.pop_front() } else { None };
        entries.push_back(entry);
        drop(entries);
        // Outside the lock every operation takes.
        drop(oldest);
    }

    /// At most `newest` entries, newest first, of one identity (a device with its modules) or of all.
    pub fn recent(&self, newest: usize, identity: Option<&IdentityId>) -> Vec<JournalEntry> {
        let concerns = |entry: &&JournalEntry| match (identity, &entry.target) {
            (None, _) => true,
            (Some(wanted), Target::Identity(target)) => {
                wanted == target || (wanted.module.is_none() && wanted.device == target.device)
            }
            (Some(_), Target::Events(_) | Target::Hub) => false,
        };
        self.0.lock().iter().rev().filter(concerns).take(newest).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_forgets_the_oldest_and_shows_the_newest_first() {
        let journal = Journal::default();
        let entry = |n: usize| JournalEntry {
            at: Timestamp::from_ticks(i64::try_from(n).unwrap()),
            operation: "Connect",
            target: Target::Hub,
            subject: None,
            credential: None,
            protocol: ProtocolLabel("mqtt"),
            connection: None,
            outcome: Outcome::Succeeded,
        };
        for n in 0..=limits::JOURNAL_ENTRIES {
            journal.record(entry(n));
        }
        let all = journal.recent(usize::MAX, None);
        assert_eq!(all.len(), limits::JOURNAL_ENTRIES);
        assert_eq!(all[0].at.ticks(), i64::try_from(limits::JOURNAL_ENTRIES).unwrap());
    }
}
