//! Nodes that fall silent, taints that drive pods out, and when a pod is given up.

use planner::pod_gc::{PodGarbageCollector, TERMINATED_POD_THRESHOLD};
use planner::{Action, Key, Planner, World};
use serde_json::{Value, json};

use crate::script::perform;
use crate::sim::Sim;

/// What admission gives every pod that does not say otherwise (`DefaultTolerationSeconds`).
fn default_tolerations() -> Value {
    json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
           {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}])
}

fn add_node(sim: &mut Sim, name: &str) {
    sim.make(json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
}

/// A pod of a set, on node-a and Ready, in a cluster that has a node-b as well.
fn one_of_two() -> Sim {
    let mut sim = Sim::new();
    perform(&mut sim, "set replicas=1");
    sim.edit("StatefulSet", "web", |set| {
        set["spec"]["template"]["spec"]["tolerations"] = default_tolerations();
    });
    sim.settle();
    add_node(&mut sim, "node-b");
    sim.settle();
    assert_eq!(sim.pod("web-0").expect("made")["spec"]["nodeName"], "node-a");
    sim.ready("web-0");
    sim.settle();
    sim
}

fn pass(sim: &mut Sim, seconds: i64) {
    sim.tick(seconds);
    sim.settle();
}

fn node<'s>(sim: &'s Sim, name: &str) -> &'s Value {
    sim.get("Node", "", name).expect("the node")
}

/// `Ready Unknown NodeStatusUnknown`, one line each.
fn conditions(object: &Value) -> String {
    let told = object["status"]["conditions"].as_array().into_iter().flatten();
    let line = |c: &Value| {
        let said = |field: &str| c[field].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}: {}", said("type"), said("status"), said("reason"), said("message"))
    };
    told.map(line).collect::<Vec<_>>().join("\n")
}

/// `KEY:EFFECT`, sorted.
fn taints(sim: &Sim, name: &str) -> Vec<String> {
    let held = node(sim, name)["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let short = |taint: &Value| {
        let said = |field: &str| taint[field].as_str().unwrap_or_default().to_owned();
        format!("{}:{}", said("key").trim_start_matches("node.kubernetes.io/"), said("effect"))
    };
    let mut all: Vec<String> = held.iter().map(short).collect();
    all.sort();
    all
}

/// The node's agent says how the node is.
fn says(sim: &mut Sim, name: &str, ready: &str) {
    let now = sim.now.to_string();
    sim.edit("Node", name, |node| {
        node["status"]["conditions"] = json!([{"type": "Ready", "status": ready, "reason": "Kubelet",
            "lastHeartbeatTime": now, "lastTransitionTime": now}]);
    });
    sim.settle();
}

fn taint(sim: &mut Sim, name: &str, taint: Value) {
    sim.edit("Node", name, |node| {
        let mut held = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        held.push(taint);
        node["spec"]["taints"] = held.into();
    });
    sim.settle();
}

fn out_of_service() -> Value {
    json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"})
}

#[test]
fn a_node_that_is_not_heard_of_is_unknown_and_its_pods_are_not_ready() {
    let mut sim = one_of_two();
    sim.silent.insert("node-a".to_owned());
    pass(&mut sim, 49);
    assert_eq!(
        (conditions(node(&sim, "node-a")), taints(&sim, "node-a")),
        ("Ready True -: -".to_owned(), vec![])
    );
    pass(&mut sim, 1);
    insta::assert_snapshot!(conditions(node(&sim, "node-a")), @r"
    Ready Unknown NodeStatusUnknown: Kubelet stopped posting node status.
    MemoryPressure Unknown NodeStatusNeverUpdated: Kubelet never posted node status.
    DiskPressure Unknown NodeStatusNeverUpdated: Kubelet never posted node status.
    PIDPressure Unknown NodeStatusNeverUpdated: Kubelet never posted node status.
    ");
    assert_eq!(taints(&sim, "node-a"), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    assert_eq!(taints(&sim, "node-b"), Vec::<String>::new());
    assert!(conditions(sim.pod("web-0").expect("it runs")).contains("Ready False"));
    assert!(sim.events.contains(&"NodeNotReady Node node-a status is now: NodeNotReady".to_owned()));
    assert!(sim.events.contains(&"NodeNotReady Node is not ready".to_owned()));
    // It is heard of again, and all is as it was.
    sim.silent.clear();
    says(&mut sim, "node-a", "True");
    assert_eq!(taints(&sim, "node-a"), Vec::<String>::new());
    sim.ready("web-0");
    pass(&mut sim, 1000);
    assert_eq!(conditions(node(&sim, "node-a")), "Ready True Kubelet: -");
    assert!(sim.pod("web-0").expect("it runs")["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn a_node_that_never_said_how_it_is_has_a_minute() {
    let mut sim = Sim::new();
    sim.make(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-b"}}));
    sim.silent.insert("node-b".to_owned());
    pass(&mut sim, 59);
    assert_eq!((conditions(node(&sim, "node-b")), taints(&sim, "node-b")), (String::new(), vec![]));
    pass(&mut sim, 1);
    assert!(conditions(node(&sim, "node-b")).starts_with("Ready Unknown NodeStatusNeverUpdated"));
}

#[test]
fn nobody_is_late_who_was_not_listened_to() {
    let mut sim = one_of_two();
    sim.silent.insert("node-a".to_owned());
    // Whoever begins to listen only now, an hour later, gives every node its time.
    let mut world = World::default();
    for (kind, object) in [(("v1", "Node"), node(&sim, "node-a")), (("v1", "Node"), node(&sim, "node-b"))] {
        let change = world.apply(kind, object.clone()).expect("a node").expect("news");
        world.heartbeats.hear(&change, sim.now + jiff::SignedDuration::from_secs(3600));
    }
    let planner = planner::node_lifecycle::NodeLifecycle;
    let plan = planner.plan(&world, &Key::new("", "node-a"), sim.now + jiff::SignedDuration::from_secs(3600));
    assert_eq!((plan.actions, plan.requeue_after), (vec![], Some(jiff::SignedDuration::from_secs(50))));
}

#[test]
fn what_an_agent_says_of_its_pods_after_it_was_doubted_stands() {
    let mut sim = one_of_two();
    pass(&mut sim, 1);
    says(&mut sim, "node-a", "False");
    assert_eq!(taints(&sim, "node-a"), ["not-ready:NoExecute", "not-ready:NoSchedule"]);
    assert!(conditions(sim.pod("web-0").expect("it runs")).contains("Ready False"));
    pass(&mut sim, 1);
    sim.ready("web-0");
    sim.settle();
    assert!(conditions(sim.pod("web-0").expect("it runs")).contains("Ready True"));
}

#[test]
fn nobody_is_driven_out_while_no_node_is_well() {
    let mut sim = one_of_two();
    sim.silent.extend(["node-a".to_owned(), "node-b".to_owned()]);
    pass(&mut sim, 60);
    assert_eq!(taints(&sim, "node-a"), ["unreachable:NoSchedule"]);
    pass(&mut sim, 10_000);
    assert!(sim.pod("web-0").expect("it stays")["metadata"]["deletionTimestamp"].is_null());
    // The other comes back: from now on the first may be lost alone.
    sim.silent.remove("node-b");
    says(&mut sim, "node-b", "True");
    assert_eq!(taints(&sim, "node-a"), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    pass(&mut sim, 299);
    assert!(sim.pod("web-0").expect("it stays")["metadata"]["deletionTimestamp"].is_null());
    pass(&mut sim, 1);
    assert!(!sim.pod("web-0").expect("it goes")["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn a_pod_of_a_lost_node_is_given_up_only_when_somebody_says_that_its_machine_is_off() {
    let mut sim = one_of_two();
    sim.silent.insert("node-a".to_owned());
    pass(&mut sim, 50);
    sim.log.clear();
    pass(&mut sim, 300);
    assert_eq!(sim.log, ["delete pod/web-0"]);
    let pod = conditions(sim.pod("web-0").expect("it is not gone"));
    assert!(pod.contains(
        "DisruptionTarget True DeletionByTaintManager: Taint manager: deleting due to NoExecute taint"
    ));
    assert!(sim.events.contains(&"TaintManagerEviction Marking for deletion Pod default/web-0".to_owned()));
    // Time proves nothing.
    pass(&mut sim, 1_000_000);
    assert_eq!(sim.log, ["delete pod/web-0"]);
    taint(&mut sim, "node-a", out_of_service());
    assert_eq!(
        sim.log,
        ["delete pod/web-0", "force off pod/web-0", "gone pod/web-0", "create pod/web-0 of r1"]
    );
    assert_eq!(sim.pod("web-0").expect("its successor")["spec"]["nodeName"], "node-b");
}

#[test]
fn a_pod_of_a_node_without_an_object_is_not_given_up() {
    let mut sim = one_of_two();
    sim.remove("Node", "node-a", &[]);
    sim.settle();
    sim.log.clear();
    pass(&mut sim, 1_000_000);
    assert_eq!(sim.log, Vec::<String>::new());
    sim.remove("Pod", "web-0", &[]);
    pass(&mut sim, 1_000_000);
    assert_eq!(sim.log, ["delete pod/web-0"], "its agent may come back, and end it");
    add_node(&mut sim, "node-a");
    pass(&mut sim, 1000);
    assert_eq!(sim.log[1..], ["create node/node-a"], "it is there again, and will say so itself");
}

#[test]
fn a_node_that_is_well_gives_nobody_up_whatever_its_taints_say() {
    let mut sim = one_of_two();
    sim.log.clear();
    taint(&mut sim, "node-a", out_of_service());
    pass(&mut sim, 1000);
    assert_eq!(sim.log, ["delete pod/web-0"], "it is asked to go, and its node says when");
    sim.silent.insert("node-a".to_owned());
    pass(&mut sim, 50);
    assert_eq!(sim.log[1..], ["force off pod/web-0", "gone pod/web-0", "create pod/web-0 of r1"]);
}

#[test]
fn a_finalizer_holds_a_pod_that_is_given_up() {
    let mut sim = one_of_two();
    sim.edit("Pod", "web-0", |pod| pod["metadata"]["finalizers"] = json!(["example.com/backup"]));
    sim.silent.insert("node-a".to_owned());
    pass(&mut sim, 50);
    taint(&mut sim, "node-a", out_of_service());
    let pod = sim.pod("web-0").expect("it is held");
    assert_eq!(
        (&pod["status"]["phase"], &pod["metadata"]["deletionGracePeriodSeconds"]),
        (&json!("Failed"), &json!(0))
    );
}

#[test]
fn taints_by_hand_drive_out_who_does_not_tolerate_them_for_as_long() {
    let mut sim = Sim::new();
    let pod = |name: &str, tolerations: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "node-a", "tolerations": tolerations, "containers": []}})
    };
    let for_seconds =
        |seconds: Value| json!([{"key": "dedicated", "operator": "Exists", "tolerationSeconds": seconds}]);
    sim.make(pod("never", json!([])));
    sim.make(pod("other-value", json!([{"key": "dedicated", "operator": "Equal", "value": "web"}])));
    sim.make(pod("while", for_seconds(json!(60))));
    sim.make(pod("forever", for_seconds(Value::Null)));
    sim.make(pod("eternity", for_seconds(json!(i64::MAX))));
    sim.settle();
    sim.log.clear();
    taint(&mut sim, "node-a", json!({"key": "dedicated", "value": "db", "effect": "NoExecute"}));
    assert_eq!(sim.log, ["delete pod/never", "delete pod/other-value"]);
    let added = &node(&sim, "node-a")["spec"]["taints"][0]["timeAdded"];
    assert_eq!(added, &json!("2026-01-01T00:00:00Z"), "seconds count from here");
    pass(&mut sim, 30);
    sim.make(pod("late", for_seconds(json!(60))));
    sim.settle();
    sim.log.clear();
    pass(&mut sim, 30);
    assert_eq!(sim.log, ["delete pod/while"]);
    pass(&mut sim, 30);
    assert_eq!(sim.log, ["delete pod/while", "delete pod/late"], "who came later has as much time");
    pass(&mut sim, 1_000_000);
    assert_eq!(sim.log.len(), 2);
}

#[test]
fn of_several_taints_the_one_that_ends_first_counts() {
    let mut sim = Sim::new();
    let tolerate =
        |key: &str, seconds: i64| json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds});
    let tolerations = json!([tolerate("slow", 300), tolerate("quick", 20), tolerate("quick", 900)]);
    sim.make(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "node-a", "tolerations": tolerations, "containers": []}}));
    taint(&mut sim, "node-a", json!({"key": "slow", "effect": "NoExecute"}));
    pass(&mut sim, 100);
    // This one counts from when it comes, and by the first toleration of it.
    taint(&mut sim, "node-a", json!({"key": "quick", "effect": "NoExecute"}));
    sim.log.clear();
    pass(&mut sim, 19);
    assert_eq!(sim.log, Vec::<String>::new());
    pass(&mut sim, 1);
    assert_eq!(sim.log, ["delete pod/p"]);
}

#[test]
fn a_taint_that_is_taken_off_drives_nobody_out_later() {
    let mut sim = one_of_two();
    sim.silent.insert("node-a".to_owned());
    pass(&mut sim, 50);
    pass(&mut sim, 299);
    sim.silent.clear();
    says(&mut sim, "node-a", "True");
    sim.log.clear();
    pass(&mut sim, 1000);
    assert_eq!(sim.log, Vec::<String>::new());
}

#[test]
fn taints_follow_conditions_and_cordons_and_leave_those_of_others_alone() {
    let mut sim = Sim::new();
    taint(&mut sim, "node-a", json!({"key": "dedicated", "value": "db", "effect": "NoSchedule"}));
    sim.edit("Node", "node-a", |node| {
        node["spec"]["unschedulable"] = true.into();
        let held = node["status"]["conditions"].as_array_mut().expect("conditions");
        held.push(json!({"type": "DiskPressure", "status": "True"}));
    });
    sim.settle();
    assert_eq!(
        taints(&sim, "node-a"),
        ["dedicated:NoSchedule", "disk-pressure:NoSchedule", "unschedulable:NoSchedule"]
    );
    sim.edit("Node", "node-a", |node| {
        node["spec"]["unschedulable"] = false.into();
        node["status"]["conditions"][1]["status"] = "False".into();
    });
    sim.settle();
    assert_eq!(taints(&sim, "node-a"), ["dedicated:NoSchedule"]);
}

#[test]
fn of_too_many_pods_that_have_ended_the_eldest_go_and_evicted_ones_first() {
    let mut world = World::default();
    for number in 0..TERMINATED_POD_THRESHOLD + 3 {
        let at = jiff::Timestamp::from_second(1000 - i64::try_from(number.min(500)).expect("few"))
            .expect("a time");
        let reason = (number == 0).then_some("Evicted");
        let phase = if number % 2 == 0 { "Failed" } else { "Succeeded" };
        world.pods.insert(
            serde_json::from_value(json!({
                "metadata": {"name": format!("job-{number:05}"), "namespace": "default", "uid": format!("u-{number}"),
                    "creationTimestamp": at.to_string()},
                "status": {"phase": phase, "reason": reason}}))
            .expect("a pod"),
        );
    }
    world.pods.insert(
        serde_json::from_value(json!({"metadata": {"name": "alive", "namespace": "default", "uid": "u",
            "creationTimestamp": "1970-01-01T00:00:00Z"}, "status": {"phase": "Running"}}))
        .expect("a pod"),
    );
    let last = world.find("Pod", "default", "job-00001").expect("a pod");
    let keys = PodGarbageCollector.keys(&world, &last);
    let plan = PodGarbageCollector.plan(&world, &keys[0], jiff::Timestamp::UNIX_EPOCH);
    let deleted = plan.actions.iter().map(|action| match action {
        Action::Delete { target, grace_period: Some(0), .. } => target.name.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(deleted.collect::<Vec<_>>(), ["job-00000", "job-00500", "job-00501"]);
}
