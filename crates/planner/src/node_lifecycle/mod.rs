//! Nodes of which nothing is heard any more (`pkg/controller/nodelifecycle`).
//!
//! A node that has been silent for too long gets its conditions `Unknown`, its pods are not Ready, and taints say so
//! ([`taints`]). What has been heard, and when, is in [`World::heartbeats`]. That a node is silent proves nothing about
//! the processes of its pods: nothing here deletes one.

mod taints;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use serde_json::json;

use crate::Planner;
use crate::nodes::{condition, conditions, is_doubted, pods_on};
use crate::numbers::time;
use crate::objects::{is_terminating, name, uid};
use crate::plan::{Action, EventType, Plan};
use crate::pods::{self, status_with_condition};
use crate::world::{Key, Object, World, object_ref};
pub(crate) use taints::is_condition;

/// How long a node may be silent (`--node-monitor-grace-period`).
pub const NODE_MONITOR_GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(50);
/// How long a node may be silent that has not said yet how it is (`--node-startup-grace-period`).
pub const NODE_STARTUP_GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(60);

/// Of what nobody knows anything when the node is silent.
const OWN_CONDITIONS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What events say.
pub mod reasons {
    /// On a node, and on its pods: it is not Ready any more.
    pub const NODE_NOT_READY: &str = "NodeNotReady";
}

/// The node lifecycle controller.
pub struct NodeLifecycle;

impl Planner for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:node-controller"
    }

    /// Whether pods are driven off one node depends on how the others are. Renewals of leases concern nobody: a plan
    /// asks to be made again when a silence would be too long.
    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::Node(_) => world.nodes.iter().map(|node| Key::of(&node.metadata)).collect(),
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan { independent: true, ..Plan::default() };
        let Some(node) = world.nodes.get("", &key.name).filter(|node| !is_terminating(&node.metadata)) else {
            return plan;
        };
        if do_plan_silence(world, node, now, &mut plan) {
            return plan;
        }
        taints::do_plan_taints(world, node, now, &mut plan);
        do_plan_unready_pods(world, node, now, &mut plan);
        plan
    }
}

/// Writes down that a node is silent, once it has been for too long; answers whether it does.
fn do_plan_silence(world: &World, node: &Node, now: Timestamp, plan: &mut Plan) -> bool {
    let is_unknown = |kind: &&str| condition(node, kind).is_some_and(|held| held.status == "Unknown");
    let Some(heard) = world.heartbeats.last(name(&node.metadata)) else { return false };
    if OWN_CONDITIONS.iter().all(is_unknown) {
        return false;
    }
    let ready = condition(node, "Ready");
    let grace = if ready.is_some() { NODE_MONITOR_GRACE_PERIOD } else { NODE_STARTUP_GRACE_PERIOD };
    let left = grace - now.duration_since(heard);
    if left.is_positive() {
        plan.requeue(left);
        return false;
    }
    let mut told: Vec<NodeCondition> = conditions(node).to_vec();
    for kind in OWN_CONDITIONS {
        match told.iter_mut().find(|held| held.type_ == *kind) {
            Some(held) if held.status == "Unknown" => {}
            Some(held) => {
                let message = "Kubelet stopped posting node status.";
                doubt(held, "NodeStatusUnknown", message, now);
            }
            None => {
                let mut held = NodeCondition { type_: (*kind).to_owned(), ..NodeCondition::default() };
                held.last_heartbeat_time.clone_from(&node.metadata.creation_timestamp);
                doubt(&mut held, "NodeStatusNeverUpdated", "Kubelet never posted node status.", now);
                told.push(held);
            }
        }
    }
    let meta = json!({"uid": uid(&node.metadata), "resourceVersion": node.metadata.resource_version});
    let patch = json!({"metadata": meta, "status": {"conditions": told}});
    plan.independent = false;
    plan.actions.push(Action::PatchStatus { target: object_ref(node), patch });
    if ready.is_some_and(|ready| ready.status == "True") {
        let message = format!("Node {} status is now: {}", name(&node.metadata), reasons::NODE_NOT_READY);
        plan.record(&object_ref(node), EventType::Normal, reasons::NODE_NOT_READY, message);
    }
    true
}

fn doubt(held: &mut NodeCondition, reason: &str, message: &str, now: Timestamp) {
    held.status = "Unknown".to_owned();
    held.reason = Some(reason.to_owned());
    held.message = Some(message.to_owned());
    held.last_transition_time = Some(time(now));
}

/// Pods that were Ready when their node ceased to be are not any more (`MarkPodsNotReady`). What an agent says of its
/// pods after that stands.
fn do_plan_unready_pods(world: &World, node: &Node, now: Timestamp, plan: &mut Plan) {
    let Some(doubted) = condition(node, "Ready").filter(|_| is_doubted(node)) else { return };
    let since = doubted.last_transition_time.as_ref().map_or(now, |time| time.0);
    let is_stale = |pod: &&Pod| pods::ready_since(pod).is_some_and(|ready| ready <= since);
    for pod in pods_on(world, name(&node.metadata)).map(|pod| &**pod).filter(is_stale) {
        let unready = pods::condition(pod, "Ready").cloned().map(|mut ready| {
            ready.status = "False".to_owned();
            ready.last_transition_time = Some(time(now));
            ready
        });
        plan.actions.extend(unready.map(|unready| status_with_condition(pod, unready)));
        let message = "Node is not ready".to_owned();
        plan.record(&object_ref(pod), EventType::Warning, reasons::NODE_NOT_READY, message);
    }
}
