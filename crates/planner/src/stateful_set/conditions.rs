//! The set's conditions, made from what its plan does and waits for: `kubectl wait` can watch them.
//!
//! Upstream has none on StatefulSets. Theirs follow a Deployment's in name
//! (`pkg/controller/deployment/util`), and `Stalled` follows kstatus (`sigs.k8s.io/cli-utils`).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSetCondition;

use super::member::Member;
use super::{View, reasons as waits};
use crate::numbers::time;
use crate::objects::name;
use crate::plan::{Action, Plan, Waiting};
use crate::pods::{has_failed_before, is_ready, stuck};

/// Every wanted replica is available.
pub const AVAILABLE: &str = "Available";
/// Something is still to be done, and goes on by itself.
pub const PROGRESSING: &str = "Progressing";
/// Something is still to be done, and somebody has to help.
pub const STALLED: &str = "Stalled";

/// How long a set may wait for one thing before that counts as stalled (a Deployment's default
/// `progressDeadlineSeconds`).
pub const PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// The reasons of conditions. `Stalled` has besides the reasons for which containers wait
/// (`ImagePullBackOff`, `CrashLoopBackOff` and so on) and `Unschedulable`, word for word.
pub mod reasons {
    /// `Available`: all are.
    pub const ALL_REPLICAS_AVAILABLE: &str = "AllReplicasAvailable";
    /// `Available`: some are not.
    pub const REPLICAS_UNAVAILABLE: &str = "ReplicasUnavailable";
    /// `Progressing`: replicas are being made.
    pub const SCALING_UP: &str = "ScalingUp";
    /// `Progressing`: replicas are being removed.
    pub const SCALING_DOWN: &str = "ScalingDown";
    /// `Progressing`: pods of another revision are being replaced.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// `Progressing`: all pods are there, and not all of them available.
    pub const WAITING_FOR_PODS: &str = "WaitingForPods";
    /// `Progressing`: claims grow to what their templates say.
    pub const GROWING_CLAIMS: &str = "GrowingClaims";
    /// `Progressing`: nothing is left to do.
    pub const COMPLETE: &str = "Complete";
    /// `Progressing`: see the condition `Stalled`.
    pub const STALLED: &str = "Stalled";
    /// `Stalled`: nothing is in the way that would not go by itself.
    pub const NOT_STALLED: &str = "NotStalled";
    /// `Stalled`: one thing has been waited for longer than [`super::PROGRESS_DEADLINE`].
    pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
}

/// What nothing but a change of the set itself ends.
const HOLDS: [&str; 4] = [waits::PAUSED, waits::PARTITION_HOLDS, waits::ON_DELETE, waits::BEING_DELETED];

/// What a condition says.
struct Standing {
    holds: bool,
    reason: String,
    message: String,
}

impl Standing {
    fn new(holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { holds, reason: reason.to_owned(), message: message.into() }
    }
}

/// The set's conditions as they are to be: those of others as they are, then its own.
pub(super) fn conditions(view: &View<'_, '_>, plan: &Plan) -> Vec<StatefulSetCondition> {
    let available = view.available_count();
    let stalled = stalled(view, plan);
    let own = [
        (AVAILABLE, availability(view.ordinals.count(), available)),
        (PROGRESSING, progress(view, available, stalled.as_ref(), plan)),
        (STALLED, stalled.unwrap_or_else(|| Standing::new(false, reasons::NOT_STALLED, ""))),
    ];
    let status = view.snapshot.set.status.as_ref();
    let mut conditions = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
    for (kind, standing) in own {
        let wanted = condition(kind, standing, view.now);
        match conditions.iter_mut().find(|held| held.type_ == kind) {
            Some(held) if held.status == wanted.status => {
                let since = held.last_transition_time.take();
                *held = StatefulSetCondition { last_transition_time: since, ..wanted };
            }
            Some(held) => *held = wanted,
            None => conditions.push(wanted),
        }
    }
    conditions
}

/// The condition of this type, if it holds.
pub(super) fn held<'c>(
    conditions: &'c [StatefulSetCondition],
    kind: &str,
) -> Option<&'c StatefulSetCondition> {
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

fn condition(kind: &str, standing: Standing, now: Timestamp) -> StatefulSetCondition {
    StatefulSetCondition {
        type_: kind.to_owned(),
        status: if standing.holds { "True" } else { "False" }.to_owned(),
        reason: Some(standing.reason),
        message: Some(standing.message).filter(|message| !message.is_empty()),
        last_transition_time: Some(time(now)),
    }
}

fn availability(wanted: i64, available: i64) -> Standing {
    let (all, reason) = match available >= wanted {
        true => (true, reasons::ALL_REPLICAS_AVAILABLE),
        false => (false, reasons::REPLICAS_UNAVAILABLE),
    };
    Standing::new(all, reason, format!("{available} of {wanted} replicas are available"))
}

fn progress(view: &View<'_, '_>, available: i64, stalled: Option<&Standing>, plan: &Plan) -> Standing {
    if let Some(stalled) = stalled {
        return Standing::new(false, reasons::STALLED, stalled.message.clone());
    }
    let is_hold = |waiting: &&Waiting| HOLDS.contains(&waiting.reason);
    let hold = plan.waiting_on.iter().find(is_hold);
    let exist = view.replicas.iter().filter(|replica| replica.pod.is_some()).count() as u64;
    let reason = if let Some(hold) = hold.filter(|hold| hold.reason == waits::BEING_DELETED) {
        return Standing::new(false, hold.reason, hold.message.clone());
    } else if view.needs_rollout() {
        reasons::ROLLING_OUT
    } else if view.ordinals.count().unsigned_abs() > exist {
        reasons::SCALING_UP
    } else if !view.condemned.is_empty() {
        reasons::SCALING_DOWN
    } else if available < view.ordinals.count() {
        reasons::WAITING_FOR_PODS
    } else if let Some(growing) = plan.waiting_on.iter().find(|w| w.reason == waits::CLAIM_GROWING) {
        return Standing::new(true, reasons::GROWING_CLAIMS, growing.message.clone());
    } else if let Some(hold) = hold {
        return Standing::new(false, hold.reason, hold.message.clone());
    } else {
        return Standing::new(false, reasons::COMPLETE, "");
    };
    let first = plan.waiting_on.iter().find(|waiting| !is_hold(waiting));
    Standing::new(true, reason, first.map_or("", |waiting| &waiting.message))
}

/// What keeps the set from its goal and will not go away by itself.
fn stalled(view: &View<'_, '_>, plan: &Plan) -> Option<Standing> {
    if view.snapshot.is_terminating {
        return None;
    }
    let deleted = plan.actions.iter().filter_map(|action| match action {
        Action::Delete { target, .. } if target.kind == "Pod" => Some(target.name.as_str()),
        _ => None,
    });
    let deleted: BTreeSet<&str> = deleted.collect();
    let stay = || {
        let pods = view.replicas.iter().filter_map(|replica| replica.pod.as_ref());
        let goes = |pod: &Member<'_>| pod.is_terminating || deleted.contains(name(&pod.metadata));
        pods.filter(move |pod| !pod.is_running_and_ready && !is_ready(pod) && !goes(pod))
    };
    let stuck_pod = stay().find_map(|pod| {
        let (reason, words) = stuck(pod, view.now)?;
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        Some(Standing::new(true, reason, format!("{} is not Ready: {reason}{words}", name(&pod.metadata))))
    });
    stuck_pod.or_else(|| overdue(view, plan)).or_else(|| {
        // Between two crashes a container runs for a while. That is no reason to say that all is well.
        let status = view.snapshot.set.status.as_ref()?;
        let held = held(status.conditions.as_deref()?, STALLED)?;
        let unchanged = status.observed_generation == view.snapshot.set.metadata.generation;
        let again = unchanged && stay().any(|pod| has_failed_before(pod));
        let words = held.message.as_deref().unwrap_or_default();
        again.then(|| Standing::new(true, held.reason.as_deref().unwrap_or_default(), words))
    })
}

/// A name that somebody else holds, or anything that has been waited for too long.
fn overdue(view: &View<'_, '_>, plan: &Plan) -> Option<Standing> {
    plan.waiting_on.iter().filter(|waiting| !HOLDS.contains(&waiting.reason)).find_map(|waiting| {
        let foreign = waiting.reason == waits::NAME_HELD_BY_FOREIGN_POD && waiting.since.is_none();
        if foreign || waiting.reason == waits::CLAIM_CANNOT_GROW {
            return Some(Standing::new(true, waiting.reason, waiting.message.clone()));
        }
        let waited = view.now.duration_since(waiting.since?);
        let minutes = PROGRESS_DEADLINE.as_mins();
        let message = format!("{} (for more than {minutes} minutes)", waiting.message);
        (waited >= PROGRESS_DEADLINE)
            .then(|| Standing::new(true, reasons::PROGRESS_DEADLINE_EXCEEDED, message))
    })
}

/// Looks again when the next wait becomes too long.
pub(super) fn requeue_for_deadline(view: &View<'_, '_>, plan: &mut Plan) {
    let since = plan.waiting_on.iter().filter(|waiting| !HOLDS.contains(&waiting.reason));
    let rests = since.filter_map(|w| Some(PROGRESS_DEADLINE - view.now.duration_since(w.since?)));
    if let Some(rest) = rests.filter(SignedDuration::is_positive).min() {
        plan.requeue(rest);
    }
}
