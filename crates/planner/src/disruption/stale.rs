//! Pods that were marked for a disruption which never came (`syncStalePodDisruption`, KEP-3329).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use crate::numbers::time;
use crate::objects::is_terminating;
use crate::plan::Plan;
use crate::pods::{DISRUPTION_TARGET, condition, is_terminal, status_with_condition};

/// How long a pod may stay marked without being deleted (`stalePodDisruptionTimeout`).
const STALE_AFTER: SignedDuration = SignedDuration::from_secs(2 * 60);

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
    let unmarked = PodCondition {
        type_: DISRUPTION_TARGET.to_owned(),
        status: "False".to_owned(),
        last_transition_time: Some(time(now)),
        ..PodCondition::default()
    };
    plan.actions.push(status_with_condition(pod, unmarked));
}
