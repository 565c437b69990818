//! One stead among others on a machine: its data directory, and the names derived from it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use network::Ipv4Cidr;
use nix::fcntl::{Flock, FlockArg};
use runtime::oci::OciConfig;

/// The file below the data directory that holds the pods' range.
const POD_CIDR: &str = "pod-cidr";

/// The places and names of one instance.
pub(crate) struct Instance {
    /// The data directory, absolute.
    pub(crate) dir: PathBuf,
    /// Sixteen hexadecimal digits from the data directory's path.
    pub(crate) id: String,
}

impl Instance {
    /// The instance whose data is in `dir`, which is made if it is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        // Nothing below is for other users' eyes.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| {
            format!("cannot make the data directory {}: choose another one with --data-dir", dir.display())
        })?;
        Self::find(dir)
    }

    /// The instance whose data is in `dir`, which exists.
    pub(crate) fn find(dir: &Path) -> Result<Self> {
        let dir =
            dir.canonicalize().with_context(|| format!("there is no data directory {}", dir.display()))?;
        let id = format!("{:016x}", fnv1a(dir.as_os_str().as_encoded_bytes()));
        Ok(Self { dir, id })
    }

    /// Sockets and locks; gone after a reboot.
    pub(crate) fn run_dir(&self) -> PathBuf {
        PathBuf::from("/run/stead").join(&self.id)
    }

    /// The parent of all this instance's cgroups.
    pub(crate) fn cgroup_root(&self) -> String {
        format!("/stead-{}", &self.id[..8])
    }

    /// Where containers run, and as whose children.
    pub(crate) fn runtime(&self) -> OciConfig {
        OciConfig {
            root: self.dir.join("sandboxes"),
            run_dir: self.run_dir(),
            cgroup_root: self.cgroup_root(),
            shim_command: vec!["/proc/self/exe".into(), "shim".into()],
        }
    }

    /// The pods' network.
    pub(crate) fn network(&self, pod_cidr: Ipv4Cidr) -> network::Config {
        network::Config { dir: self.dir.join("network"), pod_cidr, instance: self.id.clone(), mtu: None }
    }

    /// Keeps the pods' range for `stead down`, which is not told it again.
    pub(crate) fn remember_pod_cidr(&self, pod_cidr: Ipv4Cidr) -> Result<()> {
        let path = self.dir.join(POD_CIDR);
        std::fs::write(&path, pod_cidr.to_string())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The pods' range; `None` when this instance never had a node.
    pub(crate) fn pod_cidr(&self) -> Result<Option<Ipv4Cidr>> {
        let path = self.dir.join(POD_CIDR);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                Ok(Some(text.trim().parse().with_context(|| format!("{} is damaged", path.display()))?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The kubeconfig that `stead up` writes.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Claims the data directory for this process, for as long as the answer lives.
    pub(crate) fn lock(&self) -> Result<Flock<File>> {
        let path = self.lock_path();
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)?;
                write!(lock, "{}", std::process::id())?;
                Ok(lock)
            }
            Err((_, _)) => bail!(
                "another stead (process {}) uses the data directory {}: stop it, or choose another --data-dir",
                self.holder().map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()),
                self.dir.display()
            ),
        }
    }

    /// The process that holds the data directory, when one does.
    pub(crate) fn holder(&self) -> Option<i32> {
        let mut file = File::open(self.lock_path()).ok()?;
        let mut text = String::new();
        file.rewind().ok()?;
        file.read_to_string(&mut text).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err(_) => text.trim().parse().ok(),
        }
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): stable over releases, which a standard library's hasher is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steads_never_share_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::open(dir.path()).unwrap();
        assert_eq!(instance.holder(), None);
        let held = instance.lock().unwrap();
        assert_eq!(instance.holder(), Some(std::process::id().cast_signed()));
        let error = instance.lock().unwrap_err().to_string();
        assert!(error.contains("choose another --data-dir"), "{error}");
        drop(held);
        assert!(instance.lock().is_ok());
    }
}
