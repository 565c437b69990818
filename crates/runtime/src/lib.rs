//! Pods as containers: the verbs of Kubernetes' CRI over backends.
//!
//! Backends: [`oci`] runs real containers, each pod under a shim process of its own that outlives stead;
//! [`fake`] answers from memory, for tests of what stands above. Both pass the same contract tests. It is
//! not a kubelet: it decides nothing. **Its one rule: what it says about processes is what the kernel said;
//! a container is gone when its processes are.**

mod cgroup;
pub mod fake;
mod mountpoints;
pub mod oci;
mod record;
mod seccomp;
pub mod shim;
mod spec;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Limits for a cgroup, of a container or of a whole pod. `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative weight in v1's unit (2 to 262144); upstream's `MilliCPUToShares`.
    pub cpu_shares: Option<u64>,
    /// CPU time per period, in microseconds.
    pub cpu_quota: Option<i64>,
    /// The period, in microseconds.
    pub cpu_period: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
    /// Processes and threads.
    pub pids_limit: Option<i64>,
    /// -1000 to 1000; what may not be lowered is clamped.
    pub oom_score_adj: Option<i32>,
}

/// What the processes of a cgroup use (CRI's `ContainerStats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the group was made, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Of these, what the kernel could not take back at once: without what was read from files and lies idle. Upstream's
    /// `workingSetBytes`.
    pub memory_working_set: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// All of it.
    pub pod: Usage,
    /// Its running containers, by id.
    pub containers: BTreeMap<String, Usage>,
}

/// A pod's surroundings: namespaces, hostname, address space for its containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// The pod's uid: the sandbox's id.
    pub id: String,
    /// For messages and process titles only.
    pub namespace: String,
    /// For messages and process titles only.
    pub name: String,
    /// What `hostname` says inside.
    pub hostname: String,
    /// Share the host's network instead of a namespace of its own.
    pub host_network: bool,
    /// Share the host's System V objects and message queues instead of a namespace of its own.
    #[serde(default)]
    pub host_ipc: bool,
    /// Whose processes the containers see.
    #[serde(default)]
    pub processes: Processes,
    /// `net.core.somaxconn` and so on.
    pub sysctls: BTreeMap<String, String>,
    /// The cgroup of the pod, relative to the runtime's own: `burstable/pod<uid>`.
    pub cgroup_parent: String,
    /// Limits of the pod's cgroup.
    pub resources: Resources,
    /// Anything that the caller wants back from [`Runtime::list_pod_sandboxes`] after a restart.
    pub annotations: BTreeMap<String, String>,
}

/// Whose processes a container sees (CRI's `NamespaceMode` for pids).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Processes {
    /// Its own.
    #[default]
    Container,
    /// Those of all containers of the pod.
    Pod,
    /// All of the machine.
    Host,
}

/// A running (or ended) sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    /// As it was asked for.
    pub config: SandboxConfig,
    /// The process that holds the namespaces (the shim); `None` when it is gone.
    pub pid: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What the container may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Everything allowed, no masking.
    pub privileged: bool,
    /// `CAP_NET_BIND_SERVICE`, …: the whole set of the container, after add and drop.
    pub capabilities: Vec<String>,
    /// Sets no_new_privs.
    pub no_new_privileges: bool,
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// The default seccomp profile, or none.
    pub seccomp_default: bool,
    /// A profile of its own instead, as OCI's `LinuxSeccomp` in JSON.
    #[serde(default)]
    pub seccomp_profile: Option<String>,
}

/// A mount into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// A file or folder on the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub destination: PathBuf,
    /// May not be written.
    pub read_only: bool,
}

/// A block device of the host that a container may open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The device on the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub destination: PathBuf,
    /// May not be written.
    pub read_only: bool,
}

/// A container to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Unique within its sandbox, for instance `postgres.0` (name and attempt).
    pub id: String,
    /// The root file system: the layers of the image, bottom first. The runtime mounts an overlay over them.
    pub layers: Vec<PathBuf>,
    /// The command and its arguments, complete.
    pub argv: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: PathBuf,
    /// Volumes and generated files (/etc/hosts, /etc/resolv.conf, …).
    pub mounts: Vec<Mount>,
    /// Volumes that are block devices.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Users, capabilities and so on.
    pub security: Security,
    /// Limits.
    pub resources: Resources,
    /// Where output goes, in CRI's format (`2016-10-06T00:17:09.669794202Z stdout F text`).
    pub log_path: PathBuf,
    /// Give it a terminal as stdin, stdout and stderr.
    pub tty: bool,
    /// Keep its input open for [`Runtime::attach`]; without, it reads /dev/null.
    #[serde(default)]
    pub stdin: bool,
    /// The input ends with the first that has attached to it.
    #[serde(default)]
    pub stdin_once: bool,
    /// The id of a container of the same sandbox: the two see each other's processes. When that one ends, this one's
    /// processes end with it.
    #[serde(default)]
    pub joins_processes_of: Option<String>,
    /// Anything that the caller wants back from [`Runtime::containers`] after a restart.
    pub annotations: BTreeMap<String, String>,
}

impl Resources {
    /// Takes over the limits that `other` has.
    pub(crate) fn update(&mut self, other: &Self) {
        self.cpu_shares = other.cpu_shares.or(self.cpu_shares);
        self.cpu_quota = other.cpu_quota.or(self.cpu_quota);
        self.cpu_period = other.cpu_period.or(self.cpu_period);
        self.memory_limit = other.memory_limit.or(self.memory_limit);
        self.pids_limit = other.pids_limit.or(self.pids_limit);
        self.oom_score_adj = other.oom_score_adj.or(self.oom_score_adj);
    }
}

impl ContainerConfig {
    /// Takes over other limits and annotations.
    pub(crate) fn update(&mut self, resources: &Resources, annotations: BTreeMap<String, String>) {
        self.resources.update(resources);
        self.annotations.extend(annotations);
    }
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its first process runs.
    Running {
        /// Since when.
        started_at: Timestamp,
        /// The first process, in the host's numbering.
        pid: u32,
    },
    /// Its first process has ended and all others were killed.
    Exited {
        /// When it was started; the same as `finished_at` if it never was.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// The exit code; 128 plus the signal's number when a signal ended it.
        exit_code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The kernel killed it for memory.
        oom_killed: bool,
        /// Why it could not be started, when it could not.
        message: String,
    },
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// As it was asked for.
    pub config: ContainerConfig,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub state: ContainerState,
}

/// A command to run inside a running container.
#[derive(Debug)]
pub struct ExecConfig {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Standard input; /dev/null when `None`. With `tty`, one end of a terminal stands in all three.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
    /// The three are a terminal (a pty's slave side), to be made the controlling one.
    pub tty: bool,
}

/// What of a running container is to be joined.
#[derive(Debug)]
pub struct AttachConfig {
    /// Its input, if it has one.
    pub stdin: bool,
    /// Where its output goes from now on, besides the log; a pipe.
    pub stdout: Option<OwnedFd>,
    /// Where its errors go; a pipe.
    pub stderr: Option<OwnedFd>,
}

/// A container that is joined, until `ended` is dropped.
pub struct Attached {
    /// Its input: a pipe, or the near side of its terminal. Does not block. With a terminal it is there even when
    /// no input was asked for: it has the size.
    pub input: Option<OwnedFd>,
    /// Resolves when the container has ended.
    pub ended: BoxFuture<'static, ()>,
}

/// Something happened to a sandbox; ask for its state. Events may be repeated, never missed: a receiver that
/// lagged must look at everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// The sandbox.
    pub sandbox: String,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such sandbox or container.
    #[error("{what} {id} not found")]
    NotFound {
        /// `sandbox` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The container is not in the state that the verb needs.
    #[error("container {id} is {state}")]
    WrongState {
        /// Its id.
        id: String,
        /// The state in words.
        state: String,
    },
    /// The command to start is not there or cannot be executed: the manifest's fault, not the machine's.
    #[error("{0}")]
    BadCommand(String),
    /// The kernel, the disk or the shim refused.
    #[error("{doing}: {why}")]
    System {
        /// What was being done.
        doing: String,
        /// What went wrong.
        why: String,
    },
}

/// The verbs, as CRI names them. Every verb is idempotent.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Makes the pod's surroundings and the process that holds them.
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<SandboxStatus, Error>;
    /// Kills whatever still runs in the sandbox and ends its holder. Returns when all of it is gone.
    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), Error>;
    /// Removes every trace of a stopped sandbox: files, mounts, cgroups.
    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), Error>;
    /// All sandboxes, also those found after a restart of stead or of the machine.
    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error>;

    /// Makes a container.
    async fn create_container(&self, sandbox: &str, config: ContainerConfig) -> Result<(), Error>;
    /// Starts a made one.
    async fn start_container(&self, sandbox: &str, container: &str) -> Result<(), Error>;
    /// Sends a signal to its first process; with SIGKILL to all of them.
    async fn signal_container(&self, sandbox: &str, container: &str, signal: i32) -> Result<(), Error>;
    /// Removes an exited one (or one never started): mounts, cgroup, state. Its log stays.
    async fn remove_container(&self, sandbox: &str, container: &str) -> Result<(), Error>;
    /// All containers of a sandbox.
    async fn containers(&self, sandbox: &str) -> Result<Vec<ContainerStatus>, Error>;

    /// Gives a container that is there other limits, and these annotations in place of those of the same names
    /// (CRI's `UpdateContainerResources`). Limits that are `None` stay as they are. A limit of memory below what is
    /// in use is refused.
    async fn update_container_resources(
        &self,
        sandbox: &str,
        container: &str,
        resources: Resources,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), Error>;
    /// Gives the cgroup of a whole pod other limits (CRI's `UpdatePodSandboxResources`), by the same rules.
    async fn update_pod_sandbox_resources(&self, sandbox: &str, resources: Resources) -> Result<(), Error>;
    /// What a pod and its containers use now (CRI's `PodSandboxStats`).
    async fn pod_sandbox_stats(&self, sandbox: &str) -> Result<PodUsage, Error>;

    /// Runs a command inside a running container and waits for its exit code.
    async fn exec(&self, sandbox: &str, container: &str, config: ExecConfig) -> Result<i32, Error>;

    /// Joins a running container: its output from now on, its input.
    async fn attach(&self, sandbox: &str, container: &str, config: AttachConfig) -> Result<Attached, Error> {
        let _ = (sandbox, config);
        let doing = format!("attaching to container {container}");
        Err(Error::System { doing, why: "this backend runs nothing".to_owned() })
    }

    /// Connects to a port on the sandbox's own loopback (CRI's `PortForward`).
    async fn port_forward(&self, sandbox: &str, port: u16) -> Result<TcpStream, Error> {
        let doing = format!("connecting to port {port} of {sandbox}");
        Err(Error::System { doing, why: "this backend has no network".to_owned() })
    }

    /// Hears of changes from now on.
    fn events(&self) -> tokio::sync::broadcast::Receiver<RuntimeEvent>;
}
