//! Which node a pod gets, and what is said when it gets none.

use k8s_openapi::api::core::v1::{Node, Pod};
use planner::scheduler::{Rejection, admit};
use serde_json::{Value, json};

use crate::sim::Sim;

fn pod(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "main", "image": "a"}]);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn asking(amounts: Value) -> Value {
    json!({"containers": [{"name": "main", "image": "a", "resources": {"requests": amounts}}]})
}

fn node(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                   "conditions": [{"type": "Ready", "status": "True"}]}})
}

/// The node that a pod of this spec gets on a cluster that `prepare` changed, or why it gets none.
fn place(prepare: impl FnOnce(&mut Sim), spec: Value) -> String {
    let mut sim = Sim::new();
    prepare(&mut sim);
    sim.settle();
    sim.make(pod("app", spec));
    sim.settle();
    placed(&sim, "app")
}

fn placed(sim: &Sim, name: &str) -> String {
    let pod = sim.pod(name).expect("the pod");
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        return node.to_owned();
    }
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let refused = conditions.iter().find(|condition| condition["type"] == "PodScheduled");
    refused.and_then(|condition| condition["message"].as_str()).unwrap_or("not looked at").to_owned()
}

#[test]
fn a_pod_goes_where_most_is_free() {
    let busy = |sim: &mut Sim| {
        sim.make(node("node-b", json!({})));
        let mut first = pod("first", asking(json!({"cpu": "2"})));
        first["spec"]["nodeName"] = "node-a".into();
        sim.make(first);
    };
    assert_eq!(place(busy, json!({})), "node-b");
}

#[test]
fn what_is_too_little_is_named() {
    let nothing = |_: &mut Sim| {};
    let check = |spec, expect: &str| assert_eq!(place(nothing, spec), expect);
    check(asking(json!({"memory": "9Gi"})), "0/1 nodes are available: 1 Insufficient memory.");
    check(
        asking(json!({"cpu": "5", "memory": "9Gi"})),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
    );
    check(asking(json!({"cpu": "4", "memory": "8Gi"})), "node-a");
}

#[test]
fn pods_placed_in_one_go_never_get_the_same_room() {
    let mut sim = Sim::new();
    for name in ["one", "two", "three"] {
        sim.make(pod(name, asking(json!({"cpu": "1500m"}))));
    }
    sim.settle();
    let placed: Vec<String> = ["one", "two", "three"].map(|name| placed(&sim, name)).into();
    assert_eq!(placed.iter().filter(|place| *place == "node-a").count(), 2, "{placed:?}");
}

#[test]
fn init_containers_count_where_they_ask_for_more_and_sidecars_always() {
    let spec = |init: Value| {
        json!({"containers": [{"name": "main", "image": "a", "resources": {"requests": {"cpu": "3"}}}],
               "initContainers": [init]})
    };
    let init = json!({"name": "init", "image": "a", "resources": {"requests": {"cpu": "4"}}});
    assert_eq!(place(|_| {}, spec(init.clone())), "node-a");
    let mut sidecar = init;
    sidecar["restartPolicy"] = "Always".into();
    assert_eq!(place(|_| {}, spec(sidecar)), "0/1 nodes are available: 1 Insufficient cpu.");
}

#[test]
fn labels_taints_cordons_and_readiness_keep_pods_away() {
    let check = |prepare: &dyn Fn(&mut Sim), spec: Value, expect: &str| {
        assert_eq!(place(|sim| prepare(sim), spec), expect);
    };
    let edit = |change: Value| move |sim: &mut Sim| sim.edit("Node", "node-a", |node| merge(node, &change));
    let none = "0/1 nodes are available: 1 node(s) ";
    check(
        &|_| {},
        json!({"nodeSelector": {"disk": "ssd"}}),
        &format!("{none}didn't match Pod's node affinity/selector."),
    );
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-a"]},
        {"key": "gpu", "operator": "DoesNotExist"}]}]});
    let affinity =
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}});
    check(&|_| {}, affinity, "node-a");
    let taint = json!({"spec": {"taints": [{"key": "db", "value": "only", "effect": "NoSchedule"}]}});
    check(&edit(taint.clone()), json!({}), &format!("{none}had untolerated taint {{db: only}}."));
    let tolerant = json!({"tolerations": [{"key": "db", "operator": "Equal", "value": "only"}]});
    check(&edit(taint), tolerant, "node-a");
    let cordoned = json!({"spec": {"unschedulable": true}});
    check(&edit(cordoned), json!({}), &format!("{none}were unschedulable."));
    let dead = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    check(
        &edit(dead),
        json!({}),
        &format!("{none}had untolerated taint {{node.kubernetes.io/unreachable: }}."),
    );
}

fn merge(into: &mut Value, change: &Value) {
    for (part, fields) in change.as_object().into_iter().flatten() {
        for (field, value) in fields.as_object().into_iter().flatten() {
            into[part][field] = value.clone();
        }
    }
}

fn on_port(port: Value) -> Value {
    json!({"containers": [{"name": "main", "image": "a", "ports": [port]}]})
}

fn port(ip: &str, protocol: &str, number: u32) -> Value {
    json!({"containerPort": 80, "hostPort": number, "hostIP": ip, "protocol": protocol})
}

#[test]
fn a_host_port_is_given_once() {
    let check = |held: Value, wanted: Value, expect: &str| {
        let taken = |sim: &mut Sim| drop(sim.make(pod("first", on_port(held.clone()))));
        assert_eq!(place(taken, on_port(wanted.clone())), expect, "{held} and then {wanted}");
    };
    let none = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    let any = port("", "TCP", 8080);
    check(json!({"containerPort": 80, "hostPort": 8080}), any.clone(), none);
    check(any.clone(), port("10.0.0.1", "TCP", 8080), none);
    check(port("10.0.0.1", "TCP", 8080), port("0.0.0.0", "TCP", 8080), none);
    check(port("10.0.0.1", "TCP", 8080), port("10.0.0.1", "TCP", 8080), none);
    check(port("10.0.0.1", "TCP", 8080), port("10.0.0.2", "TCP", 8080), "node-a");
    check(any.clone(), port("", "UDP", 8080), "node-a");
    check(any.clone(), port("", "TCP", 8081), "node-a");
    check(any, json!({"containerPort": 8080}), "node-a");
}

#[test]
fn a_sidecar_s_host_port_counts_and_an_init_container_s_does_not() {
    let init = |policy: &str| {
        let mut container = on_port(json!({"containerPort": 80, "hostPort": 8080}))["containers"][0].take();
        container["name"] = "init".into();
        if !policy.is_empty() {
            container["restartPolicy"] = policy.into();
        }
        json!({"initContainers": [container], "containers": [{"name": "main", "image": "a"}]})
    };
    let wanted = on_port(json!({"containerPort": 80, "hostPort": 8080}));
    let after = |policy: &str| place(|sim| drop(sim.make(pod("first", init(policy)))), wanted.clone());
    assert_eq!(after(""), "node-a");
    assert_ne!(after("Always"), "node-a");
}

/// What a node says to a pod that was bound to it beside one that it has: nothing, or its reason and message.
fn admitted(held: Value, asked: Value, change: impl FnOnce(&mut Value)) -> String {
    let typed = |name, spec| serde_json::from_value::<Pod>(pod(name, spec)).expect("a pod");
    let mut object = node("node-a", json!({"disk": "ssd"}));
    change(&mut object);
    let node: Node = serde_json::from_value(object).expect("a node");
    match admit(&node, [&typed("held", held)], &typed("asked", asked)) {
        Ok(()) => String::new(),
        Err(Rejection { reason, message }) => format!("{reason}: {message}"),
    }
}

#[test]
fn a_node_looks_for_itself_at_what_is_bound_to_it() {
    let check = |held, asked, expect: &str| assert_eq!(admitted(held, asked, |_| {}), expect);
    let port = || on_port(json!({"containerPort": 80, "hostPort": 8080}));
    check(json!({}), port(), "");
    check(
        port(),
        port(),
        "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    );
    check(
        json!({}),
        json!({"nodeSelector": {"disk": "hdd"}}),
        "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    );
    check(json!({}), json!({"nodeSelector": {"disk": "ssd"}}), "");
    check(
        asking(json!({"cpu": "3"})),
        asking(json!({"cpu": "1500m"})),
        "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 3000, capacity: 4000",
    );
    check(
        json!({}),
        asking(json!({"memory": "9Gi"})),
        "OutOfmemory: Node didn't have enough resource: memory, requested: 9663676416, used: 0, \
         capacity: 8589934592",
    );
    check(json!({}), asking(json!({"example.com/gpu": "1"})), "");
    let full = |node: &mut Value| node["status"]["allocatable"]["pods"] = "1".into();
    assert_eq!(
        admitted(json!({}), json!({}), full),
        "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 1, capacity: 1"
    );
}

#[test]
fn a_cordon_does_not_keep_a_node_from_taking_what_is_bound_to_it_but_a_taint_that_evicts_does() {
    let taint = |effect: &'static str| {
        move |node: &mut Value| {
            node["spec"] = json!({"unschedulable": true, "taints": [{"key": "db", "effect": effect}]});
        }
    };
    assert_eq!(admitted(json!({}), json!({}), taint("NoSchedule")), "");
    assert_eq!(
        admitted(json!({}), json!({}), taint("NoExecute")),
        "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    );
}

#[test]
fn a_missing_claim_is_named_and_the_pod_goes_on_when_it_comes() {
    let mut sim = Sim::new();
    let volumes = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
    sim.make(pod("app", volumes));
    sim.settle();
    let expect = "0/1 nodes are available: persistentvolumeclaim \"data\" not found.";
    assert_eq!(placed(&sim, "app"), expect);
    sim.make(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}));
    sim.settle();
    assert_eq!(placed(&sim, "app"), "node-a");
}

#[test]
fn a_refusal_is_told_once_and_again_only_when_it_changes() {
    let mut sim = Sim::new();
    sim.make(pod("app", asking(json!({"cpu": "5"}))));
    sim.settle();
    sim.edit("Node", "node-a", |node| node["metadata"]["labels"]["touched"] = "yes".into());
    sim.settle();
    let told = |sim: &Sim| sim.events.iter().filter(|e| e.starts_with("FailedScheduling")).count();
    assert_eq!(told(&sim), 1);
    sim.make(node("node-b", json!({})));
    sim.settle();
    assert_eq!(told(&sim), 2);
    sim.edit("Node", "node-b", |node| node["status"]["allocatable"]["cpu"] = "8".into());
    sim.settle();
    assert_eq!(placed(&sim, "app"), "node-b");
}

#[test]
fn a_node_that_was_chosen_for_a_volume_stays_chosen() {
    let mut sim = Sim::new();
    sim.make(node("node-b", json!({"kubernetes.io/hostname": "node-b"})));
    sim.make(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default",
                     "annotations": {"volume.kubernetes.io/selected-node": "node-b"}},
        "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}}));
    let mut busy = pod("busy", asking(json!({"cpu": "2"})));
    busy["spec"]["nodeName"] = "node-b".into();
    sim.make(busy);
    sim.make(pod("app", json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]})));
    sim.settle();
    let claim = sim.get("PersistentVolumeClaim", "default", "data").expect("the claim");
    assert_eq!(claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"], "node-b");
}

#[test]
fn a_node_without_volumes_for_two_claims_is_counted_once() {
    let by_hand = |sim: &mut Sim| {
        sim.edit("StorageClass", "local", |class| {
            class["provisioner"] = "kubernetes.io/no-provisioner".into();
        });
        for name in ["data", "logs"] {
            sim.make(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}}));
        }
    };
    let volumes = ["data", "logs"].map(|n| json!({"name": n, "persistentVolumeClaim": {"claimName": n}}));
    let expect = "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.";
    assert_eq!(place(by_hand, json!({"volumes": volumes})), expect);
}
