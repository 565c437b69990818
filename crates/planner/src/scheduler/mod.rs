//! Which node a pod runs on (`pkg/scheduler`): filter, score, bind.
//!
//! One plan looks at all waiting pods together, the eldest first, and counts each that it places: two pods
//! never get the same room. Reasons in `waiting_on` are those of [`reasons`].

mod admission;
mod affinity;
mod refusals;
mod resources;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

pub use admission::{Rejection, ResizeRefusal, admit, admit_resize};
pub(crate) use affinity::{selects, tolerates};
pub(crate) use refusals::{Refusal, home_of, port_holder, refusals};
pub(crate) use resources::{Shortage, ports_on_host};
pub(crate) use volumes::waits_for_consumer;
pub use volumes::{SELECTED_NODE, is_for_one_pod};

use crate::objects::{guarded_patch, is_terminating, name, namespace, status_patch};
use crate::plan::{Action, EventType, ObjectRef, Plan};
use crate::pods::{condition, is_terminal, node_name, spec};
use crate::world::{Key, Object, World, object_ref};
use crate::{Planner, Waiting};
use resources::NodeInfo;
use volumes::{Obstacle, PodClaims};

/// The name by which pods ask for this scheduler.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// Why a pod has no node: the reasons in the scheduler's `waiting_on`.
pub mod reasons {
    /// No node will do; the message says why, node by node.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// A claim that the pod mounts does not exist, is going, or has no volume yet.
    pub const CLAIM_NOT_READY: &str = "ClaimNotReady";
    /// A node is chosen; the claim's volume is being made there.
    pub const VOLUME_BINDING: &str = "VolumeBinding";
    /// The pod has scheduling gates.
    pub const SCHEDULING_GATED: &str = "SchedulingGated";
}

/// The scheduler.
pub struct Scheduler;

impl Planner for Scheduler {
    fn name(&self) -> &'static str {
        SCHEDULER_NAME
    }

    fn user(&self) -> &'static str {
        "system:kube-scheduler"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        let concerns = match object {
            Object::Pod(pod) => {
                let held = world.pods.get(namespace(&pod.metadata), name(&pod.metadata));
                let gone = held.is_none_or(|held| held.metadata.uid != pod.metadata.uid);
                node_name(pod).is_none() || is_terminal(pod) || gone
            }
            Object::Node(_)
            | Object::PersistentVolume(_)
            | Object::PersistentVolumeClaim(_)
            | Object::StorageClass(_) => true,
            _ => false,
        };
        if concerns { vec![Key::new("", SCHEDULER_NAME)] } else { Vec::new() }
    }

    fn plan(&self, world: &World, _key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan { independent: true, ..Plan::default() };
        let mut waiting: Vec<&Pod> = world.pods.iter().map(|pod| &**pod).filter(|pod| is_mine(pod)).collect();
        volumes::do_plan_placed_pods(world, &mut plan);
        if waiting.is_empty() {
            return plan;
        }
        waiting.sort_by_key(|pod| {
            let priority = spec(pod).and_then(|spec| spec.priority).unwrap_or(0);
            (-i64::from(priority), pod.metadata.creation_timestamp.clone(), ordinal(pod))
        });
        let mut nodes = node_infos(world);
        let mut given = BTreeSet::new();
        for pod in waiting {
            schedule(world, &mut nodes, &mut given, pod, now, &mut plan);
        }
        plan
    }
}

/// Pods of one moment go by name, and by number where their names end in one.
fn ordinal(pod: &Pod) -> (String, i64) {
    let name = name(&pod.metadata);
    crate::stateful_set::parent_and_ordinal(name)
        .map_or((name.to_owned(), 0), |(parent, ordinal)| (parent.to_owned(), ordinal))
}

fn is_mine(pod: &Pod) -> bool {
    let asked = spec(pod).and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(SCHEDULER_NAME);
    node_name(pod).is_none() && asked == SCHEDULER_NAME && !is_terminating(&pod.metadata) && !is_terminal(pod)
}

fn node_infos(world: &World) -> Vec<NodeInfo<'_>> {
    let mut by_name: BTreeMap<&str, NodeInfo<'_>> =
        world.nodes.iter().map(|node| (name(&node.metadata), NodeInfo::new(node))).collect();
    for pod in world.pods.iter().filter(|pod| !is_terminal(pod)) {
        if let Some(info) = node_name(pod).and_then(|node| by_name.get_mut(node)) {
            info.add(pod);
        }
    }
    by_name.into_values().collect()
}

/// `given`: the claims for one pod alone that a pod of this plan has.
fn schedule<'w>(
    world: &'w World,
    nodes: &mut [NodeInfo<'w>],
    given: &mut BTreeSet<(String, String)>,
    pod: &'w Pod,
    now: Timestamp,
    plan: &mut Plan,
) {
    let gates = spec(pod).and_then(|spec| spec.scheduling_gates.as_deref()).unwrap_or_default();
    if !gates.is_empty() {
        let gates: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        let message = format!("scheduling gates must be removed first: {}", gates.join(", "));
        plan.wait(pod, pod, reasons::SCHEDULING_GATED, message);
        return;
    }
    let claims = match volumes::pod_claims(world, pod) {
        Ok(claims) => claims,
        Err(obstacle) => return refuse_for_claim(world, nodes.len(), pod, &obstacle, now, plan),
    };
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(i64, usize)> = None;
    for (index, info) in nodes.iter().enumerate() {
        let reasons = refusals::filter(world, info, pod, &claims);
        if reasons.is_empty() {
            // A node that was chosen stays chosen: a volume may be in the making there.
            let chosen = claims.selected_node() == Some(name(&info.node.metadata));
            let score = if chosen { i64::MAX } else { info.least_allocated(pod) };
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, index));
            }
        }
        // One node counts once, however many of the pod's claims it will not do for.
        for reason in reasons.iter().map(ToString::to_string).collect::<BTreeSet<_>>() {
            *refusals.entry(reason).or_default() += 1;
        }
    }
    let Some((_, index)) = best else {
        let message = refusal_message(nodes.len(), &refusals);
        plan.wait(pod, pod, reasons::UNSCHEDULABLE, message.clone());
        return refuse(pod, message, now, plan);
    };
    if volumes::is_given(&claims, given) {
        let message = "another pod gets its ReadWriteOncePod claim at this moment".to_owned();
        plan.wait(pod, pod, reasons::UNSCHEDULABLE, message);
        return;
    }
    nodes[index].add(pod);
    place(pod, nodes[index].node, &claims, plan);
}

/// Binds the pod, or asks for its volumes on the node first.
fn place(pod: &Pod, node: &Node, claims: &PodClaims<'_>, plan: &mut Plan) {
    let node_name = name(&node.metadata);
    for claim in volumes::unselected(claims, node) {
        let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node_name}}});
        plan.actions.push(guarded_patch(claim, patch));
    }
    if let Some(claim) = claims.delayed.first() {
        let message = format!(
            "claim {} gets its volume on node {node_name} before the pod goes there",
            name(&claim.metadata)
        );
        plan.wait(pod, *claim, reasons::VOLUME_BINDING, message);
        return;
    }
    plan.actions.push(Action::Bind { pod: object_ref(pod), node: node_name.to_owned() });
    let message =
        format!("Successfully assigned {}/{} to {node_name}", namespace(&pod.metadata), name(&pod.metadata));
    plan.record(&object_ref(pod), EventType::Normal, "Scheduled", message);
}

/// `0/1 nodes are available: 1 Insufficient memory.`
fn refusal_message(nodes: usize, refusals: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let reasons: Vec<String> = refusals.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}

fn refuse_for_claim(
    world: &World,
    nodes: usize,
    pod: &Pod,
    obstacle: &Obstacle,
    now: Timestamp,
    plan: &mut Plan,
) {
    let message = format!("0/{nodes} nodes are available: {}.", obstacle.message());
    let claim = world.claims.get(namespace(&pod.metadata), obstacle.claim());
    let on = claim.map_or_else(
        || ObjectRef {
            api_version: "v1".to_owned(),
            kind: "PersistentVolumeClaim".to_owned(),
            namespace: namespace(&pod.metadata).to_owned(),
            name: obstacle.claim().to_owned(),
            uid: String::new(),
        },
        |claim| object_ref(&**claim),
    );
    let why = match obstacle {
        Obstacle::Unbound(claim) => format!("claim {claim} has no volume yet"),
        other => other.message(),
    };
    let reason = reasons::CLAIM_NOT_READY;
    plan.waiting_on.push(Waiting { who: object_ref(pod), on, reason, message: why, since: None });
    refuse(pod, message, now, plan);
}

/// Says on the pod why it has no node. Only news is told.
fn refuse(pod: &Pod, message: String, now: Timestamp, plan: &mut Plan) {
    let held = condition(pod, "PodScheduled");
    let told = held.is_some_and(|held| {
        held.status == "False"
            && held.reason.as_deref() == Some("Unschedulable")
            && held.message.as_deref() == Some(message.as_str())
    });
    if told {
        return;
    }
    let since =
        held.filter(|held| held.status == "False").and_then(|held| held.last_transition_time.as_ref());
    let since = since.map_or(now, |time| time.0);
    let news = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastTransitionTime": apimachinery::time::format_seconds(since),
    });
    let mut conditions: Vec<Value> = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .filter(|condition| condition.type_ != "PodScheduled")
        .map(|condition| json!(condition))
        .collect();
    conditions.push(news);
    plan.actions.push(status_patch(pod, &json!({"conditions": conditions})));
    plan.record(&object_ref(pod), EventType::Warning, "FailedScheduling", message);
}
