//! What a pod's claims say about where it can run (`volumebinding`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use serde_json::json;

use super::affinity::selects;
use super::refusals::Refusal;
use crate::objects::{annotation, guarded_patch, is_terminating, name, namespace};
use crate::plan::Plan;
use crate::pods::{claim_names, is_terminal, node_name};
use crate::volume_binder::matching::{best_volume, class_name, is_bound, volume_name, volume_of};
use crate::volume_binder::protection::users;
use crate::world::World;

/// The annotation by which a claim learns on which node its first pod will run.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The pod's claims, sorted by what is still to do.
#[derive(Default)]
pub(super) struct PodClaims<'w> {
    /// Claims with a volume.
    pub(super) bound: Vec<&'w PersistentVolumeClaim>,
    /// Claims that are given a volume once a node is chosen.
    pub(super) delayed: Vec<&'w PersistentVolumeClaim>,
}

impl PodClaims<'_> {
    /// The node that was chosen for the pod's claims in an earlier plan.
    pub(super) fn selected_node(&self) -> Option<&str> {
        self.delayed.iter().find_map(|claim| annotation(&claim.metadata, SELECTED_NODE))
    }
}

/// Why no node will do for the pod at all.
pub(super) enum Obstacle {
    /// The claim does not exist.
    Missing(String),
    /// The claim is being deleted.
    Terminating(String),
    /// The claim's volume is gone.
    Lost(String),
    /// The claim gets its volume without the pod's help, and has none yet.
    Unbound(String),
}

impl Obstacle {
    /// Upstream's words.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Missing(claim) => format!("persistentvolumeclaim \"{claim}\" not found"),
            Self::Terminating(claim) => format!("persistentvolumeclaim \"{claim}\" is being deleted"),
            Self::Lost(claim) => {
                format!("persistentvolumeclaim \"{claim}\" bound to non-existent persistentvolume")
            }
            Self::Unbound(_) => "pod has unbound immediate PersistentVolumeClaims".to_owned(),
        }
    }

    /// The claim's name.
    pub(super) fn claim(&self) -> &str {
        match self {
            Self::Missing(claim) | Self::Terminating(claim) | Self::Lost(claim) | Self::Unbound(claim) => {
                claim
            }
        }
    }
}

/// Sorts the pod's claims.
pub(super) fn pod_claims<'w>(world: &'w World, pod: &Pod) -> Result<PodClaims<'w>, Obstacle> {
    let mut claims = PodClaims::default();
    for claim_name in claim_names(pod) {
        let Some(claim) = world.claims.get(namespace(&pod.metadata), claim_name) else {
            return Err(Obstacle::Missing(claim_name.to_owned()));
        };
        if is_terminating(&claim.metadata) {
            return Err(Obstacle::Terminating(claim_name.to_owned()));
        }
        if is_bound(claim) {
            if volume_of(world, claim).is_none() {
                return Err(Obstacle::Lost(claim_name.to_owned()));
            }
            claims.bound.push(claim);
        } else if waits_for_consumer(world, claim) && volume_name(claim).is_none() {
            claims.delayed.push(claim);
        } else {
            return Err(Obstacle::Unbound(claim_name.to_owned()));
        }
    }
    Ok(claims)
}

/// Whether the claim's class gives out volumes only once a pod needs them.
pub(crate) fn waits_for_consumer(world: &World, claim: &PersistentVolumeClaim) -> bool {
    let class = class_name(claim).and_then(|class| world.storage_classes.get("", class));
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

/// The claim that is for one pod alone while another pod uses it, and that pod (`volumerestrictions`).
pub(super) fn taken<'w>(
    world: &'w World,
    claims: &PodClaims<'w>,
    pod: &Pod,
) -> Option<(&'w PersistentVolumeClaim, &'w Pod)> {
    let exclusive = claims.bound.iter().copied().filter(|claim| is_for_one_pod(claim));
    exclusive
        .flat_map(|claim| {
            let users = users(world, namespace(&claim.metadata), name(&claim.metadata));
            users.map(move |user| (claim, user))
        })
        .find(|(_, user)| user.metadata.uid != pod.metadata.uid)
}

/// Whether the plan gives the pod a claim for one pod alone that it has given to another one already.
pub(super) fn is_given(claims: &PodClaims<'_>, given: &mut BTreeSet<(String, String)>) -> bool {
    let exclusive = claims.bound.iter().filter(|claim| is_for_one_pod(claim));
    let mut keys = exclusive
        .map(|claim| (namespace(&claim.metadata).to_owned(), name(&claim.metadata).to_owned()))
        .peekable();
    keys.peek().is_some() && keys.any(|key| !given.insert(key))
}

/// Whether the claim has the access mode ReadWriteOncePod.
pub fn is_for_one_pod(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
    modes.into_iter().any(|mode| mode == "ReadWriteOncePod")
}

/// Why the node will not do for the pod's volumes: those that there are elsewhere, or else those that are lacking.
pub(super) fn refusals<'w>(world: &World, claims: &PodClaims<'w>, node: &Node) -> Vec<Refusal<'w>> {
    let is_elsewhere = |claim: &&PersistentVolumeClaim| {
        let affinity = volume_of(world, claim).and_then(|v| v.spec.as_ref()?.node_affinity.as_ref());
        let required = affinity.and_then(|affinity| affinity.required.as_ref());
        required.is_some_and(|required| !selects(required, node))
    };
    let bound = claims.bound.iter().copied();
    let elsewhere: Vec<_> = bound.filter(is_elsewhere).map(Refusal::VolumeElsewhere).collect();
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    let gets_nothing = |claim: &&PersistentVolumeClaim| {
        let provisioned = class_name(claim)
            .and_then(|class| world.storage_classes.get("", class))
            .is_some_and(|class| class.provisioner != "kubernetes.io/no-provisioner");
        !provisioned && best_volume(world, claim, Some(node)).is_none()
    };
    claims.delayed.iter().copied().filter(gets_nothing).map(Refusal::NoVolume).collect()
}

/// Delayed claims that do not know of this node yet.
pub(super) fn unselected<'c, 'w>(
    claims: &'c PodClaims<'w>,
    node: &'c Node,
) -> impl Iterator<Item = &'w PersistentVolumeClaim> {
    claims
        .delayed
        .iter()
        .copied()
        .filter(move |claim| annotation(&claim.metadata, SELECTED_NODE) != Some(name(&node.metadata)))
}

/// Tells claims about pods that somebody put on a node by hand, or that were there before the claim was: nobody
/// else would ever choose a node for those claims.
pub(super) fn do_plan_placed_pods(world: &World, plan: &mut Plan) {
    let unknowing = world.claims.iter().filter(|claim| {
        !is_bound(claim)
            && !is_terminating(&claim.metadata)
            && volume_name(claim).is_none()
            && annotation(&claim.metadata, SELECTED_NODE).is_none()
            && waits_for_consumer(world, claim)
    });
    let mut unknowing = unknowing.peekable();
    if unknowing.peek().is_none() {
        return;
    }
    let mut nodes: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for pod in world.pods.iter().filter(|pod| !is_terminal(pod)) {
        let Some(node) = node_name(pod) else { continue };
        for mounted in claim_names(pod) {
            nodes.entry((namespace(&pod.metadata), mounted)).or_insert(node);
        }
    }
    for claim in unknowing {
        if let Some(node) = nodes.get(&(namespace(&claim.metadata), name(&claim.metadata))) {
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
            plan.actions.push(guarded_patch(&**claim, patch));
        }
    }
}
