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

use search::search;
use state::{Config, Strategy};

/// Ordered, one at a time, no claims, up to three replicas, two templates.
const ORDERED: Config = Config {
    name: "ordered",
    parallel: false,
    strategy: Strategy::Rolling(0, 1),
    replicas: &[1, 3],
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

/// Searches, and makes sure that there was something to search.
fn explore(config: &Config, at_least: usize) {
    let visited = search(config);
    assert!(visited.states >= at_least, "{}: only {visited:?}", config.name);
}

#[test]
fn ordered_sets() {
    explore(&ORDERED, 1);
}
