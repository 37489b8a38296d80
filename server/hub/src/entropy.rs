//! The one source of keys, etags and tracking ids: the system's randomness, or a seed in tests.

use std::fmt;

use parking_lot::Mutex;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng as _, SeedableRng as _};

use crate::access::SymmetricKey;
use crate::limits;

/// A cryptographically strong generator.
pub struct Entropy(Mutex<StdRng>);

impl Entropy {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn from_system() -> std::io::Result<Self> {
        StdRng::try_from_rng(&mut SysRng).map(|rng| Self(Mutex::new(rng))).map_err(std::io::Error::other)
    }

    /// The same values in the same order every time; for tests.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.lock().next_u32()
    }

    /// 128 random bits, for tracking ids and codes nobody shall guess.
    pub fn wide(&self) -> u128 {
        let mut bytes = [0; 16];
        self.0.lock().fill_bytes(&mut bytes);
        u128::from_be_bytes(bytes)
    }

    pub(crate) fn key(&self) -> SymmetricKey {
        let mut bytes = [0; limits::KEY_BYTES_GENERATED];
        self.0.lock().fill_bytes(&mut bytes);
        SymmetricKey::of(bytes)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(***)")
    }
}
