//! Pods that may not stay where they are: their node has a `NoExecute` taint that they do not tolerate, or not for that
//! long (`pkg/controller/tainteviction`).
//!
//! A pod is deleted as anybody would delete it: it is gone once its node says that its processes are.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};

use crate::Planner;
use crate::nodes::{evicting, pods_on};
use crate::numbers::time;
use crate::objects::{delete, is_terminating, name, namespace};
use crate::plan::{EventType, Plan};
use crate::pods::{DISRUPTION_TARGET, condition, node_name, spec, status_with_condition};
use crate::scheduler::tolerates;
use crate::world::{Key, Object, World, object_ref};

/// Why a pod waits, and what events say.
pub mod reasons {
    /// A pod may stay on its node for a while only.
    pub const TOLERATED_FOR_A_WHILE: &str = "ToleratedForAWhile";
    /// An event on a pod: it is deleted.
    pub const TAINT_MANAGER_EVICTION: &str = "TaintManagerEviction";
}

/// The taint manager.
pub struct TaintEviction;

impl Planner for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:node-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::Pod(pod) if tainted_home(world, pod).is_some() => vec![Key::of(&pod.metadata)],
            Object::Node(node) if evicting(node).next().is_some() => {
                pods_on(world, name(&node.metadata)).map(|pod| Key::of(&pod.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let pod = world.pods.get(&key.namespace, &key.name).filter(|pod| !is_terminating(&pod.metadata));
        let Some((pod, node)) = pod.and_then(|pod| Some((pod, tainted_home(world, pod)?))) else {
            return plan;
        };
        let ends = evicting(node).filter_map(|taint| Some((tolerated_until(pod, taint, now)?, taint)));
        let Some((end, taint)) = ends.min_by_key(|(end, _)| *end) else { return plan };
        let left = end.duration_since(now);
        if left.is_positive() {
            let (node_name, left_words) = (name(&node.metadata), apimachinery::time::human_age(now, end));
            let message = format!(
                "it is evicted in {left_words} unless node {node_name} loses the taint {}",
                taint.key
            );
            plan.wait_since(None, &**pod, node, reasons::TOLERATED_FOR_A_WHILE, message);
            plan.requeue(left);
            return plan;
        }
        let about = object_ref(&**pod);
        if !condition(pod, DISRUPTION_TARGET).is_some_and(is_told) {
            plan.actions.push(status_with_condition(pod, told(now)));
        }
        plan.actions.push(delete(&**pod));
        let message =
            format!("Marking for deletion Pod {}/{}", namespace(&pod.metadata), name(&pod.metadata));
        plan.record(&about, EventType::Normal, reasons::TAINT_MANAGER_EVICTION, message);
        plan
    }
}

/// The pod's node, where that has a taint which drives pods out.
fn tainted_home<'w>(world: &'w World, pod: &Pod) -> Option<&'w Node> {
    let node = world.nodes.get("", node_name(pod)?)?;
    evicting(node).next().is_some().then_some(&**node)
}

/// Until when the pod may stay in spite of the taint; `None`: for ever.
fn tolerated_until(pod: &Pod, taint: &Taint, now: Timestamp) -> Option<Timestamp> {
    let mut tolerations = spec(pod).into_iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let Some(toleration) = tolerations.find(|toleration| tolerates(toleration, taint)) else {
        return Some(now);
    };
    let seconds = toleration.toleration_seconds?.max(0);
    // A pod that came later has its own time. The taint's is told by the node lifecycle controller, where nobody did.
    let tainted = taint.time_added.as_ref().map_or(now, |time| time.0);
    let bound = condition(pod, "PodScheduled").and_then(|bound| bound.last_transition_time.as_ref());
    let came = bound.or(pod.metadata.creation_timestamp.as_ref()).map_or(tainted, |time| time.0);
    // Later than time itself is for ever.
    tainted.max(came).checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn told(now: Timestamp) -> PodCondition {
    PodCondition {
        type_: DISRUPTION_TARGET.to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(time(now)),
        ..PodCondition::default()
    }
}

fn is_told(held: &PodCondition) -> bool {
    held.status == "True" && held.reason.as_deref() == Some("DeletionByTaintManager")
}
