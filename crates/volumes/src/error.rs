//! What can go wrong with volumes.

use std::io;
use std::path::{Path, PathBuf};

/// Why a volume cannot be made, given or ended.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A name that is no file name, or could lead elsewhere.
    #[error(
        "{name:?} cannot be a volume's name: it must be lower case letters, digits, '-' and '.', as a \
             PersistentVolume's"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// More than the file system could ever hold.
    #[error("volume {name} is to hold {capacity} bytes, but the file system of {} has {total} in all: ask for \
             less, or move --data-dir to a larger one", path.display())]
    TooLarge {
        /// The volume.
        name: String,
        /// Asked for, in bytes.
        capacity: u64,
        /// What there is, in bytes.
        total: u64,
        /// Where volumes are kept.
        path: PathBuf,
    },
    /// The folder holds somebody else's data.
    #[error("volume {name} holds the data of claim {owner} and cannot be provisioned for {claim}")]
    Owned {
        /// The volume.
        name: String,
        /// The claim that it was made for, as `namespace/name`.
        owner: String,
        /// The claim that it is wanted for.
        claim: String,
    },
    /// There is no such folder.
    #[error("volume {name} has no folder {}: it was never provisioned here, or was removed by hand",
            path.display())]
    Missing {
        /// The volume.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// Nothing to bring back.
    #[error("there is no volume {name} in the trash: `stead volume ls` lists what is there")]
    NotInTrash {
        /// The volume.
        name: String,
    },
    /// A volume that was made meanwhile is in the way.
    #[error(
        "there is a volume {name} already: what is in the trash under that name can come back once it is gone"
    )]
    NameTaken {
        /// The volume.
        name: String,
    },
    /// Something is mounted where nothing but the pod's own files should be; it was left alone.
    #[error("{} is a mount, which is not removed: unmount it", path.display())]
    Mounted {
        /// The place.
        path: PathBuf,
    },
    /// A path within a configMap, secret or projected volume that cannot be.
    #[error("path {path:?} {why}")]
    ProjectedPath {
        /// What was given.
        path: String,
        /// `is absolute`, …
        why: &'static str,
    },
    /// The file system said no.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// `make`, `read`, …
        doing: &'static str,
        /// What it was about.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl VolumeError {
    /// For `map_err` on whatever the file system answers.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> VolumeError {
        move |error| VolumeError::Io { doing, path: path.to_owned(), error: error.into() }
    }
}
