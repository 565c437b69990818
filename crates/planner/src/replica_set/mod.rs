//! ReplicaSets: so many pods of one template, each as good as any other (`pkg/controller/replicaset`).
//!
//! Pods get their names from the API (`generateName`), so that a creation whose answer was lost cannot be told
//! from one that never came: then there is one pod too many for a moment, and the next plan removes it.

mod ranking;
mod scale;
mod status;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Planner;
use crate::controller_ref::Claims;
use crate::objects::{controller_of, is_going, is_terminating, name, namespace, selector};
use crate::plan::Plan;
use crate::pods::{available_in, is_available, is_terminal, unready_since};
use crate::world::{Key, Object, World};

/// Why a ReplicaSet waits: the reasons in its plan's `waiting_on`.
pub mod reasons {
    /// A pod is not Ready, or not for `minReadySeconds` yet.
    pub const POD_NOT_AVAILABLE: &str = "PodNotAvailable";
    /// The ReplicaSet, or its namespace, is being deleted.
    pub const BEING_DELETED: &str = "BeingDeleted";
}

/// How costly the deletion of a pod is: a number; those of lower cost go first (KEP-2255).
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The ReplicaSet controller.
pub struct ReplicaSetPlanner;

impl Planner for ReplicaSetPlanner {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:replicaset-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        let meta = object.metadata();
        match object {
            Object::ReplicaSet(set) => vec![Key::of(&set.metadata)],
            Object::Pod(_) => match controller_of(meta) {
                Some(owner) if owner.kind == "ReplicaSet" => vec![Key::new(namespace(meta), &owner.name)],
                Some(_) => Vec::new(),
                None => sets_that_select(world, meta),
            },
            Object::Namespace(_) => {
                world.replica_sets.in_namespace(name(meta)).map(|set| Key::of(&set.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(set) = world.replica_sets.get(&key.namespace, &key.name) else { return plan };
        let pods = world.pods.in_namespace(&key.namespace);
        let claims = Claims::of(&set.metadata, &selects(set), pods, |pod| !is_active(pod));
        let is_going = is_going(world, &set.metadata);
        if !is_going && claims.do_plan(&**set, &mut plan) {
            return plan;
        }
        let view = View { world, set, pods: claims.kept, now };
        // First: it tells what was seen, and must be told even where no pod can be made.
        status::do_plan_status(&view, &mut plan);
        if is_going {
            let message = "it is being deleted, and its pods go with it".to_owned();
            plan.wait(&**set, &**set, reasons::BEING_DELETED, message);
        } else {
            scale::do_plan_replicas(&view, &mut plan);
            view.wait_for_pods(&mut plan);
        }
        view.requeue_for_pods(&mut plan);
        plan
    }
}

/// A ReplicaSet and what belongs to it.
struct View<'w> {
    world: &'w World,
    set: &'w Arc<ReplicaSet>,
    /// All its pods, also those on their way out.
    pods: Vec<&'w Pod>,
    now: Timestamp,
}

impl<'w> View<'w> {
    /// The pods that count (`FilterActivePods`).
    fn active(&self) -> impl Iterator<Item = &'w Pod> {
        self.pods.iter().copied().filter(|pod| is_active(pod))
    }

    fn min_ready_seconds(&self) -> i32 {
        self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        is_available(pod, self.min_ready_seconds(), self.now)
    }

    fn wait_for_pods(&self, plan: &mut Plan) {
        let unavailable: Vec<&Pod> = self.active().filter(|pod| !self.is_available(pod)).collect();
        let Some(first) = unavailable.first() else { return };
        let message = match unavailable.len() {
            1 => format!("{} is not available yet", name(&first.metadata)),
            count => format!("{count} pods are not available yet, {} among them", name(&first.metadata)),
        };
        plan.wait_since(unready_since(first), &**self.set, *first, reasons::POD_NOT_AVAILABLE, message);
    }

    /// Pods become available by the clock alone.
    fn requeue_for_pods(&self, plan: &mut Plan) {
        let rests = self.active().filter_map(|pod| available_in(pod, self.min_ready_seconds(), self.now));
        rests.filter(SignedDuration::is_positive).for_each(|rest| plan.requeue(rest));
    }
}

/// Whether the pod counts: it has not ended, and nobody asked it to.
fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(&pod.metadata)
}

/// How many pods are wanted.
pub(crate) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

fn selects(set: &ReplicaSet) -> apimachinery::labels::Selector {
    selector(set.spec.as_ref().map(|spec| &spec.selector))
}

/// The sets that may take a pod with these labels.
fn sets_that_select(world: &World, pod: &ObjectMeta) -> Vec<Key> {
    let sets = world.replica_sets.in_namespace(namespace(pod));
    sets.filter(|set| selects(set).matches(&pod.labels)).map(|set| Key::of(&set.metadata)).collect()
}
