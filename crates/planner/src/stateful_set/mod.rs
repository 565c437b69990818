//! StatefulSets: identity, storage, order, updates and revisions (`pkg/controller/statefulset`).
//!
//! Read [`plan_set`] from top to bottom: who belongs to the set, what its template is, replicas upward, the
//! condemned downward, the update, the history, the status. Each step adds to the plan and says what it waits
//! for; whatever must come after an answer from the API is left to the next plan.

pub mod conditions;
mod growth;
mod identity;
mod member;
mod ordinals;
mod revisions;
mod rolling_update;
mod scale;
mod snapshot;
mod status;
mod storage;

use apimachinery::annotations::PAUSED;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;

pub(crate) use identity::identity_matches;
pub use identity::{
    POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL, ordinal_of, parent_and_ordinal, pod_name, pod_revision,
    revision_label,
};
pub use ordinals::{Ordinals, replicas};
pub use revisions::revision_template;
pub use storage::{claim_name, claim_names, claim_templates};

use crate::controller_ref::{adopt, release};
use crate::objects::{annotation, controller_of, is_terminating, name};
use crate::plan::{Plan, deleted_since};
use crate::pods::{stuck, unready_since, unschedulable_rest};
use crate::world::{Key, Object, World};
use crate::{Planner, check};
use member::Member;
use revisions::Revisions;
use snapshot::Snapshot;

/// Why a set waits: the reasons in its plan's `waiting_on`.
pub mod reasons {
    /// A pod is not Ready: the next one is not made, and no other is taken down (OrderedReady); or it is the
    /// last one that the set's goal needs.
    pub const PREDECESSOR_NOT_READY: &str = "PredecessorNotReady";
    /// A wanted pod is terminating; its successor of the same name is made once it is gone.
    pub const PREDECESSOR_TERMINATING: &str = "PredecessorTerminating";
    /// A pod is Ready, but not for `minReadySeconds` yet.
    pub const MIN_READY_SECONDS: &str = "MinReadySeconds";
    /// A claim is being deleted: a pod that mounts it is made once it is gone.
    pub const CLAIM_TERMINATING: &str = "ClaimTerminating";
    /// A claim grows to what its template says; the next one does after it.
    pub const CLAIM_GROWING: &str = "ClaimGrowing";
    /// A claim is smaller than its template says, and its class lets no claim grow.
    pub const CLAIM_CANNOT_GROW: &str = "ClaimCannotGrow";
    /// A pod that the set does not manage has the name that the set's pod needs.
    pub const NAME_HELD_BY_FOREIGN_POD: &str = "NameHeldByForeignPod";
    /// A scale-down waits for a pod that stays and is not available.
    pub const SURVIVOR_UNHEALTHY: &str = "SurvivorUnhealthy";
    /// A pod that is scaled away is terminating.
    pub const CONDEMNED_TERMINATING: &str = "CondemnedTerminating";
    /// A pod to be scaled away is not Ready while another is not either.
    pub const CONDEMNED_UNHEALTHY: &str = "CondemnedUnhealthy";
    /// An update waits for a pod to become available.
    pub const UPDATE_WAITS_FOR_READY: &str = "UpdateWaitsForReady";
    /// The partition keeps pods at their revision.
    pub const PARTITION_HOLDS: &str = "PartitionHolds";
    /// Pods are updated when somebody deletes them.
    pub const ON_DELETE: &str = "OnDelete";
    /// The set is paused: no pod is replaced because of its revision.
    pub const PAUSED: &str = "Paused";
    /// The set, or its namespace, is being deleted.
    pub const BEING_DELETED: &str = "BeingDeleted";
}

/// The StatefulSet controller.
pub struct StatefulSetPlanner;

impl Planner for StatefulSetPlanner {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:statefulset-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        let meta = object.metadata();
        let ns = crate::objects::namespace(meta);
        let owner = controller_of(meta).filter(|o| o.kind == "StatefulSet").map(|o| Key::new(ns, &o.name));
        match object {
            Object::StatefulSet(set) => vec![Key::of(&set.metadata)],
            Object::Pod(_) => {
                let mut keys: Vec<Key> = owner.into_iter().collect();
                keys.extend(snapshot::set_of_pod_name(ns, name(meta)).filter(|key| !keys.contains(key)));
                keys.retain(|key| world.stateful_sets.get(&key.namespace, &key.name).is_some());
                keys
            }
            Object::PersistentVolumeClaim(_) => sets_of_claim(world, ns, name(meta)),
            Object::StorageClass(_) => {
                let growable =
                    world.stateful_sets.iter().filter(|set| !storage::claim_templates(set).is_empty());
                growable.map(|set| Key::of(&set.metadata)).collect()
            }
            Object::ControllerRevision(_) => owner.into_iter().collect(),
            Object::Namespace(_) => {
                world.stateful_sets.in_namespace(name(meta)).map(|s| Key::of(&s.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let Some(snapshot) = Snapshot::of(world, key) else { return Plan::default() };
        let plan = plan_set(world, &snapshot, now);
        debug_assert_eq!(check::violations(world, key, &plan, now), Vec::<String>::new());
        plan
    }
}

/// The sets whose claims have names like this one.
pub(crate) fn sets_of_claim(world: &World, ns: &str, claim: &str) -> Vec<Key> {
    let concerns = |set: &StatefulSet| {
        storage::claim_templates(set).iter().any(|template| {
            let rest = claim.strip_prefix(name(&template.metadata)).and_then(|rest| rest.strip_prefix('-'));
            rest.and_then(parent_and_ordinal).is_some_and(|(parent, _)| parent == name(&set.metadata))
        })
    };
    let sets = world.stateful_sets.in_namespace(ns);
    sets.filter(|set| concerns(set)).map(|set| Key::of(&set.metadata)).collect()
}

/// One identity and the pod that has it now.
struct Replica<'w> {
    set: &'w StatefulSet,
    ordinal: i64,
    pod: Option<Member<'w>>,
}

impl Replica<'_> {
    /// The name of its pod.
    fn name(&self) -> String {
        pod_name(self.set, self.ordinal)
    }
}

/// A snapshot, sorted.
struct View<'s, 'w> {
    snapshot: &'s Snapshot<'w>,
    revisions: &'s Revisions<'w>,
    now: Timestamp,
    min_ready_seconds: i32,
    /// The pods that the set manages, upward.
    members: Vec<Member<'w>>,
    /// The wanted ordinals.
    ordinals: Ordinals,
    /// The wanted replicas, upward: those that have a pod, and of those that have none the first
    /// [`scale::BURST`].
    replicas: Vec<Replica<'w>>,
    /// Owned pods outside the wanted ordinals, downward.
    condemned: Vec<Replica<'w>>,
}

fn plan_set(world: &World, snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if !snapshot.is_terminating && do_plan_adoption(snapshot, &mut plan) {
        return plan;
    }
    let revisions = revisions::do_plan_revisions(snapshot, &mut plan);
    let view = View::new(snapshot, &revisions, now);
    if snapshot.is_terminating {
        let message =
            "it is being deleted: its pods go with it, and its claims only where the retention policy says so".to_owned();
        plan.wait(snapshot.set, snapshot.set, reasons::BEING_DELETED, message);
    } else {
        scale::do_plan_retention(&view, &mut plan);
        let complete = scale::do_plan_replicas(&view, &mut plan);
        if complete {
            scale::do_plan_condemned(&view, &mut plan);
        } else {
            view.wait_for_survivors(&mut plan);
        }
        rolling_update::do_plan_update(&view, &mut plan);
        growth::do_plan_growth(&view, world, &mut plan);
        revisions::do_plan_history(snapshot, &revisions, &mut plan);
    }
    status::do_plan_status(&view, &mut plan);
    view.requeue_for_pods(&mut plan);
    conditions::requeue_for_deadline(&view, &mut plan);
    // A pod needs its revision, and in order it needs its claims; otherwise one failure need not stop the rest.
    plan.independent =
        !revisions.is_new && (!view.is_ordered() || storage::claim_templates(snapshot.set).is_empty());
    plan
}

/// Notes that the set waits for a pod: since it is not Ready, or is being deleted.
fn wait_for_pod(set: &StatefulSet, pod: &Pod, reason: &'static str, message: String, plan: &mut Plan) {
    let since = deleted_since(&pod.metadata).or_else(|| unready_since(pod));
    plan.wait_since(since, set, pod, reason, message);
}

/// Takes orphans and lets strays go (`PodControllerRefManager`). `true`: plan again when that is done.
fn do_plan_adoption(snapshot: &Snapshot<'_>, plan: &mut Plan) -> bool {
    let set = snapshot.set;
    let strays = snapshot.strays.iter().filter(|pod| !is_terminating(&pod.metadata));
    plan.actions.extend(strays.map(|stray| release(set, *stray)));
    plan.actions.extend(snapshot.orphans.iter().map(|orphan| adopt(set, *orphan)));
    plan.actions.extend(snapshot.orphan_revisions.iter().map(|orphan| adopt(set, *orphan)));
    plan.independent = true;
    !plan.actions.is_empty()
}

impl<'s, 'w> View<'s, 'w> {
    fn new(snapshot: &'s Snapshot<'w>, revisions: &'s Revisions<'w>, now: Timestamp) -> Self {
        let set: &'w StatefulSet = snapshot.set;
        let ordinals = Ordinals::of(set);
        let min_ready_seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let members: Vec<Member<'w>> =
            snapshot.pods.iter().map(|pod| Member::new(pod, min_ready_seconds, now)).collect();
        let of_pod = |member: &Member<'w>| Replica { set, ordinal: member.ordinal, pod: Some(*member) };
        let (mut replicas, condemned): (Vec<Replica<'w>>, Vec<Replica<'w>>) =
            members.iter().map(of_pod).partition(|replica| ordinals.contains(replica.ordinal));
        let is_there = |ordinal: &i64| replicas.binary_search_by_key(ordinal, |held| held.ordinal).is_ok();
        // All that are there are wanted: with as many as that, none is missing.
        let missing = usize::try_from(ordinals.count()).unwrap_or(usize::MAX) - replicas.len();
        let missing: Vec<i64> =
            ordinals.iter().filter(|o| !is_there(o)).take(missing.min(scale::BURST)).collect();
        replicas.extend(missing.into_iter().map(|ordinal| Replica { set, ordinal, pod: None }));
        replicas.sort_by_key(|replica| replica.ordinal);
        let condemned = condemned.into_iter().rev().collect();
        Self { snapshot, revisions, now, min_ready_seconds, members, ordinals, replicas, condemned }
    }

    /// How many wanted replicas come before this ordinal.
    fn rank(&self, ordinal: i64) -> i64 {
        self.ordinals.rank(ordinal).unwrap_or(i64::MAX)
    }

    fn is_paused(&self) -> bool {
        annotation(&self.snapshot.set.metadata, PAUSED) == Some("true")
    }

    fn is_ordered(&self) -> bool {
        let spec = self.snapshot.set.spec.as_ref();
        spec.and_then(|spec| spec.pod_management_policy.as_deref()) != Some("Parallel")
    }

    fn is_rolling_update(&self) -> bool {
        let strategy = self.snapshot.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        strategy.and_then(|s| s.type_.as_deref()) != Some("OnDelete")
    }

    /// `None` when the set says nothing about rolling updates at all.
    fn partition(&self) -> Option<i64> {
        let strategy = self.snapshot.set.spec.as_ref()?.update_strategy.as_ref()?;
        Some(strategy.rolling_update.as_ref()?.partition.unwrap_or(0).max(0).into())
    }

    /// Whether updates may spend their budget. In order that takes every replica in place (available or not:
    /// the budget counts that) and nothing left to scale down.
    fn has_scaled(&self) -> bool {
        let all_exist = self.replicas.iter().all(|replica| replica.pod.is_some());
        !self.is_ordered() || (all_exist && self.condemned.is_empty())
    }

    /// Whether a condemned pod may be deleted now: a healthy one always, and one that will never be healthy again
    /// by itself; another unhealthy one only when it is the lowest of all (upstream lets two that have failed wait
    /// for each other for ever).
    fn may_go(&self, pod: &Member<'_>) -> bool {
        if pod.is_terminal || stuck(pod, self.now).is_some() {
            return true;
        }
        let all = self.replicas.iter().chain(self.condemned.iter().rev());
        let first_unhealthy = all.filter_map(|replica| replica.pod).find(|pod| !pod.is_healthy());
        pod.is_available() || first_unhealthy.is_some_and(|first| first.ordinal == pod.ordinal)
    }

    /// Who waits for the replica at `index`: the next pod to be made, or else the set.
    fn what_waits(&self, index: usize) -> String {
        let mut after = self.replicas.iter().skip(index + 1);
        let next = if self.is_ordered() { after.find(|replica| replica.pod.is_none()) } else { None };
        next.map_or_else(|| format!("statefulset/{}", name(&self.snapshot.set.metadata)), Replica::name)
    }

    /// In order, a scale-down waits until all that stay are available.
    fn wait_for_survivors(&self, plan: &mut Plan) {
        let Some(condemned) = self.condemned.first() else { return };
        let unhealthy = self.replicas.iter().find_map(|r| r.pod.filter(|pod| !pod.is_available()));
        if let Some(pod) = unhealthy {
            let message =
                format!("{} goes once {}, which stays, is available", condemned.name(), name(&pod.metadata));
            wait_for_pod(self.snapshot.set, &pod, reasons::SURVIVOR_UNHEALTHY, message, plan);
        }
    }

    /// Pods become available, and count as stuck, by the clock alone.
    fn requeue_for_pods(&self, plan: &mut Plan) {
        for pod in &self.members {
            // One that is Ready has a node.
            let refused = if pod.is_running_and_ready { None } else { unschedulable_rest(pod, self.now) };
            let rests = pod.available_in.into_iter().chain(refused);
            rests.filter(SignedDuration::is_positive).for_each(|rest| plan.requeue(rest));
        }
    }
}
