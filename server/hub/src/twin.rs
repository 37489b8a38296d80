//! Twins: desired and reported properties with versions and stamps, tags, and the rules they obey
//! (contract/rest.md 1.7, 3; contract/mqtt.md 7).
//!
//! In reading order: `patch` is what callers send, `validate` the rules for it, `section` a part of a twin while
//! it is being changed, `packed` the same at rest, `document` all of a twin at rest, `stored` the twin in the
//! registry, `twins` the operations.

mod document;
mod packed;
mod patch;
mod section;
mod stored;
mod twins;
mod validate;

pub use patch::{Arrays, ReportedPatch, TwinPatch};
pub(crate) use stored::{Change, Mode, StoredTwin};
pub use twins::{Twin, TwinOwner};
