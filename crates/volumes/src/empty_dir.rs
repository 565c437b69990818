//! emptyDir volumes: on disk or in memory (pkg/volume/emptydir).

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::error::VolumeError;
use crate::mounts;

/// Where an emptyDir's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// Where the pod's folder is.
    #[default]
    Disk,
    /// In memory, and in no swap; counts against the pod's memory.
    Memory,
}

/// `volumes[].emptyDir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmptyDir {
    /// `medium`.
    pub medium: Medium,
    /// `sizeLimit` in bytes, enforced in memory only.
    pub size_limit: Option<u64>,
}

/// Makes the folder, writable by all (it is for containers of any user, below a private folder). Doing it
/// again changes nothing.
///
/// # Errors
///
/// When the folder cannot be made or mounted on.
pub fn set_up_empty_dir(path: &Path, volume: &EmptyDir) -> Result<(), VolumeError> {
    make_folder(path)?;
    match volume.medium {
        Medium::Disk => Ok(()),
        Medium::Memory => {
            let real = path.canonicalize().map_err(VolumeError::io("look at", path))?;
            mounts::mount_tmpfs(&real, volume.size_limit)
        }
    }
}

/// A folder that all may write, and those above it for root alone where they are missing.
pub(crate) fn make_folder(path: &Path) -> Result<(), VolumeError> {
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(VolumeError::io("make", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        // Its mode may have been changed since, for a group or by the pod.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(VolumeError::io("make", path)(error)),
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o777))
        .map_err(VolumeError::io("set the mode of", path))
}
