//! The node's part: which volumes it makes and which it deletes
//! (`sigs.k8s.io/sig-storage-lib-external-provisioner`). Not one of the planners that controllers run, because
//! it needs the node's hands; the node calls [`plan`] whenever a claim, volume, class, node or pod changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::adoption::ADOPTED;
use super::growth::{self, Growth, is_growing};
use super::matching::{best_volume, class_name, is_bound, requested, volume_name, volume_of};
use super::parameters::{Backing, Parameters, unsupported};
use super::protection;
use crate::objects::{annotation, is_terminating, label, name, uid};
use crate::plan::ObjectRef;
use crate::scheduler::{SELECTED_NODE, selects};
use crate::world::{World, object_ref};

/// The provisioner's name in StorageClasses.
pub const PROVISIONER: &str = "stead.dev/local";
/// The annotation with the name of a volume's provisioner.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The annotation with what a volume is made of, where it is no directory.
pub const BACKING: &str = "stead.dev/backing";
/// The label by which volumes find their node.
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// Something for the node to do with its disks. Both can be carried out again without harm.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeAction {
    /// Make the directory `volume.spec.local.path`, then create `volume`.
    ProvisionVolume {
        /// For whom.
        claim: ObjectRef,
        /// The volume to create; its `claimRef` is set.
        volume: Box<PersistentVolume>,
    },
    /// Delete the directory with everything in it, then delete the volume. Its claim is gone, nothing uses it,
    /// and its policy is Delete.
    DeleteVolume {
        /// The volume, with its uid.
        volume: ObjectRef,
        /// Its directory.
        path: String,
    },
    /// Take the next step of a claim's growth.
    Grow(Growth),
}

/// What the node `node_name` has to do now. `volumes_dir` is where its volumes are, without a slash at the end.
pub fn plan(world: &World, node_name: &str, volumes_dir: &str) -> Vec<VolumeAction> {
    let Some(node) = world.nodes.get("", node_name) else { return Vec::new() };
    let claims = world.claims.iter().filter(|claim| wants_volume_of(world, claim, node));
    let provision = claims.filter_map(|claim| {
        let class = world.storage_classes.get("", class_name(claim)?)?;
        let volume = Box::new(new_volume(claim, class, node, volumes_dir));
        Some(VolumeAction::ProvisionVolume { claim: object_ref(&**claim), volume })
    });
    let delete =
        world.volumes.iter().filter(|volume| may_be_deleted(world, volume, node)).filter_map(|volume| {
            let path = volume.spec.as_ref()?.local.as_ref()?.path.clone();
            Some(VolumeAction::DeleteVolume { volume: object_ref(&**volume), path })
        });
    let here = |claim: &&PersistentVolumeClaim| {
        is_growing(claim) && volume_of(world, claim).is_some_and(|volume| is_on(volume, node))
    };
    let growing = world.claims.iter().map(|claim| &**claim).filter(here);
    let grow = growing.filter_map(|claim| growth::next(world, claim).map(VolumeAction::Grow));
    provision.chain(delete).chain(grow).collect()
}

/// The name of the volume that is made for a claim.
pub fn volume_name_for(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", uid(&claim.metadata))
}

/// Whether the claim needs a volume and this node is the one to make it.
fn wants_volume_of(world: &World, claim: &PersistentVolumeClaim, node: &Node) -> bool {
    let Some(class) = class_name(claim).and_then(|class| world.storage_classes.get("", class)) else {
        return false;
    };
    if class.provisioner != PROVISIONER
        || is_terminating(&claim.metadata)
        || unsupported(claim, class).is_some()
    {
        return false;
    }
    if is_bound(claim) || volume_name(claim).is_some() || uid(&claim.metadata).is_empty() {
        return false;
    }
    let delayed = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    let here = match annotation(&claim.metadata, SELECTED_NODE) {
        Some(selected) => selected == name(&node.metadata),
        None => !delayed && first_node(world, class).is_some_and(|first| first == name(&node.metadata)),
    };
    here && world.volumes.get("", &volume_name_for(claim)).is_none()
        && best_volume(world, claim, Some(node)).is_none()
}

/// The node that makes volumes that no pod has chosen a node for: all nodes agree on it.
fn first_node<'w>(world: &'w World, class: &StorageClass) -> Option<&'w str> {
    let allowed = |node: &Node| {
        let terms = class.allowed_topologies.as_deref().unwrap_or_default();
        terms.is_empty()
            || terms.iter().any(|term| {
                let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
                expressions.iter().all(|e| {
                    label(&node.metadata, &e.key).is_some_and(|value| e.values.iter().any(|v| v == value))
                })
            })
    };
    world.nodes.iter().find(|node| allowed(node)).map(|node| name(&node.metadata))
}

fn new_volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
    volumes_dir: &str,
) -> PersistentVolume {
    let volume_name = volume_name_for(claim);
    let spec = claim.spec.clone().unwrap_or_default();
    let mut volume = local_volume(Making {
        name: &volume_name,
        // Where it is within that is the node's to say, once it has made it.
        path: format!("{volumes_dir}/{volume_name}"),
        node,
        capacity: BTreeMap::from([("storage".to_owned(), Quantity(requested(claim).to_string()))]),
        access_modes: spec.access_modes.unwrap_or_default(),
        claim: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: claim.metadata.namespace.clone(),
            name: claim.metadata.name.clone(),
            uid: claim.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        reclaim_policy: class.reclaim_policy.as_deref().unwrap_or("Delete"),
        storage_class: class.metadata.name.clone(),
    });
    // A class whose parameters are wrong does not come so far.
    let Parameters { backing, fs_type } = Parameters::of(class).unwrap_or_default();
    let is_device = spec.volume_mode.as_deref() == Some("Block");
    let is_image = backing == Backing::Image;
    let fs_type = Some(fs_type).filter(|_| is_image && !is_device);
    describe(&mut volume, is_image, fs_type, class.mount_options.clone());
    volume
}

/// Writes down what an image is: with a file system, or as a block device without one. A directory is what it is.
pub(super) fn describe(
    volume: &mut PersistentVolume,
    is_image: bool,
    fs_type: Option<String>,
    mount_options: Option<Vec<String>>,
) {
    if !is_image {
        return;
    }
    let annotations = volume.metadata.annotations.get_or_insert_default();
    annotations.insert(BACKING.to_owned(), Backing::Image.to_string());
    let Some(spec) = volume.spec.as_mut() else { return };
    if fs_type.is_none() {
        spec.volume_mode = Some("Block".to_owned());
    } else {
        spec.mount_options = mount_options.filter(|options| !options.is_empty());
    }
    if let Some(local) = spec.local.as_mut() {
        local.fs_type = fs_type;
    }
}

/// Whether this provisioner made the volume, or its node adopted it.
pub fn is_ours(volume: &PersistentVolume) -> bool {
    annotation(&volume.metadata, PROVISIONED_BY) == Some(PROVISIONER)
}

/// What a volume of this provisioner is made of.
pub fn backing(volume: &PersistentVolume) -> Backing {
    match annotation(&volume.metadata, BACKING) {
        Some(backing) if backing == Backing::Image.as_str() => Backing::Image,
        _ => Backing::Directory,
    }
}

/// Whether the volume has a file system of its own that must learn of its growth.
pub(super) fn has_file_system(volume: &PersistentVolume) -> bool {
    let local = volume.spec.as_ref().and_then(|spec| spec.local.as_ref());
    backing(volume) == Backing::Image && local.is_some_and(|local| local.fs_type.is_some())
}

/// Whether the volume is on this node.
fn is_on(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    affinity.and_then(|affinity| affinity.required.as_ref()).is_some_and(|required| selects(required, node))
}

/// What a local volume is made of.
pub(super) struct Making<'a> {
    pub(super) name: &'a str,
    /// Where its data is.
    pub(super) path: String,
    /// Where it is.
    pub(super) node: &'a Node,
    pub(super) capacity: BTreeMap<String, Quantity>,
    pub(super) access_modes: Vec<String>,
    /// For whom.
    pub(super) claim: ObjectReference,
    pub(super) reclaim_policy: &'a str,
    pub(super) storage_class: Option<String>,
}

/// A volume of this node that is this provisioner's.
pub(super) fn local_volume(making: Making<'_>) -> PersistentVolume {
    let node = making.node;
    let hostname = label(&node.metadata, HOSTNAME_LABEL).unwrap_or(name(&node.metadata));
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(making.name.to_owned()),
            annotations: Some(BTreeMap::from([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: Some(making.access_modes),
            capacity: Some(making.capacity),
            claim_ref: Some(making.claim),
            local: Some(LocalVolumeSource { fs_type: None, path: making.path }),
            node_affinity: Some(on_host(hostname)),
            persistent_volume_reclaim_policy: Some(making.reclaim_policy.to_owned()),
            storage_class_name: making.storage_class,
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

fn on_host(hostname: &str) -> VolumeNodeAffinity {
    let requirement = NodeSelectorRequirement {
        key: HOSTNAME_LABEL.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![hostname.to_owned()]),
    };
    VolumeNodeAffinity {
        required: Some(NodeSelector {
            node_selector_terms: vec![NodeSelectorTerm {
                match_expressions: Some(vec![requirement]),
                match_fields: None,
            }],
        }),
    }
}

/// Whether the volume is this node's to delete with all its data: made here by this provisioner, released, its
/// claim gone, its policy Delete, and nothing running that could still write to it.
fn may_be_deleted(world: &World, volume: &PersistentVolume, node: &Node) -> bool {
    let Some(spec) = volume.spec.as_ref() else { return false };
    let Some(reference) =
        spec.claim_ref.as_ref().filter(|r| r.uid.as_ref().is_some_and(|uid| !uid.is_empty()))
    else {
        return false;
    };
    let (ns, claim_name) =
        (reference.namespace.as_deref().unwrap_or_default(), reference.name.as_deref().unwrap_or_default());
    let successor = world.claims.get(ns, claim_name);
    let claim_gone = successor.is_none_or(|claim| claim.metadata.uid != reference.uid);
    // A pod may run on while its claim's name is held by nobody; under a new claim it uses a new volume.
    let in_use = successor.is_none() && protection::user(world, ns, claim_name).is_some();
    spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")
        && is_ours(volume)
        && volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released")
        && claim_gone
        && !in_use
        && is_on(volume, node)
        && is_named_for(volume, reference)
        && !ns.is_empty()
}

/// Whether the volume's name is that of its claim's uid, or it was adopted under the name that it had.
fn is_named_for(volume: &PersistentVolume, claim: &ObjectReference) -> bool {
    name(&volume.metadata) == format!("pvc-{}", claim.uid.as_deref().unwrap_or_default())
        || annotation(&volume.metadata, ADOPTED) == Some("true")
}
