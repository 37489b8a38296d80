//! The AMQP head against clients: fe2o3-amqp's own, and one that shows and forges every frame.

#![expect(clippy::unwrap_used, reason = "what a test builds on must be there, in its helpers too")]

mod abuse;
mod cbs;
mod cloud_to_device;
mod device;
mod event_hub;
mod event_hub_questions;
mod event_message;
mod event_readers;
mod event_routes;
mod feedback;
mod interop;
mod methods;
mod multiplexing;
mod openings;
mod passwords;
mod raw;
mod redirect;
mod rules;
mod service;
mod sessions;
mod settlement;
mod world;

use std::sync::Arc;
use std::time::Duration;

use amqp::AmqpOptions;
use hub::time::{ManualClock, Timestamp};

use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);

/// A hub whose time stands still until it is moved.
fn world() -> (World, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_secs(1_767_225_600)));
    (World::new(Arc::clone(&clock) as _, AmqpOptions::default()), clock)
}
