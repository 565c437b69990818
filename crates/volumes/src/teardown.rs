//! The end of a pod's own volume, or of its being mounted.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::VolumeError;
use crate::{mounts, tree};

/// Unmounts what is mounted at the path or below it, and removes the path and what is in it.
///
/// Nothing happens if it is gone already. What was mounted there (a persistent volume, a host path) loses
/// nothing: it is unmounted before anything is removed, and what cannot be unmounted stops the removal.
/// Symbolic links are removed, never followed.
///
/// # Errors
///
/// When something cannot be unmounted or removed; doing it again goes on from there.
pub fn tear_down(path: &Path) -> Result<(), VolumeError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(VolumeError::Name { name: path.display().to_string() });
    };
    let parent = match parent.canonicalize() {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(VolumeError::io("look at", parent)(error)),
    };
    mounts::unmount_all(&parent.join(name))?;
    let folder = File::open(&parent).map_err(VolumeError::io("open", &parent))?;
    tree::remove(folder.as_fd(), name, path)
}

/// Unmounts what is mounted at the path or below it, and leaves what is there: a pod that is started again
/// finds what it kept on disk. Nothing happens if there is no such path.
///
/// # Errors
///
/// When something cannot be unmounted; doing it again goes on from there.
pub fn unmount_below(path: &Path) -> Result<(), VolumeError> {
    match path.canonicalize() {
        Ok(path) => mounts::unmount_all(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(VolumeError::io("look at", path)(error)),
    }
}
