//! What happens to pods when things are killed, again and again: nothing is lost, and nothing runs twice.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::Stead;

/// How often stead is killed.
const ROUNDS: usize = 4;

/// A set of one whose pod runs a script, sees a folder of the machine at `/out`, and has a minute to end.
fn set(name: &str, script: &str, host: &Path) -> String {
    format!(
        "---\n{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {name}}}, spec: {{replicas: 1, \
         serviceName: {name}, selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, \
         spec: {{terminationGracePeriodSeconds: 60, containers: [{{name: main, image: busybox, \
         command: [sh, -c, {script:?}], volumeMounts: [{{name: out, mountPath: /out}}]}}], \
         volumes: [{{name: out, hostPath: {{path: {}}}}}]}}}}}}}}\n",
        host.display()
    )
}

fn status(stead: &Stead, pod: &str, path: &str) -> String {
    stead.field(&format!("pod {pod}"), &format!(".status.containerStatuses[0].{path}"))
}

/// Waits until there is a pod of this name, and it is Ready.
fn ready(stead: &Stead, pod: &str) {
    stead.wait("create", &format!("pod/{pod}"));
    stead.wait("condition=Ready", &format!("pod/{pod}"));
}

#[test]
fn stead_killed_again_and_again_loses_no_line_and_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut stead = Stead::start("survival-loop", &["busybox"]);
    let count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done";
    stead.apply(&set("counter", count, folder.path()));
    ready(&stead, "counter-0");
    let id = status(&stead, "counter-0", "containerID");
    for round in 0..ROUNDS {
        // It ends when somebody opens the pipe: while stead is down.
        let name = format!("ender{round}");
        let fifo = folder.path().join(&name);
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        stead.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: main, \
             image: busybox, command: [sh, -c, \"cat /out/{name}; echo bye; exit {}\"], \
             volumeMounts: [{{name: out, mountPath: /out}}]}}], volumes: [{{name: out, hostPath: {{path: {}}}}}]}}}}\n",
            round + 10,
            folder.path().display()
        ));
        stead.wait("condition=Ready", &format!("pod/{name}"));
        stead.kill();
        drop(std::fs::File::options().write(true).open(&fifo).unwrap());
        stead.up();
    }
    for round in 0..ROUNDS {
        let name = format!("ender{round}");
        stead.wait("jsonpath={.status.phase}=Failed", &format!("pod/{name}"));
        assert_eq!(status(&stead, &name, "state.terminated.exitCode"), (round + 10).to_string());
        assert_eq!(stead.run(&format!("logs {name}")), "bye\n");
    }
    assert_eq!(status(&stead, "counter-0", "containerID"), id, "it did not notice");
    assert_eq!(status(&stead, "counter-0", "restartCount"), "0");
    let log = stead.run("logs counter-0");
    let numbers: Vec<usize> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "lines are missing");
}

#[test]
fn nothing_makes_two_pods_of_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let mut stead = Stead::start("survival-twice", &["busybox"]);
    // Does not end when it is asked to, and says all the time which life it is.
    let beats = "trap : TERM; id=$(cat /proc/sys/kernel/random/uuid); while :; do echo $id >> /out/beats; sleep 0.01; done";
    stead.apply(&set("db", beats, out));
    ready(&stead, "db-0");
    for round in 0..ROUNDS {
        let uid = stead.field("pod db-0", ".metadata.uid");
        // Off the API at once, while its processes still run; and stead dies at different moments of what follows.
        stead.run("delete pod db-0 --force --grace-period=0 --wait=false");
        if round % 2 > 0 {
            stead.wait("create", "pod/db-0");
        }
        stead.kill();
        stead.up();
        ready(&stead, "db-0");
        assert_ne!(stead.field("pod db-0", ".metadata.uid"), uid, "it has a successor");
    }
    let beats = std::fs::read_to_string(out.join("beats")).unwrap();
    let mut lives: Vec<&str> = beats.lines().collect();
    lives.dedup();
    let all: BTreeSet<&str> = lives.iter().copied().collect();
    assert_eq!(lives.len(), all.len(), "one after another, never side by side: {lives:?}");
    assert!(lives.len() > ROUNDS, "{lives:?}");
}

#[test]
fn a_process_that_is_frozen_or_killed_is_replaced() {
    let stead = Stead::start("survival-frozen", &["busybox"]);
    let server = |name: &str, port: u16| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
             containers: [{{name: main, image: busybox, command: [httpd, -f, -p, \"{port}\", -h, /etc], \
             livenessProbe: &probe {{httpGet: {{path: /passwd, port: {port}}}, periodSeconds: 1, failureThreshold: 1}}, \
             readinessProbe: *probe}}]}}}}\n"
        )
    };
    for (name, port, signal) in [("frozen", 18137, Signal::SIGSTOP), ("killed", 18138, Signal::SIGKILL)] {
        stead.apply(&server(name, port));
        stead.wait("condition=Ready", &format!("pod/{name}"));
        kill(process_with(&port.to_string()), signal).unwrap();
        stead.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", &format!("pod/{name}"));
        stead.wait("condition=Ready", &format!("pod/{name}"));
        assert_eq!(status(&stead, name, "lastState.terminated.exitCode"), "137", "{name}");
    }
    let told = stead.event("pod/frozen", "Killing");
    assert!(told.starts_with("Container main failed liveness probe, will be restarted"), "{told}");
}

/// The process that has this word among its arguments.
fn process_with(word: &str) -> Pid {
    let has = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"httpd") && line.split(|byte| *byte == 0).any(|w| w == word.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Pid::from_raw(pids.find(has).expect("the process"))
}
