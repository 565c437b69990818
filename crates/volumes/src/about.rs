//! What is written down about a volume, in `volume.json` beside its data, for those who find it without its
//! objects.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::VolumeError;

const ABOUT: &str = "volume.json";

/// What a volume is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backing {
    /// A folder of the host's file system. Nothing keeps what is in it to its capacity.
    #[default]
    Directory,
    /// A file that is allocated in full, with a file system in it or as a block device.
    Image,
}

/// A file system in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FsType {
    /// ext4.
    #[default]
    Ext4,
    /// XFS.
    Xfs,
}

impl FsType {
    /// The file system of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs].into_iter().find(|known| known.name() == name)
    }

    /// As mount(2) calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// A volume to be, and what is written down about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpec {
    /// The PersistentVolume's name: `pvc-<uid of the claim>`.
    pub name: String,
    /// `spec.capacity.storage`, in bytes.
    pub capacity_bytes: u64,
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name.
    pub claim: String,
    /// The claim's class, so that whoever adopts the volume asks for the same; empty for none.
    #[serde(default)]
    pub storage_class: String,
    /// The claim's access modes.
    #[serde(default)]
    pub access_modes: Vec<String>,
    /// What it is made of.
    #[serde(default)]
    pub backing: Backing,
    /// The file system in an image; none in a block device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<FsType>,
    /// With what the file system in an image is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<String>,
}

impl VolumeSpec {
    /// Whether it is a block device.
    pub fn is_device(&self) -> bool {
        self.backing == Backing::Image && self.fs_type.is_none()
    }
}

/// What is written down in the volume's folder, if it can be read.
pub(crate) fn read(folder: &Path) -> Option<VolumeSpec> {
    let text = fs::read(folder.join(ABOUT)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes it down: whole or not at all, and durably once the folder is synced.
pub(crate) fn write(folder: &Path, spec: &VolumeSpec) -> Result<(), VolumeError> {
    let path = folder.join(ABOUT);
    let fresh = folder.join("volume.json.new");
    let write = || {
        let mut text = serde_json::to_vec_pretty(spec)?;
        text.push(b'\n');
        fs::write(&fresh, text)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, &path)
    };
    write().map_err(VolumeError::io("write", &path))
}
