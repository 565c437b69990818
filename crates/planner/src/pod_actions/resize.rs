//! Other resources for a pod that runs, without a new pod (KEP-1287): the cgroups are changed, or the container is
//! started again where its `resizePolicy` asks for that.
//!
//! What a run has is in its record; what it should have is in the pod's spec. While the node does not give it that, it
//! keeps what it has.

use apimachinery::quantity::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus, ResourceRequirements};

use super::snapshot::{Record, RecordState, Snapshot, is_sidecar};
use super::{PodAction, PodPlan};
use crate::numbers::time;
use crate::pods::{RESIZE_IN_PROGRESS, RESIZE_PENDING};

/// What a pod says that is to have other resources.
pub mod reasons {
    /// Others have the resources, and may let go of them.
    pub const DEFERRED: &str = "Deferred";
    /// The node does not have as much.
    pub const INFEASIBLE: &str = "Infeasible";
    /// The kernel refuses, for instance to take away memory that is in use.
    pub const ERROR: &str = "Error";
}

/// What can be resized.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// Whether two containers' resources differ in what can be resized.
fn differ(wanted: &ResourceRequirements, held: &ResourceRequirements) -> bool {
    changed(wanted, held).next().is_some()
}

fn changed<'a>(
    wanted: &'a ResourceRequirements,
    held: &'a ResourceRequirements,
) -> impl Iterator<Item = &'static str> + 'a {
    type List = fn(&ResourceRequirements, &str) -> Option<Quantity>;
    let lists: [List; 2] = [
        |of, name| Quantity::parse(&of.requests.as_ref()?.get(name)?.0).ok(),
        |of, name| Quantity::parse(&of.limits.as_ref()?.get(name)?.0).ok(),
    ];
    RESOURCES.into_iter().filter(move |name| lists.iter().any(|list| list(wanted, name) != list(held, name)))
}

/// The containers of a pod whose resources can be changed while it runs.
pub fn resizable(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|s| s.init_containers.iter().flatten().filter(|c| is_sidecar(c)).chain(&s.containers))
}

/// The resources of a container's spec.
fn wanted(container: &Container) -> ResourceRequirements {
    container.resources.clone().unwrap_or_default()
}

/// Whether a container of the pod has other resources than its spec asks for.
pub fn is_resizing(pod: &Pod, records: &[Record]) -> bool {
    resizable(pod).any(|container| {
        let runs = records.iter().filter(|record| record.id.name == container.name);
        let latest = runs.max_by_key(|record| record.id.attempt);
        latest.is_some_and(|record| differ(&wanted(container), &record.resources))
    })
}

/// Whether this run of a container has other resources than the next one will have.
pub(super) fn is_resized(snapshot: &Snapshot<'_>, container: &Container, record: &Record) -> bool {
    snapshot.resize_refused.is_none()
        && resizable(snapshot.pod).any(|c| c.name == container.name)
        && differ(&wanted(container), &record.resources)
}

/// Gives running containers what their specs ask for, or says why not.
pub(super) fn plan_resize(snapshot: &Snapshot<'_>, plan: &mut PodPlan) {
    if let Some(refusal) =
        snapshot.resize_refused.as_ref().filter(|_| is_resizing(snapshot.pod, &snapshot.records))
    {
        return plan.wait(snapshot, refusal.reason, refusal.message.clone());
    }
    for container in resizable(snapshot.pod) {
        let Some(record) = snapshot.latest(&container.name) else { continue };
        let runs = matches!(record.state, RecordState::Running { .. }) && !snapshot.is_killing(record);
        if !runs || !is_resized(snapshot, container, record) {
            continue;
        }
        let error = snapshot.resize_errors.get(&container.name);
        match error.filter(|_| !snapshot.resize_retries.contains(&container.name)) {
            Some(why) => plan.wait(snapshot, reasons::ERROR, why.clone()),
            None => plan.actions.push(resize(snapshot, container, record)),
        }
    }
}

fn resize(snapshot: &Snapshot<'_>, container: &Container, record: &Record) -> PodAction {
    let wanted = wanted(container);
    let restarts = |resource: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|p| p.resource_name == resource && p.restart_policy == "RestartContainer")
    };
    if !changed(&wanted, &record.resources).any(restarts) {
        return PodAction::ResizeContainer { id: record.id.clone() };
    }
    PodAction::KillContainer {
        id: record.id.clone(),
        grace: snapshot.spec().termination_grace_period_seconds.unwrap_or(30),
        message: "resize requires restart".to_owned(),
    }
}

/// Says how far a resize is, while there is one (`PodResizePending`, `PodResizeInProgress`).
pub(super) fn set_conditions(
    snapshot: &Snapshot<'_>,
    status: &PodStatus,
    all: &mut Vec<PodCondition>,
    now: Timestamp,
) {
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) || snapshot.is_going();
    let resizes = !is_over && is_resizing(snapshot.pod, &snapshot.records);
    let refusal = snapshot.resize_refused.as_ref().filter(|_| resizes);
    let told = refusal.map(|refusal| (refusal.reason.to_owned(), refusal.message.clone()));
    put(snapshot, all, RESIZE_PENDING, told, now);
    let errors: Vec<&str> = snapshot.resize_errors.values().map(String::as_str).collect();
    let failed = (!errors.is_empty()).then(|| (reasons::ERROR.to_owned(), errors.join("; ")));
    let told = (resizes && refusal.is_none()).then(|| failed.unwrap_or_default());
    put(snapshot, all, RESIZE_IN_PROGRESS, told, now);
}

/// A condition that is True, with reason and message, or not there.
fn put(
    snapshot: &Snapshot<'_>,
    all: &mut Vec<PodCondition>,
    type_: &str,
    told: Option<(String, String)>,
    now: Timestamp,
) {
    let before = all.iter().position(|c| c.type_ == type_).map(|at| all.remove(at));
    let Some((reason, message)) = told else { return };
    let since = before.and_then(|c| c.last_transition_time).unwrap_or_else(|| time(now));
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    all.push(PodCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: said(reason),
        message: said(message),
        observed_generation: snapshot.pod.metadata.generation,
        last_transition_time: Some(since),
        ..PodCondition::default()
    });
}
