//! The model tier: random operations against the core and a naive model of it, in one process, on a clock that
//! stands still (ARCHITECTURE section 7). After every step both must show the same, and the invariants hold.
//!
//! A run is many short episodes, each on a hub of its own. `MODEL_SECS` says how long to go on (30), `MODEL_SEED`
//! which episode comes first; a failure prints the seed of its episode, and that seed replays it at once.
//!
//! - [`dice`], [`ids`], [`documents`], [`caller`]: what steps are made of.
//! - [`registry`], [`bulk`], [`twins`], [`sessions`], [`methods`], [`messages`]: the steps, each done to both sides
//!   through [`world`].
//! - [`naive`] with [`naive_registry`], [`naive_authentication`], [`naive_scope`], [`naive_twin`], [`naive_session`],
//!   [`naive_method`], [`naive_message`]: the model, from the contract alone.
//! - [`shown`], [`invariants`]: what is compared; [`replay`]: the hub's own events, replayed, give the same.

#[path = "model/bulk.rs"]
mod bulk;
#[path = "model/caller.rs"]
mod caller;
#[path = "model/dice.rs"]
mod dice;
#[path = "model/documents.rs"]
mod documents;
#[path = "model/ids.rs"]
mod ids;
#[path = "model/invariants.rs"]
mod invariants;
#[path = "model/messages.rs"]
mod messages;
#[path = "model/methods.rs"]
mod methods;
#[path = "model/naive.rs"]
mod naive;
#[path = "model/naive_authentication.rs"]
mod naive_authentication;
#[path = "model/naive_message.rs"]
mod naive_message;
#[path = "model/naive_method.rs"]
mod naive_method;
#[path = "model/naive_registry.rs"]
mod naive_registry;
#[path = "model/naive_scope.rs"]
mod naive_scope;
#[path = "model/naive_session.rs"]
mod naive_session;
#[path = "model/naive_twin.rs"]
mod naive_twin;
#[path = "model/registry.rs"]
mod registry;
#[path = "model/replay.rs"]
mod replay;
#[path = "model/sessions.rs"]
mod sessions;
#[path = "model/shown.rs"]
mod shown;
#[path = "model/twins.rs"]
mod twins;
#[path = "model/world.rs"]
mod world;

use std::time::Duration;

use hub::entropy::Entropy;

use crate::dice::Dice;
use crate::world::World;

/// How long a run takes unless `MODEL_SECS` says otherwise.
const RUN: Duration = Duration::from_secs(30);
/// Steps of an episode at most: long enough to meet, short enough to read.
const STEPS: usize = 300;

#[test]
fn the_hub_does_what_the_naive_model_does() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a whole number"));
    let run = number("MODEL_SECS").map_or(RUN, Duration::from_secs);
    let first = number("MODEL_SEED").unwrap_or_else(any_seed);
    println!("model: {run:?} of episodes, MODEL_SEED={first}");
    let started = tokio::time::Instant::now();
    let mut steps = 0;
    let mut episodes = 0;
    while started.elapsed() < run || episodes == 0 {
        steps += episode(first.wrapping_add(episodes));
        episodes += 1;
    }
    println!("model: {episodes} episodes, {steps} steps, all agree");
}

fn any_seed() -> u64 {
    let wide = Entropy::from_system().expect("the system has randomness").wide();
    // Short enough to copy by hand.
    u64::try_from(wide % 1_000_000_000).expect("nine digits fit")
}

/// One hub from its first step to its last.
fn episode(seed: u64) -> usize {
    let (mut world, mut dice) = (World::seeded(seed), Dice::of(seed));
    let steps = 1 + dice.below(STEPS);
    for _ in 0..steps {
        // No two steps at the same instant, as on any real clock.
        world.advance(Duration::from_nanos(100));
        match dice.below(12) {
            0 | 1 => registry::step(&mut world, &mut dice),
            2 => bulk::step(&mut world, &mut dice),
            3..=5 => twins::step(&mut world, &mut dice),
            6 => methods::step(&mut world, &mut dice),
            7 | 8 => messages::step(&mut world, &mut dice),
            _ => sessions::step(&mut world, &mut dice),
        }
        methods::settle(&mut world);
        invariants::check(&mut world);
    }
    for handle in world.sessions.keys().copied().collect::<Vec<_>>() {
        sessions::read(&mut world, handle);
    }
    steps
}
