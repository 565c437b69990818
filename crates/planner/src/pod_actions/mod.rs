//! The node's own planner: what to do next for one pod, and what its status is
//! (`pkg/kubelet/kuberuntime` `computePodActions`, `pkg/kubelet` `generateAPIPodStatus`).
//!
//! The node feeds it what the runtime, the volumes, the images and the probes say, and carries out what it
//! answers. Work that takes long (a pull, a kill with its grace period) is in the snapshot as under way, so
//! that planning again while it runs asks for nothing twice.

mod containers;
mod ephemeral;
mod resize;
mod restart;
mod snapshot;
mod status;
mod terminate;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;

use crate::plan::Waiting;
use crate::scheduler::Rejection;
use crate::world::object_ref;

pub use crate::pods::is_terminal;
pub use ephemeral::{ephemeral_containers, target_container};
pub use resize::{is_resizing, reasons, resizable};
pub use restart::backoff_delay;
pub use snapshot::{ContainerId, ImageState, ProbeState, Record, RecordState, Sandbox, Snapshot, Volumes};
pub use status::ready_since;
pub use terminate::{grace, wants_no_notice};

/// Something for the node to do. Actions are carried out in order; one that fails stops the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodAction {
    /// Make the pod's volumes ready: wait for claims, mount, project.
    PrepareVolumes,
    /// Make the sandbox and its network.
    RunSandbox,
    /// Get the image of this container.
    PullImage {
        /// The container's name.
        container: String,
    },
    /// Make and start a container.
    StartContainer {
        /// Which run of which container.
        id: ContainerId,
        /// How many restarts in a row its back-off has seen; to be kept with the record.
        backoff_step: u32,
    },
    /// Stop a container: preStop, SIGTERM, and SIGKILL after `grace` seconds.
    KillContainer {
        /// Which run of which container.
        id: ContainerId,
        /// Seconds.
        grace: i64,
        /// Why, for the event.
        message: String,
    },
    /// Give a running container the resources that its spec asks for.
    ResizeContainer {
        /// Which run of which container.
        id: ContainerId,
    },
    /// Remove what is left of an ended run.
    RemoveContainer {
        /// Which run of which container.
        id: ContainerId,
    },
    /// Kill whatever is left, end the sandbox and give its address back. Records stay.
    StopSandbox,
    /// Remove the sandbox, with its records.
    RemoveSandbox,
    /// Unmount and remove what [`PodAction::PrepareVolumes`] made. Claims' data stays.
    TeardownVolumes,
    /// Everything is gone: remove the pod from the API, and the worker with it.
    Finish,
}

/// What to do next for a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodPlan {
    /// In order.
    pub actions: Vec<PodAction>,
    /// The status to show; to be written when it differs from the pod's.
    pub status: PodStatus,
    /// Plan again after this long, even if nothing changes.
    pub requeue_after: Option<SignedDuration>,
    /// What keeps the pod from being Ready (or from being gone).
    pub waiting_on: Vec<Waiting>,
}

impl PodPlan {
    fn requeue(&mut self, delay: SignedDuration) {
        let delay = delay.max(SignedDuration::from_millis(1));
        self.requeue_after = Some(self.requeue_after.map_or(delay, |held| held.min(delay)));
    }

    fn wait(&mut self, snapshot: &Snapshot<'_>, reason: &'static str, message: String) {
        let who = object_ref(snapshot.pod);
        self.waiting_on.push(Waiting { on: who.clone(), who, reason, message, since: None });
    }
}

/// What to do next for the pod of `snapshot`.
///
/// Reasons of `waiting_on`: `PredecessorRunning`, `VolumesNotReady`, `SandboxNotReady`, `ImageNotPresent`,
/// `ConfigError`, `InitContainerRunning`, `CrashLoopBackOff`, `ContainersNotReady`, `ContainersTerminating`,
/// `Deferred`, `Infeasible`, `ResizeError`.
pub fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> PodPlan {
    let mut plan = PodPlan::default();
    if snapshot.is_going() {
        terminate::plan_removal(snapshot, now, &mut plan);
    } else if snapshot.has_ended() {
        terminate::plan_end(snapshot, &mut plan);
    } else if snapshot.predecessor_running {
        let name = snapshot.pod.metadata.name.as_deref().unwrap_or_default();
        plan.wait(
            snapshot,
            "PredecessorRunning",
            format!("processes of the former pod {name} still run here"),
        );
    } else {
        plan_running(snapshot, now, &mut plan);
    }
    plan.status = status::pod_status(snapshot, now);
    plan
}

/// What to do for a pod that the node does not take: nothing, but to say so. It has failed, and never runs.
pub fn plan_rejection(snapshot: &Snapshot<'_>, rejection: &Rejection, now: Timestamp) -> PodPlan {
    PodPlan { status: status::rejected_status(snapshot, rejection, now), ..PodPlan::default() }
}

fn plan_running(snapshot: &Snapshot<'_>, now: Timestamp, plan: &mut PodPlan) {
    if let Some(deadline) = status::deadline(snapshot) {
        plan.requeue(deadline.duration_since(now));
    }
    // Images come while the sandbox and the volumes are made.
    containers::plan_images(snapshot, plan);
    ephemeral::plan_images(snapshot, plan);
    match &snapshot.volumes {
        Volumes::Absent => plan.actions.push(PodAction::PrepareVolumes),
        Volumes::Waiting { message, .. } => plan.wait(snapshot, "VolumesNotReady", message.clone()),
        Volumes::Working | Volumes::Ready => {}
    }
    match &snapshot.sandbox {
        Sandbox::Absent => plan.actions.push(PodAction::RunSandbox),
        // Its processes are gone, and their records go too: the API was told of them. All begins anew.
        Sandbox::Dead => plan.actions.extend([PodAction::StopSandbox, PodAction::RemoveSandbox]),
        Sandbox::Starting { error } => {
            let why = error.clone().unwrap_or_else(|| "the sandbox is being made".to_owned());
            plan.wait(snapshot, "SandboxNotReady", why);
        }
        Sandbox::Alive { .. } if snapshot.volumes == Volumes::Ready => {
            ephemeral::plan_starts(snapshot, now, plan);
            containers::plan_containers(snapshot, now, plan);
            resize::plan_resize(snapshot, plan);
        }
        Sandbox::Alive { .. } => {}
    }
}

#[cfg(test)]
mod tests;
