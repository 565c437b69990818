//! One ReplicaSet `web` and its pods: how many, whose, and which of them go first.

use serde_json::{Value, json};

use crate::sim::Sim;

fn replica_set(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "tier": "front"}},
                         "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    })
}

fn started(replicas: i64) -> Sim {
    let mut sim = Sim::new();
    sim.make(replica_set(replicas));
    sim.settle();
    sim
}

fn scale(sim: &mut Sim, replicas: i64) {
    sim.edit("ReplicaSet", "web", |set| set["spec"]["replicas"] = replicas.into());
    sim.settle();
}

fn lone_pod(sim: &mut Sim, name: &str, labels: Value) {
    sim.make(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": "node-a", "containers": []}}));
    sim.settle();
}

fn counts(sim: &Sim) -> [i64; 5] {
    let status = &sim.get("ReplicaSet", "default", "web").expect("the set")["status"];
    ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "terminatingReplicas"]
        .map(|count| status[count].as_i64().unwrap_or(0))
}

/// The pods that are not being deleted.
fn alive(sim: &Sim) -> Vec<String> {
    let is_terminating =
        |name: &String| sim.pod(name).is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_string());
    sim.names("Pod").into_iter().filter(|name| !is_terminating(name)).collect()
}

#[test]
fn missing_pods_are_made_at_once_and_told_by_their_names() {
    let sim = started(3);
    assert_eq!(alive(&sim), ["web-1", "web-2", "web-3"]);
    let told = sim.events.iter().filter_map(|event| event.strip_prefix("SuccessfulCreate "));
    assert_eq!(told.collect::<Vec<_>>(), ["Created pod: web-1", "Created pod: web-2", "Created pod: web-3"]);
    assert_eq!(counts(&sim), [3, 3, 0, 0, 0]);
    let pod = sim.pod("web-1").expect("a pod");
    assert_eq!(pod["metadata"]["labels"], json!({"app": "web", "tier": "front"}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
}

#[test]
fn a_pod_deleted_by_hand_is_replaced_before_it_is_gone() {
    let mut sim = started(2);
    sim.ready("web-1");
    sim.ready("web-2");
    sim.remove("Pod", "web-1", &[]);
    sim.settle();
    assert_eq!(alive(&sim), ["web-2", "web-3"]);
    assert_eq!(counts(&sim), [2, 2, 1, 1, 1], "the one that ends is counted apart");
    sim.finish("web-1");
    sim.settle();
    assert_eq!(counts(&sim), [2, 2, 1, 1, 0]);
}

#[test]
fn a_pod_counts_as_available_when_it_has_been_ready_for_long_enough() {
    let mut sim = Sim::new();
    let mut set = replica_set(1);
    set["spec"]["minReadySeconds"] = 10.into();
    sim.make(set);
    sim.settle();
    sim.ready("web-1");
    sim.settle();
    assert_eq!(counts(&sim), [1, 1, 1, 0, 0]);
    sim.tick(10);
    sim.settle();
    assert_eq!(counts(&sim), [1, 1, 1, 1, 0]);
}

#[test]
fn a_lone_pod_that_fits_is_taken_and_one_that_no_longer_fits_is_let_go() {
    let mut sim = started(1);
    sim.ready("web-1");
    lone_pod(&mut sim, "mine", json!({"app": "web"}));
    // It is not even scheduled for longer than the other: one of two is too many.
    assert_eq!(alive(&sim), ["web-1"]);
    assert!(sim.log.contains(&"set owners of pod/mine".to_owned()), "{:?}", sim.log);
    lone_pod(&mut sim, "other", json!({"app": "other"}));
    assert_eq!(alive(&sim), ["other", "web-1"], "one that does not fit is left alone");

    sim.edit("Pod", "web-1", |pod| pod["metadata"]["labels"]["app"] = "debug".into());
    sim.settle();
    assert_eq!(sim.pod("web-1").expect("it stays")["metadata"]["ownerReferences"], json!([]));
    assert_eq!(alive(&sim), ["other", "web-1", "web-2"], "and has a successor");
}

#[test]
fn a_pod_of_another_controller_is_not_taken() {
    let mut sim = started(0);
    sim.make(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "theirs", "namespace": "default", "labels": {"app": "web"}, "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Robot", "name": "r", "uid": "r", "controller": true}]},
        "spec": {"nodeName": "node-a", "containers": []}}));
    sim.settle();
    assert_eq!(alive(&sim), ["theirs"]);
    assert_eq!(counts(&sim), [0, 0, 0, 0, 0]);
}

#[test]
fn those_that_are_missed_least_go_first() {
    let mut sim = started(5);
    for (pod, seconds) in [("web-1", 4000), ("web-2", 2000), ("web-3", 600), ("web-4", 300)] {
        sim.ready(pod);
        sim.tick(seconds);
    }
    sim.edit("Pod", "web-1", |pod| {
        pod["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "-5"});
    });
    sim.settle();
    // web-5 is not Ready, web-1 says that it is cheap; of the others, the one that became Ready last goes first.
    let mut gone = Vec::new();
    for replicas in (1..5).rev() {
        let before = alive(&sim);
        scale(&mut sim, replicas);
        let after = alive(&sim);
        gone.extend(before.into_iter().filter(|pod| !after.contains(pod)));
    }
    assert_eq!(gone, ["web-5", "web-1", "web-4", "web-3"]);
    assert!(sim.events.contains(&"SuccessfulDelete Deleted pod: web-5".to_owned()), "{:?}", sim.events);
}

#[test]
fn nothing_is_made_for_what_is_being_deleted() {
    let mut sim = started(2);
    sim.remove("ReplicaSet", "web", &["foregroundDeletion"]);
    sim.settle();
    assert_eq!(alive(&sim), [""; 0]);
    sim.finish("web-1");
    sim.finish("web-2");
    sim.settle();
    assert!(sim.get("ReplicaSet", "default", "web").is_none(), "it goes after its pods");
    assert_eq!(sim.names("Pod"), [""; 0]);
}

#[test]
fn a_failed_pod_stays_to_be_looked_at_and_has_a_successor() {
    let mut sim = started(1);
    sim.pod_status("web-1", &json!({"phase": "Failed"}));
    sim.settle();
    assert_eq!(sim.names("Pod"), ["web-1", "web-2"]);
    assert_eq!(counts(&sim), [1, 1, 0, 0, 0]);
}
