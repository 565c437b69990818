//! `Progressing` and `Available`, by which people and `kubectl rollout status` know how a rollout goes
//! (`progress.go`, `deployment_util.go`).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::rollout::Rollout;
use super::{reasons, status};
use crate::numbers::time;
use crate::objects::name;
use crate::plan::Plan;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";

/// How long nothing may come or go; `None` when nobody asks.
fn deadline(rollout: &Rollout<'_>) -> Option<SignedDuration> {
    let seconds = rollout.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

fn progress<'r>(rollout: &'r Rollout<'_>) -> Option<&'r DeploymentCondition> {
    rollout.conditions.iter().find(|condition| condition.type_ == PROGRESSING)
}

fn reason(condition: &DeploymentCondition) -> &str {
    condition.reason.as_deref().unwrap_or_default()
}

/// Whether the condition `Progressing` says anything, or nobody asks.
pub(super) fn has_progress(rollout: &Rollout<'_>) -> bool {
    deadline(rollout).is_none() || progress(rollout).is_some()
}

/// Sets the condition `Progressing`, where somebody asks.
pub(super) fn progressing(rollout: &mut Rollout<'_>, holds: &str, reason: &str, message: String) {
    if deadline(rollout).is_some() {
        let condition = condition(PROGRESSING, holds, reason, message, rollout.now);
        set(&mut rollout.conditions, condition);
    }
}

fn condition(kind: &str, holds: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        last_transition_time: Some(time(now)),
        last_update_time: Some(time(now)),
        message: Some(message),
        reason: Some(reason.to_owned()),
        status: holds.to_owned(),
        type_: kind.to_owned(),
    }
}

/// Puts a condition in place of the one of its type; one that says the same stays (`SetDeploymentCondition`).
fn set(conditions: &mut Vec<DeploymentCondition>, mut condition: DeploymentCondition) {
    if let Some(index) = conditions.iter().position(|held| held.type_ == condition.type_) {
        let held = &conditions[index];
        if held.status == condition.status && held.reason == condition.reason {
            return;
        }
        if held.status == condition.status {
            condition.last_transition_time.clone_from(&held.last_transition_time);
        }
        conditions.remove(index);
    }
    conditions.push(condition);
}

/// Stops the clock of a paused rollout, and starts it again (`checkPausedConditions`).
pub(super) fn note_pause(rollout: &mut Rollout<'_>) {
    let held = progress(rollout).map(|held| reason(held).to_owned());
    let was_paused = held.as_deref() == Some(reasons::DEPLOYMENT_PAUSED);
    if held.as_deref() == Some(reasons::PROGRESS_DEADLINE_EXCEEDED) {
        return;
    }
    match (rollout.is_paused(), was_paused) {
        (true, false) => {
            let message = "Deployment is paused".to_owned();
            progressing(rollout, "Unknown", reasons::DEPLOYMENT_PAUSED, message);
        }
        (false, true) => {
            let message = "Deployment is resumed".to_owned();
            progressing(rollout, "Unknown", reasons::DEPLOYMENT_RESUMED, message);
        }
        _ => {}
    }
}

/// Says how the rollout goes (`syncRolloutStatus`).
pub(super) fn note_progress(rollout: &mut Rollout<'_>) {
    let Some(deadline) = deadline(rollout) else {
        rollout.conditions.retain(|condition| condition.type_ != PROGRESSING);
        return;
    };
    let new = status::counts(rollout);
    let held = progress(rollout).cloned();
    let was_available = held.as_ref().is_some_and(|h| reason(h) == reasons::NEW_REPLICA_SET_AVAILABLE);
    if was_available && new.replicas == new.updated_replicas {
        return;
    }
    let who = rollout.new.as_ref().map_or_else(
        || format!("Deployment {:?}", name(&rollout.deployment.metadata)),
        |set| format!("ReplicaSet {:?}", set.name()),
    );
    if is_complete(rollout, &new) {
        let message = format!("{who} has successfully progressed.");
        progressing(rollout, "True", reasons::NEW_REPLICA_SET_AVAILABLE, message);
    } else if has_moved(rollout, &new) {
        // Even where it says the same as before: from now on the deadline counts.
        let message = format!("{who} is progressing.");
        let mut moved = condition(PROGRESSING, "True", reasons::REPLICA_SET_UPDATED, message, rollout.now);
        if let Some(held) = held.filter(|held| held.status == "True") {
            moved.last_transition_time = held.last_transition_time;
        }
        rollout.conditions.retain(|condition| condition.type_ != PROGRESSING);
        rollout.conditions.push(moved);
    } else if held.is_some_and(|held| has_timed_out(&held, deadline, rollout.now)) {
        let message = format!("{who} has timed out progressing.");
        progressing(rollout, "False", reasons::PROGRESS_DEADLINE_EXCEEDED, message);
    }
}

fn is_complete(rollout: &Rollout<'_>, new: &DeploymentStatus) -> bool {
    let all = |count: Option<i32>| count.unwrap_or(0) == rollout.replicas();
    all(new.updated_replicas) && all(new.replicas) && all(new.available_replicas)
}

/// Whether pods have come or gone since the status that stands was written (`DeploymentProgressing`).
fn has_moved(rollout: &Rollout<'_>, new: &DeploymentStatus) -> bool {
    let before = rollout.deployment.status.clone().unwrap_or_default();
    let more = |count: fn(&DeploymentStatus) -> Option<i32>| count(new) > count(&before);
    let old_pods =
        |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    more(|status| status.updated_replicas)
        || more(|status| status.ready_replicas)
        || more(|status| status.available_replicas)
        || old_pods(new) < old_pods(&before)
}

/// When the rollout counts as stuck; `None` when it is complete, or counts so already.
fn times_out_at(held: &DeploymentCondition, deadline: SignedDuration) -> Option<Timestamp> {
    let is_settled =
        [reasons::NEW_REPLICA_SET_AVAILABLE, reasons::PROGRESS_DEADLINE_EXCEEDED].contains(&reason(held));
    let from = held.last_update_time.as_ref().filter(|_| !is_settled)?;
    from.0.checked_add(deadline).ok()
}

fn has_timed_out(held: &DeploymentCondition, deadline: SignedDuration, now: Timestamp) -> bool {
    times_out_at(held, deadline).is_some_and(|at| at < now)
}

/// Looks again when the rollout counts as stuck.
pub(super) fn requeue_for_deadline(rollout: &Rollout<'_>, plan: &mut Plan) {
    if rollout.is_paused() {
        return;
    }
    let at = deadline(rollout).and_then(|deadline| times_out_at(progress(rollout)?, deadline));
    // The times are whole seconds, and the deadline must have passed.
    let rest = at.map(|at| at.duration_since(rollout.now) + SignedDuration::from_secs(1));
    if let Some(rest) = rest.filter(SignedDuration::is_positive) {
        plan.requeue(rest);
    }
}

/// The conditions with `Available` as the counts say it (`calculateStatus`).
pub(super) fn with_availability(rollout: &Rollout<'_>, available: i32) -> Vec<DeploymentCondition> {
    let mut conditions = rollout.conditions.clone();
    let (holds, reason, verb) = match available >= rollout.least() {
        true => ("True", reasons::MINIMUM_REPLICAS_AVAILABLE, "has"),
        false => ("False", reasons::MINIMUM_REPLICAS_UNAVAILABLE, "does not have"),
    };
    let message = format!("Deployment {verb} minimum availability.");
    set(&mut conditions, condition(AVAILABLE, holds, reason, message, rollout.now));
    conditions
}
