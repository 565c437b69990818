//! All old pods away, and only then new ones (`rolloutRecreate`).

use super::rollout::{Rollout, Which};
use super::{revisions, rolling_update, waits};
use crate::objects::{controller_of, name, namespace, uid};
use crate::plan::Plan;
use crate::pods::is_terminal;

/// Plans the next step.
pub(super) fn step(rollout: &mut Rollout<'_>, plan: &mut Plan) {
    let active: Vec<usize> =
        (0..rollout.old.len()).filter(|index| rollout.old[*index].replicas() > 0).collect();
    for index in &active {
        rollout.scale_to(Which::Old(*index), 0);
    }
    if !active.is_empty() || old_pods_run(rollout, plan) {
        return;
    }
    revisions::ensure_new(rollout);
    rolling_update::reconcile_new(rollout);
}

/// Whether processes of old pods may still run (`oldPodsRunning`): of every pod that has not ended.
fn old_pods_run(rollout: &Rollout<'_>, plan: &mut Plan) -> bool {
    let mut pods = rollout.world.pods.in_namespace(namespace(&rollout.deployment.metadata));
    let is_old = |owner: &str| rollout.old.iter().any(|set| uid(&set.wanted.metadata) == owner);
    let running = pods.find(|pod| {
        !is_terminal(pod) && controller_of(&pod.metadata).is_some_and(|owner| is_old(&owner.uid))
    });
    if let Some(pod) = running {
        let message = format!("new pods are made once {} is gone", name(&pod.metadata));
        plan.wait(rollout.deployment, &**pod, waits::OLD_PODS_RUNNING, message);
    }
    running.is_some() || rollout.old.iter().any(|set| set.counts(|status| Some(status.replicas)) > 0)
}
