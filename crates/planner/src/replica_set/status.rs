//! The set's status: counts of the pods that there are (`calculateStatus`). What kept a pod from being made is told
//! by events and not by the condition `ReplicaFailure`: a plan does not hear what becomes of it.

use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::api::core::v1::Pod;

use super::View;
use crate::numbers::{self, unless_zero};
use crate::objects::{is_terminating, label};
use crate::plan::{Action, Plan};
use crate::pods::{is_ready, is_terminal};
use crate::world::to_value;

/// Writes the status when it says something else than before.
pub(super) fn do_plan_status(view: &View<'_>, plan: &mut Plan) {
    let status = status(view);
    if view.set.status.as_ref() == Some(&status) {
        return;
    }
    let mut object = (**view.set).clone();
    object.status = Some(status);
    plan.actions.push(Action::ReplaceStatus(to_value(&object)));
}

fn status(view: &View<'_>) -> ReplicaSetStatus {
    let count =
        |counts: &dyn Fn(&Pod) -> bool| numbers::count(view.active().filter(|pod| counts(pod)).count());
    let template = view.set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let labels = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let is_fully_labeled =
        |pod: &Pod| labels.into_iter().flatten().all(|(key, value)| label(&pod.metadata, key) == Some(value));
    let terminating = view.pods.iter().filter(|pod| is_terminating(&pod.metadata) && !is_terminal(pod));
    ReplicaSetStatus {
        available_replicas: unless_zero(count(&|pod| view.is_available(pod))),
        conditions: view.set.status.as_ref().and_then(|status| status.conditions.clone()),
        fully_labeled_replicas: unless_zero(count(&is_fully_labeled)),
        observed_generation: view.set.metadata.generation,
        ready_replicas: unless_zero(count(&is_ready)),
        replicas: count(&|_| true),
        terminating_replicas: Some(numbers::count(terminating.count())),
    }
}
