//! The one door to the core: a grant and an operation go in, an [`Admitted`] comes out or the refusal is on record.
//!
//! `operations` is the table of everything the hub can be asked; `admit` checks a request against it, in the order
//! authorization, tier, daily quota, throttle; `journal` remembers what was asked lately and how it
//! ended. What tier and units give is in `tier` and `rates`; only the tier binds unless more is switched on.

mod admit;
mod journal;
pub mod operations;
mod quota;
mod rates;
mod throttle;
mod tier;

pub use admit::{Admitted, Details, Gate, ProtocolLabel};
pub use journal::{Journal, JournalEntry, Outcome};
pub use operations::{Operation, Target};
pub use rates::{Rate, RateError, Rates};
pub use throttle::Throttle;
pub use tier::{Scale, ScaleError, Tier, UnitSize};
