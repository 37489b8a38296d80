//! The one source of chance of an episode: everything random is thrown here, so a seed replays it exactly.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A seeded generator with the few throws the steps need.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// 0 to `sides - 1`.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0.random_range(0..sides)
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Something or nothing.
    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(2) { Some(make(self)) } else { None }
    }
}
