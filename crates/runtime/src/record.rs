//! What is kept on disk about a sandbox and its containers, and where.
//!
//! ```text
//! <root>/<sandbox>/sandbox.json                      what the daemon asked for
//! <root>/<sandbox>/shim.log                          what a shim says before it dies
//! <root>/<sandbox>/containers/<id>/container.json    what the daemon asked for
//! <root>/<sandbox>/containers/<id>/config.json       the OCI specification
//! <root>/<sandbox>/containers/<id>/{upper,work,rootfs}
//! <root>/<sandbox>/containers/<id>/running.json      written by the shim when it starts
//! <root>/<sandbox>/containers/<id>/exit.json         written by the shim, durably, before anybody is told
//! <root>/.mountpoints/                               see [`crate::mountpoints`]
//! <run>/<sandbox>.sock                               the shim's socket
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::at;
use crate::{ContainerConfig, SandboxConfig};

/// Contents of `sandbox.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// As it was asked for.
    pub(crate) config: SandboxConfig,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// The boot of the machine in which it was made: /proc/sys/kernel/random/boot_id.
    pub(crate) boot_id: String,
    /// The runtime's own cgroup, absolute.
    pub(crate) cgroup_root: String,
    /// Where the shim listens.
    pub(crate) socket: PathBuf,
}

impl SandboxRecord {
    /// The pod's cgroup.
    pub(crate) fn pod_cgroup(&self) -> String {
        format!("{}/{}", self.cgroup_root, self.config.cgroup_parent)
    }

    /// The cgroup of one of its containers. The prefix keeps an id from being the name of a control file.
    pub(crate) fn container_cgroup(&self, id: &str) -> String {
        format!("{}/c-{id}", self.pod_cgroup())
    }

    /// The cgroup of all shims: outside the pods' groups, so that a pod's limits do not kill its shim.
    pub(crate) fn shims_cgroup(&self) -> String {
        format!("{}/shims", self.cgroup_root)
    }

    /// The cgroup of its shim.
    pub(crate) fn shim_cgroup(&self) -> String {
        format!("{}/{}", self.shims_cgroup(), self.config.id)
    }
}

/// Contents of `container.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// As it was asked for.
    pub(crate) config: ContainerConfig,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

/// `sandbox.json` of a sandbox.
pub(crate) fn sandbox_file(sandbox: &Path) -> PathBuf {
    sandbox.join("sandbox.json")
}

/// Folder of a container.
pub(crate) fn container_dir(sandbox: &Path, id: &str) -> PathBuf {
    sandbox.join("containers").join(id)
}

/// Reads a record; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| at(file, &e.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at(file, &e)),
    }
}

/// Writes a record whole or not at all. It may be lost when the machine fails: then what it speaks of is gone
/// too.
pub(crate) fn write<T: Serialize>(file: &Path, record: &T) -> io::Result<()> {
    put(file, record, false)
}

/// Writes a record and returns when it will be found after a failure of the machine.
pub(crate) fn write_durably<T: Serialize>(file: &Path, record: &T) -> io::Result<()> {
    put(file, record, true)
}

fn put<T: Serialize>(file: &Path, record: &T, durably: bool) -> io::Result<()> {
    let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
    let new = file.with_extension("new");
    let mut out = File::create(&new).map_err(|e| at(&new, &e))?;
    out.write_all(&bytes).map_err(|e| at(&new, &e))?;
    if durably {
        out.sync_all().map_err(|e| at(&new, &e))?;
    }
    fs::rename(&new, file).map_err(|e| at(file, &e))?;
    match file.parent() {
        Some(dir) if durably => File::open(dir).and_then(|d| d.sync_all()).map_err(|e| at(dir, &e)),
        _ => Ok(()),
    }
}

/// Whether `id` can be a file name and a cgroup's name.
pub(crate) fn is_safe_id(id: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=128).contains(&id.len()) && !id.starts_with('.') && id.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_lead_elsewhere_are_refused() {
        assert!(is_safe_id("postgres.0") && is_safe_id("0f9c4c5e-4a0e-4a39-8d7b-0d3f0b5d6a11"));
        for id in ["", ".", "..", "../x", "a/b", "a b", ".hidden"] {
            assert!(!is_safe_id(id), "{id:?}");
        }
    }

    #[test]
    fn a_missing_record_is_none_and_a_broken_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("exit.json");
        assert_eq!(read::<u32>(&file).unwrap(), None);
        write_durably(&file, &7).unwrap();
        assert_eq!(read::<u32>(&file).unwrap(), Some(7));
        fs::write(&file, "{").unwrap();
        assert!(read::<u32>(&file).unwrap_err().to_string().contains("exit.json"));
    }
}
