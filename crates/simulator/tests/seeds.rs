//! Many seeds, and one seed twice.

use simulator::{Extent, simulate};

/// How many seeds every test run tries.
const SEEDS: u64 = 100;

#[test]
fn whatever_goes_wrong_every_set_is_as_it_was_asked_for_when_it_is_over() {
    for seed in 0..SEEDS {
        let outcome = simulate(seed, Extent::Brief);
        assert!(outcome.failure.is_none(), "{outcome}");
    }
}

#[test]
fn a_seed_reproduces_a_run_exactly() {
    for seed in [1, 2, 3] {
        let (first, second) = (simulate(seed, Extent::Brief), simulate(seed, Extent::Brief));
        assert_eq!(first.trace_hash, second.trace_hash);
        assert_eq!((first.requests, first.writes), (second.requests, second.writes));
    }
}
