//! Another number of pods in the middle of a rollout, or while it is paused: every ReplicaSet keeps its share
//! (`scale` in `sync.go`).

use super::revisions::{DESIRED_REPLICAS, MAX_REPLICAS};
use super::rollout::{Member, Rollout, Which};

/// Whether the number of pods was changed since the ReplicaSets were last sized (`isScalingEvent`).
pub(super) fn is_due(rollout: &Rollout<'_>) -> bool {
    let sized_for = |member: &Member<'_>| number(member, DESIRED_REPLICAS);
    rollout
        .all()
        .filter(|member| member.replicas() > 0)
        .filter_map(sized_for)
        .any(|desired| desired != rollout.replicas())
}

/// Sizes the ReplicaSets anew.
pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let active = active(rollout);
    if let Some(only) = active_or_latest(rollout, &active) {
        rollout.scale_to(only, rollout.replicas());
    } else if is_saturated(rollout) {
        for which in active.into_iter().filter(|which| *which != Which::New) {
            rollout.scale_to(which, 0);
        }
    } else if rollout.is_recreate() {
        // Upstream leaves these as they are, and the rollout with them; they only learn the new number.
        for which in active {
            rollout.scale_to(which, size(rollout, which));
        }
    } else {
        scale_in_proportion(rollout, active);
    }
}

fn member<'r, 'w>(rollout: &'r Rollout<'w>, which: Which) -> Option<&'r Member<'w>> {
    match which {
        Which::New => rollout.new.as_ref(),
        Which::Old(index) => rollout.old.get(index),
    }
}

fn size(rollout: &Rollout<'_>, which: Which) -> i32 {
    member(rollout, which).map_or(0, Member::replicas)
}

fn number(member: &Member<'_>, annotation: &str) -> Option<i32> {
    member.annotation(annotation)?.parse().ok()
}

/// The ReplicaSets that have pods, the oldest first.
fn active(rollout: &Rollout<'_>) -> Vec<Which> {
    let all = (0..rollout.old.len()).map(Which::Old).chain([Which::New]);
    all.filter(|which| size(rollout, *which) > 0).collect()
}

/// The one that has pods, or where none has, the new one or else the newest; `None` where several have
/// (`FindActiveOrLatest`).
fn active_or_latest(rollout: &Rollout<'_>, active: &[Which]) -> Option<Which> {
    match active {
        [] if rollout.new.is_some() => Some(Which::New),
        [] => rollout.old.len().checked_sub(1).map(Which::Old),
        [only] => Some(*only),
        _ => None,
    }
}

/// Whether the new ReplicaSet has all pods that are wanted, available (`IsSaturated`).
fn is_saturated(rollout: &Rollout<'_>) -> bool {
    rollout.new.as_ref().is_some_and(|new| {
        let wanted = rollout.replicas();
        let available = new.counts(|status| status.available_replicas);
        number(new, DESIRED_REPLICAS) == Some(wanted) && new.replicas() == wanted && available == wanted
    })
}

/// Gives each active ReplicaSet its share of what is added or taken, the largest first; what rounding leaves goes
/// to the largest.
fn scale_in_proportion(rollout: &mut Rollout<'_>, mut active: Vec<Which>) {
    let allowed = if rollout.replicas() > 0 { rollout.most() } else { 0 };
    let total = active.iter().map(|which| size(rollout, *which)).fold(0, i32::saturating_add);
    let add = allowed - total;
    // Of two of a size, the newer one grows, and the older one shrinks.
    let newer_first = add > 0;
    active.sort_by_key(|which| {
        let age = match which {
            Which::New => i64::MAX,
            Which::Old(index) => i64::try_from(*index).unwrap_or(i64::MAX),
        };
        (-size(rollout, *which), if newer_first { -age } else { age })
    });
    let mut sizes = Vec::new();
    let mut added = 0;
    for which in &active {
        let part = proportion(rollout, *which, add - added);
        added += part;
        sizes.push(size(rollout, *which) + part);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest += add - added;
    }
    for (which, size) in active.into_iter().zip(sizes) {
        rollout.scale_to(which, size.max(0));
    }
}

/// The ReplicaSet's share of a change, of which `left` is left to give (`GetReplicaSetProportion`).
fn proportion(rollout: &Rollout<'_>, which: Which, left: i32) -> i32 {
    let Some(member) = member(rollout, which).filter(|_| left != 0) else { return 0 };
    let held = member.replicas();
    if rollout.replicas() == 0 {
        return (-held).max(left);
    }
    let status = rollout.deployment.status.as_ref();
    let before = number(member, MAX_REPLICAS).filter(|most| *most > 0);
    let before = before.or_else(|| status.and_then(|status| status.replicas)).unwrap_or(0).max(1);
    // Rounded to the nearest, halves away from zero.
    let (wide, most, before) = (i128::from(held), i128::from(rollout.most()), i128::from(before));
    let after = (2 * wide * most + before) / (2 * before);
    let part = i32::try_from(after).unwrap_or(i32::MAX) - held;
    if left > 0 { part.min(left) } else { part.max(left) }
}
