//! What is written down about a volume, in `volume.json` beside its data, for those who find it without its
//! objects.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::VolumeError;

const ABOUT: &str = "volume.json";

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
