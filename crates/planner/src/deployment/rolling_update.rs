//! New pods as far as the surge allows, then old ones away as far as availability allows
//! (`rolloutRolling`).

use super::revisions;
use super::rollout::{Member, Rollout, Which};

/// Plans the next step: up or down, never both at a time.
pub(super) fn step(rollout: &mut Rollout<'_>) {
    revisions::ensure_new(rollout);
    if !reconcile_new(rollout) {
        reconcile_old(rollout);
    }
}

/// Sizes the new ReplicaSet. Says whether that changed anything.
pub(super) fn reconcile_new(rollout: &mut Rollout<'_>) -> bool {
    let Some(new) = &rollout.new else { return false };
    let (before, wanted) = (new.replicas(), rollout.replicas());
    if before == wanted {
        return false;
    }
    let size = if before > wanted { wanted } else { new_size(rollout) };
    if size != before {
        rollout.scale_to(Which::New, size);
    }
    size != before
}

/// How large the new ReplicaSet may be now (`NewRSNewReplicas`).
pub(super) fn new_size(rollout: &Rollout<'_>) -> i32 {
    let held = rollout.new.as_ref().map_or(0, Member::replicas);
    if rollout.is_recreate() {
        return rollout.replicas();
    }
    let room = rollout.most().saturating_sub(rollout.total());
    if room <= 0 { held } else { held + room.min(rollout.replicas() - held) }
}

/// Takes old pods down: first those that are of no use, then as many as are available beyond what must be
/// (`reconcileOldReplicaSets`).
fn reconcile_old(rollout: &mut Rollout<'_>) {
    let unavailable_new = rollout.new.as_ref().map_or(0, |new| new.replicas() - new.available());
    let most_down = (rollout.total() - rollout.least()).saturating_sub(unavailable_new);
    if most_down <= 0 {
        return;
    }
    take_down(rollout, most_down, |rollout, index| {
        rollout.old[index].replicas() - rollout.old[index].available()
    });
    let available = rollout.all().map(Member::available).fold(0, i32::saturating_add);
    let most_down = available - rollout.least();
    take_down(rollout, most_down, |rollout, index| rollout.old[index].replicas());
}

/// Takes up to `most` pods from old ReplicaSets, the oldest first, and from each no more than `spare` says.
fn take_down(rollout: &mut Rollout<'_>, most: i32, spare: impl Fn(&Rollout<'_>, usize) -> i32) {
    let mut left = most;
    for index in 0..rollout.old.len() {
        let count = spare(rollout, index).min(left);
        if count <= 0 {
            continue;
        }
        left -= count;
        let size = rollout.old[index].replicas() - count;
        rollout.scale_to(Which::Old(index), size);
    }
}
