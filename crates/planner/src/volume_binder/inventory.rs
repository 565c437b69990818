//! Who uses a volume: for lists of what is on a disk.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

use super::matching::{is_reserved_for, volume_name};
use super::protection;
use super::provisioner::is_ours;
use crate::objects::name;
use crate::stateful_set::sets_of_claim;
use crate::world::World;

/// What the API knows of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// `status.phase`.
    pub phase: String,
    /// The claim that has the volume, or had it or is to have it, as `namespace/name`.
    pub claim: Option<String>,
    /// The set whose claim that is.
    pub set: Option<String>,
    /// The pods that mount the claim.
    pub pods: Vec<String>,
}

/// The pods that have a node and mount the claim.
pub fn users<'w>(world: &'w World, namespace: &'w str, claim: &str) -> impl Iterator<Item = &'w Pod> {
    protection::users(world, namespace, claim)
}

/// What the API knows of the volume of this name; `None` when it has no object.
pub fn use_of(world: &World, volume: &str) -> Option<Use> {
    let held = world.volumes.get("", volume)?;
    let phase = held.status.as_ref().and_then(|status| status.phase.clone());
    let mut found = Use {
        phase: phase.unwrap_or_else(|| "Pending".to_owned()),
        claim: None,
        set: None,
        pods: Vec::new(),
    };
    let Some(reference) = held.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
        return Some(found);
    };
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let (ns, claim) = (of(&reference.namespace), of(&reference.name));
    found.set = sets_of_claim(world, &ns, &claim).into_iter().next().map(|set| set.name);
    if world.claims.get(&ns, &claim).is_some_and(|held_by| is_of(held, held_by)) {
        found.pods =
            protection::users(world, &ns, &claim).map(|pod| name(&pod.metadata).to_owned()).collect();
    }
    found.claim = Some(format!("{ns}/{claim}"));
    Some(found)
}

fn is_of(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    is_reserved_for(volume, claim) && volume_name(claim) == Some(name(&volume.metadata))
}

/// The claim that a volume without an object would go to, if that exists already and has another volume.
pub fn other_volume_of<'w>(world: &'w World, ns: &str, claim: &str, volume: &str) -> Option<&'w str> {
    let held = world.claims.get(ns, claim)?;
    volume_name(held).filter(|other| *other != volume)
}

/// The volumes that stead's own node made and that the API knows.
pub fn of_nodes(world: &World) -> impl Iterator<Item = &str> {
    let all = world.volumes.iter().map(|volume| &**volume);
    all.filter(|volume| is_ours(volume)).map(|volume| name(&volume.metadata))
}
