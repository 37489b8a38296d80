//! Twins: desired and reported properties with versions and stamps, tags, and the rules they obey
//! (contract/rest.md 1.7, 3; contract/mqtt.md 7).
//!
//! In reading order: `patch` is what callers send, `validate` the rules for it, `section` a part of a twin while
//! it is being changed, `packed` the same at rest, `document` all of a twin at rest, `stored` the twin in the
//! registry, `twins` the operations, `told` what the hub's own events say of a twin, `path` one value of it.

mod document;
mod packed;
mod patch;
mod path;
mod section;
mod stored;
mod told;
mod twins;
mod validate;

pub use patch::{Arrays, ReportedPatch, TwinPatch};
pub(crate) use path::TwinPath;
pub(crate) use stored::{Change, Mode, StoredTwin};
pub use twins::{Twin, TwinOwner};
