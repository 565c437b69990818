//! Pods end, and sandboxes fail.

use nix::sys::signal::Signal;
use runtime::fake::Script;
use serde_json::json;

use crate::machine::{Machine, Verb, is_ready};

fn signals(machine: &Machine) -> Vec<i32> {
    machine.runtime.fake.signals().into_iter().map(|(_, _, signal)| signal).collect()
}

#[test]
fn a_name_is_free_only_when_the_processes_are_gone() {
    let machine = Machine::start();
    machine.runtime.fake.script(|_| Script { ignores_sigterm: true, ..Script::default() });
    let uid = machine.create("db-0", &json!({"terminationGracePeriodSeconds": 3600}));
    machine.ready("db-0");
    machine.delete("db-0", 3600);
    machine.runtime_until(|runtime| !runtime.fake.signals().is_empty());
    assert_eq!(signals(&machine), [Signal::SIGTERM as i32]);
    assert_eq!(machine.pod("db-0").metadata.uid.as_deref(), Some(uid.as_str()), "it holds its name");
    machine.runtime.fake.exit(&uid, "main.0", 0).unwrap();
    machine.gone("db-0", &uid);
    assert_eq!(signals(&machine), [Signal::SIGTERM as i32], "it was not killed");
    assert!(machine.sandboxes().is_empty() && !machine.has_files(&uid, ""));
}

#[test]
fn a_second_deletion_shortens_the_first() {
    let machine = Machine::start();
    machine.runtime.fake.script(|_| Script { ignores_sigterm: true, ..Script::default() });
    let uid = machine.create("db-0", &json!({"terminationGracePeriodSeconds": 3600}));
    machine.ready("db-0");
    machine.delete("db-0", 3600);
    machine.runtime_until(|runtime| !runtime.fake.signals().is_empty());
    machine.delete("db-0", 1);
    machine.gone("db-0", &uid);
    assert_eq!(signals(&machine), [Signal::SIGTERM as i32, Signal::SIGKILL as i32]);
}

#[test]
fn a_pod_without_grace_is_killed_at_once() {
    let machine = Machine::start();
    machine.runtime.fake.script(|_| Script { ignores_sigterm: true, ..Script::default() });
    let uid = machine.create("db-0", &json!({"terminationGracePeriodSeconds": 0}));
    machine.ready("db-0");
    machine.delete("db-0", 0);
    machine.gone("db-0", &uid);
    machine.runtime_until(|runtime| !runtime.fake.signals().is_empty());
    assert_eq!(signals(&machine), [Signal::SIGKILL as i32]);
}

#[test]
fn a_sandbox_that_cannot_be_made_is_told_cleared_away_and_tried_again() {
    let machine = Machine::start();
    machine.runtime.fail(Some(Verb::RunPodSandbox));
    machine.create("db-0", &json!({}));
    assert_eq!(
        machine.event("db-0", "FailedCreatePodSandBox"),
        "Failed to create pod sandbox: RunPodSandbox: the test says so"
    );
    machine.runtime.fail(None);
    machine.ready("db-0");
    // One that never had a sandbox can be deleted, too.
    machine.runtime.fail(Some(Verb::RunPodSandbox));
    let uid = machine.create("db-1", &json!({}));
    machine.event("db-1", "FailedCreatePodSandBox");
    machine.delete("db-1", 30);
    machine.gone("db-1", &uid);
}

#[test]
fn a_container_is_ready_only_after_its_post_start_hook() {
    let machine = Machine::start();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let end = std::sync::Mutex::new(end);
    machine.runtime.fake.on_exec(move |_, _| {
        // The test ends the hook, by ending its side or by saying so.
        i32::from(end.lock().unwrap().recv().is_err())
    });
    let hook = json!({"postStart": {"exec": {"command": ["prepare"]}}});
    machine.create(
        "db-0",
        &json!({"containers": [{"name": "main", "image": "app", "command": ["run"], "lifecycle": hook}]}),
    );
    let running = machine.pod_until("db-0", |pod| {
        let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
        statuses.is_some_and(|all| all[0].state.as_ref().is_some_and(|s| s.running.is_some()))
    });
    assert!(!is_ready(&running));
    ended.send(()).unwrap();
    machine.ready("db-0");
}
