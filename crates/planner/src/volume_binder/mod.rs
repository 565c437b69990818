//! Claims and volumes: who gets which, and when each may go (`pkg/controller/volume/persistentvolume`, and the
//! two protection controllers).
//!
//! Keys with a namespace are claims, keys without are volumes. A claim and its volume are bound in one plan,
//! the volume's side first. Deleting data is not done here: see [`provisioner`].

pub mod adoption;
mod claim;
pub mod growth;
pub mod inventory;
pub(crate) mod matching;
pub mod parameters;
pub(crate) mod protection;
pub mod provisioner;
mod volume;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use crate::Planner;
use crate::objects::{is_terminating, name, namespace};
use crate::plan::Plan;
use crate::world::{Key, Object, World};
use matching::{is_bound, volume_name};

/// The annotation of a claim that has its volume for good.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The annotation of what this planner bound, rather than somebody by hand.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// Why a claim or a volume waits: the reasons in `waiting_on`.
pub mod reasons {
    /// The class gives out volumes only when a pod needs them, and none does yet.
    pub const WAIT_FOR_FIRST_CONSUMER: &str = "WaitForFirstConsumer";
    /// No free volume fits, and none is made for such a claim.
    pub const NO_MATCHING_VOLUME: &str = "NoMatchingVolume";
    /// The claim's class does not exist.
    pub const STORAGE_CLASS_MISSING: &str = "StorageClassMissing";
    /// The volume is being made.
    pub const PROVISIONING: &str = "Provisioning";
    /// The volume cannot be made as the claim wants it.
    pub const PROVISIONING_FAILED: &str = "ProvisioningFailed";
    /// The volume that the claim names does not exist.
    pub const VOLUME_MISSING: &str = "VolumeMissing";
    /// The volume that the claim names belongs to another claim.
    pub const VOLUME_TAKEN: &str = "VolumeTaken";
    /// The claim asks for more than its volume holds yet.
    pub const GROWING: &str = "Growing";
    /// The claim's volume is gone.
    pub const CLAIM_LOST: &str = "ClaimLost";
    /// A claim that is being deleted is in use by a pod.
    pub const CLAIM_IN_USE: &str = "ClaimInUse";
    /// A volume that is being deleted has a claim.
    pub const VOLUME_IN_USE: &str = "VolumeInUse";
}

/// The PersistentVolume controller with the protection controllers.
pub struct VolumeBinder;

impl Planner for VolumeBinder {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:persistent-volume-binder"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::PersistentVolumeClaim(claim) => {
                let mut keys = vec![Key::of(&claim.metadata)];
                keys.extend(volumes_of(world, claim));
                keys
            }
            Object::PersistentVolume(volume) => {
                let mut keys = vec![Key::of(&volume.metadata)];
                let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
                match claim.and_then(|r| Some(Key::new(r.namespace.as_deref()?, r.name.as_deref()?))) {
                    Some(claim) => keys.push(claim),
                    None => keys.extend(unbound_claims(world)),
                }
                keys
            }
            Object::StorageClass(_) => unbound_claims(world).collect(),
            Object::Pod(pod) => {
                let ns = namespace(&pod.metadata);
                let goes =
                    |claim: &&str| world.claims.get(ns, claim).is_some_and(|c| is_terminating(&c.metadata));
                crate::pods::claim_names(pod).filter(goes).map(|claim| Key::new(ns, claim)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        if key.namespace.is_empty() {
            if let Some(held) = world.volumes.get("", &key.name) {
                volume::do_plan_volume(world, held, &mut plan);
                protection::do_plan_volume(world, held, &mut plan);
            }
        } else if let Some(held) = world.claims.get(&key.namespace, &key.name) {
            claim::do_plan_claim(world, held, &mut plan);
            growth::do_plan_wait(world, held, &mut plan);
            protection::do_plan_claim(world, held, &mut plan);
        }
        plan
    }
}

/// The volume that a claim names and those that name it.
fn volumes_of(world: &World, claim: &PersistentVolumeClaim) -> Vec<Key> {
    let named = volume_name(claim);
    let refers = |volume: &PersistentVolume| {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        reference.is_some_and(|r| {
            r.name.as_deref() == Some(name(&claim.metadata))
                && r.namespace.as_deref() == Some(namespace(&claim.metadata))
        })
    };
    let concerned = world.volumes.iter().filter(|v| refers(v) || named == v.metadata.name.as_deref());
    concerned.map(|volume| Key::of(&volume.metadata)).collect()
}

fn unbound_claims(world: &World) -> impl Iterator<Item = Key> {
    world.claims.iter().filter(|claim| !is_bound(claim)).map(|claim| Key::of(&claim.metadata))
}
