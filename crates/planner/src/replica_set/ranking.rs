//! Which pods go first when there are too many (`ActivePodsWithRanks` in `pkg/controller/controller_utils.go`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{POD_DELETION_COST, View, is_active};
use crate::objects::{annotation, controller_of, namespace, uid};
use crate::pods::{container_statuses, is_ready, node_name, phase, ready_since};

/// The pods, those that are missed least first.
pub(super) fn in_order_of_deletion<'w>(view: &View<'_>, pods: Vec<&'w Pod>) -> Vec<&'w Pod> {
    let crowds = crowds(view);
    let mut ranked: Vec<(Rank, &Pod)> =
        pods.into_iter().map(|pod| (Rank::of(pod, &crowds, view.now), pod)).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    ranked.into_iter().map(|(_, pod)| pod).collect()
}

/// How many pods each node runs of all the sets that have the same owner (`getIndirectlyRelatedPods`).
fn crowds<'w>(view: &View<'w>) -> BTreeMap<&'w str, usize> {
    let owner = controller_of(&view.set.metadata).map(|owner| owner.uid.as_str());
    let sets = view.world.replica_sets.in_namespace(namespace(&view.set.metadata));
    let related: Vec<&str> = sets
        .map(|set| &set.metadata)
        .filter(|meta| {
            let same_owner = owner.is_some() && controller_of(meta).map(|c| c.uid.as_str()) == owner;
            same_owner || uid(meta) == uid(&view.set.metadata)
        })
        .map(uid)
        .collect();
    let mut crowds = BTreeMap::new();
    for pod in view.world.pods.in_namespace(namespace(&view.set.metadata)) {
        let is_related = controller_of(&pod.metadata).is_some_and(|c| related.contains(&c.uid.as_str()));
        if let Some(node) = node_name(pod).filter(|_| is_related && is_active(pod)) {
            *crowds.entry(node).or_default() += 1;
        }
    }
    crowds
}

/// What speaks for a pod: the lowest goes first. The order of the fields is the order of the questions.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_node: bool,
    /// Pending, then unknown, then running.
    phase: u8,
    is_ready: bool,
    deletion_cost: i32,
    /// Those on crowded nodes first.
    crowd: Reverse<usize>,
    /// Only of pods that are ready: those that became so last.
    ready_for: Age,
    restarts: Reverse<i32>,
    age: Age,
    /// Nothing else tells them apart.
    uid: String,
}

impl Rank {
    fn of(pod: &Pod, crowds: &BTreeMap<&str, usize>, now: Timestamp) -> Self {
        let node = node_name(pod);
        let is_ready = is_ready(pod);
        let ready_since = ready_since(pod).filter(|_| is_ready);
        let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            has_node: node.is_some(),
            phase: match phase(pod) {
                "Pending" | "" => 0,
                "Running" => 2,
                _ => 1,
            },
            is_ready,
            deletion_cost: deletion_cost(pod),
            crowd: Reverse(node.and_then(|node| crowds.get(node)).copied().unwrap_or(0)),
            ready_for: Age::since(ready_since, now),
            restarts: Reverse(container_statuses(pod).map(|c| c.restart_count).max().unwrap_or(0)),
            age: Age::since(made, now),
            uid: uid(&pod.metadata).to_owned(),
        }
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    annotation(&pod.metadata, POD_DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// How long something has been so, by its order of magnitude: which of two pods of about the same age goes is left
/// to chance, or else a spread of pods over nodes would suffer (KEP-2185). What has no date is the youngest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Age(Option<u32>);

impl Age {
    fn since(then: Option<Timestamp>, now: Timestamp) -> Self {
        let nanoseconds = then.map(|then| now.duration_since(then).as_nanos().max(0));
        Self(nanoseconds.map(|age| u128::try_from(age).unwrap_or(0).checked_ilog2().unwrap_or(0)))
    }
}
