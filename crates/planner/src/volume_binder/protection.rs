//! Claims and volumes in use are not deleted under their users (`pkg/controller/volume/pvcprotection`,
//! `pvprotection`): a finalizer holds them until nobody uses them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

use super::matching::volume_name;
use super::reasons;
use crate::objects::{has_finalizer, is_terminating, name, namespace, remove_finalizer};
use crate::plan::Plan;
use crate::pods::{claim_names, is_terminal, node_name};
use crate::world::World;

/// The finalizer of a claim that goes once no pod uses it.
pub(crate) const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
/// The finalizer of a volume that goes once no claim has it.
pub(crate) const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

/// Lets a claim go that is being deleted and that no pod uses.
pub(super) fn do_plan_claim(world: &World, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    if !is_terminating(&claim.metadata) || !has_finalizer(&claim.metadata, CLAIM_FINALIZER) {
        return;
    }
    match user(world, namespace(&claim.metadata), name(&claim.metadata)) {
        None => plan.actions.push(remove_finalizer(claim, CLAIM_FINALIZER)),
        Some(pod) => {
            let message = format!(
                "claim/{} is being deleted and goes once pod/{} no longer uses it",
                name(&claim.metadata),
                name(&pod.metadata)
            );
            plan.wait(claim, pod, reasons::CLAIM_IN_USE, message);
        }
    }
}

/// A pod that has a node, has not ended, and mounts the claim. One without a node does not count: it will not
/// get one while the claim is going, and would hold the claim for ever. Nor does one that the node is done with
/// and only a finalizer keeps: it may wait for the claim itself, which it owns.
pub(super) fn user<'w>(world: &'w World, namespace: &'w str, claim: &str) -> Option<&'w Pod> {
    users(world, namespace, claim).next()
}

/// All pods that count as [`user`].
pub(crate) fn users<'w>(world: &'w World, namespace: &'w str, claim: &str) -> impl Iterator<Item = &'w Pod> {
    let pods = world.pods.in_namespace(namespace).map(|pod| &**pod);
    pods.filter(move |pod| {
        node_name(pod).is_some()
            && !is_terminal(pod)
            && !is_shut_down(pod)
            && claim_names(pod).any(|used| used == claim)
    })
}

/// Whether nothing is left of the pod but its object: the node deletes it without grace when its processes are
/// gone (`podIsShutDown`).
fn is_shut_down(pod: &Pod) -> bool {
    is_terminating(&pod.metadata) && pod.metadata.deletion_grace_period_seconds == Some(0)
}

/// Lets a volume go that is being deleted and that no claim has.
pub(super) fn do_plan_volume(world: &World, volume: &PersistentVolume, plan: &mut Plan) {
    if !is_terminating(&volume.metadata) || !has_finalizer(&volume.metadata, VOLUME_FINALIZER) {
        return;
    }
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let claim = reference.and_then(|r| world.claims.get(r.namespace.as_deref()?, r.name.as_deref()?));
    let bound = claim.filter(|claim| volume_name(claim) == volume.metadata.name.as_deref());
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    match bound {
        Some(claim) => {
            let message = format!(
                "persistentvolume/{} is being deleted and goes once claim {}/{} is gone",
                name(&volume.metadata),
                namespace(&claim.metadata),
                name(&claim.metadata)
            );
            plan.wait(volume, &**claim, reasons::VOLUME_IN_USE, message);
        }
        None if phase == Some("Bound") => {}
        None => plan.actions.push(remove_finalizer(volume, VOLUME_FINALIZER)),
    }
}
