//! Folders of the volumes: made, closed to others, made durable, listed.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::error::VolumeError;

/// Makes the folder; answers whether it was missing.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<bool, VolumeError> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(VolumeError::io("make", path)(error)),
    }
}

/// Sets the mode, whatever the umask.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(VolumeError::io("set the mode of", path))
}

/// Waits until what is in the folder would survive a power cut.
pub(crate) fn sync(folder: &Path) -> Result<(), VolumeError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(VolumeError::io("sync", folder))
}

/// The names in the folder, in any order.
pub(crate) fn entries(folder: &Path) -> Result<Vec<String>, VolumeError> {
    let read = || {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()
    };
    read().map_err(VolumeError::io("read", folder))
}
