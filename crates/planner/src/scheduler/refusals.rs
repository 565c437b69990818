//! Why nodes will not do for a pod, as data: the scheduler says it of all of them in one line, `stead why` node by
//! node.

use std::fmt;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Taint};

use super::resources::{NodeInfo, Shortage};
use super::volumes::{self, PodClaims};
use super::{affinity, node_infos};
use crate::nodes::is_ready;
use crate::objects::name;
use crate::pods::{is_terminal, node_name};
use crate::volume_binder::matching::volume_of;
use crate::world::World;

/// One reason why a node will not do. It reads as upstream's words for it.
pub(crate) enum Refusal<'w> {
    /// It takes no new pods.
    Cordoned,
    /// It is not Ready.
    NotReady,
    /// The pod's `nodeSelector` or required node affinity does not mean it.
    Affinity,
    /// It has a taint that the pod does not tolerate.
    Taint(&'w Taint),
    /// This host port is taken.
    HostPort(i32),
    /// There is too little of something.
    Short(Shortage),
    /// The claim's volume is elsewhere.
    VolumeElsewhere(&'w PersistentVolumeClaim),
    /// The claim is for one pod alone, and another one uses it.
    ClaimTaken(&'w PersistentVolumeClaim, &'w Pod),
    /// It has no volume to give for the claim.
    NoVolume(&'w PersistentVolumeClaim),
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Cordoned => "node(s) were unschedulable",
            Self::NotReady => "node(s) were not ready",
            Self::Affinity => "node(s) didn't match Pod's node affinity/selector",
            Self::Taint(taint) => {
                let value = taint.value.as_deref().unwrap_or_default();
                return write!(f, "node(s) had untolerated taint {{{}: {value}}}", taint.key);
            }
            Self::HostPort(_) => "node(s) didn't have free ports for the requested pod ports",
            Self::Short(shortage) => return shortage.fmt(f),
            Self::ClaimTaken(..) => {
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
            }
            Self::VolumeElsewhere(_) => "node(s) had volume node affinity conflict",
            Self::NoVolume(_) => "node(s) didn't find available persistent volumes to bind",
        };
        f.write_str(words)
    }
}

/// Why the node will not do for the pod: whatever stands first in the way, and nothing when it will.
pub(super) fn filter<'w>(
    world: &'w World,
    info: &NodeInfo<'w>,
    pod: &Pod,
    claims: &PodClaims<'w>,
) -> Vec<Refusal<'w>> {
    let node = info.node;
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    if cordoned && !affinity::tolerates_cordon(pod) {
        return vec![Refusal::Cordoned];
    }
    if !affinity::wants_node(pod, node) {
        return vec![Refusal::Affinity];
    }
    if let Some(taint) = affinity::untolerated(pod, node, &["NoSchedule", "NoExecute"]) {
        return vec![Refusal::Taint(taint)];
    }
    if !is_ready(node) {
        return vec![Refusal::NotReady];
    }
    if let Some(port) = info.port_conflict(pod) {
        return vec![Refusal::HostPort(port)];
    }
    let shortages = info.shortages(pod);
    if !shortages.is_empty() {
        return shortages.into_iter().map(Refusal::Short).collect();
    }
    if let Some((claim, holder)) = volumes::taken(world, claims, pod) {
        return vec![Refusal::ClaimTaken(claim, holder)];
    }
    volumes::refusals(world, claims, node)
}

/// Every node and why it will not do for the pod; nothing where no node could help.
pub(crate) fn refusals<'w>(world: &'w World, pod: &Pod) -> Vec<(&'w Node, Vec<Refusal<'w>>)> {
    let Ok(claims) = volumes::pod_claims(world, pod) else { return Vec::new() };
    let infos = node_infos(world);
    infos.iter().map(|info| (info.node, filter(world, info, pod, &claims))).collect()
}

/// The pod of the node whose host port this pod wants.
pub(crate) fn port_holder<'w>(world: &'w World, node: &Node, pod: &Pod) -> Option<&'w Pod> {
    let pods = world.pods.iter().map(|held| &**held);
    let mut there = pods.filter(|held| node_name(held) == Some(name(&node.metadata)) && !is_terminal(held));
    there.find(|held| {
        let mut alone = NodeInfo::new(node);
        alone.add(held);
        alone.port_conflict(pod).is_some()
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
