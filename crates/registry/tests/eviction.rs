//! What an eviction needs and costs, case by case.

use apimachinery::patch::merge;
use jiff::Timestamp;
use registry::eviction::{self, Verdict};
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

/// A pod that runs and is Ready, changed by a merge patch.
fn pod(patch: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": "db-0", "labels": {"app": "db"}}, "status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    merge::apply(&mut pod, patch);
    pod
}

/// A budget over `app=db` that allows one disruption, changed by a merge patch.
fn budget(patch: &Value) -> Value {
    let mut budget = json!({"metadata": {"name": "db", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "db"}}, "maxUnavailable": 1},
        "status": {"observedGeneration": 2, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3,
            "disruptionsAllowed": 1}});
    merge::apply(&mut budget, patch);
    budget
}

#[test]
fn a_pod_that_has_not_begun_or_is_ending_goes_without_asking() {
    let check = |patch: Value, unless_changed: bool| {
        let verdict = eviction::consider(&pod(&patch), &[budget(&json!({})), budget(&json!({}))]);
        assert_eq!(verdict, Ok(Verdict::Unasked { unless_changed }), "{patch}");
    };
    check(json!({"status": {"phase": "Pending"}}), true);
    check(json!({"status": {"phase": "Succeeded"}}), false);
    check(json!({"status": {"phase": "Failed"}}), false);
    check(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), false);
}

#[test]
fn the_one_budget_whose_selector_matches_pays() {
    let other =
        budget(&json!({"metadata": {"name": "other"}, "spec": {"selector": {"matchLabels": {"app": "x"}}}}));
    let without = budget(&json!({"metadata": {"name": "without"}, "spec": {"selector": null}}));
    let all = budget(&json!({"metadata": {"name": "all"}, "spec": {"selector": {"matchLabels": null}}}));
    let consider = |budgets: &[Value]| eviction::consider(&pod(&json!({})), budgets);
    assert_eq!(consider(&[]), Ok(Verdict::Free));
    assert_eq!(consider(&[other.clone(), without.clone()]), Ok(Verdict::Free));
    assert_eq!(consider(&[other, budget(&json!({})), without]), Ok(Verdict::Pays("db".into())));
    assert_eq!(consider(std::slice::from_ref(&all)), Ok(Verdict::Pays("all".into())));
    let refusal = consider(&[all, budget(&json!({}))]).expect_err("two budgets");
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (
            500,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    );
}

#[test]
fn a_pod_that_is_not_ready_goes_free_when_enough_others_are_or_the_policy_says_so() {
    let check = |patch: Value, expect: Verdict| {
        let unready = pod(&json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
        assert_eq!(eviction::consider(&unready, &[budget(&patch)]), Ok(expect), "{patch}");
    };
    let free = || Verdict::Unhealthy("db".into());
    check(json!({}), free());
    check(json!({"status": {"currentHealthy": 2}}), free());
    check(json!({"status": {"currentHealthy": 1}}), Verdict::Pays("db".into()));
    check(json!({"status": {"currentHealthy": 0, "desiredHealthy": 0}}), Verdict::Pays("db".into()));
    let always =
        json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}, "status": {"currentHealthy": 0}});
    check(always, free());
    let if_healthy =
        json!({"spec": {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}, "status": {"currentHealthy": 0}});
    check(if_healthy, Verdict::Pays("db".into()));
}

#[test]
fn what_a_budget_pays_stands_in_its_status() {
    let spent =
        eviction::spend(&budget(&json!({"status": {"disruptionsAllowed": 2}})), "db-0", now()).expect("paid");
    assert_eq!(spent["status"]["disruptionsAllowed"], 1);
    assert_eq!(spent["status"]["disruptedPods"], json!({"db-0": "2026-01-01T12:00:00Z"}));
    assert!(spent["status"].get("conditions").is_none(), "it still allows one");
    let spent = eviction::spend(&spent, "db-1", now()).expect("paid");
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    let condition = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
        "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z", "observedGeneration": 2}]);
    assert_eq!(spent["status"]["conditions"], condition);
}

#[test]
fn a_budget_refuses_in_upstreams_words() {
    let check = |patch: Value, code: u16, said: &str| {
        let refusal = eviction::spend(&budget(&patch), "db-0", now()).expect_err("a refusal");
        let cause = refusal.details["causes"][0]["message"].as_str().unwrap_or(&refusal.message);
        assert_eq!((refusal.code, cause), (code, said), "{patch}");
    };
    check(
        json!({"status": {"disruptionsAllowed": 0, "currentHealthy": 2}}),
        429,
        "The disruption budget db needs 2 healthy pods and has 2 currently",
    );
    check(
        json!({"metadata": {"generation": 3}}),
        429,
        "The disruption budget db is still being processed by the server.",
    );
    let failed = json!({"status": {"disruptionsAllowed": 0, "conditions": [
        {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no controller"}]}});
    check(
        failed,
        429,
        "The disruption budget db does not allow evicting pods currently because it failed sync: no controller",
    );
    check(
        json!({"status": {"disruptionsAllowed": -1}}),
        403,
        "poddisruptionbudget.policy \"db\" is forbidden: pdb disruptions allowed is negative",
    );
    let many: serde_json::Map<String, Value> = (0..2001).map(|n| (format!("p{n}"), "t".into())).collect();
    check(
        json!({"status": {"disruptedPods": many}}),
        403,
        "poddisruptionbudget.policy \"db\" is forbidden: DisruptedPods map too big - too many evictions not confirmed by \
         PDB controller",
    );
}

#[test]
fn an_evicted_pod_says_so_once() {
    let mut evicted = pod(&json!({}));
    eviction::mark(&mut evicted, now());
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T12:00:00Z"});
    assert_eq!(evicted["status"]["conditions"][1], condition);
    let once = evicted.clone();
    eviction::mark(&mut evicted, "2026-01-01T13:00:00Z".parse().expect("a time"));
    assert_eq!(evicted, once);
}
