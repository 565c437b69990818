//! The checker itself: plans that break a rule are found out, each for its own reason.

use planner::check::violations;
use planner::{Action, Key, ObjectRef, Plan, World};
use serde_json::{Value, json};

use crate::script;
use crate::sim::Sim;

fn after(script: &str) -> Sim {
    let mut sim = Sim::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        script::perform(&mut sim, line);
        sim.settle();
    }
    sim
}

fn make(kind: &str, name: &str) -> Action {
    Action::Create(
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}}),
    )
}

fn delete(sim: &Sim, kind: &str, name: &str) -> Action {
    let uid = sim.get(kind, "default", name).expect("the object")["metadata"]["uid"].clone();
    let target = ObjectRef {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: "default".into(),
        name: name.into(),
        uid: uid.as_str().unwrap_or_default().to_owned(),
    };
    Action::Delete { target, resource_version: None, grace_period: None }
}

fn judge(sim: &Sim, actions: Vec<Action>) -> String {
    judge_in(&sim.world, sim, actions)
}

fn judge_in(world: &World, sim: &Sim, actions: Vec<Action>) -> String {
    let plan = Plan { actions, ..Plan::default() };
    violations(world, &Key::new("default", "web"), &plan, sim.now).join("; ")
}

#[test]
fn a_second_pod_of_one_identity_is_found_out() {
    let sim = after("set replicas=2\n ready web-0\n delete web-1");
    assert_eq!(judge(&sim, vec![make("Pod", "web-1")]), "makes a second web-1");
    let sim = after("set replicas=2 parallel");
    let sim_without_pods = {
        let mut world = sim.world.clone();
        world.pods = planner::world::Table::default();
        judge_in(&world, &sim, vec![make("Pod", "web-1"), make("Pod", "web-1")])
    };
    assert_eq!(sim_without_pods, "makes a second web-1");
}

#[test]
fn a_skipped_predecessor_is_found_out() {
    let sim = after("set replicas=3\n ready web-0\n unready web-1");
    assert_eq!(judge(&sim, vec![make("Pod", "web-2")]), "makes web-2 before Some(1) is available");
    let sim = after("set replicas=3 min-ready=10\n ready web-0");
    assert_eq!(judge(&sim, vec![make("Pod", "web-1")]), "makes web-1 before Some(0) is available");
}

#[test]
fn a_pod_without_its_claim_and_one_that_nobody_wants_are_found_out() {
    let sim = after("set replicas=2 claims\n ready web-0");
    let mut world = sim.world.clone();
    world.pods = planner::world::Table::default();
    world.claims = planner::world::Table::default();
    let found = judge_in(&world, &sim, vec![make("Pod", "web-0")]);
    assert_eq!(found, "makes web-0 without its claim data-web-0");
    let found =
        judge_in(&world, &sim, vec![make("PersistentVolumeClaim", "data-web-0"), make("Pod", "web-0")]);
    assert_eq!(found, "");
    let sim = after("up replicas=1 parallel");
    let found = judge(&sim, vec![make("Pod", "web-1")]);
    assert!(found.starts_with("makes web-1, which nobody wants"), "{found}");
}

#[test]
fn a_deletion_out_of_order_beyond_the_budget_or_below_the_partition_is_found_out() {
    let sim = after("up replicas=3\n image web:2");
    // web-2 is terminating already: the budget is spent.
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-1")]);
    assert_eq!(found, "replaces [1] with 1 unavailable already; 1 may be");
    let sim = after("up replicas=3 partition=3\n image web:2");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-0")]);
    assert!(found.contains("replaces 0, which the update strategy keeps"), "{found}");
    let sim = after("up replicas=3 on-delete\n image web:2");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-2")]);
    assert!(found.contains("replaces 2, which the update strategy keeps"), "{found}");
    let sim = after("up replicas=3 partition=3\n image web:2");
    let mut world = sim.world.clone();
    let mut set = (**world.stateful_sets.get("default", "web").expect("the set")).clone();
    set.spec.as_mut().expect("a spec").update_strategy = None;
    world.stateful_sets.insert(set);
    let found = judge_in(&world, &sim, vec![delete(&sim, "Pod", "web-0")]);
    assert_eq!(found, "replaces 0 before Some(2)");
}

#[test]
fn a_scale_down_out_of_order_is_found_out() {
    let sim = after("up replicas=3\n unready web-0\n replicas 1");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-2")]);
    assert_eq!(found, "scales 2 down while Some(0) is not available");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-1")]);
    assert!(found.starts_with("scales 1 down before Some(2)"), "{found}");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-2"), delete(&sim, "Pod", "web-1")]);
    assert_eq!(found, "scales [2, 1] down at a time");
}

#[test]
fn a_claim_that_grows_out_of_turn_is_found_out() {
    let mut sim = after("up replicas=3 claims");
    sim.edit("StatefulSet", "web", |set| {
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    });
    let grow = |claim: &str| {
        let Action::Delete { target, .. } = delete(&sim, "PersistentVolumeClaim", claim) else {
            return Vec::new();
        };
        let patch =
            json!({"metadata": {"uid": "x"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        vec![Action::Patch { target, patch }]
    };
    assert_eq!(judge(&sim, grow("data-web-2")), "");
    assert_eq!(judge(&sim, grow("data-web-1")), "lets data-web-1 grow before [\"data-web-2\"]");
}

#[test]
fn a_claim_that_is_deleted_or_rewritten_is_found_out() {
    let sim = after("up replicas=1 claims");
    let found = judge(&sim, vec![delete(&sim, "PersistentVolumeClaim", "data-web-0")]);
    assert!(found.starts_with("deletes PersistentVolumeClaim data-web-0"), "{found}");
    let Action::Delete { target, .. } = delete(&sim, "PersistentVolumeClaim", "data-web-0") else { return };
    let patch = |patch: Value| vec![Action::Patch { target: target.clone(), patch }];
    let found = judge(&sim, patch(json!({"metadata": {"uid": "x"}, "spec": {"volumeName": "other"}})));
    assert_eq!(found, "changes more of claim data-web-0 than its owners");
    let sized = |size: &str| json!({"metadata": {"uid": "x"}, "spec": {"resources": {"requests": {"storage": size}}}});
    assert_eq!(judge(&sim, patch(sized("512Mi"))), "lets claim data-web-0 shrink");
    assert_eq!(judge(&sim, patch(json!({"metadata": {"uid": "x", "ownerReferences": []}}))), "");
}

#[test]
fn work_for_a_set_that_is_deleted_or_done_is_found_out() {
    let sim = after("set replicas=2\n ready web-0\n delete-set foregroundDeletion");
    assert!(
        judge(&sim, vec![make("Pod", "web-1")]).starts_with("makes pods for a set that is being deleted")
    );
    let sim = after("up replicas=1");
    let found = judge(&sim, vec![make("ControllerRevision", "web-x")]);
    assert!(found.contains("though nothing is left to do"), "{found}");
}

/// A world after the story, without its pods.
fn without_pods(sim: &Sim) -> World {
    let mut world = sim.world.clone();
    world.pods = planner::world::Table::default();
    world
}

#[test]
fn two_at_a_time_in_order_and_a_reserved_ordinal_are_found_out() {
    let sim = after("set replicas=3");
    let found = judge_in(&without_pods(&sim), &sim, vec![make("Pod", "web-0"), make("Pod", "web-1")]);
    assert!(found.starts_with(r#"makes ["web-0", "web-1"] at a time"#), "{found}");
    let sim = after("set replicas=2 parallel\n reserve 1");
    assert_eq!(
        judge(&sim, vec![make("Pod", "web-1")]),
        "makes a second web-1; makes web-1, which nobody wants"
    );
}

#[test]
fn a_pod_that_is_not_the_sets_to_delete_is_found_out() {
    let sim = after("set replicas=2 parallel\n ready web-0\n foreign web-7");
    assert_eq!(judge(&sim, vec![delete(&sim, "Pod", "web-7")]), "deletes web-7, which is not the set's");
    let gone = delete(&sim, "Pod", "web-0");
    assert_eq!(judge_in(&without_pods(&sim), &sim, vec![gone]), "deletes web-0, which is not there");
    let Action::Delete { mut target, .. } = delete(&sim, "Pod", "web-1") else { return };
    target.uid = "its predecessor".into();
    let found = judge(&sim, vec![Action::Delete { target, resource_version: None, grace_period: None }]);
    assert!(found.starts_with("deletes web-1, which is not the set's"), "{found}");
    let sim = after("up replicas=1\n delete-set foregroundDeletion");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-0")]);
    assert!(found.starts_with("deletes pods of a set that is being deleted"), "{found}");
}

#[test]
fn a_pod_that_an_update_has_no_business_with_is_found_out() {
    let sim = after("up replicas=2");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-1")]);
    assert!(found.contains("replaces 1, which is of revision web-"), "{found}");
    let sim = after("up replicas=2\n unready web-1\n image web:2");
    assert_eq!(judge(&sim, vec![delete(&sim, "Pod", "web-1")]), "replaces 1, which only starts");
    let sim = after("up replicas=2\n pause\n image web:2");
    let found = judge(&sim, vec![delete(&sim, "Pod", "web-1")]);
    assert_eq!(found, "replaces 1, which the update strategy keeps");
}

#[test]
fn a_new_revision_below_the_partition_is_found_out() {
    let sim = after("up replicas=2 partition=1\n image web:2");
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "default"}});
    let set = sim.get("StatefulSet", "default", "web").expect("the set");
    pod["metadata"]["labels"]["controller-revision-hash"] = set["status"]["updateRevision"].clone();
    let found = judge_in(&without_pods(&sim), &sim, vec![Action::Create(pod.clone())]);
    assert!(found.ends_with("below the partition"), "{found}");
    pod["metadata"]["labels"]["controller-revision-hash"] = set["status"]["currentRevision"].clone();
    assert_eq!(judge_in(&without_pods(&sim), &sim, vec![Action::Create(pod)]), "");
}

fn owned_by(sim: &Sim, claim: &str, kind: &str, name: &str) -> Action {
    let uid = |kind: &str, name: &str| {
        sim.get(kind, "default", name).expect("the object")["metadata"]["uid"].clone()
    };
    let owner = json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid(kind, name)}]);
    let Action::Delete { target, .. } = delete(sim, "PersistentVolumeClaim", claim) else {
        panic!("a deletion names its target");
    };
    Action::Patch { target, patch: json!({"metadata": {"uid": "x", "ownerReferences": owner}}) }
}

#[test]
fn a_claim_that_would_go_against_its_policy_is_found_out() {
    let sim = after("up replicas=2 claims");
    let found = judge(&sim, vec![owned_by(&sim, "data-web-1", "StatefulSet", "web")]);
    assert_eq!(found, r#"lets claim data-web-1 go with "web" against its policy"#);
    let found = judge(&sim, vec![owned_by(&sim, "data-web-1", "Pod", "web-1")]);
    assert_eq!(found, r#"lets claim data-web-1 go with "web-1" against its policy"#);
    let sim = after("up replicas=2 claims when-scaled=Delete");
    let found = judge(&sim, vec![owned_by(&sim, "data-web-1", "Pod", "web-1")]);
    assert_eq!(found, r#"lets claim data-web-1 go with "web-1" against its policy"#, "web-1 stays");
}

#[test]
fn a_pod_on_a_claim_that_goes_with_the_last_one_is_found_out() {
    let sim = after("up replicas=2 claims when-scaled=Delete\n replicas 1");
    let mut world = sim.world.clone();
    let mut set = (**world.stateful_sets.get("default", "web").expect("the set")).clone();
    set.spec.as_mut().expect("a spec").replicas = Some(2);
    world.stateful_sets.insert(set);
    let found = judge_in(&world, &sim, vec![delete(&sim, "Pod", "web-1")]);
    assert!(found.starts_with(r#"deletes web-1 and with it Some("data-web-1")"#), "{found}");
    let mut pods = planner::world::Table::default();
    pods.insert((**world.pods.get("default", "web-0").expect("web-0")).clone());
    world.pods = pods;
    let found = judge_in(&world, &sim, vec![make("Pod", "web-1")]);
    assert_eq!(found, "makes web-1 without its claim data-web-1");
}

#[test]
fn work_for_a_set_that_is_not_there_is_found_out() {
    let sim = Sim::new();
    assert_eq!(judge(&sim, vec![make("Pod", "web-0")]), "acts for a set that is not there");
    assert_eq!(judge(&sim, vec![]), "");
}
