//! Pods that no node takes, and nodes.

use serde_json::{Value, json};

use super::{after, moment, why};
use crate::sim::Sim;

/// A pod that asks for this, beside a set of one.
fn pod_with(spec: Value) -> Sim {
    with_pod(after("set replicas=1\n ready web-0"), spec)
}

fn with_pod(mut sim: Sim, spec: Value) -> Sim {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big", "namespace": "default"},
        "spec": {"containers": [{"name": "main"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    sim.make(pod);
    sim.settle();
    sim
}

#[test]
fn memory_and_processors_are_told_in_numbers() {
    let asks =
        |requests: Value| json!({"containers": [{"name": "main", "resources": {"requests": requests}}]});
    let mut sim = pod_with(asks(json!({"memory": "9Gi"})));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/1 nodes are available
    └ it asks for memory 9Gi, and node/node-a has 8Gi for all pods together
      → lower the containers' resources.requests, or add a larger node
    "#);
    sim.remove("Pod", "big", &[]);
    sim.make(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": "default"},
        "spec": asks(json!({"cpu": "2500m"}))}),
    );
    sim.settle();
    let sim = with_pod(sim, asks(json!({"cpu": "2"})));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/1 nodes are available
    └ it asks for cpu 2; of the 4 of node/node-a other pods ask for 2500m
      → lower resources.requests of this pod or of others, or remove pods that are not needed
    "#);
}

#[test]
fn a_node_that_is_full_of_pods() {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.edit("Node", "node-a", |node| node["status"]["allocatable"]["pods"] = "1".into());
    let sim = with_pod(sim, json!({}));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/1 nodes are available
    └ node/node-a has as many pods as it can: 1
      → delete pods that are not needed, or add a node
    "#);
}

#[test]
fn a_label_that_no_node_has() {
    let sim = pod_with(json!({"nodeSelector": {"disk": "ssd"}}));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/1 nodes are available
    └ node/node-a lacks the label disk=ssd, which spec.nodeSelector wants
      → change spec.nodeSelector, or: stead label node node-a disk=ssd
    "#);
    let term = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]});
    let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
    let sim = pod_with(json!({"affinity": {"nodeAffinity": affinity}}));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/1 nodes are available
    └ node/node-a is not one that spec.affinity.nodeAffinity means
      → compare it with the node's labels: stead get node node-a --show-labels
    "#);
}

#[test]
fn a_cordon_and_a_taint_can_be_taken_off() {
    let mut sim = pod_with(json!({"nodeSelector": {"kubernetes.io/hostname": "node-b"}}));
    sim.make(json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-b", "labels": {"kubernetes.io/hostname": "node-b"}},
        "spec": {"unschedulable": true},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/2 nodes are available
    └ node/node-a lacks the label kubernetes.io/hostname=node-b, which spec.nodeSelector wants
      → change spec.nodeSelector, or: stead label node node-a kubernetes.io/hostname=node-b
    └ node/node-b takes no new pods (spec.unschedulable)
      → let it take pods again: stead patch node node-b -p '{"spec":{"unschedulable":false}}'
    "#);
    sim.edit("Node", "node-b", |node| {
        node["spec"] = json!({"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]});
    });
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/2 nodes are available
    └ node/node-a lacks the label kubernetes.io/hostname=node-b, which spec.nodeSelector wants
      → change spec.nodeSelector, or: stead label node node-a kubernetes.io/hostname=node-b
    └ node/node-b has the taint dedicated=db:NoSchedule, which the pod does not tolerate
      → give the pod a toleration of it (spec.tolerations), or take it off: stead edit node node-b
    "#);
}

#[test]
fn a_host_port_says_who_has_it() {
    let port = json!({"containers": [{"name": "main", "ports": [{"containerPort": 80, "hostPort": 8080}]}]});
    let mut sim = after("set replicas=1\n ready web-0");
    sim.make(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "namespace": "default"}, "spec": port}));
    sim.settle();
    let mut sim = with_pod(sim, port);
    let told = why(&sim, "pod/big");
    insta::assert_snapshot!(told, @r#"
    pod/big has no node: 0/1 nodes are available
    └ on node/node-a the host port 8080 that it wants is taken by pod/first
      → change containers[].ports[].hostPort, or leave it out
    "#);
    sim.remove("Pod", "big", &[]);
    let ports = json!([{"containerPort": 81, "hostPort": 8081}, {"containerPort": 80, "hostPort": 8080}]);
    let sidecar = json!({"initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": ports}]});
    assert_eq!(
        why(&with_pod(sim, sidecar), "pod/big"),
        told,
        "of a sidecar, and of two the one that is taken"
    );
}

#[test]
fn no_node_at_all() {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.remove("Node", "node-a", &[]);
    let sim = with_pod(sim, json!({}));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: no nodes available to schedule pods
    → start a node: stead up without --no-node
    "#);
}

#[test]
fn a_volume_keeps_its_pod_on_its_node() {
    let mut sim = after("set replicas=1 claims\n ready web-0");
    sim.make(json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-b", "labels": {"kubernetes.io/hostname": "node-b"}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
    sim.edit("Node", "node-a", |node| node["spec"]["unschedulable"] = true.into());
    super::go_on(&mut sim, "delete web-0\n finish web-0");
    let volume = sim.names("PersistentVolume")[0].clone();
    insta::assert_snapshot!(why(&sim, "pod/web-0").replace(&volume, "VOLUME"), @r#"
    pod/web-0 has no node: 0/2 nodes are available
    └ node/node-a takes no new pods (spec.unschedulable)
      → let it take pods again: stead patch node node-a -p '{"spec":{"unschedulable":false}}'
    └ claim/data-web-0 has its volume VOLUME on node node-a, and not on node-b
      → the pod can only run where its data is: let node node-a take it
    "#);
}

#[test]
fn a_volume_by_hand_that_is_on_no_node_that_would_do() {
    let mut sim = super::with_service();
    sim.edit("StorageClass", "local", |class| class["provisioner"] = "kubernetes.io/no-provisioner".into());
    let node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-b"]});
    sim.make(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk-b"},
        "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}}}}));
    super::go_on(&mut sim, "set replicas=1 claims");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is Ready
    └ pod/web-0 has no node: 0/1 nodes are available
      └ claim/data-web-0 finds no volume on node/node-a
        └ volume disk-b cannot be reached from node node-a
        → create a PersistentVolume that fits, or name a storageClassName that makes volumes
    "#);
}

#[test]
fn another_scheduler_and_gates_are_somebody_elses() {
    let sim = pod_with(json!({"schedulerName": "volcano"}));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big waits for the scheduler volcano, which is not this one
    → remove spec.schedulerName, or run volcano
    "#);
    let sim = pod_with(json!({"schedulingGates": [{"name": "example.com/quota"}]}));
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: scheduling gates must be removed first: example.com/quota
    → whoever set the gates must take them off
    "#);
}

#[test]
fn nodes_say_whether_they_can_be_used() {
    let mut sim = after("set replicas=1");
    insta::assert_snapshot!(why(&sim, "node/node-a"), @"node/node-a is Ready and has 1 pod");
    sim.edit("Node", "node-a", |node| {
        node["spec"]["unschedulable"] = json!(true);
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.", "lastTransitionTime": moment(0)}]);
    });
    sim.tick(90);
    insta::assert_snapshot!(why(&sim, "node/node-a"), @r#"
    node/node-a, which has 1 pod, is not as it should be
    └ it has not been Ready for 90s (NodeStatusUnknown)
        Kubelet stopped posting node status.
      → start stead there, if it does not run: stead up
    └ it takes no new pods (spec.unschedulable)
      → let it take pods again: stead patch node node-a -p '{"spec":{"unschedulable":false}}'
    "#);
    insta::assert_snapshot!(why(&sim, "node/node-z"), @r#"
    node/node-z is not registered
    → start stead there: stead up --node-name node-z
    "#);
}

/// A set of one on node-a, which falls silent beside node-b, which is well.
fn on_a_silent_node() -> Sim {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 300}]);
    });
    sim.make(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-b"},
        "spec": {"taints": [{"key": "only", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
    sim.settle();
    sim.silent.insert("node-a".to_owned());
    sim.tick(50);
    sim.settle();
    sim
}

#[test]
fn a_lost_node_says_what_becomes_of_its_pods_and_how_to_give_them_up() {
    let mut sim = on_a_silent_node();
    sim.tick(60);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is on node node-a, which says nothing of it
    └ node/node-a, which has 1 pod, is not as it should be
      └ it has not been Ready for 60s (NodeStatusUnknown)
          Kubelet stopped posting node status.
        → start stead there, if it does not run: stead up
    └ it is evicted in 4m unless node node-a loses the taint node.kubernetes.io/unreachable
      → to let it stay for longer, or for ever, give its template a toleration (spec.tolerations)
    "#);
    sim.tick(300);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is terminating and was to stop at once, less than a second ago
    └ only its node can say that its processes are gone
      └ node/node-a, which has 1 pod, is not as it should be
        └ it has not been Ready for 6m (NodeStatusUnknown)
            Kubelet stopped posting node status.
          → start stead there, if it does not run: stead up
      → when you are sure that the machine of node node-a is off, give all its pods up: kubectl taint node node-a node.kubernetes.io/out-of-service=nodeshutdown:NoExecute
    "#);
    insta::assert_snapshot!(why(&sim, "node/node-a"), @r#"
    node/node-a, which has 1 pod, is not as it should be
    └ it has not been Ready for 6m (NodeStatusUnknown)
        Kubelet stopped posting node status.
      → start stead there, if it does not run: stead up
    node/node-a does not say whether processes are gone: 1 pod to go
    → when you are sure that the machine of node node-a is off, give all its pods up: kubectl taint node node-a node.kubernetes.io/out-of-service=nodeshutdown:NoExecute
    "#);
    sim.edit("Node", "node-a", |node| {
        let taint = json!({"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"});
        node["spec"]["taints"].as_array_mut().expect("taints").push(taint);
    });
    sim.settle();
    insta::assert_snapshot!(why(&sim, "node/node-a"), @r#"
    node/node-a, which has 0 pods, is not as it should be
    └ it has not been Ready for 6m (NodeStatusUnknown)
        Kubelet stopped posting node status.
      → start stead there, if it does not run: stead up
    └ somebody has said that its machine is off (node.kubernetes.io/out-of-service): its pods are given up
      → take the taint off before the machine runs pods again: kubectl taint node node-a node.kubernetes.io/out-of-service-
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 has no node: 0/2 nodes are available
    └ node/node-a, which has 0 pods, is not as it should be
      └ it has not been Ready for 6m (NodeStatusUnknown)
          Kubelet stopped posting node status.
        → start stead there, if it does not run: stead up
      └ somebody has said that its machine is off (node.kubernetes.io/out-of-service): its pods are given up
        → take the taint off before the machine runs pods again: kubectl taint node node-a node.kubernetes.io/out-of-service-
    └ node/node-b has the taint only:NoSchedule, which the pod does not tolerate
      → give the pod a toleration of it (spec.tolerations), or take it off: stead edit node node-b
    "#);
}

#[test]
fn a_taint_by_hand_that_drives_pods_out_is_told_with_the_pods_that_stay_for_a_while() {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["tolerations"] =
            json!([{"key": "repair", "operator": "Exists", "tolerationSeconds": 600}]);
    });
    sim.edit("Node", "node-a", |node| {
        node["spec"]["taints"] = json!([{"key": "repair", "effect": "NoExecute"}]);
    });
    sim.settle();
    insta::assert_snapshot!(why(&sim, "node/node-a"), @r#"
    node/node-a, which has 1 pod, is not as it should be
    └ it has the taint repair:NoExecute: pods that do not tolerate it are deleted
      → to let them be there: kubectl taint node node-a repair:NoExecute-
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 may not stay on node node-a
    └ it is evicted in 10m unless node node-a loses the taint repair
      → to let it stay for longer, or for ever, give its template a toleration (spec.tolerations)
    "#);
}

#[test]
fn a_pod_that_does_not_get_the_resources_it_asks_for_says_so_while_it_is_ready() {
    let mut sim = after("set replicas=1\n ready web-0");
    let mut told = |reason: &str, message: &str| {
        sim.edit("Pod", "web-0", |pod| {
            let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|c| c["type"] != "PodResizePending");
            conditions.push(
                json!({"type": "PodResizePending", "status": "True", "reason": reason, "message": message}),
            );
        });
        why(&sim, "pod/web-0")
    };
    let message = "Node didn't have enough capacity: cpu, requested: 9000, capacity: 4000";
    insta::assert_snapshot!(told("Infeasible", message), @r#"
    pod/web-0 is Running and Ready, with the resources that it had before it was resized
      Node didn't have enough capacity: cpu, requested: 9000, capacity: 4000
    → lower the containers' resources.requests; the node has no more than that
    "#);
    let message = "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000";
    insta::assert_snapshot!(told("Deferred", message), @r#"
    pod/web-0 is Running and Ready, with the resources that it had before it was resized
      Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000
    → it gets them when others let go of them: lower resources.requests of this pod or of others, or remove pods that are not needed
    "#);
}
