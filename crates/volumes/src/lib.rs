//! Volumes on this machine: persistent ones, a folder or an image each, and those that live as long as a pod.
//!
//! [`Volumes`] keeps persistent volumes; [`set_up_empty_dir`], [`set_up_projected`] and [`write_projected`]
//! make a pod's own; [`tear_down`] ends those, and [`unmount_below`] only lets them rest; [`apply_fs_group`]
//! gives either to a group. It moves bytes and modes, and knows nothing of Kubernetes' objects. Everything
//! blocks: call it where that is allowed.
//! **Its one rule: data is removed only where the caller said so, by name. What is mounted there is
//! unmounted and never removed, a symbolic link is a thing to remove and never a way to go, and a deleted
//! volume rests in the trash first.**
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use volumes::{VolumeSpec, Volumes};
//!
//! let volumes = Volumes::open(&dir.path().join("volumes"))?;
//! let data = volumes.provision(&VolumeSpec {
//!     name: "pvc-1b4e28ba".into(),
//!     capacity_bytes: 1 << 20,
//!     namespace: "default".into(),
//!     claim: "data-postgres-0".into(),
//!     ..VolumeSpec::default()
//! })?;
//! std::fs::write(data.join("hello"), "world")?;
//! # Ok(())
//! # }
//! ```

mod about;
mod empty_dir;
mod error;
mod files;
mod fs_group;
mod image;
mod loop_device;
mod mount_options;
mod mounts;
mod persistent;
mod programs;
mod projected;
mod teardown;
mod trash;
mod tree;
mod usage;

pub use about::{Backing, FsType, VolumeSpec};
pub use empty_dir::{EmptyDir, Medium, set_up_empty_dir};
pub use error::VolumeError;
pub use fs_group::{FsGroupChangePolicy, apply_fs_group};
pub use persistent::{Space, Volume, Volumes};
pub use projected::{ProjectedFile, set_up_projected, write_projected};
pub use teardown::{tear_down, unmount_below};
pub use trash::Trashed;
