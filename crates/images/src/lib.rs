//! Container images on disk: pulled from registries, imported from archives, unpacked into layers.
//!
//! An [`ImageStore`] is one directory. Layers are unpacked once, named by the digest of their content, shared
//! by all images, and ready to be the lower directories of an overlay. It is not a container runtime and not a
//! builder: it mounts nothing and runs nothing. **Its one rule: what a name resolves to is complete, verified
//! and on the disk; anything half done is in `tmp/` and is thrown away.**
//!
//! ```no_run
//! let store = images::ImageStore::open("/var/lib/stead/images".as_ref())?;
//! for image in store.import("postgres.tar".as_ref(), &[])? {
//!     println!("{} {}", image.names.join(", "), image.id);
//! }
//! let image = store.resolve("postgres:14").expect("it was just imported");
//! let user = images::resolve_user(&image, &image.config.user)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod compression;
mod digest;
mod import;
mod layers;
mod manifest;
mod pull;
mod reference;
mod refs;
mod registry;
mod rootfs;
mod store;
mod tree;
mod unpack;
mod user;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use import::ImportError;
pub use pull::{Attempt, Auth, Fault, Progress, PullError, PullOptions};
pub use reference::{Reference, ReferenceError};
pub use registry::Mirror;
pub use store::{ImageStore, Pruned, StoreError};
pub use unpack::UnpackError;
pub use user::{UserError, UserIds, resolve_user};

/// An image that is complete on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration, `sha256:…`: what docker and CRI call the image's id.
    pub id: String,
    /// The digest of its manifest, or of the index it was chosen from: what stands after `@` in a name.
    pub digest: String,
    /// All the names that lead to it, normalised: `docker.io/library/postgres:14`.
    pub names: Vec<String>,
    /// It was imported by hand: there is no registry that has a newer one under its name.
    pub imported: bool,
    /// How to run it.
    pub config: ImageConfig,
    /// The unpacked layers, bottom first.
    pub layers: Vec<PathBuf>,
    /// Bytes of its layers as they travel (compressed, when they came so), as CRI counts.
    pub size: u64,
}

/// How an image wants to be run. From the OCI image specification, `config.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The start of the command line.
    pub entrypoint: Vec<String>,
    /// Its arguments, or the command itself where there is no entrypoint.
    pub cmd: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Absolute, or empty for `/`.
    pub working_dir: String,
    /// `user`, `user:group`, by name or number; empty for root. See [`resolve_user`].
    pub user: String,
    /// `5432/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths that the image expects to be volumes.
    pub volumes: Vec<String>,
    /// The signal to stop it with, by name or number, when not SIGTERM.
    pub stop_signal: Option<String>,
    /// Anything.
    pub labels: BTreeMap<String, String>,
}
