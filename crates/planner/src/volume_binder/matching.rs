//! Which volume a claim gets (`pkg/controller/volume/persistentvolume/index.go`).

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};

use super::BIND_COMPLETED;
use crate::objects::{annotation, is_terminating, name, namespace, selector};
use crate::scheduler::selects;
use crate::world::World;

/// The claim's class. Empty or absent: none.
pub(crate) fn class_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.storage_class_name.as_deref().filter(|class| !class.is_empty())
}

/// The volume that the claim names.
pub(crate) fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|volume| !volume.is_empty())
}

/// The volume that the claim names, if it exists.
pub(crate) fn volume_of<'w>(world: &'w World, claim: &PersistentVolumeClaim) -> Option<&'w PersistentVolume> {
    world.volumes.get("", volume_name(claim)?).map(|volume| &**volume)
}

/// Whether the claim has its volume for good.
pub(crate) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && annotation(&claim.metadata, BIND_COMPLETED).is_some()
}

/// What a claim's volume must hold at least.
pub(crate) fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let storage = requests.and_then(|requests| requests.get("storage"));
    storage.and_then(|amount| Quantity::parse(&amount.0).ok()).unwrap_or(Quantity::ZERO)
}

/// What a volume holds.
pub(crate) fn capacity(volume: &PersistentVolume) -> Quantity {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    capacity.and_then(|amount| Quantity::parse(&amount.0).ok()).unwrap_or(Quantity::ZERO)
}

/// Whether the volume is reserved for this claim, by name and, where it says one, by uid.
pub(super) fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(|reference| {
        reference.name.as_deref() == Some(name(&claim.metadata))
            && reference.namespace.as_deref() == Some(namespace(&claim.metadata))
            && reference
                .uid
                .as_ref()
                .is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// The volume reserved for the claim, or else the smallest free one that will do and, where a node is given,
/// can be reached from it (`findBestMatchForClaim`).
pub(crate) fn best_volume<'w>(
    world: &'w World,
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
) -> Option<&'w PersistentVolume> {
    reserved_volume(world, claim).or_else(|| {
        let volumes = world.volumes.iter().map(|volume| &**volume);
        volumes.filter(|volume| is_free(volume) && will_do(volume, claim, node)).min_by_key(|v| capacity(v))
    })
}

/// The volume that was made or set aside for this claim.
pub(crate) fn reserved_volume<'w>(
    world: &'w World,
    claim: &PersistentVolumeClaim,
) -> Option<&'w PersistentVolume> {
    let volumes = world.volumes.iter().map(|volume| &**volume);
    volumes.into_iter().find(|volume| is_reserved_for(volume, claim) && !is_terminating(&volume.metadata))
}

fn is_free(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let taken = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    !taken && phase == Some("Available") && !is_terminating(&volume.metadata)
}

/// Why a volume will not do for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// One is a file system and the other a block device.
    VolumeMode,
    /// It is of another class.
    Class,
    /// It does not offer all the access modes that the claim wants.
    AccessModes,
    /// It holds less than the claim wants.
    TooSmall,
    /// Its labels are not those that the claim selects.
    Selector,
    /// It cannot be reached from the node.
    Node,
}

fn will_do(volume: &PersistentVolume, claim: &PersistentVolumeClaim, node: Option<&Node>) -> bool {
    mismatch(volume, claim, node).is_none()
}

fn mode(mode: &Option<String>) -> &str {
    mode.as_deref().unwrap_or("Filesystem")
}

/// The first reason why the volume will not do for the claim, on the node where one is given.
pub(crate) fn mismatch(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
) -> Option<Mismatch> {
    let (Some(has), Some(wants)) = (volume.spec.as_ref(), claim.spec.as_ref()) else {
        return Some(Mismatch::Class);
    };
    let class = has.storage_class_name.as_deref().unwrap_or_default();
    let modes = has.access_modes.as_deref().unwrap_or_default();
    let affinity = has.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    // No further than the first: every volume is asked.
    Some(if mode(&has.volume_mode) != mode(&wants.volume_mode) {
        Mismatch::VolumeMode
    } else if class != class_name(claim).unwrap_or_default() {
        Mismatch::Class
    } else if !wants.access_modes.iter().flatten().all(|mode| modes.contains(mode)) {
        Mismatch::AccessModes
    } else if capacity(volume) < requested(claim) {
        Mismatch::TooSmall
    } else if !wants.selector.as_ref().is_none_or(|wanted| selector(wanted).matches(&volume.metadata.labels))
    {
        Mismatch::Selector
    } else if !node.is_none_or(|node| affinity.is_none_or(|affinity| selects(affinity, node))) {
        Mismatch::Node
    } else {
        return None;
    })
}
