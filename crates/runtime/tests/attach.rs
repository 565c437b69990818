//! Joining running containers, and connections to what listens on a pod's loopback. Needs root and busybox-static.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use common::{Machine, code, wait_exit};
use runtime::oci::Oci;
use runtime::{AttachConfig, ContainerConfig, Error, Runtime};

fn pipe() -> (fs::File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

/// A sandbox `a` with a running container `c.0`.
async fn running(machine: &Machine, runtime: &Oci, config: ContainerConfig) {
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", config).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
}

async fn read_all(mut from: fs::File) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        from.read_to_string(&mut said).map(|_| said)
    });
    read.await.unwrap().unwrap()
}

#[tokio::test]
async fn who_joins_writes_to_the_process_and_hears_it_besides_the_log() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", "read line; echo got $line; echo oops >&2; cat; exit 4");
    (config.stdin, config.stdin_once) = (true, true);
    running(&machine, &runtime, config).await;
    let ((out, out_write), (err, err_write)) = (pipe(), pipe());
    let joined = AttachConfig { stdin: true, stdout: Some(out_write), stderr: Some(err_write) };
    let joined = runtime.attach("a-uid", "c.0", joined).await.unwrap();
    let mut input = fs::File::from(joined.input.unwrap());
    input.write_all(b"hello\nthe rest\n").unwrap();
    // With the first who had it, the input ends.
    drop((input, joined.ended));
    let ended = wait_exit(&*runtime, "a-uid", "c.0").await;
    assert_eq!(code(&ended), 4);
    assert!(machine.log("c.0").contains("got hello") && machine.log("c.0").contains("the rest"));
    drop((out, err));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn all_that_is_said_is_heard_however_late_it_is_read() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", "read go; head -c 300000 /dev/zero | tr '\\0' x; echo end");
    config.stdin = true;
    running(&machine, &runtime, config).await;
    let (out, out_write) = pipe();
    let joined = AttachConfig { stdin: true, stdout: Some(out_write), stderr: None };
    let joined = runtime.attach("a-uid", "c.0", joined).await.unwrap();
    fs::File::from(joined.input.unwrap()).write_all(b"go\n").unwrap();
    let said = read_all(out).await;
    assert_eq!((said.len(), said.ends_with("xend\n")), (300_004, true));
    joined.ended.await;
    let late = AttachConfig { stdin: false, stdout: None, stderr: None };
    let late = runtime.attach("a-uid", "c.0", late).await.err();
    assert!(matches!(late, Some(Error::WrongState { .. })), "{late:?}");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_container_without_input_has_none_to_join() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, machine.shell("c.0", "cat; while true; do sleep 1000; done")).await;
    let joined = AttachConfig { stdin: true, stdout: None, stderr: None };
    assert!(runtime.attach("a-uid", "c.0", joined).await.unwrap().input.is_none());
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_port_of_the_pods_own_loopback_is_reached() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let script = "echo hello > /tmp/f; echo ready; exec httpd -f -p 127.0.0.1:8080 -h /tmp";
    running(&machine, &runtime, machine.shell("c.0", script)).await;
    let answer = tokio::task::spawn_blocking({
        let runtime = runtime.clone();
        move || {
            let ask = async {
                loop {
                    match runtime.port_forward("a-uid", 8080).await {
                        Ok(connection) => return connection,
                        // Until it listens.
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            };
            let mut connection = tokio::runtime::Handle::current().block_on(ask);
            connection.write_all(b"GET /f HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            answer
        }
    });
    assert!(answer.await.unwrap().ends_with("\r\n\r\nhello\n"));
    let refused = runtime.port_forward("a-uid", 9).await.unwrap_err().to_string();
    assert!(refused.contains("port 9") && refused.contains("refused"), "{refused}");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_container_that_joins_another_s_processes_sees_them_and_ends_alone() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(
        &machine,
        &runtime,
        machine.shell("c.0", "echo marked > /tmp/mark; while true; do sleep 1000; done"),
    )
    .await;
    let mut config = machine.shell("d.0", "until cat /proc/1/root/tmp/mark; do :; done");
    config.joins_processes_of = Some("c.0".to_owned());
    runtime.create_container("a-uid", config).await.unwrap();
    runtime.start_container("a-uid", "d.0").await.unwrap();
    let ended = wait_exit(&*runtime, "a-uid", "d.0").await;
    assert_eq!(code(&ended), 0, "{}", machine.log("d.0"));
    assert!(machine.log("d.0").contains("marked"));
    let all = runtime.containers("a-uid").await.unwrap();
    let other = all.iter().find(|container| container.config.id == "c.0").unwrap();
    assert!(matches!(other.state, runtime::ContainerState::Running { .. }));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}
