//! Pods that were marked for a disruption which never came (`syncStalePodDisruption`, KEP-3329).

use apimachinery::time::format_seconds;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::objects::{is_terminating, uid};
use crate::plan::{Action, Plan};
use crate::pods::{condition, is_terminal};
use crate::world::object_ref;

/// How long a pod may stay marked without being deleted (`stalePodDisruptionTimeout`).
const STALE_AFTER: SignedDuration = SignedDuration::from_secs(2 * 60);

const DISRUPTION_TARGET: &str = "DisruptionTarget";
/// The kubelet marks pods long before it ends them.
const TERMINATION_BY_KUBELET: &str = "TerminationByKubelet";

/// Since when a pod is marked that nobody deletes.
pub(super) fn marked_since(pod: &Pod) -> Option<Timestamp> {
    if is_terminating(&pod.metadata) || is_terminal(pod) {
        return None;
    }
    let mark = condition(pod, DISRUPTION_TARGET)?;
    let by_kubelet = mark.reason.as_deref() == Some(TERMINATION_BY_KUBELET);
    (mark.status == "True" && !by_kubelet)
        .then(|| mark.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// Takes the mark back once it is old.
pub(super) fn do_plan_stale_mark(pod: &Pod, now: Timestamp, plan: &mut Plan) {
    let Some(since) = marked_since(pod) else { return };
    let left = STALE_AFTER - now.duration_since(since);
    if left.is_positive() {
        plan.requeue(left);
        return;
    }
    let told = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let conditions: Vec<Value> = told
        .map(|held| match held.type_.as_str() {
            DISRUPTION_TARGET => {
                json!({"type": DISRUPTION_TARGET, "status": "False", "lastTransitionTime": format_seconds(now)})
            }
            _ => serde_json::to_value(held).unwrap_or_default(),
        })
        .collect();
    // The list is written as a whole: it must not have changed meanwhile.
    let meta = &pod.metadata;
    let patch = json!({
        "metadata": {"uid": uid(meta), "resourceVersion": meta.resource_version},
        "status": {"conditions": conditions},
    });
    plan.actions.push(Action::PatchStatus { target: object_ref(pod), patch });
}
