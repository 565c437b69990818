//! stead ends at the worst moment and begins again.

use serde_json::json;

use crate::machine::{Machine, Verb, is_ready, restarts};

#[test]
fn what_runs_is_taken_over_and_not_touched() {
    let mut machine = Machine::start();
    let uid = machine.create("db-0", &json!({}));
    let before = machine.ready("db-0");
    machine.crash();
    machine.up();
    // A pod that comes after it has been seen to.
    machine.create("later", &json!({}));
    machine.ready("later");
    assert_eq!(machine.pod("db-0").status, before.status);
    assert_eq!(machine.containers(&uid), ["main.0"]);
    assert!(machine.runtime.fake.signals().is_empty());
}

#[test]
fn what_cannot_be_seen_is_not_started_a_second_time() {
    let mut machine = Machine::start();
    let uid = machine.create("db-0", &json!({}));
    machine.ready("db-0");
    machine.crash();
    machine.runtime.fail(Some(Verb::Containers));
    machine.up();
    let failures = machine.runtime.failures();
    machine.runtime_until(|runtime| runtime.failures() > failures + 2);
    assert_eq!(machine.containers(&uid), ["main.0"]);
    machine.runtime.fail(None);
    machine.create("later", &json!({}));
    machine.ready("later");
    machine.ready("db-0");
    assert_eq!((machine.containers(&uid), restarts(&machine.pod("db-0"))), (vec!["main.0".to_owned()], 0));
}

#[test]
fn a_sandbox_that_was_just_made_is_completed() {
    let mut machine = Machine::start();
    machine.runtime.fail(Some(Verb::AfterRunPodSandbox));
    let uid = machine.create("db-0", &json!({}));
    machine.runtime_until(|runtime| runtime.failures() > 0);
    machine.crash();
    machine.runtime.fail(None);
    machine.up();
    machine.ready("db-0");
    assert!(machine.has_files(&uid, "etc/resolv.conf"), "what is mounted into every container");
}

#[test]
fn a_container_that_was_made_and_never_started_is_made_anew_and_has_not_restarted() {
    let mut machine = Machine::start();
    machine.runtime.fail(Some(Verb::StartContainer));
    let uid = machine.create("db-0", &json!({}));
    machine.runtime_until(|runtime| runtime.failures() > 0);
    assert_eq!(machine.containers(&uid), ["main.0"], "made, and waiting at the gate");
    machine.crash();
    machine.runtime.fail(None);
    machine.up();
    assert_eq!(restarts(&machine.ready("db-0")), 0);
    assert_eq!(machine.containers(&uid), ["main.0"]);
}

#[test]
fn a_machine_that_was_down_starts_its_pods_again_under_the_same_names() {
    let mut machine = Machine::start();
    let uid = machine.create("db-0", &json!({}));
    machine.ready("db-0");
    machine.crash();
    machine.runtime.fake.kill_sandbox(&uid);
    machine.up();
    let pod = machine.pod_until("db-0", |pod| restarts(pod) == 1);
    assert_eq!(pod.metadata.uid.as_deref(), Some(uid.as_str()));
    let status = pod.status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 137);
    assert_eq!(machine.containers(&uid), ["main.1"]);
}

#[test]
fn a_successor_waits_for_the_processes_of_a_pod_that_was_deleted_by_force() {
    let mut machine = Machine::start();
    machine.runtime.fake.script(|_| runtime::fake::Script { ignores_sigterm: true, ..Default::default() });
    let former = machine.create("db-0", &json!({}));
    machine.ready("db-0");
    machine.crash();
    machine.delete("db-0", 0);
    let successor = machine.create("db-0", &json!({}));
    machine.up();
    machine.runtime_until(|runtime| !runtime.fake.signals().is_empty());
    assert_eq!(machine.sandboxes(), [former.as_str()], "one of this name at a time");
    let pod = machine.ready("db-0");
    assert_eq!(pod.metadata.uid, Some(successor.clone()));
    assert_eq!(machine.sandboxes(), [successor]);
    assert!(!machine.has_files(&former, ""));
}

#[test]
fn what_pods_left_that_nobody_knows_any_more_is_cleared_away() {
    let mut machine = Machine::start();
    let uid = machine.create("db-0", &json!({}));
    machine.ready("db-0");
    machine.crash();
    machine.leave_files("0f9c4c5e-4a0e-4a39-8d7b-0d3f0b5d6a11");
    machine.up();
    assert!(!machine.has_files("0f9c4c5e-4a0e-4a39-8d7b-0d3f0b5d6a11", ""));
    assert!(machine.has_files(&uid, ""));
}

#[test]
fn a_pod_that_was_ended_with_stead_is_not_ready_when_stead_is_up_again() {
    let mut machine = Machine::start();
    let uid = machine.create("db-0", &json!({}));
    machine.ready("db-0");
    machine.crash();
    machine.runtime.fake.kill_sandbox(&uid);
    machine.runtime.fail(Some(Verb::SlowRunPodSandbox));
    machine.up();
    assert!(!is_ready(&machine.pod("db-0")), "what was told before is not so any more");
    machine.runtime.fail(None);
    machine.ready("db-0");
}

#[test]
fn a_stead_that_ends_waits_for_the_step_that_is_under_way() {
    let mut machine = Machine::start();
    machine.runtime.fail(Some(Verb::SlowRunPodSandbox));
    let uid = machine.create("db-0", &json!({}));
    machine.runtime_until(|runtime| runtime.failures() > 0);
    let wait = machine.stop();
    machine.runtime.fail(None);
    wait(&machine);
    assert!(machine.has_files(&uid, "etc/resolv.conf"), "the sandbox is complete");
    machine.up();
    machine.ready("db-0");
}
