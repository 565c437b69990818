//! A volume that is on a node's disk without its objects, and the objects that give it back to its claim.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{
    Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::provisioner::{self, Making};

/// The annotation of a volume that was adopted: its name is not that of its claim's uid.
pub const ADOPTED: &str = "stead.dev/adopted";

/// What is known of a volume on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Where its data is.
    pub path: String,
    /// Its size in bytes.
    pub capacity_bytes: u64,
    /// The namespace of its claim.
    pub namespace: String,
    /// The name of its claim.
    pub claim: String,
    /// The class of its claim; empty for none.
    pub storage_class: String,
    /// The access modes of its claim; none are taken for `ReadWriteOnce`.
    pub access_modes: Vec<String>,
    /// Whether it is an image.
    pub is_image: bool,
    /// The file system in the image; an image without one is a block device.
    pub fs_type: Option<String>,
    /// With what that is mounted.
    pub mount_options: Vec<String>,
}

impl Found {
    fn capacity(&self) -> BTreeMap<String, Quantity> {
        let bytes = i64::try_from(self.capacity_bytes).unwrap_or(i64::MAX);
        BTreeMap::from([("storage".to_owned(), Quantity(Amount::from_bytes(bytes).to_string()))])
    }

    fn access_modes(&self) -> Vec<String> {
        if self.access_modes.is_empty() {
            return vec!["ReadWriteOnce".to_owned()];
        }
        self.access_modes.clone()
    }

    /// The volume's object. It is kept for the claim by name, so that no other gets it, and its data stays when
    /// that claim goes again: it was nearly lost once.
    pub fn volume(&self, node: &Node) -> PersistentVolume {
        let mut volume = provisioner::local_volume(Making {
            name: &self.name,
            path: self.path.clone(),
            node,
            capacity: self.capacity(),
            access_modes: self.access_modes(),
            claim: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: Some(self.namespace.clone()),
                name: Some(self.claim.clone()),
                ..ObjectReference::default()
            },
            reclaim_policy: "Retain",
            storage_class: Some(self.storage_class.clone()).filter(|class| !class.is_empty()),
        });
        let options = Some(self.mount_options.clone());
        provisioner::describe(&mut volume, self.is_image, self.fs_type.clone(), options);
        let annotations = volume.metadata.annotations.get_or_insert_default();
        annotations.insert(ADOPTED.to_owned(), "true".to_owned());
        volume
    }

    /// A claim that wants this volume and no other.
    pub fn claim(&self) -> PersistentVolumeClaim {
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(self.claim.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(self.access_modes()),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(self.capacity()),
                    ..VolumeResourceRequirements::default()
                }),
                // An empty name asks for no class; none at all would ask for the default one.
                storage_class_name: Some(self.storage_class.clone()),
                volume_name: Some(self.name.clone()),
                volume_mode: (self.is_image && self.fs_type.is_none()).then(|| "Block".to_owned()),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        }
    }
}
