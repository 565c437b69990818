//! What the node knows of one pod.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, ResourceRequirements};

use crate::scheduler::ResizeRefusal;

/// One run of one container of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId {
    /// The container's name in the pod's spec.
    pub name: String,
    /// 0 for the first run; the same as the restart count.
    pub attempt: u32,
}

/// Where a run is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// It is being made.
    Created,
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It ended.
    Exited {
        /// When it was started.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// The exit code.
        exit_code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// `Completed`, `Error`, `OOMKilled`, `StartError`.
        reason: String,
        /// The termination message, or why it could not be started.
        message: String,
    },
}

/// What is known of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Which run.
    pub id: ContainerId,
    /// Where it is in its life.
    pub state: RecordState,
    /// Restarts in a row, as given with [`super::PodAction::StartContainer`].
    pub backoff_step: u32,
    /// The runtime's name for it, as `containerStatuses[].containerID` shows it.
    pub container_id: String,
    /// The image's name, as resolved.
    pub image: String,
    /// The image's digest.
    pub image_id: String,
    /// The resources that it has been given.
    pub resources: ResourceRequirements,
}

impl Record {
    /// Whether its processes may still run.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, RecordState::Exited { .. })
    }
}

/// The pod's surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// None was made, or it was removed.
    Absent,
    /// It is being made.
    Starting {
        /// Why the last try failed.
        error: Option<String>,
    },
    /// It is there.
    Alive {
        /// The pod's address; the host's with hostNetwork.
        ip: String,
    },
    /// Its processes are gone (killed, or the machine was rebooted), or it was stopped.
    Dead,
}

/// The pod's volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volumes {
    /// Nothing was done yet.
    Absent,
    /// They are being made ready.
    Working,
    /// Something is missing; the node tries again when it changes.
    Waiting {
        /// `FailedMount` and so on.
        reason: String,
        /// One sentence.
        message: String,
    },
    /// All are there.
    Ready,
}

/// A container's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// It is here, and may be used as it is under the container's pull policy.
    Present,
    /// It must be fetched (or looked for) first.
    Needed,
    /// It is being fetched.
    Pulling,
    /// It cannot be had now.
    Failed {
        /// `ErrImagePull`, `ImagePullBackOff`, `ErrImageNeverPull`, `InvalidImageName`.
        reason: String,
        /// One sentence.
        message: String,
        /// When to try again; `None` when trying again is useless.
        retry_at: Option<Timestamp>,
    },
}

/// What the probes of a running container say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeState {
    /// The startup probe has succeeded, or there is none.
    pub started: bool,
    /// The readiness probe succeeds, or there is none.
    pub ready: bool,
    /// A liveness or startup probe has failed for good: what it said.
    pub failed: Option<String>,
    /// What the readiness probe said last, when it failed.
    pub not_ready_because: Option<String>,
}

/// Everything that the plan for a pod depends on.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The pod as the API has it (or had it, when it is gone there).
    pub pod: &'a Pod,
    /// The pod was removed from the API: end it, whatever it says.
    pub removed: bool,
    /// A former pod of the same name still has processes here.
    pub predecessor_running: bool,
    /// The node's address.
    pub host_ip: &'a str,
    /// The pod's surroundings.
    pub sandbox: Sandbox,
    /// The pod's volumes.
    pub volumes: Volumes,
    /// All runs that are known, in any order.
    pub records: Vec<Record>,
    /// Runs that are being stopped.
    pub killing: BTreeSet<ContainerId>,
    /// The images, by container.
    pub images: BTreeMap<String, ImageState>,
    /// Containers whose environment cannot be made (a missing Secret, key, …), and why.
    pub config_errors: BTreeMap<String, String>,
    /// Those of them that are to be tried again now: what is wrong is still told until it is not.
    pub config_retries: BTreeSet<String>,
    /// The probes of running containers, by container.
    pub probes: BTreeMap<String, ProbeState>,
    /// Why the node does not give the pod the resources that its spec asks for now, when it has others and the node
    /// does not.
    pub resize_refused: Option<ResizeRefusal>,
    /// Containers whose resources could not be changed, and why.
    pub resize_errors: BTreeMap<String, String>,
    /// Those of them that are to be tried again now.
    pub resize_retries: BTreeSet<String>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn spec(&self) -> &'a PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.spec.as_ref().unwrap_or(&EMPTY)
    }

    pub(super) fn init_containers(&self) -> &'a [Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }

    /// Whether this names an ephemeral container.
    pub(super) fn is_ephemeral(&self, name: &str) -> bool {
        self.spec().ephemeral_containers.iter().flatten().any(|container| container.name == name)
    }

    /// Being deleted, or gone from the API already.
    pub(super) fn is_going(&self) -> bool {
        self.removed || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// The API says that it has Succeeded or Failed; it never runs again.
    pub(super) fn has_ended(&self) -> bool {
        crate::pods::is_terminal(self.pod)
    }

    /// What the API was told of a container last.
    pub(super) fn told(&self, name: &str) -> Option<&'a ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        let all = status.container_statuses.iter().chain(&status.init_container_statuses);
        let all = all.chain(&status.ephemeral_container_statuses).flatten();
        all.into_iter().find(|c| c.name == name)
    }

    /// A container of a lost sandbox that needs no other run: with OnFailure, success is for good
    /// (upstream's `containerSucceeded`). Init containers run again with each sandbox.
    pub(super) fn succeeded_before(&self, name: &str) -> bool {
        let is_init = self.init_containers().iter().any(|c| c.name == name);
        let ended = self.told(name).and_then(|t| t.state.as_ref()?.terminated.as_ref());
        !is_init
            && self.spec().restart_policy.as_deref() == Some("OnFailure")
            && self.latest(name).is_none()
            && ended.is_some_and(|t| t.exit_code == 0)
    }

    /// The last run of a container.
    pub(super) fn latest(&self, name: &str) -> Option<&Record> {
        self.records.iter().filter(|r| r.id.name == name).max_by_key(|r| r.id.attempt)
    }

    /// The run before the last.
    pub(super) fn previous(&self, name: &str) -> Option<&Record> {
        let latest = self.latest(name)?;
        self.records.iter().filter(|r| r.id.name == name && r.id != latest.id).max_by_key(|r| r.id.attempt)
    }

    pub(super) fn is_killing(&self, record: &Record) -> bool {
        self.killing.contains(&record.id)
    }

    pub(super) fn restarts_always(&self) -> bool {
        self.spec().restart_policy.as_deref().unwrap_or("Always") == "Always"
    }
}

/// A restartable init container (KEP-753): it keeps running beside those after it.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}
