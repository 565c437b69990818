//! What PodDisruptionBudgets tell about their pods.

use apimachinery::time::format_seconds;
use serde_json::{Value, json};

use crate::script::perform;
use crate::sim::Sim;

fn budget(spec: &Value) -> Value {
    let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        budget["spec"][field] = value.clone();
    }
    budget
}

/// A set of this many Ready pods, and a budget over them.
fn with_budget(replicas: u32, spec: &Value) -> Sim {
    let mut sim = Sim::new();
    perform(&mut sim, &format!("set replicas={replicas} parallel"));
    sim.settle();
    for ordinal in 0..replicas {
        sim.ready(&format!("web-{ordinal}"));
    }
    sim.make(budget(spec));
    sim.settle();
    sim
}

/// `2 of 3 healthy, 2 needed, 0 allowed: InsufficientPods`.
fn told(sim: &Sim) -> String {
    let status = &sim.get("PodDisruptionBudget", "default", "web").expect("the budget")["status"];
    let count = |field: &str| status[field].as_i64().expect(field);
    let condition = &status["conditions"][0];
    assert_eq!(condition["status"] == "True", count("disruptionsAllowed") > 0, "{condition}");
    format!(
        "{} of {} healthy, {} needed, {} allowed: {}",
        count("currentHealthy"),
        count("expectedPods"),
        count("desiredHealthy"),
        count("disruptionsAllowed"),
        condition["reason"].as_str().unwrap_or_default()
    )
}

/// What an eviction writes into the budget before it deletes the pod.
fn pay(sim: &mut Sim, pod: &str) {
    let now = format_seconds(sim.now);
    sim.edit("PodDisruptionBudget", "web", |budget| {
        let left = budget["status"]["disruptionsAllowed"].as_i64().expect("a count") - 1;
        budget["status"]["disruptionsAllowed"] = left.into();
        budget["status"]["disruptedPods"][pod] = now.into();
    });
    sim.settle();
}

#[test]
fn both_bounds_are_numbers_or_shares_rounded_up() {
    let check = |spec: Value, expect: &str| assert_eq!(told(&with_budget(3, &spec)), expect, "{spec}");
    check(json!({"maxUnavailable": 1}), "3 of 3 healthy, 2 needed, 1 allowed: SufficientPods");
    check(json!({"maxUnavailable": "50%"}), "3 of 3 healthy, 1 needed, 2 allowed: SufficientPods");
    check(json!({"maxUnavailable": 7}), "3 of 3 healthy, 0 needed, 3 allowed: SufficientPods");
    check(json!({"maxUnavailable": 0}), "3 of 3 healthy, 3 needed, 0 allowed: InsufficientPods");
    check(json!({"minAvailable": 2}), "3 of 3 healthy, 2 needed, 1 allowed: SufficientPods");
    check(json!({"minAvailable": "50%"}), "3 of 3 healthy, 2 needed, 1 allowed: SufficientPods");
    check(json!({"minAvailable": "100%"}), "3 of 3 healthy, 3 needed, 0 allowed: InsufficientPods");
    check(json!({"minAvailable": 5}), "3 of 3 healthy, 5 needed, 0 allowed: InsufficientPods");
}

#[test]
fn the_status_follows_the_pods_and_what_the_set_wants() {
    let mut sim = with_budget(3, &json!({"maxUnavailable": 1}));
    perform(&mut sim, "unready web-1");
    sim.settle();
    assert_eq!(told(&sim), "2 of 3 healthy, 2 needed, 0 allowed: InsufficientPods");
    sim.ready("web-1");
    perform(&mut sim, "delete web-2");
    sim.settle();
    assert_eq!(told(&sim), "2 of 3 healthy, 2 needed, 0 allowed: InsufficientPods");
    sim.finish("web-2");
    sim.settle();
    sim.ready("web-2");
    sim.settle();
    assert_eq!(told(&sim), "3 of 3 healthy, 2 needed, 1 allowed: SufficientPods");
    perform(&mut sim, "replicas 5");
    sim.settle();
    assert_eq!(told(&sim), "3 of 5 healthy, 4 needed, 0 allowed: InsufficientPods");
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes_and_those_of_others_stay() {
    let mut sim = with_budget(2, &json!({"maxUnavailable": 1}));
    sim.edit("PodDisruptionBudget", "web", |budget| {
        let other = json!({"type": "Theirs", "status": "True", "reason": "Known", "message": "",
            "lastTransitionTime": "2025-01-01T00:00:00Z"});
        budget["status"]["conditions"].as_array_mut().expect("conditions").insert(0, other);
    });
    let since = |sim: &Sim| {
        let conditions =
            &sim.get("PodDisruptionBudget", "default", "web").expect("it")["status"]["conditions"];
        assert_eq!(conditions[0]["type"], "Theirs");
        conditions[1]["lastTransitionTime"].clone()
    };
    sim.tick(60);
    perform(&mut sim, "replicas 3");
    sim.settle();
    sim.ready("web-2");
    sim.settle();
    let first = since(&sim);
    assert_eq!(first, "2026-01-01T00:01:00Z", "two of three were just enough");
    sim.tick(60);
    perform(&mut sim, "replicas 2");
    sim.settle();
    assert_eq!(since(&sim), first);
    let generation =
        &sim.get("PodDisruptionBudget", "default", "web").expect("it")["status"]["observedGeneration"];
    assert_eq!(*generation, 1);
}

#[test]
fn an_evicted_pod_counts_as_gone_for_two_minutes() {
    let mut sim = with_budget(3, &json!({"maxUnavailable": 1}));
    pay(&mut sim, "web-2");
    assert_eq!(told(&sim), "2 of 3 healthy, 2 needed, 0 allowed: InsufficientPods");
    sim.tick(119);
    sim.settle();
    assert_eq!(told(&sim), "2 of 3 healthy, 2 needed, 0 allowed: InsufficientPods");
    sim.tick(1);
    sim.settle();
    assert_eq!(told(&sim), "3 of 3 healthy, 2 needed, 1 allowed: SufficientPods");
    assert!(
        sim.events
            .iter()
            .any(|e| e == "NotDeleted Pod was expected by PDB default/web to be deleted but it wasn't")
    );
}

#[test]
fn an_eviction_is_forgotten_once_the_pod_is_being_deleted() {
    let mut sim = with_budget(3, &json!({"maxUnavailable": 1}));
    pay(&mut sim, "web-2");
    perform(&mut sim, "delete web-2");
    sim.settle();
    let status = &sim.get("PodDisruptionBudget", "default", "web").expect("the budget")["status"];
    assert!(status.get("disruptedPods").is_none_or(Value::is_null), "{status}");
    assert_eq!(told(&sim), "2 of 3 healthy, 2 needed, 0 allowed: InsufficientPods");
}

#[test]
fn without_pods_nothing_is_allowed() {
    let mut sim = Sim::new();
    sim.make(budget(&json!({"minAvailable": 0})));
    sim.settle();
    assert_eq!(told(&sim), "0 of 0 healthy, 0 needed, 0 allowed: InsufficientPods");
    assert_eq!(sim.events, ["NoPods No matching pods found"]);
}

#[test]
fn a_budget_without_a_selector_covers_nothing_and_one_with_an_empty_selector_everything() {
    let check = |selector: Value, expect: &str| {
        assert_eq!(told(&with_budget(2, &json!({"maxUnavailable": 1, "selector": selector}))), expect);
    };
    check(Value::Null, "0 of 0 healthy, 0 needed, 0 allowed: InsufficientPods");
    check(json!({}), "2 of 2 healthy, 1 needed, 1 allowed: SufficientPods");
}

#[test]
fn pods_that_nobody_manages_are_told_of_and_count_only_against_a_number() {
    let alone = |spec: &Value| {
        let mut sim = Sim::new();
        perform(&mut sim, "orphan web-0");
        sim.ready("web-0");
        sim.make(budget(spec));
        sim.settle();
        sim
    };
    let by_number = alone(&json!({"minAvailable": 1}));
    assert_eq!(told(&by_number), "1 of 1 healthy, 1 needed, 0 allowed: InsufficientPods");
    assert_eq!(by_number.events.iter().filter(|e| e.starts_with("UnmanagedPods")).count(), 0);
    let by_share = alone(&json!({"minAvailable": "50%"}));
    assert_eq!(told(&by_share), "1 of 0 healthy, 0 needed, 0 allowed: InsufficientPods");
    let events: Vec<&String> = by_share.events.iter().filter(|e| e.starts_with("UnmanagedPods")).collect();
    assert!(events[0].contains("(selector: app=web) were found to be unmanaged"), "{events:?}");
}

#[test]
fn what_cannot_be_computed_allows_nothing_and_says_why() {
    let mut sim = with_budget(2, &json!({"maxUnavailable": 1}));
    assert_eq!(told(&sim), "2 of 2 healthy, 1 needed, 1 allowed: SufficientPods");
    sim.make(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": "default",
        "labels": {"app": "web"}, "ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Database",
        "name": "db", "uid": "u", "controller": true}]}, "spec": {"containers": []}}));
    sim.settle();
    assert_eq!(told(&sim), "2 of 2 healthy, 1 needed, 0 allowed: SyncFailed");
    let status = &sim.get("PodDisruptionBudget", "default", "web").expect("the budget")["status"];
    assert_eq!(status["conditions"][0]["message"], "found no controllers for pod \"other\"");
}

#[test]
fn a_pod_that_was_marked_and_never_deleted_loses_its_mark() {
    let mut sim = with_budget(2, &json!({"maxUnavailable": 1}));
    let now = format_seconds(sim.now);
    sim.edit("Pod", "web-1", |pod| {
        let mark = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": now});
        pod["status"]["conditions"].as_array_mut().expect("conditions").push(mark);
    });
    let mark = |sim: &Sim| {
        let pod = sim.get("Pod", "default", "web-1").expect("the pod");
        let conditions = pod["status"]["conditions"].as_array().expect("conditions");
        conditions.iter().find(|c| c["type"] == "DisruptionTarget").expect("the mark").clone()
    };
    sim.settle();
    sim.tick(119);
    sim.settle();
    assert_eq!(mark(&sim)["status"], "True");
    sim.tick(1);
    sim.settle();
    let expected =
        json!({"type": "DisruptionTarget", "status": "False", "lastTransitionTime": "2026-01-01T00:02:00Z"});
    assert_eq!(mark(&sim), expected);
    assert_eq!(told(&sim), "2 of 2 healthy, 1 needed, 1 allowed: SufficientPods");
}
