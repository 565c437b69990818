//! Bringing replicas up in order and taking the condemned down in the reverse order.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};

use super::identity::{new_pod, repair_identity, revision_label};
use super::member::Member;
use super::storage::{self, Blocked, Retention};
use super::{Replica, View, reasons, wait_for_pod};
use crate::objects::{delete, is_terminating, name, namespace};
use crate::plan::{Action, EventType, Plan};
use crate::pods::phase;
use crate::world::{object_ref, to_value};

/// How many pods one plan makes or deletes at most; the next plan goes on from there.
pub(super) const BURST: usize = 500;

/// Walks the wanted ordinals upward. Says whether the way is free for what comes after: every replica is
/// available, or nobody asked for order.
pub(super) fn do_plan_replicas(view: &View<'_, '_>, plan: &mut Plan) -> bool {
    for (index, replica) in view.replicas.iter().enumerate() {
        let goes_on = match &replica.pod {
            None => do_plan_creation(view, replica, plan),
            Some(pod) => do_plan_pod(view, index, replica, pod, plan),
        };
        if !goes_on && view.is_ordered() {
            return false;
        }
    }
    true
}

/// Makes a missing pod, claims first. `false`: others wait for it.
fn do_plan_creation(view: &View<'_, '_>, replica: &Replica<'_>, plan: &mut Plan) -> bool {
    let set = view.snapshot.set;
    let pod_name = replica.name();
    if let Some(holder) = view.snapshot.foreign_holder(&pod_name) {
        let message = if is_terminating(&holder.metadata) {
            format!("{pod_name} is made once the pod of that name is gone, which is terminating")
        } else {
            format!("{pod_name} cannot be made: a pod of that name exists and is not the set's; delete it")
        };
        plan.wait(set, holder, reasons::NAME_HELD_BY_FOREIGN_POD, message);
        return false;
    }
    if let Some(blocked) = storage::blocking_claim(set, replica.ordinal, view.snapshot.claims) {
        let (claim, why) = match blocked {
            Blocked::Terminating(claim) => (claim, "is being deleted"),
            Blocked::Stale(claim) => (claim, "goes with its last pod"),
        };
        let message =
            format!("{pod_name} is made once its old claim {} is gone, which {why}", name(&claim.metadata));
        plan.wait(set, claim, reasons::CLAIM_TERMINATING, message);
        return false;
    }
    create_missing_claims(view, replica, plan);
    let (template, revision) = view.template_for(replica.ordinal);
    plan.actions.push(Action::Create(to_value(&new_pod(set, &template, revision, replica.ordinal))));
    tell(view, "Create", &format!("Pod {pod_name}"), "successful", plan);
    false
}

fn create_missing_claims(view: &View<'_, '_>, replica: &Replica<'_>, plan: &mut Plan) {
    let set = view.snapshot.set;
    for claim in storage::new_claims(set, replica.ordinal) {
        let claim_name = name(&claim.metadata);
        match view.snapshot.claims.get(namespace(&set.metadata), claim_name) {
            None => {
                plan.actions.push(Action::Create(to_value(&claim)));
                let what = format!("Claim {claim_name} Pod {}", replica.name());
                tell(view, "Create", &what, "success", plan);
            }
            // Told when the pod is made, and not again at every look.
            Some(held) if replica.pod.is_none() => tell_conflict(view, replica, held, plan),
            Some(_) => {}
        }
    }
}

fn tell_conflict(view: &View<'_, '_>, replica: &Replica<'_>, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let set = view.snapshot.set;
    if matches!(storage::retention(set, replica.ordinal, claim, None), Retention::Conflict) {
        let message = format!(
            "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a managing controller, the \
             retention policy is ignored for this claim",
            name(&claim.metadata)
        );
        plan.record(&object_ref(set), EventType::Warning, "ConflictingController", message);
    }
}

/// Looks after a pod that exists. `false`: others wait for it.
fn do_plan_pod(
    view: &View<'_, '_>,
    index: usize,
    replica: &Replica<'_>,
    pod: &Member<'_>,
    plan: &mut Plan,
) -> bool {
    let set = view.snapshot.set;
    if pod.is_terminating {
        let others = view.what_waits(index);
        let message = format!("{others} waits until {} is gone, which is terminating", replica.name());
        plan.wait(set, pod.pod, reasons::PREDECESSOR_TERMINATING, message);
        return false;
    }
    if pod.is_terminal {
        do_plan_recreation(view, pod, plan);
        return false;
    }
    if !pod.identity_matches {
        plan.actions.push(repair_identity(pod, replica.ordinal));
        tell(view, "Update", &format!("Pod {}", replica.name()), "successful", plan);
    }
    // Of most pods the member knows this already.
    if !pod.is_running_and_ready
        && phase(pod) != "Running"
        && storage::blocking_claim(set, replica.ordinal, view.snapshot.claims).is_none()
    {
        create_missing_claims(view, replica, plan);
    }
    match pod.available_in {
        None => {
            let message = format!("{} waits until {} is Ready", view.what_waits(index), replica.name());
            wait_for_pod(set, pod, reasons::PREDECESSOR_NOT_READY, message, plan);
            false
        }
        Some(rest) if !rest.is_zero() => {
            plan.requeue(rest);
            let message = format!(
                "{} waits until {} has been Ready for {} s (minReadySeconds)",
                view.what_waits(index),
                replica.name(),
                view.min_ready_seconds
            );
            plan.wait(set, pod.pod, reasons::MIN_READY_SECONDS, message);
            false
        }
        Some(_) => true,
    }
}

/// A pod that has ended for good is deleted; the next plan makes it again.
fn do_plan_recreation(view: &View<'_, '_>, pod: &Pod, plan: &mut Plan) {
    let set = view.snapshot.set;
    let (pod_name, set_name, ns) = (name(&pod.metadata), name(&set.metadata), namespace(&set.metadata));
    let (event_type, reason, how) = match phase(pod) {
        "Failed" => (EventType::Warning, "RecreatingFailedPod", "failed"),
        _ => (EventType::Normal, "RecreatingTerminatedPod", "terminated"),
    };
    let message = format!("StatefulSet {ns}/{set_name} is recreating {how} Pod {pod_name}");
    plan.record(&object_ref(set), event_type, reason, message);
    do_plan_deletion(view, pod, plan);
}

/// Deletes a pod and says so.
pub(super) fn do_plan_deletion(view: &View<'_, '_>, pod: &Pod, plan: &mut Plan) {
    plan.actions.push(delete(pod));
    tell(view, "Delete", &format!("Pod {}", name(&pod.metadata)), "successful", plan);
}

/// Tells of the write before, in upstream's words (`recordPodEvent`, `recordClaimEvent`).
fn tell(view: &View<'_, '_>, verb: &str, what: &str, outcome: &str, plan: &mut Plan) {
    let set = view.snapshot.set;
    let told = format!("{} {what} in StatefulSet {}", verb.to_lowercase(), name(&set.metadata));
    let failed = format!("{told} failed error");
    plan.record_write(&object_ref(set), verb, format!("{told} {outcome}"), failed);
}

/// Walks the condemned downward.
pub(super) fn do_plan_condemned(view: &View<'_, '_>, plan: &mut Plan) {
    let set = view.snapshot.set;
    for (index, replica) in view.condemned.iter().enumerate().take(BURST) {
        let Some(pod) = &replica.pod else { continue };
        if pod.is_terminating {
            let next = view.condemned.get(index + 1).filter(|_| view.is_ordered());
            let who = next.map_or_else(|| format!("statefulset/{}", name(&set.metadata)), Replica::name);
            let message = format!("{who} waits until {} is gone, which is terminating", replica.name());
            plan.wait(set, pod.pod, reasons::CONDEMNED_TERMINATING, message);
        } else if view.is_ordered() && !view.may_go(pod) {
            let message = format!(
                "{} is not Ready, and not the only one: it goes once it is Ready, or when you delete it",
                replica.name()
            );
            wait_for_pod(set, pod, reasons::CONDEMNED_UNHEALTHY, message, plan);
        } else if storage::when_scaled(set) != "Delete" || claims_settled(view, replica, pod) {
            // Claims that go with the pod must have it as their owner first: `do_plan_retention` sees to that,
            // and the pod is for the next plan.
            do_plan_deletion(view, pod, plan);
        }
        if view.is_ordered() {
            return;
        }
    }
}

fn claims_settled(view: &View<'_, '_>, replica: &Replica<'_>, pod: &Pod) -> bool {
    let set = view.snapshot.set;
    storage::claim_names(set, replica.ordinal).all(|claim| {
        view.snapshot.claims.get(namespace(&set.metadata), &claim).is_none_or(|claim| {
            !matches!(storage::retention(set, replica.ordinal, claim, Some(pod)), Retention::Change(_))
        })
    })
}

/// Gives every claim the owners that the retention policy wants.
pub(super) fn do_plan_retention(view: &View<'_, '_>, plan: &mut Plan) {
    let set = view.snapshot.set;
    let wanted = view.replicas.iter().map(|replica| (replica, None));
    let removed = view.condemned.iter().map(|replica| (replica, replica.pod.map(|pod| pod.pod)));
    for (replica, removed) in wanted.chain(removed) {
        for claim in storage::claim_names(set, replica.ordinal) {
            let Some(claim) = view.snapshot.claims.get(namespace(&set.metadata), &claim) else { continue };
            let goes_with_a_pod_that_is_gone = replica.pod.is_none()
                && storage::blocking_claim(set, replica.ordinal, view.snapshot.claims).is_some();
            if goes_with_a_pod_that_is_gone {
                continue;
            }
            if let Retention::Change(action) = storage::retention(set, replica.ordinal, claim, removed) {
                plan.actions.push(action);
            }
        }
    }
}

impl View<'_, '_> {
    /// What a new pod of this ordinal is made from, and the revision's name (`newVersionedStatefulSetPod`).
    pub(super) fn template_for(&self, ordinal: i64) -> (PodTemplateSpec, &str) {
        if self.needs_current_revision(ordinal)
            && self.revisions.current_name() != self.revisions.update_name()
        {
            let template = super::revisions::revision_template(&self.revisions.current);
            return (template, self.revisions.current_name());
        }
        let template = self.snapshot.set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        (template, self.revisions.update_name())
    }

    /// Whether a pod of this ordinal is made from the current revision (`isCurrentRevisionNeeded`).
    fn needs_current_revision(&self, ordinal: i64) -> bool {
        if self.is_paused() && !self.is_updated_below(ordinal) {
            return true;
        }
        if !self.is_rolling_update() {
            return false;
        }
        match self.partition() {
            Some(partition) => self.rank(ordinal) < partition,
            // Without order a pod of the current revision would be replaced before it could be Ready.
            None if !self.is_ordered() => false,
            // Without a `rollingUpdate` section upstream goes by how many are left at the current revision.
            None => {
                let left = self.pods_of_revision(self.revisions.current_name()).count();
                self.rank(ordinal) < i64::try_from(left).unwrap_or(i64::MAX)
            }
        }
    }

    /// Whether an update, which comes from above, has passed this ordinal.
    fn is_updated_below(&self, ordinal: i64) -> bool {
        self.pods_of_revision(self.revisions.update_name()).any(|pod| pod.ordinal < ordinal)
    }

    fn pods_of_revision(&self, revision: &str) -> impl Iterator<Item = &Member<'_>> {
        let label = revision_label(revision);
        self.members.iter().filter(move |pod| !pod.is_terminating && pod.revision == label)
    }
}
