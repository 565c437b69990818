//! Real containers: what they may and may not do. Needs root and busybox-static.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use common::{Machine, code, until, wait_exit};
use runtime::oci::Oci;
use runtime::{ContainerConfig, ContainerState, Error, ExecConfig, Mount, Runtime};

const FOREVER: &str = "while true; do sleep 1000; done";

/// Runs a container to its end in a sandbox of its own; its code and what it said.
async fn run(machine: &Machine, runtime: &Oci, config: ContainerConfig) -> (i32, String) {
    let id = config.id.clone();
    let pod = format!("{}-uid", id.replace('.', "-"));
    runtime.run_pod_sandbox(machine.sandbox(&id.replace('.', "-"))).await.unwrap();
    runtime.create_container(&pod, config).await.unwrap();
    runtime.start_container(&pod, &id).await.unwrap();
    let ended = wait_exit(runtime, &pod, &id).await;
    runtime.remove_pod_sandbox(&pod).await.unwrap();
    (code(&ended), machine.log(&id))
}

/// The same for a script that is to succeed.
async fn says(machine: &Machine, runtime: &Oci, config: ContainerConfig) -> String {
    let (code, said) = run(machine, runtime, config).await;
    assert_eq!(code, 0, "{said}");
    said
}

/// A sandbox `a` with a running container `c.0`.
async fn running(machine: &Machine, runtime: &Oci, script: &str) {
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", machine.shell("c.0", script)).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
}

fn exec(argv: &[&str]) -> ExecConfig {
    let argv = argv.iter().map(|a| (*a).to_owned()).collect();
    ExecConfig { argv, stdin: None, stdout: None, stderr: None, tty: false }
}

fn pipe() -> (fs::File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

#[tokio::test]
async fn nothing_is_left_of_a_removed_sandbox() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    running(&machine, &runtime, FOREVER).await;
    assert_eq!(machine.shims().len(), 1);
    assert!(!mounts().contains(machine.path("pods").to_str().unwrap()), "mounts are the container's own");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
    assert!(machine.shims().is_empty());
    assert_eq!(machine.cgroups(), Vec::<std::path::PathBuf>::new());
    let left: Vec<_> = fs::read_dir(machine.path("pods")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".mountpoints"], "the layer that all containers share");
    assert_eq!(fs::read_dir(machine.path("run")).unwrap().count(), 0);
    let own = |text: &str| text.lines().filter(|l| l.contains("stead-rt-")).count();
    assert_eq!(own(&mounts()), own(&before));
}

#[tokio::test]
async fn both_streams_are_logged_in_cri_format() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    run(&machine, &runtime, machine.shell("c.0", "echo out; echo err >&2; printf tail")).await;
    let raw = fs::read_to_string(machine.path("logs/c.0.log")).unwrap();
    let mut shape: Vec<_> = raw.lines().map(|l| l.split_once(' ').unwrap().1).collect();
    shape.sort_unstable();
    assert_eq!(shape, ["stderr F err", "stdout F out", "stdout P tail"]);
}

#[tokio::test]
async fn a_container_hears_signals_and_may_end_in_order() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, "trap 'echo bye; exit 3' TERM; echo ready; while true; do sleep 0.01; done")
        .await;
    until("the trap is set", || machine.log("c.0").contains("ready")).await;
    runtime.signal_container("a-uid", "c.0", libc::SIGTERM).await.unwrap();
    let ended = wait_exit(&*runtime, "a-uid", "c.0").await;
    assert_eq!(code(&ended), 3);
    assert_eq!(machine.log("c.0"), "ready\nbye\n");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn an_exited_container_has_no_processes() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, "sleep 1000 & sleep 1000 & exit 0").await;
    wait_exit(&*runtime, "a-uid", "c.0").await;
    for dir in machine.cgroups() {
        let dir = dir.join("burstable/poda-uid/c-c.0");
        assert_eq!(fs::read_to_string(dir.join("cgroup.procs")).unwrap(), "", "{}", dir.display());
    }
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn limits_memory_and_says_that_it_was_memory() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", "exec dd if=/dev/zero of=/dev/null bs=100M count=1");
    config.resources.memory_limit = Some(16 << 20);
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", config).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    match wait_exit(&*runtime, "a-uid", "c.0").await {
        ContainerState::Exited { exit_code, oom_killed, .. } => {
            assert_eq!((exit_code, oom_killed), (137, true));
        }
        other => panic!("{other:?}"),
    }
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn limits_are_seen_inside_where_programs_look() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let (files, expected) = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        ("memory.max cpu.max pids.max", "67108864\n50000 100000\n50\n")
    } else {
        ("memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max", "67108864\n50000\n50\n")
    };
    let script = format!(
        "cd /sys/fs/cgroup; cat {files}; touch x 2>/dev/null || echo read-only; \
         for f in {files}; do echo 1 2>/dev/null > $f && echo $f is open; done; cat /proc/self/oom_score_adj"
    );
    let mut config = machine.shell("c.0", &script);
    config.resources.memory_limit = Some(64 << 20);
    config.resources.cpu_quota = Some(50_000);
    config.resources.cpu_period = Some(100_000);
    config.resources.pids_limit = Some(50);
    config.resources.oom_score_adj = Some(321);
    assert_eq!(says(&machine, &runtime, config).await, format!("{expected}read-only\n321\n"));
}

#[tokio::test]
async fn limits_of_the_pod_hold_for_all_its_containers() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut sandbox = machine.sandbox("a");
    sandbox.resources.memory_limit = Some(16 << 20);
    runtime.run_pod_sandbox(sandbox).await.unwrap();
    let hog = machine.shell("c.0", "exec dd if=/dev/zero of=/dev/null bs=100M count=1");
    runtime.create_container("a-uid", hog).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    assert_eq!(code(&wait_exit(&*runtime, "a-uid", "c.0").await), 137);
    let status = runtime.list_pod_sandboxes().await.unwrap().remove(0);
    assert!(status.pid.is_some(), "the shim is not in the pod's cgroup");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn environment_user_and_directory_are_as_asked() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let script =
        "id -u; id -g; id -G; echo $HOME; echo $HOSTNAME; pwd; echo to a reopened stdout > /dev/stdout";
    let mut config = machine.shell("c.0", script);
    config.cwd = "/made/on/demand".into();
    (config.security.uid, config.security.gid) = (1000, 1001);
    config.security.additional_gids = vec![2000, 3000];
    let said = says(&machine, &runtime, config).await;
    assert_eq!(said, "1000\n1001\n1001 2000 3000\n/home/web\nc-0\n/made/on/demand\nto a reopened stdout\n");
}

#[tokio::test]
async fn the_root_can_be_read_only_and_volumes_are_mounted() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    fs::create_dir(machine.path("volume")).unwrap();
    fs::write(machine.path("hosts"), "127.0.0.1 localhost\n").unwrap();
    let script = "touch /x 2>/dev/null || echo root is read-only; echo row > /data/deep/row && echo kept; \
                  touch /ro/x 2>/dev/null || echo volume is read-only; cat /etc/hosts";
    let mut config = machine.shell("c.0", script);
    config.security.read_only_root = true;
    let mount = |source: &str, destination: &str, read_only| Mount {
        source: machine.path(source),
        destination: destination.into(),
        read_only,
    };
    config.mounts = vec![
        mount("volume", "/data/deep", false),
        mount("volume", "/ro", true),
        mount("hosts", "/etc/hosts", true),
    ];
    let said = says(&machine, &runtime, config).await;
    assert_eq!(said, "root is read-only\nkept\nvolume is read-only\n127.0.0.1 localhost\n");
    assert_eq!(fs::read_to_string(machine.path("volume/row")).unwrap(), "row\n");
}

#[tokio::test]
async fn writes_to_the_root_do_not_reach_the_image() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let script = "echo changed > /etc/data; rm /etc/passwd; cat /etc/data";
    assert_eq!(says(&machine, &runtime, machine.shell("c.0", script)).await, "changed\n");
    assert_eq!(says(&machine, &runtime, machine.shell("d.0", "cat /etc/data")).await, "not a program\n");
}

#[tokio::test]
async fn capabilities_are_those_asked_for_and_no_others() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let script = "cat /proc/self/status | while read n v; do case $n in \
                  CapInh:|CapPrm:|CapEff:|CapBnd:|CapAmb:|NoNewPrivs:|Seccomp:) echo $n $v;; esac; done";
    let mut config = machine.shell("c.0", script);
    config.security.capabilities = vec!["CAP_CHOWN".to_owned(), "CAP_KILL".to_owned()];
    assert_eq!(
        says(&machine, &runtime, config.clone()).await,
        "CapInh: 0000000000000000\nCapPrm: 0000000000000021\nCapEff: 0000000000000021\n\
         CapBnd: 0000000000000021\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n"
    );
    config.id = "d.0".to_owned();
    config.log_path = machine.path("logs/d.0.log");
    config.security.uid = 1000;
    config.security.no_new_privileges = true;
    config.security.seccomp_default = false;
    assert_eq!(
        says(&machine, &runtime, config).await,
        "CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\n\
         CapBnd: 0000000000000021\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 0\n"
    );
}

#[tokio::test]
async fn seccomp_forbids_what_the_default_profile_forbids_also_in_exec() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", &format!("unshare -U true || echo forbidden; {FOREVER}"));
    config.security.capabilities.push("CAP_SYS_PTRACE".to_owned());
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", config).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    until("the container has tried", || machine.log("c.0").contains("forbidden")).await;
    let code = runtime.exec("a-uid", "c.0", exec(&["unshare", "-U", "true"])).await.unwrap();
    assert_ne!(code, 0);
    let filtered = "test $(sed -n 's/^Seccomp:.//p' /proc/self/status) = 2";
    let filtered = filtered.replace("sed", "/bin/busybox sed");
    assert_eq!(runtime.exec("a-uid", "c.0", exec(&["sh", "-c", &filtered])).await.unwrap(), 0);
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
    // With the capability it is allowed: the profile follows the capabilities.
    let mut config = machine.shell("d.0", "mount -t tmpfs tmpfs /tmp && echo mounted");
    config.security.capabilities.push("CAP_SYS_ADMIN".to_owned());
    assert_eq!(says(&machine, &runtime, config).await, "mounted\n");
}

#[tokio::test]
async fn devices_and_the_kernels_knobs_are_closed() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let script = "mknod /tmp/disk b 254 0 && (cat /tmp/disk 2>&1 | head -c 100); echo; \
                  mknod /tmp/null c 1 3 && echo fine > /tmp/null && echo null is open; \
                  echo 1 2>/dev/null > /proc/sys/kernel/panic || echo sysctl is read-only; \
                  cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l";
    let said = says(&machine, &runtime, machine.shell("c.0", script)).await;
    let said = said.replace("cat: can't open '/tmp/disk': ", "");
    assert_eq!(said, "Operation not permitted\n\nnull is open\nsysctl is read-only\n0\n0\n");
}

#[tokio::test]
async fn a_privileged_container_is_not_confined() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let script = "mount -t tmpfs tmpfs /tmp && echo mounted; test -w /proc/sys/kernel/panic && echo open; \
                  head -c 0 /dev/kmsg && echo devices";
    let mut config = machine.shell("c.0", script);
    config.security.privileged = true;
    assert_eq!(says(&machine, &runtime, config).await, "mounted\nopen\ndevices\n");
}

#[tokio::test]
async fn the_pod_has_its_own_network_host_name_and_sysctls() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut sandbox = machine.sandbox("a");
    sandbox.sysctls.insert("net.core.somaxconn".to_owned(), "1234".to_owned());
    let status = runtime.run_pod_sandbox(sandbox).await.unwrap();
    let script = "cat /proc/sys/net/core/somaxconn; hostname; ls /sys/class/net; cat /sys/class/net/lo/flags";
    runtime.create_container("a-uid", machine.shell("c.0", script)).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    wait_exit(&*runtime, "a-uid", "c.0").await;
    assert_eq!(machine.log("c.0"), "1234\na\nlo\n0x9\n", "lo is up (0x1) and a loopback (0x8)");
    let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(link(&status.pid.unwrap().to_string()), link("self"));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();

    let mut sandbox = machine.sandbox("b");
    sandbox.sysctls.insert("vm.swappiness".to_owned(), "1".to_owned());
    let refused = runtime.run_pod_sandbox(sandbox).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "setting the sysctl vm.swappiness: it belongs to the machine and not to the pod"
    );
    assert!(runtime.list_pod_sandboxes().await.unwrap().is_empty());

    let mut sandbox = machine.sandbox("c");
    sandbox.host_network = true;
    let status = runtime.run_pod_sandbox(sandbox).await.unwrap();
    assert_eq!(link(&status.pid.unwrap().to_string()), link("self"));
    runtime.remove_pod_sandbox("c-uid").await.unwrap();
}

#[tokio::test]
async fn commands_that_cannot_run_are_explained() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    for (id, argv, why) in [
        ("path.0", "foo", r#"exec: "foo": executable file not found in $PATH"#),
        ("data.0", "/etc/data", r#"exec: "/etc/data": permission denied"#),
        ("folder.0", "/etc", r#"exec: "/etc": is a directory"#),
    ] {
        runtime.create_container("a-uid", machine.container(id, &[argv])).await.unwrap();
        let error = runtime.start_container("a-uid", id).await.unwrap_err();
        assert!(matches!(error, Error::BadCommand(_)), "{error:?}");
        assert_eq!(error.to_string(), why);
    }
    runtime.create_container("a-uid", machine.shell("c.0", FOREVER)).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    let error = runtime.exec("a-uid", "c.0", exec(&["nothing"])).await.unwrap_err();
    assert_eq!(error.to_string(), r#"exec: "nothing": executable file not found in $PATH"#);
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn exec_has_its_own_streams_and_the_containers_surroundings() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, FOREVER).await;
    let (mut out, out_write) = pipe();
    let (mut err, err_write) = pipe();
    let (input, input_write) = pipe();
    let mut config =
        exec(&["sh", "-c", "cat; echo $GREETING $(hostname) >&2; head -c 7 /proc/1/cmdline >&2"]);
    config.stdin = Some(input.into());
    config.stdout = Some(out_write);
    config.stderr = Some(err_write);
    fs::File::from(input_write).write_all(b"through stdin").unwrap();
    assert_eq!(runtime.exec("a-uid", "c.0", config).await.unwrap(), 0);
    let (mut said, mut noted) = (String::new(), String::new());
    out.read_to_string(&mut said).unwrap();
    err.read_to_string(&mut noted).unwrap();
    assert_eq!(said, "through stdin");
    // Process 1 is the container's.
    assert_eq!(noted, "hello a\n/bin/sh");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn exec_runs_as_the_containers_user_where_the_container_does() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", FOREVER);
    (config.security.uid, config.security.gid) = (1000, 1000);
    config.cwd = "/tmp".into();
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    runtime.create_container("a-uid", config).await.unwrap();
    runtime.start_container("a-uid", "c.0").await.unwrap();
    let (mut out, out_write) = pipe();
    let mut config = exec(&["sh", "-c", "id -u; pwd; echo $HOME; echo again > /dev/stdout; touch /x 2>&1"]);
    config.stdout = Some(out_write);
    assert_eq!(runtime.exec("a-uid", "c.0", config).await.unwrap(), 1);
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    assert_eq!(said, "1000\n/tmp\n/home/web\nagain\ntouch: /x: Permission denied\n");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn exec_with_a_terminal_controls_it() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, FOREVER).await;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    let mut config = exec(&["sh", "-c", "test -t 0 && test -t 1 && echo controls it > /dev/tty"]);
    config.tty = true;
    config.stdin = Some(slave.try_clone().unwrap());
    config.stdout = Some(slave.try_clone().unwrap());
    config.stderr = Some(slave);
    assert_eq!(runtime.exec("a-uid", "c.0", config).await.unwrap(), 0);
    let mut said = [0; 64];
    let len = rustix::io::read(&master, &mut said).unwrap();
    assert_eq!(&said[..len], b"controls it\r\n");
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn an_exec_that_nobody_waits_for_is_killed() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    running(&machine, &runtime, FOREVER).await;
    let (mut out, out_write) = pipe();
    let mut config = exec(&["sh", "-c", "echo begun; exec sleep 1000"]);
    config.stdout = Some(out_write);
    let caller = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.exec("a-uid", "c.0", config).await }
    });
    let (mut out, begun) = tokio::task::spawn_blocking(move || {
        let mut begun = [0; 6];
        out.read_exact(&mut begun).unwrap();
        (out, begun)
    })
    .await
    .unwrap();
    assert_eq!(&begun, b"begun\n");
    caller.abort();
    // The pipe ends when the process does.
    let rest = tokio::task::spawn_blocking(move || out.read_to_end(&mut Vec::new()).unwrap()).await.unwrap();
    assert_eq!(rest, 0);
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn a_container_with_a_terminal_is_logged() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", "test -t 0 && test -t 2 && tty; echo $TERM");
    config.tty = true;
    assert_eq!(says(&machine, &runtime, config).await, "/dev/pts/0\nxterm\n");
}

#[tokio::test]
async fn no_descriptors_leak_into_containers_or_pile_up_in_the_shim() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let many: Vec<_> = (0..300).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    running(&machine, &runtime, &format!("ls /proc/self/fd | wc -l; {FOREVER}")).await;
    // 0, 1, 2, and the folder that ls reads.
    until("the container has looked", || machine.log("c.0") == "4\n").await;
    drop(many);
    let shim = runtime.list_pod_sandboxes().await.unwrap()[0].pid.unwrap();
    let open = || fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    let before = open();
    for round in 0..10 {
        assert_eq!(runtime.exec("a-uid", "c.0", exec(&["true"])).await.unwrap(), 0);
        let id = format!("extra.{round}");
        runtime.create_container("a-uid", machine.container(&id, &["true"])).await.unwrap();
        runtime.start_container("a-uid", &id).await.unwrap();
        wait_exit(&*runtime, "a-uid", &id).await;
        runtime.remove_container("a-uid", &id).await.unwrap();
    }
    until("connections are closed", || open() <= before).await;
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}

#[tokio::test]
async fn an_image_may_have_as_many_layers_as_docker_allows() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut config = machine.shell("c.0", "ls /layer | wc -l; cat /which");
    for number in 0..125 {
        let layer = machine.path(&format!("layers/{number}"));
        fs::create_dir_all(layer.join("layer")).unwrap();
        fs::write(layer.join(format!("layer/{number}")), "").unwrap();
        fs::write(layer.join("which"), format!("{number}\n")).unwrap();
        config.layers.push(layer);
    }
    assert_eq!(says(&machine, &runtime, config).await, "125\n124\n", "the last one is on top");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_made_and_removed_side_by_side() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let pods = (0..12).map(|number| {
        let (machine, runtime) = (&machine, runtime.clone());
        async move {
            let script = format!("exit {number}");
            let config = machine.shell(&format!("c{number}.0"), &script);
            assert_eq!(run(machine, &runtime, config).await.0, number);
        }
    });
    futures::future::join_all(pods).await;
    assert_eq!(machine.cgroups(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn ids_that_lead_elsewhere_are_refused() {
    let machine = Machine::new();
    let runtime = machine.daemon();
    let mut sandbox = machine.sandbox("a");
    sandbox.id = "../a".to_owned();
    assert!(runtime.run_pod_sandbox(sandbox).await.unwrap_err().to_string().contains("cannot be an id"));
    let mut sandbox = machine.sandbox("a");
    sandbox.cgroup_parent = "../elsewhere".to_owned();
    assert!(runtime.run_pod_sandbox(sandbox).await.unwrap_err().to_string().contains("cannot be a cgroup"));
    runtime.run_pod_sandbox(machine.sandbox("a")).await.unwrap();
    let error = runtime.create_container("a-uid", machine.shell("../c", "true")).await.unwrap_err();
    assert!(error.to_string().contains("cannot be an id"));
    runtime.remove_pod_sandbox("a-uid").await.unwrap();
}
