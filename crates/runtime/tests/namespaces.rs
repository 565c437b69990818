//! What containers share with each other and with the machine, and profiles of their own. Needs root and
//! busybox-static.

mod common;

use std::fs;

use common::{Machine, code, until, wait_exit};
use runtime::oci::Oci;
use runtime::{ContainerConfig, ContainerState, Processes, Runtime, SandboxConfig};

const FOREVER: &str = "while true; do sleep 1000; done";

/// Makes and starts a container in a sandbox that is there.
async fn start(runtime: &Oci, config: ContainerConfig) {
    let id = config.id.clone();
    runtime.create_container("a-uid", config).await.unwrap();
    runtime.start_container("a-uid", &id).await.unwrap();
}

/// Runs a container to its end in a sandbox that is there; what it said.
async fn says(machine: &Machine, runtime: &Oci, config: ContainerConfig) -> String {
    let id = config.id.clone();
    start(runtime, config).await;
    let ended = wait_exit(runtime, "a-uid", &id).await;
    let said = machine.log(&id);
    assert_eq!(code(&ended), 0, "{said}");
    said
}

fn sharing(machine: &Machine, processes: Processes) -> SandboxConfig {
    SandboxConfig { processes, ..machine.sandbox("a") }
}

/// Processes of the machine by their command line, without those that end.
fn processes(word: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let named = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    pids.filter(named).collect()
}

#[tokio::test]
async fn containers_that_share_processes_see_each_other_and_end_alone() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    runtime.run_pod_sandbox(sharing(&machine, Processes::Pod)).await.unwrap();
    // What it leaves behind is nobody's zombie, and ends with it.
    start(&runtime, machine.shell("c.0", &format!("(sleep 4711 &); {FOREVER}"))).await;
    until("its child runs", || processes("sleep\u{0}4711").len() == 1).await;
    let mut looks = machine.shell(
        "d.0",
        "cat /proc/1/comm; test $$ = 1 || echo not the first; \
         until ps -o args | grep -q '[s]leep 4711'; do :; done; ls -A /proc/1/root | wc -l; ls -A /proc/1/cwd/ | wc -l; \
         touch /proc/1/root/x 2>/dev/null || echo read-only",
    );
    looks.security.capabilities.push("CAP_SYS_PTRACE".to_owned());
    assert_eq!(says(&machine, &runtime, looks).await, "pause\nnot the first\n0\n0\nread-only\n");

    runtime.signal_container("a-uid", "c.0", libc::SIGKILL).await.unwrap();
    wait_exit(&*runtime, "a-uid", "c.0").await;
    assert_eq!(processes("sleep\u{0}4711"), [0; 0], "what it left is gone before its end is told");
    assert_eq!(says(&machine, &runtime, machine.shell("e.0", "echo still here")).await, "still here\n");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
    assert!(machine.shims().is_empty(), "nor is the process that they shared left");
}

#[tokio::test]
async fn without_the_process_that_they_share_containers_end_and_can_be_made_anew() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let sandbox = runtime.run_pod_sandbox(sharing(&machine, Processes::Pod)).await.unwrap();
    start(&runtime, machine.shell("c.0", FOREVER)).await;
    let shim = sandbox.pid.unwrap().cast_signed();
    let shared: Vec<i32> = machine.shims().into_iter().filter(|pid| *pid != shim).collect();
    let pid = rustix::process::Pid::from_raw(shared[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(code(&wait_exit(&*runtime, "a-uid", "c.0").await), 137);
    assert_eq!(says(&machine, &runtime, machine.shell("c.1", "cat /proc/1/comm")).await, "pause\n");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_pod_may_see_the_processes_of_the_machine_and_ends_only_its_own() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    runtime.run_pod_sandbox(sharing(&machine, Processes::Host)).await.unwrap();
    let me = std::process::id();
    let script = format!("test -d /proc/{me} && echo seen; (sleep 4712 &); {FOREVER}");
    start(&runtime, machine.shell("c.0", &script)).await;
    until("it has looked", || machine.log("c.0").contains("seen") && processes("sleep\u{0}4712").len() == 1)
        .await;
    runtime.signal_container("a-uid", "c.0", libc::SIGKILL).await.unwrap();
    wait_exit(&*runtime, "a-uid", "c.0").await;
    assert_eq!(processes("sleep\u{0}4712"), [0; 0]);
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn queues_and_shared_memory_are_the_pods_unless_it_asks_for_the_machines() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let ours = fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string();
    for host_ipc in [false, true] {
        runtime.run_pod_sandbox(SandboxConfig { host_ipc, ..machine.sandbox("a") }).await.unwrap();
        let id = format!("c.{}", u8::from(host_ipc));
        let shell = machine.shell(&id, "/bin/busybox readlink /proc/self/ns/ipc");
        let said = says(&machine, &runtime, shell).await;
        assert_eq!(said.trim() == ours, host_ipc, "{said} {ours}");
        runtime.remove_pod_sandbox("a-uid").await.unwrap();
    }
}

#[tokio::test]
async fn a_seccomp_profile_of_its_own_forbids_what_it_says_also_in_exec() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    let tries = "mkdir /tmp/x 2>&1; touch /tmp/y && echo made; exec 2>/dev/null; sync; echo $?";
    let mut config = machine.shell("c.0", &format!("{tries}; {FOREVER}"));
    config.security.seccomp_profile = Some(profile.to_owned());
    start(&runtime, config).await;
    until("it has tried", || machine.log("c.0").lines().count() == 3).await;
    let said = machine.log("c.0");
    assert!(said.contains("No space left on device") && said.contains("made\n"), "{said}");
    assert!(said.ends_with("159\n"), "128 and SIGSYS: {said}");
    let argv = ["mkdir", "/tmp/z"].map(str::to_owned).to_vec();
    let exec = runtime::ExecConfig { argv, stdin: None, stdout: None, stderr: None, tty: false };
    assert_eq!(runtime.exec("a-uid", "c.0", exec).await.unwrap(), 1);

    let mut wrong = machine.shell("d.0", "true");
    wrong.security.seccomp_profile = Some("{}".to_owned());
    let refusal = runtime.create_container("a-uid", wrong).await.unwrap_err().to_string();
    assert!(refusal.contains("the seccomp profile is not in OCI's format"), "{refusal}");
    let all = runtime.containers("a-uid").await.unwrap();
    assert!(matches!(all[0].state, ContainerState::Running { .. }) && all.len() == 1);
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}
