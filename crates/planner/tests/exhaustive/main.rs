//! All small worlds: every state that a set of up to three replicas can come into, searched without a gap.
//!
//! A state is a few bytes ([`state`]); the real planner plans in it ([`stage`]), and from it leads everything that
//! may happen ([`events`]): the plan in full or only its first writes, a pod started, Ready, not Ready, stuck,
//! failed, ended, deleted; claims bound, deleted, gone; the set scaled, moved, changed to another template and back,
//! paused; the node lost and back; and each of these before, between and after the writes of a plan that has not
//! heard of it ([`write`]). In every state the plan must keep the rules ([`rules`], and the planner's own checker,
//! which debug builds run on every plan); and from every state a run without disturbances must reach the goal,
//! whoever goes first ([`search`]).
//!
//! What is bounded: three ordinals; up to three templates; a cache is at most one event late; what a configuration
//! leaves out, so that each takes seconds. How often anything happens is not bounded.

mod events;
mod rules;
mod search;
mod stage;
mod state;
mod write;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use search::{Visited, search};
use state::{Config, Strategy};

/// Ordered, one at a time, no claims, up to three replicas, two templates.
const ORDERED: Config = Config {
    name: "",
    parallel: false,
    strategy: Strategy::Rolling(0, 1),

    replicas: &[2, 3],
    starts: &[0],
    reserved: &[],
    templates: 2,
    history_limit: 10,
    claims: false,
    scaled_delete: false,
    deleted_delete: false,
    min_ready: false,
    stuck: false,
    failures: false,
    foreign: false,
    claim_deletions: false,
    node_loss: false,
    pauses: false,
};

const PARALLEL: Config = Config { parallel: true, ..ORDERED };

/// One claim for each replica.
const CLAIMS: Config = Config { claims: true, replicas: &[0, 2], ..ORDERED };

static STATES: AtomicUsize = AtomicUsize::new(0);
static TRANSITIONS: AtomicUsize = AtomicUsize::new(0);

/// Searches, and makes sure that there was something to search.
fn explore(config: &Config, at_least: usize) {
    let start = Instant::now();
    let Some(found) = search(config) else {
        return println!("{}: given up, because another search has failed", config.name);
    };
    let seconds = start.elapsed().as_secs_f64();
    let Visited { states, transitions } = found;
    let in_all = STATES.fetch_add(states, Ordering::Relaxed) + states;
    let steps_in_all = TRANSITIONS.fetch_add(transitions, Ordering::Relaxed) + transitions;
    // Not by `println!`, which the test's runner keeps to itself.
    let told = writeln!(
        std::io::stdout(),
        "{:<44} {states:>6} states, {transitions:>8} transitions, {seconds:>5.1} s; so far {in_all} and {steps_in_all}",
        config.name
    );
    told.expect("somewhere to print");
    assert!(states >= at_least, "{}: only {found:?}", config.name);
}

/// A test for each configuration: its name, what differs from the base, and how many states there are at least.
macro_rules! explore {
    ($($test:ident: $base:ident { $($change:tt)* } at least $states:literal;)*) => {
        $(
            #[test]
            fn $test() {
                explore(&Config { name: stringify!($test), $($change)* ..$base }, $states);
            }
        )*
    };
}

explore! {
    ordered: ORDERED {} at least 18_000;
    ordered_with_pods_that_get_stuck: ORDERED { stuck: true, } at least 34_000;
    ordered_with_pods_that_fail: ORDERED { failures: true, replicas: &[0, 3], } at least 34_000;
    ordered_with_min_ready_seconds: ORDERED { min_ready: true, replicas: &[1, 2], } at least 3_000;
    ordered_with_a_partition: ORDERED { strategy: Strategy::Rolling(1, 1), } at least 18_000;
    ordered_with_a_partition_and_stuck_pods: ORDERED {
        strategy: Strategy::Rolling(1, 1), stuck: true, replicas: &[1, 2],
    } at least 3_000;
    ordered_with_two_unavailable: ORDERED { strategy: Strategy::Rolling(0, 2), } at least 18_000;
    ordered_on_delete: ORDERED { strategy: Strategy::OnDelete, } at least 18_000;
    ordered_without_rolling_update: ORDERED { strategy: Strategy::Bare, } at least 18_000;
    ordered_with_three_templates: ORDERED {
        templates: 3, history_limit: 0, stuck: true, replicas: &[2],
    } at least 22_000;
    ordered_and_paused_now_and_then: ORDERED {
        pauses: true, stuck: true, replicas: &[1, 2],
    } at least 6_500;
    ordered_with_a_reserved_ordinal: ORDERED {
        reserved: &[1], stuck: true, replicas: &[0, 1], starts: &[0, 1],
    } at least 6_500;
    ordered_with_a_reserved_ordinal_and_a_partition: ORDERED {
        reserved: &[1], strategy: Strategy::Rolling(1, 1), replicas: &[1, 2],
    } at least 2_000;
    ordered_with_a_start_that_moves: ORDERED {
        strategy: Strategy::Rolling(1, 1), replicas: &[2], starts: &[0, 1],
    } at least 18_000;
    ordered_with_names_taken_and_the_node_lost: ORDERED {
        foreign: true, node_loss: true, replicas: &[1, 2],
    } at least 9_000;
    parallel: PARALLEL {} at least 16_000;
    parallel_with_pods_that_get_stuck_and_fail: PARALLEL {
        stuck: true, failures: true, replicas: &[1, 2],
    } at least 4_000;
    parallel_with_a_partition: PARALLEL { strategy: Strategy::Rolling(2, 1), } at least 17_000;
    parallel_with_a_partition_and_two_unavailable: PARALLEL {
        strategy: Strategy::Rolling(1, 2),
    } at least 17_000;
    parallel_without_rolling_update: PARALLEL { strategy: Strategy::Bare, replicas: &[1, 2], } at least 2_000;
    parallel_on_delete: PARALLEL {
        strategy: Strategy::OnDelete, failures: true, replicas: &[1, 2],
    } at least 3_000;
    parallel_and_paused_now_and_then: PARALLEL {
        pauses: true, strategy: Strategy::Rolling(1, 1), replicas: &[1, 2],
    } at least 4_000;
    claims_that_stay: CLAIMS { claim_deletions: true, } at least 27_000;
    claims_that_go_with_their_pods: CLAIMS { scaled_delete: true, } at least 14_000;
    claims_that_go_with_their_set: CLAIMS {
        deleted_delete: true, templates: 1, claim_deletions: true,
    } at least 1_800;
    claims_that_go_with_both: CLAIMS {
        scaled_delete: true, deleted_delete: true, failures: true,
    } at least 19_000;
    parallel_claims_that_go_with_their_pods: CLAIMS {
        parallel: true, scaled_delete: true, claim_deletions: true, templates: 1,
    } at least 4_000;
}
