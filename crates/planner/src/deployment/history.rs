//! Old ReplicaSets, kept to go back to, cut to the history's limit (`cleanupDeployment`).

use super::revisions::revision;
use super::rollout::{Member, Rollout};
use crate::objects::{delete, is_terminating};
use crate::plan::Plan;

/// Deletes the oldest of those that have no pods, and never will again, beyond the limit.
pub(super) fn do_plan_history(rollout: &Rollout<'_>, plan: &mut Plan) {
    let Some(limit) = rollout.spec.revision_history_limit.filter(|limit| *limit != i32::MAX) else { return };
    let mut history: Vec<&Member<'_>> =
        rollout.old.iter().filter(|set| !is_terminating(&set.wanted.metadata)).collect();
    history.sort_by_key(|set| revision(set));
    let surplus = history.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for set in history.into_iter().take(surplus).filter(|set| is_idle(set)) {
        plan.actions.extend(set.held.map(delete));
    }
}

fn is_idle(set: &Member<'_>) -> bool {
    let observed = set.wanted.status.as_ref().and_then(|status| status.observed_generation);
    set.replicas() == 0
        && set.counts(|status| Some(status.replicas)) == 0
        && observed >= set.wanted.metadata.generation
}
