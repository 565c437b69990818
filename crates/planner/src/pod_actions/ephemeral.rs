//! Ephemeral containers: they join a running pod to look at it, run once, and count for nothing else
//! (`kubectl debug`; KEP-277).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, EphemeralContainer, Pod};

use super::containers::plan_once;
use super::snapshot::{ImageState, Snapshot};
use super::{PodAction, PodPlan};

/// A pod's ephemeral containers, as the containers that they are.
pub fn ephemeral_containers(pod: &Pod) -> Vec<Container> {
    declared(pod).iter().filter_map(as_container).collect()
}

/// The container whose processes an ephemeral one is to see.
pub fn target_container<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let found = declared(pod).iter().find(|container| container.name == name)?;
    found.target_container_name.as_deref().filter(|target| !target.is_empty())
}

fn declared(pod: &Pod) -> &[EphemeralContainer] {
    pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default()
}

/// The two have the same fields, but for the target.
fn as_container(ephemeral: &EphemeralContainer) -> Option<Container> {
    let mut value = serde_json::to_value(ephemeral).ok()?;
    value.as_object_mut()?.remove("targetContainerName");
    serde_json::from_value(value).ok()
}

/// Whether it is still to run: once is all it gets, also after its sandbox was lost.
fn is_due(snapshot: &Snapshot<'_>, name: &str) -> bool {
    let ran = |told: &ContainerStatus| told.container_id.as_deref().is_some_and(|id| !id.is_empty());
    snapshot.latest(name).is_none() && !snapshot.told(name).is_some_and(ran)
}

pub(super) fn plan_images(snapshot: &Snapshot<'_>, plan: &mut PodPlan) {
    for container in ephemeral_containers(snapshot.pod) {
        let needed = snapshot.images.get(&container.name) == Some(&ImageState::Needed);
        if needed && is_due(snapshot, &container.name) {
            plan.actions.push(PodAction::PullImage { container: container.name });
        }
    }
}

/// Starts those that are due, whatever the others do.
pub(super) fn plan_starts(snapshot: &Snapshot<'_>, now: Timestamp, plan: &mut PodPlan) {
    for container in ephemeral_containers(snapshot.pod) {
        plan_once(snapshot, &container, is_due(snapshot, &container.name), now, plan);
    }
}

/// What to tell of one that ran in a sandbox that is lost: the last word on it stays.
pub(super) fn last_word(snapshot: &Snapshot<'_>, name: &str) -> Option<ContainerStatus> {
    let told = snapshot.told(name).filter(|_| snapshot.latest(name).is_none())?;
    (!is_due(snapshot, name)).then(|| told.clone())
}
