//! Pods that nobody else removes (`pkg/controller/podgc`): those of a machine that is off for good, those that are to go
//! and never had a node, and the eldest of too many that have ended.
//!
//! A pod that a node has is removed here for one reason only: its node is silent **and somebody has said that its
//! machine is off** (the taint `node.kubernetes.io/out-of-service`). Neither time nor the absence of a Node object
//! proves that processes are gone: a node's agent may run on, and register again.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::nodes::{OUT_OF_SERVICE, is_out_of_service, is_ready, pods_on};
use crate::objects::{deleted_now, is_terminating, name, spoken, uid};
use crate::plan::{Action, ObjectRef, Plan, deleted_since};
use crate::pods::{is_terminal, node_name};
use crate::world::{Key, Object, World, object_ref};
use crate::{Planner, Waiting};

/// Ended pods that are kept (`--terminated-pod-gc-threshold`).
pub const TERMINATED_POD_THRESHOLD: usize = 12_500;

/// Why a pod that is to go does not.
pub mod reasons {
    /// Its node is silent, or not registered: nobody can say that its processes are gone.
    pub const NODE_LOST: &str = "NodeLost";
}

/// The pod garbage collector.
pub struct PodGarbageCollector;

/// The key under which ended pods are counted. No pod has it.
fn ended() -> Key {
    Key::new("", "")
}

impl Planner for PodGarbageCollector {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:pod-garbage-collector"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::Pod(pod) => {
                let is_one_too_many = is_terminal(pod) && world.pods.len() > TERMINATED_POD_THRESHOLD;
                let goes = is_terminating(&pod.metadata).then(|| Key::of(&pod.metadata));
                goes.into_iter().chain(is_one_too_many.then(ended)).collect()
            }
            Object::Node(node) if is_out_of_service(node) => {
                let pods = pods_on(world, name(&node.metadata));
                pods.filter(|pod| is_terminating(&pod.metadata)).map(|pod| Key::of(&pod.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        if *key == ended() {
            do_plan_ended(world, &mut plan);
            return plan;
        }
        let pod = world.pods.get(&key.namespace, &key.name).filter(|pod| is_terminating(&pod.metadata));
        let Some(pod) = pod else { return plan };
        let Some(home) = node_name(pod) else {
            force(pod, &mut plan);
            return plan;
        };
        let node = world.nodes.get("", home);
        if node.is_some_and(|node| is_ready(node)) {
            return plan;
        }
        if node.is_some_and(|node| is_out_of_service(node)) {
            force(pod, &mut plan);
            return plan;
        }
        let who = object_ref(&**pod);
        let on = node.map_or_else(|| unregistered(home), |node| object_ref(&**node));
        let message = format!(
            "{} goes once node {home} says that its processes are gone, or somebody that its machine is off \
             ({OUT_OF_SERVICE})",
            spoken(&who)
        );
        let since = deleted_since(&pod.metadata);
        plan.waiting_on.push(Waiting { who, on, reason: reasons::NODE_LOST, message, since });
        plan
    }
}

fn unregistered(node: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        namespace: String::new(),
        name: node.to_owned(),
        uid: String::new(),
    }
}

/// Says that the pod has failed, and takes it off the API without asking its node.
fn force(pod: &Pod, plan: &mut Plan) {
    let meta = &pod.metadata;
    let is_asked = meta.deletion_grace_period_seconds == Some(0);
    if !is_terminal(pod) {
        let guard = json!({"uid": uid(meta), "resourceVersion": meta.resource_version});
        let patch = json!({"metadata": guard, "status": {"phase": "Failed"}});
        plan.actions.push(Action::PatchStatus { target: object_ref(pod), patch });
    } else if is_asked {
        // Only finalizers hold it.
        return;
    }
    plan.actions.push(deleted_now(pod));
}

/// Deletes the eldest of those that have ended, evicted ones first, until no more are left than may be.
fn do_plan_ended(world: &World, plan: &mut Plan) {
    plan.independent = true;
    let has_ended = |pod: &&Pod| is_terminal(pod) && !is_terminating(&pod.metadata);
    let mut ended: Vec<&Pod> = world.pods.iter().map(|pod| &**pod).filter(has_ended).collect();
    let surplus = ended.len().saturating_sub(TERMINATED_POD_THRESHOLD);
    let is_evicted =
        |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("Evicted"));
    ended.sort_by_cached_key(|pod| {
        (!is_evicted(pod), pod.metadata.creation_timestamp.clone(), Key::of(&pod.metadata))
    });
    plan.actions.extend(ended[..surplus].iter().map(|pod| deleted_now(*pod)));
}
