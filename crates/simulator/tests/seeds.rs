//! Many seeds, and one seed twice.

use std::num::NonZero;
use std::thread;

use simulator::{Extent, Sabotage, simulate, simulate_broken};

/// How many seeds every test run tries.
const SEEDS: u64 = 120;

#[test]
fn whatever_goes_wrong_every_set_is_as_it_was_asked_for_when_it_is_over() {
    // Each run keeps to its thread.
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for first in 0..threads as u64 {
            scope.spawn(move || {
                for seed in (first..SEEDS).step_by(threads) {
                    let outcome = simulate(seed, Extent::Brief);
                    assert!(outcome.failure.is_none(), "{outcome}");
                }
            });
        }
    });
}

#[test]
fn a_seed_reproduces_a_run_exactly() {
    for seed in [1, 2, 3] {
        let (first, second) = (simulate(seed, Extent::Brief), simulate(seed, Extent::Brief));
        assert_eq!(first.trace_hash, second.trace_hash);
        assert_eq!((first.requests, first.writes), (second.requests, second.writes));
    }
}

/// What the first of some seeds that goes wrong says, with a planner broken on purpose.
fn found(sabotage: Sabotage, checked: bool) -> String {
    let outcomes = (0..60).map(|seed| simulate_broken(seed, Extent::Brief, sabotage, checked));
    let failure = outcomes.into_iter().find_map(|outcome| outcome.failure);
    failure.map_or_else(|| "nothing".to_owned(), |failure| failure.what)
}

#[test]
fn a_plan_that_breaks_a_rule_is_seen_before_it_is_carried_out() {
    for sabotage in [Sabotage::ForgetsTermination, Sabotage::ForgetsPartition, Sabotage::ForgetsOrder] {
        let what = found(sabotage, true);
        assert!(what.starts_with("the statefulset-controller's plan for "), "{sabotage:?}: {what}");
    }
}

#[test]
fn a_broken_rule_is_seen_by_what_comes_of_it() {
    // Nothing comes of a second pod of one name (the API has one at the most), and little of a partition.
    for (sabotage, expected) in [
        (Sabotage::ForgetsOrder, "before those in front of it were ever Ready"),
        (Sabotage::ForgetsRetention, "neither the user nor a policy asked for it"),
        (Sabotage::ForgetsGrace, "gone from the API while its processes live"),
    ] {
        let what = found(sabotage, false);
        assert!(what.contains(expected), "{sabotage:?}: {what}");
    }
}
