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
    /// Less is free than an image needs: it is allocated in full.
    #[error("volume {name} needs {needed} bytes more, and {available} are left for volumes on the file system of \
             {} ({headroom} stay free for the machine): make room, or ask for less", path.display())]
    NoRoom {
        /// The volume.
        name: String,
        /// How much more, in bytes.
        needed: u64,
        /// What may be allocated, in bytes.
        available: u64,
        /// What stays free in any case, in bytes.
        headroom: u64,
        /// Where volumes are kept.
        path: PathBuf,
    },
    /// The file system below cannot set room aside, so an image could run out of it.
    #[error("the file system of {} cannot allocate files ahead, which volumes with backing image need: move \
             --data-dir to ext4, XFS or btrfs, or use backing directory", path.display())]
    NotAllocated {
        /// Where volumes are kept.
        path: PathBuf,
    },
    /// A program that the machine lacks.
    #[error("{program} is not on this machine: install the package {package}")]
    NoProgram {
        /// `mkfs.xfs`, …
        program: &'static str,
        /// Where it is in.
        package: &'static str,
    },
    /// A program said no.
    #[error("{program} {} failed: {words}", path.display())]
    Program {
        /// `mkfs.ext4`, …
        program: &'static str,
        /// What it was to work on.
        path: PathBuf,
        /// Its last words.
        words: String,
    },
    /// The file system in an image cannot be mounted.
    #[error(
        "cannot mount the {fs_type} of volume {name} with options {options:?}: {error} (the kernel's log says \
             more)"
    )]
    Mount {
        /// The volume.
        name: String,
        /// Its file system.
        fs_type: &'static str,
        /// `mountOptions`.
        options: String,
        /// Why.
        error: io::Error,
    },
    /// Somebody still uses what is mounted.
    #[error("volume {name} is in use: it is unmounted once nobody has files of it open")]
    InUse {
        /// The volume.
        name: String,
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
