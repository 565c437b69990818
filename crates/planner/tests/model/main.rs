//! Random sets in random worlds: the planner does what a short reference says ([`reference`]), comes to rest, and
//! where the goal is not reached it says why, and looks again when that changes.
//!
//! The worlds hold what never comes about by itself, too: pods of any revision in any phase next to each other,
//! claims of any owner, names that others hold ([`generate`]).

mod case;
mod generate;
mod reference;
mod stage;

use k8s_openapi::api::apps::v1::StatefulSetStatus;
use planner::stateful_set::StatefulSetPlanner;
use planner::{Action, Plan, Planner};
use proptest::prelude::*;

use case::{Case, Holder, Owner};
use stage::{done, key, now, world};

/// Plans until rest; each pod is deleted, made and given away at most once while nothing else happens.
const STEPS: usize = 40;

fn plan(case: &Case) -> Plan {
    StatefulSetPlanner.plan(&world(case), &key(), now())
}

/// The status that the plan writes.
fn written(plan: &Plan) -> Option<StatefulSetStatus> {
    plan.actions.iter().find_map(|action| match action {
        Action::ReplaceStatus(set) => serde_json::from_value(set["status"].clone()).ok(),
        _ => None,
    })
}

/// Who is to own a claim, where the set has a say in it.
fn owner_by_policy(case: &Case, ordinal: usize) -> Owner {
    let is_removed = !case.wanted().contains(&ordinal);
    match (is_removed && case.spec.scaled_delete, case.spec.deleted_delete) {
        (true, _) => Owner::Pod,
        (false, true) => Owner::Set,
        (false, false) => Owner::Nobody,
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_planner_does_what_the_reference_says(case in generate::case()) {
        let done = done(&plan(&case));
        prop_assert_eq!(&done.next, &case.next());
        for ((_, ordinal), owner) in &done.owned {
            prop_assert_eq!(*owner, owner_by_policy(&case, *ordinal), "the claim of {}", ordinal);
        }
    }

    #[test]
    fn left_alone_it_comes_to_rest_and_says_what_it_waits_for(case in generate::case()) {
        let mut case = case;
        let mut steps = 0;
        let rest = loop {
            let plan = plan(&case);
            let done = done(&plan);
            prop_assert_eq!(&done.next, &case.next(), "after {} steps: {:?}", steps, case);
            let after = case.after(&done);
            if format!("{after:?}") == format!("{case:?}") {
                break plan;
            }
            case = after;
            steps += 1;
            prop_assert!(steps <= STEPS, "still at work: {:?}", case);
        };
        prop_assert!(case.is_complete() || !rest.waiting_on.is_empty(), "it waits in silence: {:?}", case);
        let world = world(&case);
        for waiting in &rest.waiting_on {
            let on = world.find(&waiting.on.kind, &waiting.on.namespace, &waiting.on.name);
            let on = on.filter(|on| on.metadata().uid.as_deref() == Some(&*waiting.on.uid));
            prop_assert!(on.is_some(), "{:?} waits for what is not there: {:?}", waiting, case);
            let wakes = on.is_some_and(|on| StatefulSetPlanner.keys(&world, &on).contains(&key()));
            prop_assert!(wakes, "nobody looks again when {:?} changes: {:?}", waiting.on, case);
        }
    }

    #[test]
    fn the_status_counts_what_is_there_and_is_written_once(case in generate::case()) {
        let first = plan(&case);
        prop_assume!(case.next().adopted_or_released.is_empty());
        let status = written(&first);
        prop_assert!(status.is_some(), "nothing is said of pods that nobody has counted yet");
        let status = status.unwrap_or_default();
        let owned = case.pods.iter().flatten().filter(|pod| pod.holder == Holder::Set).count();
        prop_assert_eq!(usize::try_from(status.replicas).ok(), Some(owned));
        let count = |count: Option<i32>| count.unwrap_or(0);
        let (ready, available) = (count(status.ready_replicas), count(status.available_replicas));
        prop_assert!(0 <= available && available <= ready && ready <= status.replicas);
        let (current, updated) = (count(status.current_replicas), count(status.updated_replicas));
        prop_assert!(0 <= current && current <= status.replicas && 0 <= updated && updated <= status.replicas);
        if status.current_revision != status.update_revision {
            prop_assert!(current + updated <= status.replicas);
        }

        let mut world = world(&case);
        let mut set = (**world.stateful_sets.get("default", "web").expect("the set")).clone();
        set.status = Some(status);
        world.stateful_sets.insert(set);
        let second = StatefulSetPlanner.plan(&world, &key(), now());
        prop_assert_eq!(written(&second), None, "the same status is written again");
    }
}
