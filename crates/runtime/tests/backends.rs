//! What every backend must do, over all of them.

mod common;

use std::sync::Arc;

use common::{Machine, code, state, wait_exit};
use runtime::fake::{Fake, Script};
use runtime::{ContainerState, Error, ExecConfig, Runtime};

/// A fake that understands the few scripts below.
fn fake() -> Arc<Fake> {
    let fake = Fake::new();
    fake.script(|config| {
        let command = config.argv.last().cloned().unwrap_or_default();
        Script {
            bad_command: (command == "/no/such")
                .then(|| "exec: \"/no/such\": stat /no/such: no such file or directory".to_owned()),
            exits_with: command.strip_prefix("exit ").and_then(|code| code.parse().ok()),
            ignores_sigterm: false,
        }
    });
    fake.on_exec(|_, exec| exec.argv.last().and_then(|a| a.strip_prefix("exit ")?.parse().ok()).unwrap_or(0));
    fake
}

/// Runs one scenario over each backend.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod fake_backend {
            $(#[tokio::test] async fn $name() {
                let machine = super::Machine::new();
                super::$name(&machine, &*super::fake()).await;
            })*
        }
        mod oci_backend {
            $(#[tokio::test] async fn $name() {
                let machine = super::Machine::new();
                let runtime = machine.daemon();
                super::$name(&machine, &*runtime).await;
                for sandbox in super::Runtime::list_pod_sandboxes(&*runtime).await.unwrap() {
                    super::Runtime::remove_pod_sandbox(&*runtime, &sandbox.config.id).await.unwrap();
                }
                assert_eq!(machine.shims(), Vec::<i32>::new());
                assert_eq!(machine.cgroups(), Vec::<std::path::PathBuf>::new());
            })*
        }
    };
}

contract!(
    a_sandbox_is_listed_as_it_was_asked_for,
    verbs_may_be_repeated,
    what_is_not_there_is_not_found,
    a_container_goes_from_created_to_running_to_exited,
    a_container_that_ends_by_itself_keeps_its_code,
    an_exited_container_can_neither_start_nor_exec,
    a_running_container_is_not_removed,
    a_command_that_does_not_exist_is_the_commands_fault,
    exec_returns_the_commands_code,
    a_stopped_sandbox_has_no_process_and_its_containers_have_ended,
    a_change_is_heard,
);

const FOREVER: &str = "while true; do sleep 1000; done";

fn exec(script: &str) -> ExecConfig {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    ExecConfig { argv, stdin: None, stdout: None, stderr: None, tty: false }
}

async fn running(machine: &Machine, runtime: &dyn Runtime, script: &str) {
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", machine.shell("c.0", script)).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
}

async fn a_sandbox_is_listed_as_it_was_asked_for(machine: &Machine, runtime: &dyn Runtime) {
    assert!(runtime.list_pod_sandboxes().await.unwrap().is_empty());
    let made = runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    assert!(made.pid.is_some());
    assert_eq!(made.config, machine.sandbox("a"));
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap(), [made]);
}

async fn verbs_may_be_repeated(machine: &Machine, runtime: &dyn Runtime) {
    let first = runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    assert_eq!(runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap(), first);
    for _ in 0..2 {
        runtime.create_container("a-uid", machine.shell("c.0", FOREVER)).await.unwrap();
    }
    for _ in 0..2 {
        runtime.start_container("a-uid", "c.0").await.unwrap();
    }
    for _ in 0..2 {
        runtime.signal_container("a-uid", "c.0", libc::SIGKILL).await.unwrap();
    }
    wait_exit(runtime, "a-uid", "c.0").await;
    for _ in 0..2 {
        runtime.remove_container("a-uid", "c.0").await.unwrap();
    }
    assert!(runtime.containers("a-uid").await.unwrap().is_empty());
    for _ in 0..2 {
        runtime.stop_pod_sandbox("a-uid").await.unwrap();
    }
    for _ in 0..2 {
        runtime.remove_pod_sandbox("a-uid").await.unwrap();
    }
    assert!(runtime.list_pod_sandboxes().await.unwrap().is_empty());
}

async fn what_is_not_there_is_not_found(machine: &Machine, runtime: &dyn Runtime) {
    let missing = runtime.containers("nothing").await.unwrap_err();
    assert_eq!(missing.to_string(), "sandbox nothing not found");
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    let missing = runtime.start_container("a-uid", "c.0").await.unwrap_err();
    assert_eq!(missing.to_string(), "container c.0 not found");
}

async fn a_container_goes_from_created_to_running_to_exited(machine: &Machine, runtime: &dyn Runtime) {
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", machine.shell("c.0", FOREVER)).await.unwrap();
    assert_eq!(state(runtime, "a-uid", "c.0").await, ContainerState::Created);
    runtime.start_container("a-uid", "c.0").await.unwrap();
    let ContainerState::Running { started_at: since, pid } = state(runtime, "a-uid", "c.0").await else {
        panic!("it does not run");
    };
    assert!(pid > 1);
    runtime.signal_container("a-uid", "c.0", libc::SIGKILL).await.unwrap();
    match wait_exit(runtime, "a-uid", "c.0").await {
        ContainerState::Exited { started_at, finished_at, exit_code, signal, oom_killed, message } => {
            assert_eq!((exit_code, signal, oom_killed, message.as_str()), (137, Some(9), false, ""));
            assert_eq!(started_at, since);
            assert!(finished_at >= started_at);
        }
        other => panic!("{other:?}"),
    }
}

async fn a_container_that_ends_by_itself_keeps_its_code(machine: &Machine, runtime: &dyn Runtime) {
    running(machine, runtime, "exit 42").await;
    assert_eq!(code(&wait_exit(runtime, "a-uid", "c.0").await), 42);
}

async fn an_exited_container_can_neither_start_nor_exec(machine: &Machine, runtime: &dyn Runtime) {
    running(machine, runtime, "exit 0").await;
    wait_exit(runtime, "a-uid", "c.0").await;
    let again = runtime.start_container("a-uid", "c.0").await.unwrap_err();
    assert_eq!(again.to_string(), "container c.0 is exited");
    assert!(matches!(again, Error::WrongState { .. }));
    let exec = runtime.exec("a-uid", "c.0", exec("exit 0")).await.unwrap_err();
    assert_eq!(exec.to_string(), "container c.0 is exited");
}

async fn a_running_container_is_not_removed(machine: &Machine, runtime: &dyn Runtime) {
    running(machine, runtime, FOREVER).await;
    let refused = runtime.remove_container("a-uid", "c.0").await.unwrap_err();
    assert_eq!(refused.to_string(), "container c.0 is running");
    assert!(matches!(state(runtime, "a-uid", "c.0").await, ContainerState::Running { .. }));
}

async fn a_command_that_does_not_exist_is_the_commands_fault(machine: &Machine, runtime: &dyn Runtime) {
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", machine.container("c.0", &["/no/such"])).await.unwrap();
    let why = runtime.start_container("a-uid", "c.0").await.unwrap_err();
    assert!(matches!(why, Error::BadCommand(_)));
    assert_eq!(why.to_string(), r#"exec: "/no/such": stat /no/such: no such file or directory"#);
    let ContainerState::Exited { exit_code, message, .. } = wait_exit(runtime, "a-uid", "c.0").await else {
        panic!("it has not ended");
    };
    assert_eq!((exit_code, message), (128, why.to_string()));
}

async fn exec_returns_the_commands_code(machine: &Machine, runtime: &dyn Runtime) {
    running(machine, runtime, FOREVER).await;
    assert_eq!(runtime.exec("a-uid", "c.0", exec("exit 5")).await.unwrap(), 5);
    assert_eq!(runtime.exec("a-uid", "c.0", exec("exit 0")).await.unwrap(), 0);
}

async fn a_stopped_sandbox_has_no_process_and_its_containers_have_ended(
    machine: &Machine,
    runtime: &dyn Runtime,
) {
    running(machine, runtime, FOREVER).await;
    runtime.create_container("a-uid", machine.shell("never.0", FOREVER)).await.unwrap();
    runtime.stop_pod_sandbox("a-uid").await.unwrap();
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap()[0].pid, None);
    for id in ["c.0", "never.0"] {
        assert_eq!(code(&state(runtime, "a-uid", id).await), 137, "{id}");
    }
    assert!(runtime.create_container("a-uid", machine.shell("late.0", FOREVER)).await.is_err());
    assert!(runtime.run_pod_sandbox(machine.sandbox("a")).await.is_err(), "it is to be removed first");
}

async fn a_change_is_heard(machine: &Machine, runtime: &dyn Runtime) {
    running(machine, runtime, FOREVER).await;
    let mut events = runtime.events();
    runtime.signal_container("a-uid", "c.0", libc::SIGKILL).await.unwrap();
    assert_eq!(events.recv().await.unwrap().sandbox, "a-uid");
}
