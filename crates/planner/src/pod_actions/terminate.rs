//! The end of a pod: its containers stop, then its sandbox, its volumes, and only then its name is free.

use jiff::{SignedDuration, Timestamp};

use super::snapshot::{Sandbox, Snapshot, Volumes};
use super::{PodAction, PodPlan};

/// A pod that is being deleted, or is gone from the API: stop everything, give everything back, and only
/// then let the name go. Nothing of it runs when [`PodAction::Finish`] is reached.
pub(super) fn plan_removal(snapshot: &Snapshot<'_>, now: Timestamp, plan: &mut PodPlan) {
    if !plan_kills(snapshot, grace(snapshot, now), plan) {
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
    for record in &alive {
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

/// What is left of the grace period: the deletion timestamp is when it ends. A pod that is gone from the API
/// was deleted with no grace.
fn grace(snapshot: &Snapshot<'_>, now: Timestamp) -> i64 {
    let meta = &snapshot.pod.metadata;
    let Some(deadline) = meta.deletion_timestamp.as_ref().filter(|_| !snapshot.removed) else { return 0 };
    let asked = meta.deletion_grace_period_seconds.unwrap_or(30);
    // The timestamp has whole seconds: round up, so that a period is never cut short.
    let left = deadline.0.duration_since(now) + SignedDuration::from_millis(999);
    left.as_secs().clamp(0, asked)
}
