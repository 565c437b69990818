//! Daemons and shims that die, and what the next daemon finds.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use common::{Machine, code, state, until, wait, wait_exit};
use runtime::oci::{Oci, has_sandboxes};
use runtime::{ContainerState, ExecConfig, Runtime};
use rustix::process::{Pid, Signal, kill_process};

const FOREVER: &str = "while true; do sleep 1000; done";

async fn running(machine: &Machine, runtime: &Oci, script: &str) -> u32 {
    let status = runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", machine.shell("c.0", script)).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    status.pid.unwrap()
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn processes(machine: &Machine) -> String {
    let pods = machine.cgroups().into_iter().map(|dir| dir.join("burstable/poda-uid/c-c.0/cgroup.procs"));
    pods.map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_new_daemon_finds_what_runs() {
    let machine = Machine::new();
    let first = machine.daemon();
    let shim = running(&machine, &first, FOREVER).await;
    let before = (first.list_pod_sandboxes().await.unwrap(), first.containers("a-uid").await.unwrap());
    drop(first);
    let second = machine.daemon();
    let after = (second.list_pod_sandboxes().await.unwrap(), second.containers("a-uid").await.unwrap());
    assert_eq!(after, before);
    assert_eq!(after.0[0].pid, Some(shim));
    let argv = vec!["true".to_owned()];
    let exec = ExecConfig { argv, stdin: None, stdout: None, stderr: None, tty: false };
    assert_eq!(second.exec("a-uid", "c.0", exec).await.unwrap(), 0);
    second.signal_container("a-uid", "c.0", libc::SIGKILL).await.unwrap();
    assert_eq!(code(&wait_exit(&*second, "a-uid", "c.0").await), 137);
    second.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn what_happens_while_no_daemon_runs_is_not_lost() {
    let machine = Machine::new();
    let first = machine.daemon();
    fs::create_dir(machine.path("flag")).unwrap();
    let mut config =
        machine.shell("c.0", "until test -e /flag/go; do sleep 0.01; done; echo said alone; exit 9");
    config.mounts =
        vec![runtime::Mount { source: machine.path("flag"), destination: "/flag".into(), read_only: true }];
    first.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    first.create_container("a-uid", config).await.unwrap();
    first.start_container("a-uid", "c.0").await.unwrap();
    drop(first);
    fs::write(machine.path("flag/go"), "").unwrap();
    until("it has ended", || machine.path("pods/a-uid/containers/c.0/exit.json").exists()).await;
    let second = machine.daemon();
    let ended = state(&*second, "a-uid", "c.0").await;
    assert_eq!(code(&ended), 9);
    assert_eq!(machine.log("c.0"), "said alone\n");
    second.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_killed_shim_takes_its_containers_along() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let shim = running(&machine, &runtime, FOREVER).await;
    runtime.create_container("a-uid", machine.shell("done.0", "exit 3")).await.unwrap();
    runtime.start_container("a-uid", "done.0").await.unwrap();
    wait_exit(&*runtime, "a-uid", "done.0").await;
    kill(shim, Signal::KILL);
    let ended = wait_exit(&*runtime, "a-uid", "c.0").await;
    let ContainerState::Exited { exit_code, signal, message, .. } = ended else { unreachable!() };
    assert_eq!((exit_code, signal), (137, Some(9)));
    assert_eq!(message, "the shim of the pod was killed, and its containers with it");
    assert_eq!(processes(&machine), "");
    assert_eq!(code(&state(&*runtime, "a-uid", "done.0").await), 3, "what was recorded stays");
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap()[0].pid, None);
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
    assert_eq!(machine.cgroups(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_shim_killed_while_no_daemon_runs_is_found_out() {
    let machine = Machine::new();
    let first = machine.daemon();
    let shim = running(&machine, &first, FOREVER).await;
    let ContainerState::Running { started_at: since, .. } = state(&*first, "a-uid", "c.0").await else {
        panic!("it does not run");
    };
    drop(first);
    kill(shim, Signal::KILL);
    assert_ne!(processes(&machine), "", "the container outlives its shim until somebody looks");
    let second = machine.daemon();
    let ContainerState::Exited { exit_code, started_at, .. } = state(&*second, "a-uid", "c.0").await else {
        panic!("it is not said to have ended");
    };
    assert_eq!((exit_code, started_at), (137, since));
    assert_eq!(processes(&machine), "");
    second.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_shim_that_is_told_to_end_ends_its_containers_and_records_it() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let shim =
        running(&machine, &runtime, "trap 'exit 4' TERM; echo ready; while true; do sleep 0.01; done").await;
    until("the trap is set", || machine.log("c.0").contains("ready")).await;
    kill(shim, Signal::TERM);
    assert_eq!(code(&wait_exit(&*runtime, "a-uid", "c.0").await), 4);
    until("the shim has ended", || machine.shims().is_empty()).await;
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn after_a_reboot_all_have_ended() {
    let machine = Machine::new();
    let first = machine.daemon();
    let shim = running(&machine, &first, FOREVER).await;
    drop(first);
    // A reboot, as far as the daemon can see one: no shim, and another boot id.
    kill(shim, Signal::KILL);
    let file = machine.path("pods/a-uid/sandbox.json");
    let record = fs::read_to_string(&file).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&file, record.replace(boot.trim(), "another-boot")).unwrap();
    let second = machine.daemon();
    assert_eq!(second.list_pod_sandboxes().await.unwrap()[0].pid, None);
    let ContainerState::Exited { exit_code, message, .. } = state(&*second, "a-uid", "c.0").await else {
        panic!("it is not said to have ended");
    };
    assert_eq!((exit_code, message.as_str()), (137, "the machine was restarted"));
    second.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_container_that_the_shim_never_heard_of_is_forgotten() {
    let machine = Machine::new();
    let first = machine.daemon();
    running(&machine, &first, FOREVER).await;
    drop(first);
    // A daemon that died after it wrote the record, before it asked the shim.
    let containers = machine.path("pods/a-uid/containers");
    fs::create_dir(containers.join("half.0")).unwrap();
    let record = fs::read_to_string(containers.join("c.0/container.json")).unwrap();
    fs::write(containers.join("half.0/container.json"), record.replace("c.0", "half.0")).unwrap();
    let second = machine.daemon();
    let known: Vec<_> = second.containers("a-uid").await.unwrap().into_iter().map(|c| c.config.id).collect();
    assert_eq!(known, ["c.0"]);
    assert!(!containers.join("half.0").exists());
    second.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn stopping_and_removing_work_without_the_daemon_that_made_the_sandbox() {
    let machine = Machine::new();
    let first = machine.daemon();
    running(&machine, &first, FOREVER).await;
    drop(first);
    let second = machine.daemon();
    second.stop_pod_sandbox("a-uid").await.unwrap();
    drop(second);
    let third = machine.daemon();
    assert_eq!(code(&state(&*third, "a-uid", "c.0").await), 137);
    third.remove_pod_sandbox("a-uid").await.unwrap();
    assert!(third.list_pod_sandboxes().await.unwrap().is_empty());
    assert_eq!(machine.cgroups(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn other_peoples_files_in_the_pods_folder_stay() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, FOREVER).await;
    let volume = machine.path("pods/a-uid/volumes/data");
    fs::create_dir_all(&volume).unwrap();
    wait(&*runtime, "a-uid", "c.0", |s| matches!(s, ContainerState::Running { .. })).await;
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
    assert!(volume.exists());
    assert!(machine.daemon().list_pod_sandboxes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_shim_that_does_not_understand_is_not_taken_for_dead() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let shim = running(&machine, &runtime, FOREVER).await;
    // What a daemon of another version might send: the shim hangs up, and goes on.
    let mut socket = std::os::unix::net::UnixStream::connect(machine.path("run/a-uid.sock")).unwrap();
    socket.write_all(b"\x04\0\0\0{{{{").unwrap();
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap()[0].pid, Some(shim));
    assert!(matches!(state(&*runtime, "a-uid", "c.0").await, ContainerState::Running { .. }));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_request_that_gets_no_answer_is_an_error_and_kills_nothing() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, FOREVER).await;
    // Somebody else answers at the shim's address, and hangs up on everybody.
    let address = machine.path("run/a-uid.sock");
    fs::rename(&address, machine.path("run/aside")).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&address).unwrap();
    let answering = std::thread::spawn(move || drop(other.accept().unwrap()));
    let error = runtime.containers("a-uid").await.unwrap_err();
    assert!(error.to_string().contains("closed the connection"), "{error}");
    answering.join().unwrap();
    fs::rename(machine.path("run/aside"), &address).unwrap();
    assert!(matches!(state(&*runtime, "a-uid", "c.0").await, ContainerState::Running { .. }));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_shim_that_cannot_be_reached_does_not_hold_up_the_others() {
    let machine = Machine::new();
    let first = machine.daemon();
    let shim = running(&machine, &first, FOREVER).await;
    first.run_pod_sandbox(machine.sandbox("b")).await.unwrap();
    drop(first);
    // A link to itself: connecting fails, for a reason that says nothing about the shim.
    let address = machine.path("run/a-uid.sock");
    fs::rename(&address, machine.path("run/aside")).unwrap();
    std::os::unix::fs::symlink("a-uid.sock", &address).unwrap();
    let second = machine.daemon();
    let pids = second.list_pod_sandboxes().await.unwrap().into_iter().map(|sandbox| sandbox.pid);
    let pids: Vec<_> = pids.collect();
    assert_eq!(pids[0], Some(shim), "it is not taken for dead");
    assert!(pids[1].is_some());
    assert_eq!(second.containers("b-uid").await.unwrap(), []);
    let error = second.containers("a-uid").await.unwrap_err().to_string();
    assert!(error.starts_with("connecting to pod default/a: "), "{error}");
    fs::rename(machine.path("run/aside"), &address).unwrap();
    assert!(matches!(state(&*second, "a-uid", "c.0").await, ContainerState::Running { .. }));
    for sandbox in ["a-uid", "b-uid"] {
        assert!(has_sandboxes(&machine.path("pods")));
        second.remove_pod_sandbox(sandbox).await.unwrap();
    }
    assert!(!has_sandboxes(&machine.path("pods")));
}

/// A file system of its own, full at will.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let size = Some(c"size=512k");
        rustix::mount::mount("tmpfs", &path, "tmpfs", rustix::mount::MountFlags::empty(), size).unwrap();
        Self(path)
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("fill")).unwrap();
        while file.write_all(&[7; 512]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_ends_no_pod_and_keeps_none() {
    let machine = Machine::new();
    let disk = SmallDisk::mount(machine.path("pods"));
    let runtime = machine.daemon();
    let shim = running(&machine, &runtime, FOREVER).await;
    runtime.create_container("a-uid", machine.shell("other.0", "exit 7")).await.unwrap();
    disk.fill();
    // How it ended cannot be recorded, nor can that be said in the shim's log.
    runtime.start_container("a-uid", "other.0").await.unwrap_err();
    assert_eq!(code(&wait_exit(&*runtime, "a-uid", "other.0").await), 7);
    assert!(!machine.path("pods/a-uid/containers/other.0/exit.json").exists());
    assert!(matches!(state(&*runtime, "a-uid", "c.0").await, ContainerState::Running { .. }));
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap()[0].pid, Some(shim));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap(), []);
    assert!(!machine.path("pods/a-uid").exists());
}
