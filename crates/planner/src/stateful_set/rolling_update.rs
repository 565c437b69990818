//! Replacing pods of another revision: from the highest ordinal down to the partition, never more at a time
//! than may be unavailable (KEP-961).

use apimachinery::annotations::PAUSED;
use k8s_openapi::api::core::v1::Pod;

use super::identity::revision_label;
use super::member::Member;
use super::scale::do_plan_deletion;
use super::storage::storage_matches;
use super::{Replica, View, reasons, wait_for_pod};
use crate::numbers::{Rounded, share};
use crate::plan::Plan;
use crate::pods::stuck;

/// Plans the next step of an update.
pub(super) fn do_plan_update(view: &View<'_, '_>, plan: &mut Plan) {
    let scaled = view.has_scaled();
    let unavailable = view.ordinals.count() - view.available_count();
    let mut budget = max_unavailable(view) - unavailable;
    let mut first_held = None;
    for replica in view.replicas.iter().rev() {
        let Some(pod) = &replica.pod else { continue };
        if pod.is_terminating || pod.is_terminal || !needs_replacement(view, pod) {
            continue;
        }
        if !pod.is_available() {
            if goes_first(view, pod) {
                do_plan_deletion(view, pod, plan);
            }
        } else if scaled && budget > 0 {
            budget -= 1;
            do_plan_deletion(view, pod, plan);
        } else {
            first_held = first_held.or(Some(replica));
        }
    }
    if let Some(replica) = first_held {
        wait_for_others(view, replica, plan);
    }
    wait_for_somebody(view, plan);
}

/// An outdated pod that is of no use now costs nothing. In order only one that is stuck may go: others may
/// depend on one that merely is not Ready yet.
fn goes_first(view: &View<'_, '_>, pod: &Pod) -> bool {
    !view.is_ordered() || stuck(pod, view.now).is_some()
}

fn needs_replacement(view: &View<'_, '_>, pod: &Member<'_>) -> bool {
    let in_reach = || {
        view.is_rolling_update()
            && !view.is_paused()
            && view.rank(pod.ordinal) >= view.partition().unwrap_or(0)
    };
    (is_outdated(view, pod) && in_reach()) || !storage_matches(view.snapshot.set, pod.ordinal, pod)
}

fn is_outdated(view: &View<'_, '_>, pod: &Member<'_>) -> bool {
    pod.revision != revision_label(view.revisions.update_name())
}

/// How many replicas may be unavailable: a percentage is rounded down, and never below 1.
fn max_unavailable(view: &View<'_, '_>) -> i64 {
    let strategy = view.snapshot.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let wanted = strategy.and_then(|s| s.rolling_update.as_ref()?.max_unavailable.as_ref());
    let share = wanted.and_then(|wanted| share(wanted, view.ordinals.count(), Rounded::Down));
    share.unwrap_or(1).max(1)
}

/// Says for which pod an update waits.
fn wait_for_others(view: &View<'_, '_>, held: &Replica<'_>, plan: &mut Plan) {
    let set = view.snapshot.set;
    let obstacle = view
        .replicas
        .iter()
        .rev()
        .filter_map(|replica| replica.pod)
        .find(|pod| !pod.is_available())
        .or_else(|| view.condemned.iter().find_map(|replica| replica.pod));
    if let Some(pod) = obstacle {
        let name = crate::objects::name(&pod.metadata);
        let message = format!("{} is updated once {name} is available", held.name());
        wait_for_pod(set, &pod, reasons::UPDATE_WAITS_FOR_READY, message, plan);
    }
}

/// Says what is left for somebody to do: lower the partition, or delete pods.
fn wait_for_somebody(view: &View<'_, '_>, plan: &mut Plan) {
    let set = view.snapshot.set;
    let outdated: Vec<&Replica<'_>> = view
        .replicas
        .iter()
        .filter(|r| r.pod.is_some_and(|pod| !pod.is_terminating && is_outdated(view, &pod)))
        .collect();
    let Some(first) = outdated.first() else { return };
    let count = view.ordinals.count();
    if view.is_paused() {
        let message = format!(
            "it is paused: {} of {count} pods are of another revision; to go on, remove the annotation {PAUSED}",
            outdated.len()
        );
        plan.wait(set, set, reasons::PAUSED, message);
        return;
    }
    if !view.is_rolling_update() {
        let message = format!(
            "{} of {count} pods are of an older revision and are replaced when you delete them (OnDelete), for \
             instance: delete pod {}",
            outdated.len(),
            first.name()
        );
        plan.wait(set, set, reasons::ON_DELETE, message);
        return;
    }
    let partition = view.partition().unwrap_or(0);
    let held = outdated.iter().filter(|r| view.rank(r.ordinal) < partition).count();
    if held > 0 {
        let message = format!(
            "the partition ({partition}) keeps {held} of {count} pods at their revision; lower \
             spec.updateStrategy.rollingUpdate.partition to update them"
        );
        plan.wait(set, set, reasons::PARTITION_HOLDS, message);
    }
}

impl View<'_, '_> {
    /// How many of the wanted replicas are available.
    pub(super) fn available_count(&self) -> i64 {
        let pods = self.replicas.iter().filter_map(|replica| replica.pod);
        let available = pods.filter(Member::is_available).count();
        i64::try_from(available).unwrap_or(i64::MAX)
    }

    /// Whether a pod is still to be replaced because of its revision.
    pub(super) fn needs_rollout(&self) -> bool {
        let mut pods = self.replicas.iter().filter_map(|replica| replica.pod);
        pods.any(|pod| is_outdated(self, &pod) && needs_replacement(self, &pod))
    }
}
