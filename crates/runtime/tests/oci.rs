//! Real containers. Needs root and busybox-static.

mod common;

use common::{Machine, code, state, wait_exit};
use runtime::{ContainerState, Runtime};

#[tokio::test]
async fn a_container_runs_and_its_output_and_exit_code_are_kept() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let status = runtime.run_pod_sandbox(machine.sandbox("web")).await.unwrap();
    assert!(status.pid.is_some());
    let config = machine.shell("main.0", "echo $GREETING from $(hostname); echo oops >&2; exit 7");
    runtime.create_container("web-uid", config).await.unwrap();
    assert_eq!(state(&*runtime, "web-uid", "main.0").await, ContainerState::Created);
    runtime.start_container("web-uid", "main.0").await.unwrap();
    let ended = wait_exit(&*runtime, "web-uid", "main.0").await;
    assert_eq!(code(&ended), 7);
    assert_eq!(machine.log("main.0"), "hello from web\noops\n");
    runtime.stop_pod_sandbox("web-uid").await.unwrap();
    runtime.remove_pod_sandbox("web-uid").await.unwrap();
    assert!(machine.shims().is_empty());
    assert_eq!(machine.cgroups(), Vec::<std::path::PathBuf>::new());
}
