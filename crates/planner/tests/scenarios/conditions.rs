//! The conditions of a set: what `kubectl wait` waits for, and who has to help.

use serde_json::{Value, json};

use crate::script;
use crate::sim::Sim;

/// A cluster after each line of a script about the set `web`.
fn after(script: &str) -> Sim {
    let mut sim = Sim::new();
    go_on(&mut sim, script);
    sim
}

fn go_on(sim: &mut Sim, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        script::perform(sim, line);
        sim.settle();
    }
}

/// `Type=Status Reason message`, a line each.
fn conditions(sim: &Sim) -> String {
    let set = sim.get("StatefulSet", "default", "web").expect("the set");
    let line = |held: &Value| {
        let said = |field: &str| held[field].as_str().unwrap_or_default();
        format!("{}={} {} {}", said("type"), said("status"), said("reason"), said("message"))
            .trim_end()
            .to_owned()
    };
    let held = set["status"]["conditions"].as_array().into_iter().flatten();
    held.map(line).collect::<Vec<_>>().join("\n")
}

/// The events that say that the set is stalled.
fn alarms(sim: &Sim) -> Vec<&str> {
    sim.events.iter().filter_map(|event| event.strip_prefix("Stalled ")).collect()
}

fn waiting(sim: &mut Sim, pod: &str, reason: &str, message: &str, restarts: i32) {
    sim.pod_status(
        pod,
        &json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "web", "image": "web:1", "imageID": "", "ready": false,
                "restartCount": restarts, "state": {"waiting": {"reason": reason, "message": message}}}]}),
    );
    sim.settle();
}

#[test]
fn a_set_that_comes_up_is_progressing_until_it_is_available() {
    let mut sim = after("set replicas=2");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 0 of 2 replicas are available
    Progressing=True ScalingUp web-1 waits until web-0 is Ready
    Stalled=False NotStalled
    "#);
    go_on(&mut sim, "ready web-0");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 1 of 2 replicas are available
    Progressing=True WaitingForPods statefulset/web waits until web-1 is Ready
    Stalled=False NotStalled
    "#);
    go_on(&mut sim, "ready web-1");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=True AllReplicasAvailable 2 of 2 replicas are available
    Progressing=False Complete
    Stalled=False NotStalled
    "#);
    go_on(&mut sim, "replicas 1");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=True AllReplicasAvailable 1 of 1 replicas are available
    Progressing=True ScalingDown statefulset/web waits until web-1 is gone, which is terminating
    Stalled=False NotStalled
    "#);
    go_on(&mut sim, "finish web-1\n image web:2");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 0 of 1 replicas are available
    Progressing=True RollingOut statefulset/web waits until web-0 is gone, which is terminating
    Stalled=False NotStalled
    "#);
}

#[test]
fn a_bad_rollout_stalls_with_a_reason_and_a_good_one_heals_it_without_anybodys_hand() {
    let mut sim = after("set replicas=2\n ready web-0\n ready web-1\n image web:typo\n finish web-1");
    waiting(&mut sim, "web-1", "ErrImagePull", "web:typo: not found", 0);
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 1 of 2 replicas are available
    Progressing=False Stalled web-1 is not Ready: ErrImagePull: web:typo: not found
    Stalled=True ErrImagePull web-1 is not Ready: ErrImagePull: web:typo: not found
    "#);
    waiting(&mut sim, "web-1", "ImagePullBackOff", "back-off pulling web:typo", 0);
    assert_eq!(alarms(&sim), ["web-1 is not Ready: ErrImagePull: web:typo: not found"], "told once");
    sim.log.clear();
    go_on(&mut sim, "image web:2");
    assert_eq!(sim.log, ["create revision r3", "delete pod/web-1"], "web-0, which is of use, stays");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 1 of 2 replicas are available
    Progressing=True RollingOut statefulset/web waits until web-1 is gone, which is terminating
    Stalled=False NotStalled
    "#);
    go_on(&mut sim, "finish web-1\n ready web-1\n finish web-0\n ready web-0");
    assert!(conditions(&sim).contains("Progressing=False Complete"));
}

#[test]
fn between_two_crashes_a_set_stays_stalled_and_is_told_of_once() {
    let mut sim = after("set replicas=1");
    waiting(&mut sim, "web-0", "CrashLoopBackOff", "back-off 10s", 2);
    sim.pod_status(
        "web-0",
        &json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "web", "image": "web:1", "imageID": "", "ready": false,
                "restartCount": 3, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}),
    );
    sim.settle();
    assert!(conditions(&sim).contains("Stalled=True CrashLoopBackOff"), "{}", conditions(&sim));
    waiting(&mut sim, "web-0", "CrashLoopBackOff", "back-off 20s", 3);
    assert_eq!(alarms(&sim).len(), 1);
    go_on(&mut sim, "ready web-0");
    assert!(conditions(&sim).contains("Stalled=False NotStalled"));
}

#[test]
fn whatever_takes_longer_than_ten_minutes_is_stalled() {
    let mut sim = after("set replicas=2\n ready web-0");
    go_on(&mut sim, "tick 599");
    assert!(conditions(&sim).contains("Stalled=False"));
    go_on(&mut sim, "tick 1");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 1 of 2 replicas are available
    Progressing=False Stalled statefulset/web waits until web-1 is Ready (for more than 10 minutes)
    Stalled=True ProgressDeadlineExceeded statefulset/web waits until web-1 is Ready (for more than 10 minutes)
    "#);
    let mut sim = after("set replicas=1\n ready web-0\n delete web-0\n tick 600");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 0 of 1 replicas are available
    Progressing=False Stalled statefulset/web waits until web-0 is gone, which is terminating (for more than 10 minutes)
    Stalled=True ProgressDeadlineExceeded statefulset/web waits until web-0 is gone, which is terminating (for more than 10 minutes)
    "#);
    go_on(&mut sim, "finish web-0\n ready web-0");
    assert!(conditions(&sim).contains("Stalled=False"));
}

#[test]
fn a_pod_that_no_node_takes_stalls_its_set_after_a_little_patience() {
    let mut sim = after("set replicas=1");
    sim.edit("StatefulSet", "web", |set| {
        set["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "fast"});
    });
    sim.settle();
    go_on(&mut sim, "delete web-0\n finish web-0\n tick 4");
    assert!(conditions(&sim).contains("Stalled=False"), "{}", conditions(&sim));
    go_on(&mut sim, "tick 1");
    assert!(conditions(&sim).contains("Stalled=True Unschedulable"), "{}", conditions(&sim));
}

#[test]
fn a_name_that_a_foreign_pod_holds_stalls_the_set() {
    let sim = after("foreign web-0\n set replicas=1");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=False ReplicasUnavailable 0 of 1 replicas are available
    Progressing=False Stalled web-0 cannot be made: a pod of that name exists and is not the set's; delete it
    Stalled=True NameHeldByForeignPod web-0 cannot be made: a pod of that name exists and is not the set's; delete it
    "#);
}

#[test]
fn what_is_held_on_purpose_neither_progresses_nor_stalls() {
    let mut sim = after("set replicas=1 partition=1\n ready web-0\n image web:2\n tick 3600");
    insta::assert_snapshot!(conditions(&sim), @r#"
    Available=True AllReplicasAvailable 1 of 1 replicas are available
    Progressing=False PartitionHolds the partition (1) keeps 1 of 1 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
    Stalled=False NotStalled
    "#);
    go_on(&mut sim, "pause\n partition 0");
    assert!(conditions(&sim).contains("Progressing=False Paused"), "{}", conditions(&sim));
}

#[test]
fn conditions_of_others_stay_and_a_transition_is_dated_once() {
    let mut sim = after("set replicas=2");
    sim.edit("StatefulSet", "web", |set| {
        let held = set["status"]["conditions"].as_array_mut().expect("conditions");
        held.insert(0, json!({"type": "BackedUp", "status": "True", "reason": "Nightly"}));
    });
    sim.settle();
    let dated = |sim: &Sim, kind: &str| {
        let set = sim.get("StatefulSet", "default", "web").expect("the set");
        let held = set["status"]["conditions"].as_array().expect("conditions");
        let found = held.iter().find(|held| held["type"] == kind).expect("the condition");
        found["lastTransitionTime"].as_str().map(str::to_owned)
    };
    let began = dated(&sim, "Available");
    go_on(&mut sim, "tick 5\n ready web-0");
    assert_eq!(dated(&sim, "Available"), began, "still not available");
    go_on(&mut sim, "tick 5\n ready web-1");
    assert_eq!(dated(&sim, "Available").as_deref(), Some("2026-01-01T00:00:10Z"));
    assert!(conditions(&sim).starts_with("BackedUp=True Nightly\n"), "{}", conditions(&sim));
}
