//! `securityContext.fsGroup`: a volume that a group may use (pkg/volume/volume_linux.go).

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, chmod, chownat, fstat};
use rustix::io::Errno;

use crate::error::VolumeError;
use crate::tree;

const SET_GID: u32 = 0o2000;
const GROUP_READ_WRITE: u32 = 0o660;
const GROUP_READ: u32 = 0o440;
const GROUP_SEARCH: u32 = 0o110;

/// `securityContext.fsGroupChangePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsGroupChangePolicy {
    /// Every file, each time.
    #[default]
    Always,
    /// Every file, but only if the volume's top folder is not the group's yet.
    OnRootMismatch,
}

/// Gives the volume and everything in it to the group: group, read and (unless `read_only`) write for owner
/// and group, and folders whose new files belong to the group too.
///
/// What cannot be changed (a file system that has no groups) is left and told of in the log, as upstream's
/// SetVolumeOwnership does. Symbolic links get the group but are not followed; mounts within are left alone.
///
/// # Errors
///
/// When the volume cannot be opened.
pub fn apply_fs_group(
    path: &Path,
    gid: u32,
    policy: FsGroupChangePolicy,
    read_only: bool,
) -> Result<(), VolumeError> {
    let group = Group { gid, read_only };
    let root = std::fs::File::open(path).map_err(VolumeError::io("open", path))?;
    let root_stat = fstat(&root).map_err(VolumeError::io("look at", path))?;
    if policy == FsGroupChangePolicy::OnRootMismatch && group.owns(&root_stat) {
        return Ok(());
    }
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        match group.give_entries(root.as_fd(), &folder) {
            Ok(folders) => waiting.extend(folders),
            Err(errno) => left_alone(&path.join(&folder), errno),
        }
    }
    // The top comes last, because it tells OnRootMismatch that all the rest is done.
    if let Err(errno) = group.give(root.as_fd(), &root_stat) {
        left_alone(path, errno);
    }
    Ok(())
}

fn left_alone(path: &Path, errno: Errno) {
    tracing::warn!(path = %path.display(), error = %errno, "cannot give a file to the pod's fsGroup");
}

struct Group {
    gid: u32,
    read_only: bool,
}

impl Group {
    /// The mode bits that such a file must have at least.
    fn bits(&self, kind: FileType) -> u32 {
        let read_write = if self.read_only { GROUP_READ } else { GROUP_READ_WRITE };
        match kind {
            FileType::Directory => read_write | GROUP_SEARCH | SET_GID,
            FileType::Symlink => 0,
            _ => read_write,
        }
    }

    fn owns(&self, stat: &Stat) -> bool {
        let bits = self.bits(FileType::from_raw_mode(stat.st_mode));
        stat.st_gid == self.gid && stat.st_mode & bits == bits
    }

    /// Gives what is in the folder, `below` the root, and lists the folders among it.
    fn give_entries(&self, root: BorrowedFd<'_>, below: &Path) -> Result<Vec<PathBuf>, Errno> {
        let here = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let folder = tree::open_folder(root, here)?;
        let mut folders = Vec::new();
        for name in tree::names(folder.as_fd(), usize::MAX)? {
            let path = below.join(OsStr::from_bytes(name.to_bytes()));
            match self.give_entry(folder.as_fd(), &name) {
                Ok(FileType::Directory) => folders.push(path),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => left_alone(&path, errno),
            }
        }
        Ok(folders)
    }

    fn give_entry(&self, folder: BorrowedFd<'_>, name: &CStr) -> Result<FileType, Errno> {
        let file = tree::open_below(folder, name, OFlags::PATH)?;
        let stat = fstat(&file)?;
        self.give(file.as_fd(), &stat)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    fn give(&self, file: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
        if self.owns(stat) {
            return Ok(());
        }
        chownat(file, c"", None, Some(Gid::from_raw(self.gid)), AtFlags::EMPTY_PATH)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            return Ok(());
        }
        // A descriptor that was opened only as a place has no mode to set; its name in /proc has.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | self.bits(kind));
        chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    const GID: u32 = 4242;

    fn file(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// `gid mode`, of the link itself.
    fn look(path: &Path) -> String {
        let stat = fs::symlink_metadata(path).unwrap();
        format!("{} {:o}", stat.gid(), stat.mode() & 0o7777)
    }

    #[test]
    fn everything_in_the_volume_becomes_the_groups() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("sub")).unwrap();
        fs::set_permissions(volume.join("sub"), Permissions::from_mode(0o700)).unwrap();
        file(&volume.join("plain"), 0o600);
        file(&volume.join("sub/tool"), 0o4755);
        apply_fs_group(&volume, GID, FsGroupChangePolicy::Always, false).unwrap();
        assert_eq!(look(&volume), "4242 2775");
        assert_eq!(look(&volume.join("plain")), "4242 660");
        assert_eq!(look(&volume.join("sub")), "4242 2770");
        assert_eq!(look(&volume.join("sub/tool")), "4242 4775");
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir(&volume).unwrap();
        file(&dir.path().join("shadow"), 0o600);
        std::os::unix::fs::symlink(dir.path().join("shadow"), volume.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), volume.join("up")).unwrap();
        let before = look(&dir.path().join("shadow"));
        apply_fs_group(&volume, GID, FsGroupChangePolicy::Always, false).unwrap();
        assert_eq!(look(&dir.path().join("shadow")), before);
        assert!(look(&volume.join("link")).starts_with("4242 "), "the link itself has the group");
    }

    #[test]
    fn on_root_mismatch_looks_at_the_top_only() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir(&volume).unwrap();
        apply_fs_group(&volume, GID, FsGroupChangePolicy::OnRootMismatch, false).unwrap();
        assert_eq!(look(&volume), "4242 2775");
        file(&volume.join("late"), 0o600);
        std::os::unix::fs::chown(volume.join("late"), None, Some(0)).unwrap();
        apply_fs_group(&volume, GID, FsGroupChangePolicy::OnRootMismatch, false).unwrap();
        assert_eq!(look(&volume.join("late")), "0 600");
        apply_fs_group(&volume, GID, FsGroupChangePolicy::Always, false).unwrap();
        assert_eq!(look(&volume.join("late")), "4242 660");
    }

    #[test]
    fn a_read_only_volume_is_readable_by_the_group() {
        let dir = tempfile::tempdir().unwrap();
        file(&dir.path().join("key"), 0o400);
        apply_fs_group(dir.path(), GID, FsGroupChangePolicy::Always, true).unwrap();
        assert_eq!(look(&dir.path().join("key")), "4242 440");
    }
}
