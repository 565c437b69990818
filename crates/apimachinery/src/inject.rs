//! What programs are handed from outside instead of taking it: the time of day, and chance. A test or a simulator
//! hands in its own, and then nothing differs from one run to the next.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

/// Says what time it is. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Draws numbers. Cheap to clone: all clones draw from one source.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Random {
    /// A source that draws with `next`, which must give every number equally often.
    pub fn new(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// A source whose numbers follow from `seed` alone (SplitMix64: Steele, Lea and Flood, "Fast splittable
    /// pseudorandom number generators", 2014). For tests: who knows one of them knows all that follow.
    pub fn seeded(seed: u64) -> Self {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = AtomicU64::new(seed);
        Self::new(move || {
            let mut mixed = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        (self.0)()
    }

    /// A number below `bound`, or 0 when the bound is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The high half of the product: even enough for every bound that is far below 2^64 (Lemire, 2019).
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Sixteen bytes, for a uid.
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes());
        bytes
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_each_time_and_another_seed_others() {
        let drawn = |seed| {
            let random = Random::seeded(seed);
            [random.next(), random.next(), random.next()]
        };
        // The algorithm's published numbers for this seed.
        let known = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(drawn(1_234_567), known);
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn numbers_below_a_bound_are_all_drawn_and_none_above() {
        let random = Random::seeded(7);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[usize::try_from(random.below(5)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn clones_draw_from_one_source() {
        let random = Random::seeded(7);
        assert_ne!(random.clone().next(), random.next());
    }
}
