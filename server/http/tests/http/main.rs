//! The HTTP head from the outside: whole routers over a real hub whose clock stands still and whose randomness has
//! a seed. Requests go in as the SDKs send them, answers are held against contract/rest.md.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod admin;
mod authentication;
mod bulk;
mod device;
mod edge;
mod faults;
mod harness;
mod identity_faults;
mod messages;
mod methods;
mod registry;
mod requests;
mod routing;
mod twins;
mod websocket;
