//! What a restart of stead, its crash, and the death of a pod's shim leave behind: pods that did not notice.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::harness::Stead;

/// A pod that runs a script and sees a folder of the host at `/out`.
fn pod(name: &str, script: &str, host: &Path, policy: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: {policy}, \
         terminationGracePeriodSeconds: 1, containers: [{{name: main, image: busybox, command: [sh, -c, {script:?}], \
         volumeMounts: [{{name: out, mountPath: /out}}]}}], \
         volumes: [{{name: out, hostPath: {{path: {}}}}}]}}}}\n",
        host.display()
    )
}

/// Says 0, 1, 2, … for ever.
const COUNT: &str = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";

/// A folder that pods share with the test; it is to outlive the stead.
fn shared() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn container(stead: &Stead, pod: &str, path: &str) -> String {
    stead.field(&format!("pod {pod}"), &format!(".status.containerStatuses[0].{path}"))
}

/// What a counter has said so far; every number must be there.
fn counted(stead: &Stead, pod: &str) -> usize {
    let log = stead.run(&format!("logs {pod}"));
    let numbers: Vec<usize> = log.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "numbers are missing: {numbers:?}");
    numbers.len()
}

/// Waits until a counter has said more than so many numbers.
fn counts_past(stead: &Stead, pod: &str, count: usize) {
    let follower = stead.follow(&format!("logs -f {pod}"));
    while follower.line().parse::<usize>().expect("a number") <= count {}
}

#[test]
fn pods_do_not_notice_that_stead_ends_or_crashes() {
    let folder = shared();
    let out = folder.path();
    let mut stead = Stead::start("recovery-stead", &["busybox"]);
    stead.apply(&pod("counter", COUNT, out, "Always"));
    stead.wait("condition=Ready", "pod/counter");
    let before = (container(&stead, "counter", "containerID"), stead.field("pod counter", ".status.podIP"));
    for end in [Stead::stop, Stead::kill] {
        let said = counted(&stead, "counter");
        end(&mut stead);
        // It counts on while nobody looks: the log on the disk grows.
        grows(&log_of(&stead, "counter"));
        stead.up();
        counts_past(&stead, "counter", said);
        counted(&stead, "counter");
        let after =
            (container(&stead, "counter", "containerID"), stead.field("pod counter", ".status.podIP"));
        assert_eq!(after, before, "the same container under the same address");
        assert_eq!(container(&stead, "counter", "restartCount"), "0");
        assert_eq!(container(&stead, "counter", "ready"), "true");
    }
    // It is still in hand: commands run in it, and it can be ended.
    assert_eq!(stead.shell("counter", "echo here"), "here\n");
    stead.run("delete pod counter");
}

/// The log of a pod's first container, on the disk.
fn log_of(stead: &Stead, pod: &str) -> PathBuf {
    let pods = std::fs::read_dir(stead.dir().join("pods")).expect("the pods' folder");
    let logs = pods.flatten().map(|entry| entry.path().join("logs/main/0.log"));
    let mut logs: Vec<PathBuf> = logs.filter(|path| path.exists()).collect();
    assert_eq!(logs.len(), 1, "one pod, {pod}, has a log: {logs:?}");
    logs.remove(0)
}

/// Waits until somebody writes to the file.
fn grows(path: &Path) {
    use rustix::fs::inotify;
    let inotify = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
    inotify::add_watch(&inotify, path, inotify::WatchFlags::MODIFY).expect("a watch");
    rustix::io::read(&inotify, &mut [0; 1024]).expect("an event");
}

#[test]
fn what_ended_while_stead_was_down_is_known_when_it_is_up() {
    let folder = shared();
    let out = folder.path();
    let mut stead = Stead::start("recovery-ended", &["busybox"]);
    let fifo = out.join("end");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Opening a pipe waits for the other side: that is how the test tells when.
    let script = "cat /out/end; echo last words; exit 7";
    stead.apply(&pod("ender", script, out, "Never"));
    stead.apply(&pod("restarted", &script.replace("/end", "/again"), out, "Always"));
    nix::unistd::mkfifo(&out.join("again"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for pod in ["ender", "restarted"] {
        stead.wait("condition=Ready", &format!("pod/{pod}"));
    }
    stead.kill();
    for name in ["end", "again"] {
        // The reader is there; it gets its end of file when this is closed.
        drop(std::fs::File::options().write(true).open(out.join(name)).expect("the other side"));
    }
    stead.up();
    stead.wait("jsonpath={.status.phase}=Failed", "pod/ender");
    assert_eq!(container(&stead, "ender", "state.terminated.exitCode"), "7");
    assert_eq!(container(&stead, "ender", "state.terminated.reason"), "Error");
    assert_eq!(stead.run("logs ender"), "last words\n");
    stead.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/restarted");
    assert_eq!(container(&stead, "restarted", "lastState.terminated.exitCode"), "7");
    assert_eq!(stead.run("logs restarted --previous"), "last words\n");
}

#[test]
fn a_pod_that_was_ending_when_stead_crashed_ends_in_its_own_time() {
    let folder = shared();
    let out = folder.path();
    let mut stead = Stead::start("recovery-deleted", &["busybox"]);
    // Ends when it is told to, and not before.
    let fifo = out.join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let script = "trap 'trap \"\" TERM; cat /out/go; echo ended >> /out/ended; exit 0' TERM; while :; do sleep 0.05; done";
    let slow = pod("slow", script, out, "Always")
        .replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 60");
    stead.apply(&slow);
    stead.wait("condition=Ready", "pod/slow");
    stead.run("delete pod slow --wait=false");
    // It is at its end: the pipe has a reader.
    let go = std::fs::File::options().write(true).open(&fifo).expect("the other side");
    stead.kill();
    stead.up();
    assert!(!stead.field("pod slow", ".metadata.deletionTimestamp").is_empty());
    drop(go);
    stead.wait("delete", "pod/slow");
    assert_eq!(std::fs::read_to_string(out.join("ended")).unwrap(), "ended\n");
}

#[test]
fn a_pod_whose_shim_is_killed_is_started_again_and_never_runs_twice() {
    let folder = shared();
    let out = folder.path();
    let stead = Stead::start("recovery-shim", &["busybox"]);
    let beat = "id=$(cat /proc/sys/kernel/random/uuid); while :; do echo $id >> /out/beats; sleep 0.01; done";
    std::fs::write(out.join("beats"), "").expect("a file");
    stead.apply(&pod("beating", beat, out, "Always"));
    stead.wait("condition=Ready", "pod/beating");
    grows(&out.join("beats"));
    let uid = stead.field("pod beating", ".metadata.uid");
    let address = stead.field("pod beating", ".status.podIP");
    nix::sys::signal::kill(shim_of(&uid), nix::sys::signal::Signal::SIGKILL).expect("a signal");
    stead.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/beating");
    stead.wait("condition=Ready", "pod/beating");
    assert_eq!(stead.field("pod beating", ".metadata.uid"), uid, "the same pod");
    assert_eq!(container(&stead, "beating", "lastState.terminated.exitCode"), "137");
    assert_ne!(stead.field("pod beating", ".status.podIP"), address, "an address is not used again at once");
    let read = || {
        grows(&out.join("beats"));
        std::fs::read_to_string(out.join("beats")).expect("beats")
    };
    let beats = std::iter::repeat_with(read).find(|beats| runs(beats).len() > 1).expect("beats");
    assert_eq!(runs(&beats).len(), 2, "one after another, never side by side: {beats}");
}

/// The ids of a log of beats, each as often as it begins.
fn runs(beats: &str) -> Vec<&str> {
    let mut runs: Vec<&str> = beats.lines().collect();
    runs.dedup();
    runs
}

/// The process that holds the pod of this uid.
fn shim_of(uid: &str) -> nix::unistd::Pid {
    let is_shim = |pid: &i32| {
        let mut command = Vec::new();
        let read =
            std::fs::File::open(format!("/proc/{pid}/cmdline")).and_then(|mut f| f.read_to_end(&mut command));
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        read.is_ok()
            && words.contains(&&b"shim"[..])
            && words.iter().any(|word| word.ends_with(uid.as_bytes()))
    };
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    nix::unistd::Pid::from_raw(pids.find(is_shim).expect("the pod's shim"))
}

#[test]
fn two_steads_on_one_machine_do_not_see_each_other() {
    let folder = shared();
    let mut first = Stead::start("recovery-first", &["busybox"]);
    let second = Stead::start("recovery-second", &["busybox"]);
    for stead in [&first, &second] {
        stead.apply(&pod("counter", COUNT, folder.path(), "Always"));
        stead.wait("condition=Ready", "pod/counter");
    }
    let uid = |stead: &Stead| stead.field("pods", ".items[*].metadata.uid");
    assert_ne!(uid(&first), uid(&second));
    first.kill();
    let said = counted(&second, "counter");
    counts_past(&second, "counter", said);
    first.up();
    first.run("delete pod counter");
    drop(first);
    assert_eq!(container(&second, "counter", "restartCount"), "0");
    let said = counted(&second, "counter");
    counts_past(&second, "counter", said);
}

#[test]
fn a_pod_that_was_ended_with_stead_is_not_ready_when_stead_is_up_again() {
    let folder = shared();
    let mut stead = Stead::start("recovery-down", &["busybox"]);
    // It is Ready as long as there is a file that does not outlive the container.
    let probe = "readinessProbe: {exec: {command: [test, -f, /ok]}, periodSeconds: 1, failureThreshold: 1}, ";
    let held = pod("held", "trap exit TERM; sleep 1000000 & wait", folder.path(), "Always")
        .replace("volumeMounts:", &format!("{probe}volumeMounts:"));
    stead.apply(&held);
    stead.wait("jsonpath={.status.phase}=Running", "pod/held");
    stead.shell("held", "touch /ok");
    stead.wait("condition=Ready", "pod/held");
    stead.down();
    stead.up();
    assert_eq!(container(&stead, "held", "ready"), "false", "the first answer is true already");
    stead.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/held");
    stead.wait("jsonpath={.status.phase}=Running", "pod/held");
    stead.shell("held", "touch /ok");
    stead.wait("condition=Ready", "pod/held");
}

#[test]
fn a_node_that_is_deleted_registers_again_and_its_pods_run_on() {
    let folder = shared();
    let stead = Stead::start("recovery-node", &["busybox"]);
    stead.apply(&pod("counter", COUNT, folder.path(), "Always"));
    stead.wait("condition=Ready", "pod/counter");
    let (id, node) =
        (container(&stead, "counter", "containerID"), stead.field("nodes", ".items[0].metadata.uid"));
    let uid = stead.field("pod/counter", ".metadata.uid");
    stead.run("delete node recovery-node");
    stead.wait("create", "node/recovery-node");
    stead.wait("condition=Ready", "node/recovery-node");
    assert_ne!(stead.field("nodes", ".items[0].metadata.uid"), node, "it is another");
    stead.apply(&pod("next", COUNT, folder.path(), "Always"));
    stead.wait("condition=Ready", "pod/next");
    assert_eq!(container(&stead, "counter", "containerID"), id);
    assert_eq!(container(&stead, "counter", "restartCount"), "0");
    assert_eq!(stead.field("pod/counter", ".metadata.uid"), uid);
}
