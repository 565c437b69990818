//! Deployments: a ReplicaSet for each template, and pods that move from one to the next
//! (`pkg/controller/deployment`).
//!
//! Read [`plan_deployment`] from top to bottom: whose ReplicaSets these are, which of them is the new one, then
//! one step: of scaling, of a rolling update, or of recreating; the history, the status. A step changes what the
//! [`Rollout`] wants of its ReplicaSets; what differs from what they are is written at the end. Pods are the
//! ReplicaSets' business.

mod conditions;
mod history;
mod recreate;
mod revisions;
mod rolling_update;
mod rollout;
mod scale;
mod status;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Planner;
use crate::controller_ref::Claims;
use crate::objects::{controller_of, is_going, is_terminating, name, namespace, selector, uid};
use crate::plan::Plan;
use crate::world::{Key, Object, World};
use rollout::Rollout;

pub use revisions::{DESIRED_REPLICAS, MAX_REPLICAS, POD_TEMPLATE_HASH, REVISION, REVISION_HISTORY};

/// The reasons of conditions and events, upstream's (`pkg/controller/deployment/util`).
pub mod reasons {
    /// `Progressing`: a ReplicaSet was made for the template.
    pub const NEW_REPLICA_SET_CREATED: &str = "NewReplicaSetCreated";
    /// `Progressing`: there was a ReplicaSet of the template already.
    pub const FOUND_NEW_REPLICA_SET: &str = "FoundNewReplicaSet";
    /// `Progressing`: pods come or go.
    pub const REPLICA_SET_UPDATED: &str = "ReplicaSetUpdated";
    /// `Progressing`: the rollout is complete.
    pub const NEW_REPLICA_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
    /// `Progressing`: nothing has come or gone for `progressDeadlineSeconds`.
    pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
    /// `Progressing`: somebody paused the rollout.
    pub const DEPLOYMENT_PAUSED: &str = "DeploymentPaused";
    /// `Progressing`: somebody let the rollout go on.
    pub const DEPLOYMENT_RESUMED: &str = "DeploymentResumed";
    /// `Available`: no more pods are unavailable than may be.
    pub const MINIMUM_REPLICAS_AVAILABLE: &str = "MinimumReplicasAvailable";
    /// `Available`: more pods are unavailable than may be.
    pub const MINIMUM_REPLICAS_UNAVAILABLE: &str = "MinimumReplicasUnavailable";
    /// An event: a ReplicaSet is to have more pods, or fewer.
    pub const SCALING_REPLICA_SET: &str = "ScalingReplicaSet";
}

/// Why a Deployment waits: the reasons in its plan's `waiting_on`.
pub mod waits {
    /// Pods of the new ReplicaSet are not available yet.
    pub const NEW_PODS_UNAVAILABLE: &str = "NewPodsUnavailable";
    /// Pods of old ReplicaSets are still there, and the strategy is to recreate.
    pub const OLD_PODS_RUNNING: &str = "OldPodsRunning";
    /// The rollout is paused.
    pub const PAUSED: &str = "Paused";
    /// The Deployment, or its namespace, is being deleted.
    pub const BEING_DELETED: &str = "BeingDeleted";
}

/// The Deployment controller.
pub struct DeploymentPlanner;

impl Planner for DeploymentPlanner {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:deployment-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::Deployment(deployment) => vec![Key::of(&deployment.metadata)],
            Object::ReplicaSet(set) => match controller_of(&set.metadata) {
                Some(_) => deployment_of(&set.metadata).into_iter().collect(),
                None => deployments_that_select(world, set),
            },
            Object::Pod(pod) => recreated_deployment(world, pod).into_iter().collect(),
            Object::Namespace(home) => {
                let deployments = world.deployments.in_namespace(name(&home.metadata));
                deployments.map(|deployment| Key::of(&deployment.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let deployment = world.deployments.get(&key.namespace, &key.name);
        deployment.map_or_else(Plan::default, |deployment| plan_deployment(world, deployment, now))
    }
}

fn plan_deployment(world: &World, deployment: &Deployment, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let is_going = is_going(world, &deployment.metadata);
    let selects = selector(deployment.spec.as_ref().map(|spec| &spec.selector));
    let sets = world.replica_sets.in_namespace(namespace(&deployment.metadata));
    let claims = Claims::of(&deployment.metadata, &selects, sets, |set| is_terminating(&set.metadata));
    if !is_going && claims.do_plan(deployment, &mut plan) {
        return plan;
    }
    let mut rollout = Rollout::new(world, deployment, claims.kept, now);
    if is_going {
        let message = "it is being deleted, and its pods go with it".to_owned();
        plan.wait(deployment, deployment, waits::BEING_DELETED, message);
        status::do_plan_status(&rollout, &mut plan);
        return plan;
    }
    revisions::sync_new(&mut rollout);
    conditions::note_pause(&mut rollout);
    let is_paused = rollout.is_paused();
    if is_paused || scale::is_due(&rollout) {
        scale::scale(&mut rollout);
    } else {
        if rollout.is_recreate() {
            recreate::step(&mut rollout, &mut plan);
        } else {
            rolling_update::step(&mut rollout);
        }
        conditions::note_progress(&mut rollout);
    }
    rollout.do_plan_writes(&mut plan);
    if is_paused || rollout.is_complete() {
        history::do_plan_history(&rollout, &mut plan);
    }
    status::do_plan_status(&rollout, &mut plan);
    status::wait(&rollout, &mut plan);
    conditions::requeue_for_deadline(&rollout, &mut plan);
    plan
}

/// The Deployment that manages a ReplicaSet.
fn deployment_of(set: &ObjectMeta) -> Option<Key> {
    let owner = controller_of(set).filter(|owner| owner.kind == "Deployment")?;
    Some(Key::new(namespace(set), &owner.name))
}

/// The Deployments that may take a ReplicaSet that nobody manages.
fn deployments_that_select(world: &World, set: &ReplicaSet) -> Vec<Key> {
    let selects = |deployment: &Deployment| {
        let spec = deployment.spec.as_ref();
        spec.is_some_and(|spec| selector(&spec.selector).matches(&set.metadata.labels))
    };
    let deployments = world.deployments.in_namespace(namespace(&set.metadata));
    deployments.filter(|deployment| selects(deployment)).map(|d| Key::of(&d.metadata)).collect()
}

/// The Deployment that waits for this pod to be gone before it makes new ones.
fn recreated_deployment(world: &World, pod: &Pod) -> Option<Key> {
    let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet")?;
    let set = world.replica_sets.get(namespace(&pod.metadata), &owner.name)?;
    let key = deployment_of(&set.metadata).filter(|_| uid(&set.metadata) == owner.uid)?;
    let deployment = world.deployments.get(&key.namespace, &key.name)?;
    rollout::is_recreate(deployment).then_some(key)
}
