//! What every request passes before and after its handler, in this order from the outside in.
//!
//! | layer | before the handler | after it |
//! |---|---|---|
//! | [`answer`] | tracking id, span | `x-ms-request-id`, the body of an error, its one log line |
//! | [`rest_of_body`] | | reads out what of the body nobody read |
//! | [`method_override`] | POST that means PATCH becomes PATCH | |
//! | [`path`] | spelling of the literal segments, trailing slash | |
//! | *routing* | 404 and 405 need neither version nor credentials | |
//!
//! [`crate::api`] calls them one in the other: as layers of axum they would take several allocations each. Version and
//! credentials are looked at when a handler extracts its `Caller`, without which it can do nothing. The admin API has
//! [`answer`], [`rest_of_body`] and [`same_site`] only. [`body`] is not a layer: a handler reads the body when it is
//! called.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod method_override;
pub(crate) mod path;
pub(crate) mod rest_of_body;
pub(crate) mod same_site;
