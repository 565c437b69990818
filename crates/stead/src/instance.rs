//! One stead among others on a machine: its data directory, and the names derived from it.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use network::Ipv4Cidr;
use nix::fcntl::{Flock, FlockArg};
use runtime::oci::OciConfig;

/// The file below the data directory that holds the pods' range.
const POD_CIDR: &str = "pod-cidr";
/// The file below the data directory that holds the node's name.
const NODE_NAME: &str = "node-name";
/// Folders below the data directory. They hold Secrets, keys and set-user-id programs: root's alone.
const FOLDERS: [&str; 6] = ["images", "network", "pki", "pods", "sandboxes", "volumes"];
/// Files below the data directory.
const FILES: [&str; 9] =
    [KEYS, "encryption-keys.new", "kubeconfig", "kubeconfig.next", LOCK, NODE_NAME, POD_CIDR, LOG, STATE];
const LOCK: &str = "lock";
/// What is gone after a reboot.
const RUN: &str = "/run/stead";
/// The log of a detached stead.
const LOG: &str = "stead.log";
/// The keys that Secrets lie encrypted with.
const KEYS: &str = "encryption-keys";
/// The store's file.
const STATE: &str = "state.redb";

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
        let private = |path: &Path| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.with_context(|| {
                format!(
                    "cannot make the data directory {}: choose another one with --data-dir",
                    path.display()
                )
            })
        };
        private(dir)?;
        for folder in FOLDERS.map(|name| dir.join(name)) {
            private(&folder)?;
            // One that an older stead made, or that the user's umask opened.
            std::fs::set_permissions(&folder, Permissions::from_mode(0o700))
                .with_context(|| format!("cannot use {}", folder.display()))?;
        }
        Self::find(dir)
    }

    /// The instance whose data is in `dir`, which exists.
    pub(crate) fn find(dir: &Path) -> Result<Self> {
        let given = dir.display();
        let dir = dir.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("there is no data directory {given}: name the right one with --data-dir, or make it with stead up")
            }
            _ => anyhow!("cannot use the data directory {given}: {error}"),
        })?;
        let images = std::fs::metadata(dir.join("images"));
        if images.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            bail!("{given} is for its owner alone: become that user (try sudo)");
        }
        if !images.is_ok_and(|images| images.is_dir()) {
            bail!("{given} is not a data directory of stead: name the right one with --data-dir");
        }
        let id = format!("{:016x}", fnv1a(dir.as_os_str().as_encoded_bytes()));
        Ok(Self { dir, id })
    }

    /// Removes a data directory in which nothing has been kept yet, as after a start that was refused at
    /// the door.
    pub(crate) fn remove_if_unused(&self) {
        if self.dir.join(STATE).exists() {
            return;
        }
        // Only what is empty goes: what fails to go holds something.
        for folder in FOLDERS.map(|name| self.dir.join(name)) {
            let _ = std::fs::remove_dir(folder);
        }
        if !FOLDERS.iter().any(|name| self.dir.join(name).exists()) {
            let _ = std::fs::remove_file(self.lock_path());
            let _ = std::fs::remove_dir(&self.dir);
        }
    }

    /// Removes all of stead's in the data directory, volumes' data included, and the directory itself when
    /// nothing else is in it. Answers what else is.
    pub(crate) fn purge(&self) -> Result<Vec<OsString>> {
        // The lock goes last: what is left of it is found again.
        for name in FOLDERS.iter().chain(FILES.iter().filter(|name| **name != LOCK)) {
            volumes::tear_down(&self.dir.join(name))?;
        }
        volumes::tear_down(&self.lock_path())?;
        let others = std::fs::read_dir(&self.dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, _>>());
        let others = others.with_context(|| format!("cannot read {}", self.dir.display()))?;
        if others.is_empty() {
            std::fs::remove_dir(&self.dir)
                .with_context(|| format!("cannot remove {}", self.dir.display()))?;
        }
        Ok(others)
    }

    /// The store's file.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join(STATE)
    }

    /// The keys that Secrets in the store's file are encrypted with.
    pub(crate) fn encryption_keys(&self) -> PathBuf {
        self.dir.join(KEYS)
    }

    /// The log of a detached stead.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Sockets and locks; gone after a reboot.
    pub(crate) fn run_dir(&self) -> PathBuf {
        PathBuf::from(RUN).join(&self.id)
    }

    /// What all instances of this machine know of its settings.
    pub(crate) fn network_notes() -> PathBuf {
        PathBuf::from(RUN).join("sysctls")
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
        network::Config {
            dir: self.dir.join("network"),
            pod_cidr,
            instance: self.id.clone(),
            mtu: None,
            notes: Self::network_notes(),
        }
    }

    /// Keeps the pods' range for the next start, and for `stead down`, which is not told it again.
    pub(crate) fn remember_pod_cidr(&self, pod_cidr: Ipv4Cidr) -> Result<()> {
        self.remember(POD_CIDR, &pod_cidr.to_string())
    }

    /// The pods' range; `None` when this instance never had a node.
    pub(crate) fn pod_cidr(&self) -> Result<Option<Ipv4Cidr>> {
        let Some(text) = self.recall(POD_CIDR)? else { return Ok(None) };
        let range = text.parse().with_context(|| format!("{} is damaged", self.dir.join(POD_CIDR).display()));
        range.map(Some)
    }

    /// Keeps the node's name for the next start: the host's may change, and pods are bound to this one.
    pub(crate) fn remember_node_name(&self, name: &str) -> Result<()> {
        self.remember(NODE_NAME, name)
    }

    /// The node's name at the last start; `None` when this instance never had a node.
    pub(crate) fn node_name(&self) -> Result<Option<String>> {
        self.recall(NODE_NAME)
    }

    fn remember(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn recall(&self, name: &str) -> Result<Option<String>> {
        let path = self.dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Whether pods run, or have left something that a start would find.
    pub(crate) fn has_sandboxes(&self) -> bool {
        runtime::oci::has_sandboxes(&self.runtime().root)
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
            .mode(0o600)
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
        self.dir.join(LOCK)
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

    #[test]
    fn nothing_of_stead_is_for_other_users_whatever_was_there_before() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pods")).unwrap();
        std::fs::set_permissions(dir.path().join("pods"), Permissions::from_mode(0o777)).unwrap();
        let instance = Instance::open(dir.path()).unwrap();
        let _held = instance.lock().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_no_data_directory() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("thesis"), "four years").unwrap();
        let error = Instance::find(home.path()).err().unwrap().to_string();
        assert!(error.ends_with("name the right one with --data-dir"), "{error}");
        let error = Instance::find(&home.path().join("missing")).err().unwrap().to_string();
        assert!(error.starts_with("there is no data directory"), "{error}");
    }

    #[test]
    fn a_purge_removes_what_is_steads_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("stead");
        let instance = Instance::open(&dir).unwrap();
        std::fs::write(instance.state(), "objects").unwrap();
        std::fs::write(dir.join("volumes/row"), "1").unwrap();
        std::fs::write(dir.join("thesis"), "four years").unwrap();
        assert_eq!(instance.purge().unwrap(), ["thesis"]);
        let left = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["thesis"]);
        std::fs::remove_file(dir.join("thesis")).unwrap();
        assert!(instance.purge().unwrap().is_empty());
        assert!(!dir.exists());
    }

    #[test]
    fn a_start_that_is_refused_leaves_no_directory_but_never_takes_anything_away() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("stead");
        let instance = Instance::open(&dir).unwrap();
        drop(instance.lock().unwrap());
        instance.remove_if_unused();
        assert!(!dir.exists());
        let instance = Instance::open(&dir).unwrap();
        std::fs::write(dir.join("images/refs.json"), "{}").unwrap();
        instance.remove_if_unused();
        assert!(dir.join("images/refs.json").exists());
    }
}
