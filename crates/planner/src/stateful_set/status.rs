//! The set's status: counts of what is, never of what should be.

use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::identity::revision_label;
use super::member::Member;
use super::{View, conditions};
use crate::numbers::{self, unless_zero};
use crate::plan::{Action, EventType, Plan};
use crate::world::{object_ref, to_value};

/// Writes the status when it says something else than before. Comes last: conditions tell of the whole plan.
pub(super) fn do_plan_status(view: &View<'_, '_>, plan: &mut Plan) {
    let set = view.snapshot.set;
    let status = status(view, plan);
    if set.status.as_ref() == Some(&status) {
        return;
    }
    let stalled = |status: &'_ StatefulSetStatus| {
        let held = conditions::held(status.conditions.as_deref()?, conditions::STALLED)?;
        Some(held.message.clone().unwrap_or_default())
    };
    let before = set.status.as_ref().and_then(stalled);
    let news = stalled(&status).filter(|_| before.is_none());
    let mut object = (*set).clone();
    object.status = Some(status);
    plan.actions.push(Action::ReplaceStatus(to_value(&object)));
    if let Some(message) = news {
        plan.record(&object_ref(set), EventType::Warning, conditions::STALLED, message);
    }
}

/// The status of the set as it is now.
fn status(view: &View<'_, '_>, plan: &Plan) -> StatefulSetStatus {
    let set = view.snapshot.set;
    let count = |counts: &dyn Fn(&Member<'_>) -> bool| {
        numbers::count(view.members.iter().filter(|pod| counts(pod)).count())
    };
    let of_revision = |revision: &str| {
        let label = revision_label(revision);
        count(&|pod| !pod.is_terminating && pod.revision == label)
    };
    let update = view.revisions.update_name();
    let mut current = view.revisions.current_name();
    let updated = of_revision(update);
    let ready = count(&|pod| pod.is_running_and_ready);
    let all = count(&|_| true);
    let wanted = i32::try_from(view.ordinals.count()).unwrap_or(i32::MAX);
    // `completeRollingUpdate`; upstream forgets it under OnDelete.
    if updated == wanted && ready == wanted && all == wanted {
        current = update;
    }
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: all,
        ready_replicas: unless_zero(ready),
        available_replicas: Some(count(&|pod| pod.has_become_available())),
        current_replicas: unless_zero(of_revision(current)),
        updated_replicas: unless_zero(updated),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: Some(view.revisions.collision_count),
        conditions: Some(conditions::conditions(view, plan)),
    }
}
