//! The one door to the core: a grant and an operation go in, an [`Admitted`] comes out or the refusal is on record.
//!
//! `operations` is the table of everything the hub can be asked, `admit` checks a request against it, `journal`
//! remembers what was asked lately and how it ended.

mod admit;
mod journal;
pub mod operations;

pub use admit::{Admitted, Details, Gate, ProtocolLabel};
pub use journal::{Journal, JournalEntry, Outcome};
pub use operations::{Operation, Target};
