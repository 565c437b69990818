//! What a pod's status says (`pkg/api/v1/pod/util.go`, `pkg/controller/statefulset/stateful_set_utils.go`).

mod facts;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec};
use serde_json::json;

use crate::objects::uid;
use crate::plan::Action;
use crate::world::object_ref;
pub(crate) use facts::Kin;
pub use facts::PodFacts;

/// Why a container waits when it will not go on by itself: somebody must change something first.
const STUCK: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// The phase; empty when the status says nothing yet.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Whether all containers have ended for good, well or not.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

/// The spec; a pod without one is not one that the API lets in.
pub(crate) fn spec(pod: &Pod) -> Option<&PodSpec> {
    pod.spec.as_ref()
}

/// The node that the pod is bound to.
pub(crate) fn node_name(pod: &Pod) -> Option<&str> {
    spec(pod)?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// The pod's address, once it has one.
pub(crate) fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())
}

/// The condition of this type.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// Says that somebody is about to end the pod (KEP-3329).
pub(crate) const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Says that the node does not give the pod what its spec asks for now (KEP-1287).
pub(crate) const RESIZE_PENDING: &str = "PodResizePending";
/// Says that the node is about to give the pod what its spec asks for.
pub(crate) const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

/// Puts a condition in the place of the one of its type, or beside the others. The list is written as a whole: it must
/// not have changed meanwhile.
pub(crate) fn status_with_condition(pod: &Pod, condition: PodCondition) -> Action {
    let told = pod.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions = told.unwrap_or_default();
    match conditions.iter_mut().find(|held| held.type_ == condition.type_) {
        Some(held) => *held = condition,
        None => conditions.push(condition),
    }
    let meta = json!({"uid": uid(&pod.metadata), "resourceVersion": pod.metadata.resource_version});
    let patch = json!({"metadata": meta, "status": {"conditions": conditions}});
    Action::PatchStatus { target: object_ref(pod), patch }
}

/// Whether the pod has the condition Ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Whether the pod runs and is Ready.
pub(crate) fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

/// Since when the pod is Ready, if it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|c| c.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// How much longer a pod that is Ready must stay so to count as available; `None` when it is not Ready, zero
/// when it is available now. A readiness without a date began just now.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<SignedDuration> {
    is_running_and_ready(pod).then(|| rest_to_available(ready_since(pod), min_ready_seconds, now))
}

fn rest_to_available(
    ready_since: Option<Timestamp>,
    min_ready_seconds: i32,
    now: Timestamp,
) -> SignedDuration {
    let needed = SignedDuration::from_secs(min_ready_seconds.max(0).into());
    if needed.is_zero() {
        return needed;
    }
    let had = ready_since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    (needed - had).max(SignedDuration::ZERO)
}

/// Whether the pod has been Ready for long enough.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready_seconds, now).is_some_and(|rest| rest.is_zero())
}

/// The statuses of the init containers, then of the containers.
pub(crate) fn container_statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let main = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    init.iter().chain(main)
}

/// How long a pod may be without a node before it counts as stuck: claims and nodes may be on their way.
pub(crate) const UNSCHEDULABLE_PATIENCE: SignedDuration = SignedDuration::from_secs(5);

/// Why the pod cannot get further unless somebody changes it, and in what words: an image that cannot be
/// pulled, a crash loop, a wrong reference, no node for it. A pod that merely is not Ready yet is not stuck.
pub(crate) fn stuck(pod: &Pod, now: Timestamp) -> Option<(&str, &str)> {
    if unschedulable_rest(pod, now).is_some_and(|rest| !rest.is_positive()) {
        let words = condition(pod, "PodScheduled").and_then(|held| held.message.as_deref());
        return Some(("Unschedulable", words.unwrap_or_default()));
    }
    let waiting = container_statuses(pod).filter_map(|c| c.state.as_ref()?.waiting.as_ref());
    let mut stuck = waiting.filter_map(|waiting| {
        let reason = waiting.reason.as_deref().filter(|reason| STUCK.contains(reason))?;
        Some((reason, waiting.message.as_deref().unwrap_or_default()))
    });
    stuck.next()
}

/// How much longer to be patient with a pod that no node will take; `None` when that is not its trouble.
pub(crate) fn unschedulable_rest(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let held = condition(pod, "PodScheduled")?;
    let is_refused = held.status == "False" && held.reason.as_deref() == Some("Unschedulable");
    let since = held.last_transition_time.as_ref().map_or(now, |time| time.0);
    is_refused.then(|| UNSCHEDULABLE_PATIENCE - now.duration_since(since))
}

/// Whether a container of the pod has ended and was started again, and is not ready.
pub(crate) fn has_failed_before(pod: &Pod) -> bool {
    container_statuses(pod).any(|container| container.restart_count > 0 && !container.ready)
}

/// Since when the pod is not Ready: since it was last, or since it was made.
pub(crate) fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let unready = condition(pod, "Ready").filter(|held| held.status != "True");
    let since = unready.and_then(|held| held.last_transition_time.as_ref());
    since.or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0)
}

/// The names of the claims that the pod mounts, in the order of its volumes.
pub(crate) fn claim_names(pod: &Pod) -> impl Iterator<Item = &str> {
    spec(pod)
        .into_iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}
