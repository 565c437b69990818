//! Pods and sets that go, and what keeps them.

use serde_json::json;

use super::{after, go_on, moment, warning, why, why_with};
use crate::sim::Sim;

/// The set's only pod, told at second 0 to stop within 30 seconds.
fn terminating(options: &str) -> Sim {
    let mut sim = after(&format!("set replicas=1 {options}\n ready web-0\n delete web-0"));
    sim.edit("Pod", "web-0", |pod| {
        pod["metadata"]["deletionTimestamp"] = moment(30).into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    sim.settle();
    sim
}

#[test]
fn a_pod_may_use_its_grace_period() {
    let mut sim = terminating("");
    sim.tick(9);
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is gone, which is terminating (waiting for 9s)
    └ pod/web-0 is terminating; it has 22 of 30 s left to stop by itself
    "#);
    sim.tick(33);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is terminating; its grace period of 30 s ended 12s ago
    "#);
    let failed = warning(
        "Pod/web-0",
        30,
        "FailedPreStopHook",
        "PreStopHook failed: container web: command exited with 1",
    );
    insta::assert_snapshot!(why_with(&sim, "pod/web-0", json!([failed])), @r#"
    pod/web-0 is terminating; its grace period of 30 s ended 12s ago
    └ its node reports FailedPreStopHook
        PreStopHook failed: container web: command exited with 1
    "#);
}

#[test]
fn a_finalizer_is_named() {
    let mut sim = terminating("");
    sim.edit("Pod", "web-0", |pod| pod["metadata"]["finalizers"] = json!(["example.com/backup"]));
    sim.settle();
    sim.tick(40);
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is gone, which is terminating (waiting for 40s)
    └ pod/web-0 is terminating; its grace period of 30 s ended 10s ago
      └ finalizers hold it: example.com/backup
        → whoever set them must take them off; if nobody does any more, remove them (stead edit, metadata.finalizers)
    "#);
}

#[test]
fn a_node_that_is_silent_cannot_say_that_a_pod_is_gone() {
    let mut sim = terminating("");
    sim.edit("Node", "node-a", |node| {
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.", "lastTransitionTime": moment(0)}]);
    });
    sim.tick(60);
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is gone, which is terminating (waiting for 60s)
    └ pod/web-0 is terminating; its grace period of 30 s ended 30s ago
      └ only its node can say that its processes are gone
        └ node/node-a, which has 1 pod, is not as it should be
          └ it has not been Ready for 60s (NodeStatusUnknown)
              Kubelet stopped posting node status.
            → start stead there, if it does not run: stead up
        → when you are sure that the machine of node node-a is off, give all its pods up: kubectl taint node node-a node.kubernetes.io/out-of-service=nodeshutdown:NoExecute
    "#);
    sim.remove("Node", "node-a", &[]);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is terminating; its grace period of 30 s ended 30s ago
    └ only its node can say that its processes are gone
      └ node/node-a is not registered
        → start stead there: stead up --node-name node-a
      → when you are sure that node node-a is off for good: stead delete pod web-0 --force --grace-period=0
    "#);
}

#[test]
fn a_pod_that_runs_on_a_silent_node_is_not_said_to_be_well() {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.edit("Node", "node-a", |node| {
        node["status"]["conditions"][0] = json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
            "lastTransitionTime": moment(0)});
    });
    sim.tick(5);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is on node node-a, which says nothing of it
    └ node/node-a, which has 1 pod, is not as it should be
      └ it has not been Ready for 5s (NodeStatusUnknown)
        → start stead there, if it does not run: stead up
    "#);
}

#[test]
fn a_claim_that_is_being_deleted_holds_its_pod_up() {
    let script =
        "set replicas=1 claims\n ready web-0\n delete-claim data-web-0\n delete web-0\n finish web-0";
    insta::assert_snapshot!(why(&after(script), "sts/web"), @r#"
    statefulset/web: web-0 is made once its old claim data-web-0 is gone, which is being deleted
    └ claim/data-web-0 is being deleted
      └ finalizers hold it: example.com/backup
        → whoever set them must take them off; if nobody does any more, remove them (stead edit, metadata.finalizers)
    "#);
}

#[test]
fn a_scale_down_waits_for_those_that_stay() {
    let mut sim = after("set replicas=2\n ready web-0\n ready web-1\n unready web-0\n replicas 1");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is Ready
    └ pod/web-0 is being started by node node-a
    statefulset/web: web-1 goes once web-0, which stays, is available
    "#);
    go_on(&mut sim, "ready web-0");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-1 is gone, which is terminating
    └ pod/web-1 is terminating and was to stop at once, less than a second ago
    "#);
}

#[test]
fn a_set_goes_after_its_pods_in_the_foreground() {
    let sim = after("set replicas=1\n ready web-0\n delete-set foregroundDeletion");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web is being deleted: its pods go with it, and its claims only where the retention policy says so
    statefulset/web goes once pod/web-0, which it owns, is gone
    └ pod/web-0 is terminating and was to stop at once, less than a second ago
    "#);
}

#[test]
fn pods_stay_behind_as_orphans() {
    let mut sim = after("set replicas=1\n ready web-0\n delete-set orphan");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web does not exist in namespace default
    → check the name and the namespace (-n)
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is Running and Ready for less than a second
    "#);
    go_on(&mut sim, "set replicas=1");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits for nothing: its pod is available
    "#);
}

#[test]
fn a_set_that_somebody_holds_names_who() {
    let sim = after("set replicas=0\n delete-set example.com/audit");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web is being deleted: its pods go with it, and its claims only where the retention policy says so
    └ finalizers hold it: example.com/audit
      → whoever set them must take them off; if nobody does any more, remove them (stead edit, metadata.finalizers)
    "#);
}

#[test]
fn a_namespace_goes_after_what_is_in_it_and_takes_the_set_along() {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.remove("Namespace", "default", &[]);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "ns/default"), @r#"
    namespace/default goes once pod/web-0 in it is gone
    └ pod/web-0 is terminating and was to stop at once, less than a second ago
    "#);
    let mut sim = after("set replicas=1\n ready web-0");
    sim.edit("Pod", "web-0", |pod| pod["metadata"]["finalizers"] = json!(["example.com/backup"]));
    sim.edit("StatefulSet", "web", |set| set["metadata"]["finalizers"] = json!(["example.com/audit"]));
    sim.remove("Namespace", "default", &[]);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web is being deleted: its pods go with it, and its claims only where the retention policy says so
    └ its namespace default is being deleted
    └ finalizers hold it: example.com/audit
      → whoever set them must take them off; if nobody does any more, remove them (stead edit, metadata.finalizers)
    "#);
}
