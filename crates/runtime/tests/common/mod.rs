//! A machine for tests: folders, a root file system of busybox, and both backends.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::oci::{Oci, OciConfig};
use runtime::{ContainerConfig, ContainerState, Processes, Resources, Runtime, SandboxConfig, Security};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A machine of its own per test; everything is gone when it is dropped.
pub struct Machine {
    dir: tempfile::TempDir,
    number: u32,
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("stead-rt-").tempdir().unwrap();
        let machine = Self { dir, number: NEXT.fetch_add(1, Ordering::Relaxed) };
        machine.make_image();
        machine
    }

    /// A daemon over this machine; a second one is a restarted daemon.
    pub fn daemon(&self) -> Arc<Oci> {
        Oci::new(OciConfig {
            root: self.path("pods"),
            run_dir: self.path("run"),
            cgroup_root: self.cgroup_root(),
            shim_command: vec![OsString::from(env!("CARGO_BIN_EXE_stead-shim"))],
        })
    }

    pub fn cgroup_root(&self) -> String {
        format!("/stead-rt-{}-{}", std::process::id(), self.number)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Two layers: programs below, some files above.
    fn make_image(&self) {
        let bin = self.path("layers/base/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox"))
            .expect("busybox is needed: apt-get install -y busybox-static");
        let applets = "sh cat echo sleep env id hostname ls touch mount mknod kill true false printf dd ps stat \
                       head tail wc tty seq mkdir unshare nproc ip chmod test sync ln rm grep";
        for applet in applets.split_whitespace() {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        for dir in ["proc", "sys", "dev", "tmp", "root"] {
            fs::create_dir(self.path("layers/base").join(dir)).unwrap();
        }
        fs::set_permissions(self.path("layers/base/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::create_dir_all(self.path("layers/top/etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n";
        fs::write(self.path("layers/top/etc/passwd"), passwd).unwrap();
        fs::write(self.path("layers/top/etc/data"), "not a program\n").unwrap();
    }

    pub fn layers(&self) -> Vec<PathBuf> {
        vec![self.path("layers/base"), self.path("layers/top")]
    }

    pub fn sandbox(&self, name: &str) -> SandboxConfig {
        SandboxConfig {
            id: format!("{name}-uid"),
            namespace: "default".to_owned(),
            name: name.to_owned(),
            hostname: name.to_owned(),
            host_network: false,
            host_ipc: false,
            processes: Processes::Container,
            sysctls: BTreeMap::new(),
            cgroup_parent: format!("burstable/pod{name}-uid"),
            resources: Resources::default(),
            annotations: BTreeMap::from([("note".to_owned(), name.to_owned())]),
        }
    }

    /// A container that runs `script` in a shell.
    pub fn shell(&self, id: &str, script: &str) -> ContainerConfig {
        self.container(id, &["/bin/sh", "-c", script])
    }

    pub fn container(&self, id: &str, argv: &[&str]) -> ContainerConfig {
        ContainerConfig {
            id: id.to_owned(),
            layers: self.layers(),
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: vec!["PATH=/bin".to_owned(), "GREETING=hello".to_owned()],
            cwd: PathBuf::from("/"),
            devices: Vec::new(),
            mounts: Vec::new(),
            security: Security {
                uid: 0,
                gid: 0,
                additional_gids: Vec::new(),
                privileged: false,
                capabilities: DEFAULT_CAPABILITIES.iter().map(|c| (*c).to_owned()).collect(),
                no_new_privileges: false,
                read_only_root: false,
                seccomp_default: true,
                seccomp_profile: None,
            },
            resources: Resources::default(),
            log_path: self.path("logs").join(format!("{id}.log")),
            tty: false,
            stdin: false,
            stdin_once: false,
            joins_processes_of: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The text that a container has written so far, without stamps.
    pub fn log(&self, id: &str) -> String {
        let raw = fs::read_to_string(self.path("logs").join(format!("{id}.log"))).unwrap();
        raw.lines()
            .map(|line| line.splitn(4, ' ').nth(3).unwrap())
            .fold(String::new(), |all, l| all + l + "\n")
    }

    /// All cgroup folders that are this machine's.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let root = self.cgroup_root();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let cgroup = mounts.lines().filter(|l| l.contains(" - cgroup"));
        let dirs = cgroup.map(|l| Path::new(l.split(' ').nth(4).unwrap()).join(root.trim_start_matches('/')));
        dirs.filter(|d| d.exists()).collect()
    }

    /// Pids of processes whose command line names this machine's folders: its shims.
    pub fn shims(&self) -> Vec<i32> {
        let own = self.dir.path().to_str().unwrap().to_owned();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| *pid != std::process::id().cast_signed())
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&own)
            })
            .collect()
    }
}

impl Drop for Machine {
    /// A test that failed may have left processes: they go with their cgroups.
    fn drop(&mut self) {
        for dir in self.cgroups() {
            remove_cgroup(&dir);
        }
    }
}

fn remove_cgroup(dir: &Path) {
    let _ = fs::write(dir.join("cgroup.kill"), "1");
    for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = rustix::process::Pid::from_raw(pid.parse().unwrap()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    while fs::remove_dir(dir).is_err_and(|e| e.kind() == std::io::ErrorKind::ResourceBusy) {
        std::thread::yield_now();
    }
}

/// What containerd gives to every container.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The state of one container.
pub async fn state(runtime: &dyn Runtime, sandbox: &str, id: &str) -> ContainerState {
    let all = runtime.containers(sandbox).await.unwrap();
    all.into_iter().find(|c| c.config.id == id).unwrap_or_else(|| panic!("no container {id}")).state
}

/// Waits, by events, until the container's state is as `until` wants it.
pub async fn wait(
    runtime: &dyn Runtime,
    sandbox: &str,
    id: &str,
    until: impl Fn(&ContainerState) -> bool,
) -> ContainerState {
    let mut events = runtime.events();
    loop {
        let state = state(runtime, sandbox, id).await;
        if until(&state) {
            return state;
        }
        let _ = events.recv().await.unwrap();
    }
}

/// Waits until the container has ended.
pub async fn wait_exit(runtime: &dyn Runtime, sandbox: &str, id: &str) -> ContainerState {
    wait(runtime, sandbox, id, |s| matches!(s, ContainerState::Exited { .. })).await
}

/// Waits until a condition that no event tells of is true, for instance what a program writes to a file.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let long = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(long, waited).await.is_ok(), "never came: {what}");
}

/// The exit code of an exited container.
pub fn code(state: &ContainerState) -> i32 {
    match state {
        ContainerState::Exited { exit_code, .. } => *exit_code,
        other => panic!("{other:?} has no exit code"),
    }
}
