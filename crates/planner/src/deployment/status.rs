//! The Deployment's status: sums of what its ReplicaSets say (`calculateStatus`).

use k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSetStatus};
use serde_json::json;

use super::rollout::Rollout;
use super::{conditions, revisions, waits};
use crate::numbers::unless_zero;
use crate::objects::guarded_patch;
use crate::plan::{Action, Plan};
use crate::world::to_value;

/// Writes the status when it says something else than before. Else writes the revision that the Deployment does
/// not tell of yet: one write at a time, as each changes the version that the other expects.
pub(super) fn do_plan_status(rollout: &Rollout<'_>, plan: &mut Plan) {
    let counts = counts(rollout);
    let available = counts.available_replicas.unwrap_or(0);
    let status =
        DeploymentStatus { conditions: Some(conditions::with_availability(rollout, available)), ..counts };
    let deployment = rollout.deployment;
    if deployment.status.as_ref() != Some(&status) {
        let mut object = deployment.clone();
        object.status = Some(status);
        plan.actions.push(Action::ReplaceStatus(to_value(&object)));
    } else if let Some(revision) = revisions::untold_revision(rollout) {
        let patch = json!({"metadata": {"annotations": {revisions::REVISION: revision}}});
        plan.actions.push(guarded_patch(deployment, patch));
    }
}

/// The status without its conditions.
pub(super) fn counts(rollout: &Rollout<'_>) -> DeploymentStatus {
    let sum = |count: fn(&ReplicaSetStatus) -> Option<i32>| -> i32 {
        rollout.all().map(|set| set.counts(count)).fold(0, i32::saturating_add)
    };
    let available = sum(|status| status.available_replicas);
    let updated = rollout.new.as_ref().map_or(0, |new| new.counts(|status| Some(status.replicas)));
    DeploymentStatus {
        available_replicas: unless_zero(available),
        collision_count: rollout.collision_count,
        conditions: None,
        observed_generation: rollout.deployment.metadata.generation,
        ready_replicas: unless_zero(sum(|status| status.ready_replicas)),
        replicas: unless_zero(sum(|status| Some(status.replicas))),
        terminating_replicas: Some(sum(|status| status.terminating_replicas)),
        unavailable_replicas: unless_zero((rollout.total() - available).max(0)),
        updated_replicas: unless_zero(updated),
    }
}

/// Says what the rollout waits for.
pub(super) fn wait(rollout: &Rollout<'_>, plan: &mut Plan) {
    let deployment = rollout.deployment;
    let has_old = rollout.old.iter().any(|set| set.replicas() > 0);
    if rollout.is_paused() {
        if has_old || rollout.new.is_none() {
            let message = "it is paused; to go on, set spec.paused to false (kubectl rollout resume)";
            plan.wait(deployment, deployment, waits::PAUSED, message.to_owned());
        }
        return;
    }
    let Some((new, held)) = rollout.new.as_ref().and_then(|new| Some((new, new.held?))) else { return };
    if new.available() < new.replicas() {
        let message = format!(
            "{} of {} pods of replicaset/{} are available",
            new.available(),
            new.replicas(),
            new.name()
        );
        plan.wait(deployment, held, waits::NEW_PODS_UNAVAILABLE, message);
    }
}
