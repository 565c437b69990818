//! Why nodes will not do for a pod, as data: what the scheduler says of them all in one line, node by node.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Taint};

use super::resources::{NodeInfo, Shortage};
use super::{affinity, filter, node_infos, volumes};
use crate::objects::{label, name};
use crate::pods::{is_terminal, node_name, spec};
use crate::volume_binder::matching::volume_of;
use crate::world::World;

/// One reason why a node will not do.
pub(crate) enum Refusal<'w> {
    /// It takes no new pods.
    Cordoned,
    /// It is not Ready.
    NotReady,
    /// It lacks labels that the pod's `nodeSelector` wants.
    Labels(Vec<(String, String)>),
    /// The pod's required node affinity does not mean it.
    Affinity,
    /// It has a taint that the pod does not tolerate.
    Taint(&'w Taint),
    /// A host port is taken, by this pod where that is known.
    HostPort(Option<&'w Pod>),
    /// There is too little of something: millicores for `cpu`, bytes or units for all else.
    Short {
        /// `memory`.
        resource: String,
        /// What the pod asks for.
        requested: i64,
        /// What other pods have asked for.
        used: i64,
        /// What there is for pods.
        capacity: i64,
    },
    /// The claim's volume is elsewhere.
    VolumeElsewhere(&'w PersistentVolumeClaim),
    /// It has no volume to give for the claim.
    NoVolume(&'w PersistentVolumeClaim),
}

/// Every node and why it will not do for the pod; nothing where no node could help.
pub(crate) fn refusals<'w>(world: &'w World, pod: &Pod) -> Vec<(&'w Node, Vec<Refusal<'w>>)> {
    let Ok(claims) = volumes::pod_claims(world, pod) else { return Vec::new() };
    let infos = node_infos(world);
    infos.iter().map(|info| (info.node, of_node(world, info, pod, &claims))).collect()
}

/// The reasons that `filter` gives, told apart in its order.
fn of_node<'w>(
    world: &'w World,
    info: &NodeInfo<'w>,
    pod: &Pod,
    claims: &volumes::PodClaims<'w>,
) -> Vec<Refusal<'w>> {
    let node = info.node;
    if filter(world, info, pod, claims).is_empty() {
        return Vec::new();
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
        && !affinity::tolerates_cordon(pod)
    {
        return vec![Refusal::Cordoned];
    }
    if !affinity::wants_node(pod, node) {
        let wanted = spec(pod).and_then(|spec| spec.node_selector.clone()).unwrap_or_default();
        let lacks = |key: &str, value: &str| label(&node.metadata, key) != Some(value);
        let lacking: Vec<_> = wanted.into_iter().filter(|(key, value)| lacks(key, value)).collect();
        return vec![if lacking.is_empty() { Refusal::Affinity } else { Refusal::Labels(lacking) }];
    }
    if let Some(taint) = affinity::untolerated(pod, node, &["NoSchedule", "NoExecute"]) {
        return vec![Refusal::Taint(taint)];
    }
    if !super::is_node_ready(node) {
        return vec![Refusal::NotReady];
    }
    if info.has_port_conflict(pod) {
        return vec![Refusal::HostPort(port_holder(world, node, pod))];
    }
    let shortages = info.shortages(pod);
    if !shortages.is_empty() {
        let short = |Shortage { resource, requested, used, capacity }| Refusal::Short {
            resource,
            requested,
            used,
            capacity,
        };
        return shortages.into_iter().map(short).collect();
    }
    let one =
        |claim: &&'w PersistentVolumeClaim| volumes::PodClaims { bound: vec![*claim], delayed: Vec::new() };
    let elsewhere =
        claims.bound.iter().filter(|claim| volumes::node_conflict(world, &one(claim), node).is_some());
    let elsewhere: Vec<_> = elsewhere.copied().map(Refusal::VolumeElsewhere).collect();
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    let one =
        |claim: &&'w PersistentVolumeClaim| volumes::PodClaims { bound: Vec::new(), delayed: vec![*claim] };
    let lacking =
        claims.delayed.iter().filter(|claim| volumes::node_conflict(world, &one(claim), node).is_some());
    lacking.copied().map(Refusal::NoVolume).collect()
}

/// The pod of the node whose host port this pod wants.
fn port_holder<'w>(world: &'w World, node: &'w Node, pod: &Pod) -> Option<&'w Pod> {
    let there = world
        .pods
        .iter()
        .map(|held| &**held)
        .filter(|held| node_name(held) == Some(name(&node.metadata)) && !is_terminal(held));
    there.into_iter().find(|held| {
        let mut alone = NodeInfo::new(node);
        alone.add(held);
        alone.has_port_conflict(pod)
    })
}

/// The node that the claim's volume is tied to, where one name says it (`kubernetes.io/hostname In [NODE]`).
pub(crate) fn home_of<'w>(world: &'w World, claim: &PersistentVolumeClaim) -> Option<&'w str> {
    let affinity = volume_of(world, claim)?.spec.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required.as_ref()?.node_selector_terms;
    let [term] = terms.as_slice() else { return None };
    let [one] = term.match_expressions.as_deref()? else { return None };
    let [host] = one.values.as_deref()? else { return None };
    (one.key == "kubernetes.io/hostname" && one.operator == "In").then_some(host)
}
