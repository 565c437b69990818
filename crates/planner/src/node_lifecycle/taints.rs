//! The taints by which a node's conditions reach the scheduler and the taint manager
//! (`doNoScheduleTaintingPass`, `processTaintBaseEviction`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use serde_json::json;

use crate::nodes::{NO_EXECUTE, condition, is_ready, taints};
use crate::numbers::time;
use crate::objects::{guarded_patch, name};
use crate::plan::Plan;
use crate::world::World;

const NO_SCHEDULE: &str = "NoSchedule";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that are bad when they are True, and their taints.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// Puts the taints on that the node should have, and takes off what is ours and not needed any more.
pub(super) fn do_plan_taints(world: &World, node: &Node, now: Timestamp, plan: &mut Plan) {
    let wanted = wanted(world, node);
    let held = taints(node);
    let is_wanted = |taint: &&Taint| {
        !is_condition(taint)
            || wanted.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect)
    };
    let mut new: Vec<Taint> = held.iter().filter(is_wanted).cloned().collect();
    for (key, effect) in wanted {
        if !new.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let (key, effect) = (key.to_owned(), effect.to_owned());
            new.push(Taint { key, effect, value: None, time_added: None });
        }
    }
    for taint in &mut new {
        // How long a pod tolerates a taint counts from here, also where somebody put it on by hand.
        if taint.time_added.is_none() && (taint.effect == NO_EXECUTE || is_condition(taint)) {
            taint.time_added = Some(time(now));
        }
    }
    if new != held {
        plan.actions.push(guarded_patch(node, json!({"spec": {"taints": new}})));
    }
}

/// Whether the taint says what a condition of the node says, or its cordon: nobody else puts it on or takes it off.
pub(crate) fn is_condition(taint: &Taint) -> bool {
    let no_schedule = PRESSURES.iter().map(|(_, key)| *key).chain([NOT_READY, UNREACHABLE, UNSCHEDULABLE]);
    match taint.effect.as_str() {
        NO_SCHEDULE => no_schedule.into_iter().any(|key| taint.key == key),
        NO_EXECUTE => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    }
}

fn wanted(world: &World, node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    let trouble = condition(node, "Ready").and_then(|ready| match ready.status.as_str() {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    });
    wanted.extend(trouble.map(|key| (key, NO_SCHEDULE)));
    // Where no node is well, it is the network or we that are not: nobody is driven out, and there is no place to go
    // (upstream: master disruption mode).
    let others = world.nodes.iter().filter(|other| name(&other.metadata) != name(&node.metadata));
    let is_disrupted = !others.into_iter().any(|other| is_ready(other));
    wanted.extend(trouble.filter(|_| !is_disrupted).map(|key| (key, NO_EXECUTE)));
    let pressures =
        PRESSURES.iter().filter(|(kind, _)| condition(node, kind).is_some_and(|c| c.status == "True"));
    wanted.extend(pressures.map(|(_, key)| (*key, NO_SCHEDULE)));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    wanted
}
