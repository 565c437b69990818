//! The end of a pod: its containers stop, then its sandbox, its volumes, and only then its name is free.

use jiff::{SignedDuration, Timestamp};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::snapshot::{Record, Sandbox, Snapshot, Volumes, is_sidecar};
use super::{PodAction, PodPlan};

/// No container is killed without having been asked to end before, in seconds.
const LEAST_GRACE: i64 = 1;

/// A pod that is being deleted, or is gone from the API: stop everything, give everything back, and only
/// then let the name go. Nothing of it runs when [`PodAction::Finish`] is reached.
pub(super) fn plan_removal(snapshot: &Snapshot<'_>, now: Timestamp, plan: &mut PodPlan) {
    if !plan_kills(snapshot, grace(snapshot.pod, snapshot.removed, now), plan) {
        return;
    }
    match snapshot.sandbox {
        Sandbox::Absent => {}
        Sandbox::Starting { .. } => return,
        Sandbox::Alive { .. } | Sandbox::Dead => {
            plan.actions.extend([PodAction::StopSandbox, PodAction::RemoveSandbox]);
        }
    }
    match snapshot.volumes {
        Volumes::Working => return,
        Volumes::Absent => {}
        Volumes::Waiting { .. } | Volumes::Ready => plan.actions.push(PodAction::TeardownVolumes),
    }
    plan.actions.push(PodAction::Finish);
}

/// A pod that has Succeeded or Failed: nothing runs on, its address and volumes are given back. Its logs and
/// exit codes stay until it is deleted.
pub(super) fn plan_end(snapshot: &Snapshot<'_>, plan: &mut PodPlan) {
    if !plan_kills(snapshot, snapshot.spec().termination_grace_period_seconds.unwrap_or(30), plan) {
        return;
    }
    if matches!(snapshot.sandbox, Sandbox::Alive { .. }) {
        plan.actions.push(PodAction::StopSandbox);
    }
    if matches!(snapshot.volumes, Volumes::Waiting { .. } | Volumes::Ready) {
        plan.actions.push(PodAction::TeardownVolumes);
    }
}

/// Asks for every living container to be stopped; answers whether none is left.
fn plan_kills(snapshot: &Snapshot<'_>, grace: i64, plan: &mut PodPlan) -> bool {
    let alive: Vec<_> = snapshot.records.iter().filter(|r| r.is_alive()).collect();
    for record in next_to_stop(snapshot, &alive) {
        if !snapshot.is_killing(record) {
            let message = format!("Stopping container {}", record.id.name);
            plan.actions.push(PodAction::KillContainer { id: record.id.clone(), grace, message });
        }
    }
    if !alive.is_empty() {
        let names: Vec<&str> = alive.iter().map(|r| r.id.name.as_str()).collect();
        let message = format!("stopping {} (at most {grace} s)", names.join(", "));
        plan.wait(snapshot, "ContainersTerminating", message);
    }
    alive.is_empty()
}

/// The containers first, side by side; then the sidecars, the last one first (KEP-753).
fn next_to_stop<'a>(snapshot: &Snapshot<'_>, alive: &[&'a Record]) -> Vec<&'a Record> {
    let place = |record: &Record| {
        let sidecar = |c: &Container| c.name == record.id.name && is_sidecar(c);
        snapshot.init_containers().iter().position(sidecar)
    };
    let others: Vec<&Record> = alive.iter().copied().filter(|r| place(r).is_none()).collect();
    if others.is_empty() {
        alive.iter().copied().max_by_key(|r| place(r)).into_iter().collect()
    } else {
        others
    }
}

/// What is left of a pod's grace period, in seconds: the deletion timestamp is when it ends. A pod that is
/// gone from the API (`removed`) was deleted with no grace, and still gets the least there is: one second
/// (`calculateEffectiveGracePeriod` of `pkg/kubelet/pod_workers.go`). A pod that [wants no notice] gets none.
///
/// [wants no notice]: wants_no_notice
pub fn grace(pod: &Pod, removed: bool, now: Timestamp) -> i64 {
    if wants_no_notice(pod) {
        return 0;
    }
    let meta = &pod.metadata;
    let Some(deadline) = meta.deletion_timestamp.as_ref().filter(|_| !removed) else { return LEAST_GRACE };
    let asked = meta.deletion_grace_period_seconds.unwrap_or(30);
    // The timestamp has whole seconds: round up, so that a period is never cut short.
    let left = deadline.0.duration_since(now) + SignedDuration::from_millis(999);
    left.as_secs().min(asked).max(LEAST_GRACE)
}

/// A pod whose own grace period is 0: "stop immediately via the kill signal (no opportunity to shut down)", as
/// the API says of `terminationGracePeriodSeconds`. Upstream's kubelet waits a second or two all the same, and
/// may: there the successor does not wait for its predecessor's end.
pub fn wants_no_notice(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) == Some(0)
}
