//! The unpacked layers, each in a directory named by the digest of its content.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};
use rustix::io::Errno;

use crate::compression::decompress;
use crate::digest::{Digest, HashingReader};
use crate::unpack::{LIMITS, UnpackError, unpack};

/// Losing a fresh directory to another process's start takes bad luck; twice takes more than that.
const MAX_SCRATCH_TRIES: usize = 8;

/// Why a layer could not be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The bytes are not those that the manifest or the configuration promised.
    #[error("the {what} of layer {expected} is wrong: it is {actual}")]
    Mismatch { what: &'static str, expected: String, actual: String },
    #[error("cannot store layer {layer}: {why}")]
    Io { layer: String, why: io::Error },
}

/// What a layer's bytes must be, as they travel.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// `layers/` and `tmp/`.
#[derive(Debug)]
pub(crate) struct Layers {
    layers: PathBuf,
    tmp: PathBuf,
}

/// A directory in `tmp/`. Its lock says that somebody works on it; it is gone when this is.
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "leftover, removed at the next start");
        }
    }
}

impl Layers {
    /// Makes the directories where they are missing.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let layers = Self { layers: dir.join("layers/sha256"), tmp: dir.join("tmp") };
        fs::create_dir_all(&layers.layers)?;
        fs::create_dir_all(&layers.tmp)?;
        Ok(layers)
    }

    /// Where a layer is, or will be.
    pub(crate) fn path(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(diff_id.hex())
    }

    /// Whether it is complete on the disk.
    pub(crate) fn has(&self, diff_id: &Digest) -> bool {
        self.path(diff_id).is_dir()
    }

    /// `tmp/`, on the same file system.
    pub(crate) fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// All layers on the disk, by the hex digits of their digests.
    pub(crate) fn all(&self) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.layers)? {
            all.extend(entry?.file_name().into_string());
        }
        Ok(all)
    }

    /// Stores a layer from its bytes, plain or compressed; verifies `expected` (when given) and the digest of
    /// the content. Blocks. When it is there already, nothing is read.
    pub(crate) fn put(
        &self,
        diff_id: &Digest,
        expected: Option<&Expected>,
        reader: impl Read,
    ) -> Result<(), LayerError> {
        if self.has(diff_id) {
            return Ok(());
        }
        let io = |why| LayerError::Io { layer: diff_id.to_string(), why };
        let scratch = self.scratch().map_err(io)?;
        let root = scratch.path.join("root");
        fs::create_dir(&root).map_err(io)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).map_err(io)?;

        let mut travelled = HashingReader::new(reader, expected.map_or(LIMITS.bytes, |e| e.size));
        let mut content = HashingReader::new(
            decompress(&mut travelled).map_err(UnpackError::Read)?,
            // Headers and padding come on top of the files' bytes.
            LIMITS.bytes.saturating_add(LIMITS.entries * 1024),
        );
        unpack(&mut content, &root, LIMITS)?;
        let (actual, _) = content.finish().map_err(UnpackError::Read)?;
        let (travelled, size) = travelled.finish().map_err(UnpackError::Read)?;
        if let Some(expected) = expected {
            check("digest", expected.digest.as_str(), travelled.as_str())?;
            check("size", &expected.size.to_string(), &size.to_string())?;
        }
        check("diff id", diff_id.as_str(), actual.as_str())?;
        self.publish(&root, diff_id).map_err(io)
    }

    /// Complete and on the disk first, then visible: a crash never leaves half a layer under its name.
    fn publish(&self, root: &Path, diff_id: &Digest) -> io::Result<()> {
        syncfs(File::open(root)?)?;
        match renameat_with(CWD, root, CWD, self.path(diff_id), RenameFlags::NOREPLACE) {
            // Somebody else was faster with the same layer.
            Err(Errno::EXIST) => Ok(()),
            other => {
                other?;
                File::open(&self.layers)?.sync_all()
            }
        }
    }

    /// Takes a layer out of sight; the caller holds the store's lock.
    pub(crate) fn retire(&self, hex: &str) -> io::Result<Retired> {
        let scratch = self.scratch()?;
        fs::rename(self.layers.join(hex), scratch.path.join("root"))?;
        Ok(Retired { _scratch: scratch })
    }

    fn scratch(&self) -> io::Result<Scratch> {
        for _ in 0..MAX_SCRATCH_TRIES {
            let path = tempfile::Builder::new().prefix("").tempdir_in(&self.tmp)?.keep();
            let lock = File::open(&path)?;
            flock(&lock, FlockOperation::LockExclusive)?;
            // Another process that was starting may have taken it for a leftover before it was locked.
            if path.is_dir() {
                return Ok(Scratch { path, _lock: lock });
            }
        }
        Err(io::Error::other(format!("somebody keeps removing what is in {}", self.tmp.display())))
    }

    /// Removes what a crash has left in `tmp/`. Directories that another process works on are locked, and left
    /// alone; files are made only under the store's lock, which the caller holds.
    pub(crate) fn remove_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.tmp)? {
            let path = entry?.path();
            let Ok(lock) = File::open(&path) else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        Ok(())
    }
}

/// A layer that is gone when this is dropped: that takes a while, so not under the lock.
pub(crate) struct Retired {
    _scratch: Scratch,
}

fn check(what: &'static str, expected: &str, actual: &str) -> Result<(), LayerError> {
    if expected == actual {
        return Ok(());
    }
    Err(LayerError::Mismatch { what, expected: expected.to_owned(), actual: actual.to_owned() })
}
