//! `refs.json`: which name leads to which manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The manifest, a blob of the store.
    pub(crate) manifest: Digest,
    /// The index that it was chosen from: what the registry has under the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<Digest>,
    /// It came from an archive and not from a registry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) imported: bool,
}

/// All names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refs {
    /// Normalised name to manifest.
    pub(crate) names: BTreeMap<String, Target>,
}

/// Tells one version of the file from another without reading it: every write makes a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Refs {
    /// Reads the file; no file is no names.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the file anew.
    pub(crate) fn write(&self, path: &Path, tmp: &Path) -> io::Result<()> {
        write_durably(path, tmp, &serde_json::to_vec_pretty(self)?)
    }

    /// The version of the file on the disk; `None` when there is none.
    pub(crate) fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(meta) => {
                Ok(Some(Stamp { inode: meta.ino(), seconds: meta.ctime(), nanoseconds: meta.ctime_nsec() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Writes a file so that after a crash it is there in full, or as it was: by way of a file in `tmp`.
pub(crate) fn write_durably(path: &Path, tmp: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(tmp)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    let parent = path.parent().ok_or_else(|| io::Error::other("a file without a directory"))?;
    File::open(parent)?.sync_all()
}
