//! PodDisruptionBudgets: which pods may be evicted, and what a budget lacks.

use planner::explain::survey;
use serde_json::{Value, json};

use super::{after, go_on, why};
use crate::sim::Sim;

/// A set of three Ready pods under a budget.
fn budgeted(spec: Value) -> Sim {
    let mut sim = after("set replicas=3 parallel\n ready web-0 web-1 web-2");
    add(&mut sim, "web", spec);
    sim
}

fn add(sim: &mut Sim, name: &str, spec: Value) {
    let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        budget["spec"][field] = value.clone();
    }
    sim.make(budget);
    sim.settle();
}

#[test]
fn an_eviction_is_refused_while_too_few_pods_are_healthy() {
    let mut sim = budgeted(json!({"minAvailable": 2}));
    insta::assert_snapshot!(why(&sim, "pdb/web"), @r#"
    poddisruptionbudget/web lets one pod be evicted now: 3 of 3 are healthy, and 2 must be
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is Running and Ready for less than a second
    "#);
    go_on(&mut sim, "crash web-1");
    insta::assert_snapshot!(why(&sim, "pdb/web"), @r#"
    poddisruptionbudget/web lets no pod be evicted: 2 of 3 are healthy, and 2 must be
    └ pod/web-1 is not Ready
      └ container web is in CrashLoopBackOff (3 restarts)
        → read what it said: stead logs web-1 -c web --previous
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is Running and Ready for less than a second
    pod/web-0 cannot be evicted now
    └ poddisruptionbudget/web lets no pod be evicted: 2 of 3 are healthy, and 2 must be
      └ pod/web-1 is not Ready
        └ container web is in CrashLoopBackOff (3 restarts)
          → read what it said: stead logs web-1 -c web --previous
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-1"), @r#"
    pod/web-1 is not Ready
    └ container web is in CrashLoopBackOff (3 restarts)
      → read what it said: stead logs web-1 -c web --previous
    "#);
}

#[test]
fn a_budget_that_needs_every_pod_never_lets_one_go() {
    let sim = budgeted(json!({"maxUnavailable": 0}));
    insta::assert_snapshot!(why(&sim, "pod/web-2"), @r#"
    pod/web-2 is Running and Ready for less than a second
    pod/web-2 cannot be evicted now
    └ poddisruptionbudget/web lets no pod be evicted: 3 of 3 are healthy, and 3 must be
      → it needs all that there are: lower spec.minAvailable or raise spec.maxUnavailable (stead edit pdb web), or have more replicas
    "#);
    let found = survey(&sim.world, &[], Some("pdb"), Some("default"), sim.now).expect("a kind");
    assert_eq!(found.waiting, [], "it is as somebody wants it");
}

#[test]
fn two_budgets_over_one_pod_are_a_mistake() {
    let mut sim = budgeted(json!({"minAvailable": 1}));
    add(&mut sim, "web-too", json!({"minAvailable": 1}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is Running and Ready for less than a second
    pod/web-0 cannot be evicted: more than one budget covers it: web and web-too
    → change their spec.selector so that one is left
    "#);
}

#[test]
fn a_budget_over_nothing_or_over_pods_that_nobody_counts() {
    let mut sim = after("orphan lone-x");
    add(&mut sim, "none", json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "wep"}}}));
    insta::assert_snapshot!(why(&sim, "pdb/none"), @r#"
    poddisruptionbudget/none covers no pod
    → compare spec.selector with the labels: stead get pods --show-labels
    "#);
    insta::assert_snapshot!(why(&sim, "pdb/missing"), @r#"
    poddisruptionbudget/missing does not exist in namespace default
    → check the name and the namespace (-n)
    "#);
    sim.edit("Pod", "lone-x", |pod| {
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "import",
            "uid": "job", "controller": true}]);
    });
    add(&mut sim, "web", json!({"maxUnavailable": 1}));
    insta::assert_snapshot!(why(&sim, "pdb/web"), @r#"
    poddisruptionbudget/web lets no pod be evicted: how many there should be is not known
      found no controllers for pod "lone-x"
    → give spec.minAvailable as a number, which needs no controller to be known
    "#);
}
