//! Chance, from the seed.

use std::time::Duration;

use apimachinery::inject::Random;

/// What everything that happens by chance is drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) fn new(random: Random) -> Self {
        Self(random)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(crate) fn hits(&self, permille: u64) -> bool {
        // Nothing is drawn for what never happens: a run with a fault switched off has its own numbers anyway.
        permille > 0 && self.0.below(1000) < permille
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.0.below(high.saturating_sub(low) + 1)
    }

    /// So many milliseconds.
    pub(crate) fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.0.below(all.len() as u64)).unwrap_or(0))
    }
}
