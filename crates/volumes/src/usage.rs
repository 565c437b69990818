//! How much of the disk a volume takes.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};

use crate::tree;

/// The bytes on disk of what is in the folder, or as many as could be seen: its containers change it meanwhile.
/// Nothing is followed out of it, and what is mounted there is not counted.
pub(crate) fn of_tree(folder: &Path) -> u64 {
    let Ok(root) = File::open(folder) else { return 0 };
    let mut bytes = 0;
    // Paths, not descriptors: there may be more folders than a process may hold open.
    let mut left = vec![std::path::PathBuf::from(".")];
    while let Some(path) = left.pop() {
        let Ok(open) = tree::open_folder(root.as_fd(), &path) else { continue };
        let Ok(names) = tree::names(open.as_fd(), usize::MAX) else { continue };
        for name in names {
            let wanted = StatxFlags::BASIC_STATS;
            let Ok(stat) = statx(&open, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW, wanted) else { continue };
            if FileType::from_raw_mode(stat.stx_mode.into()).is_dir() {
                let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
                left.push(path.join(name));
            }
            // A file with several names is counted once, all in all.
            bytes += stat.stx_blocks * 512 / u64::from(stat.stx_nlink).max(1);
        }
    }
    bytes
}

/// The bytes that are used of a file system that is mounted here.
pub(crate) fn of_file_system(mount: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(mount).ok()?;
    Some((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_count_once_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("a/b");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(dir.path().join("elsewhere"), vec![1; 1 << 20]).unwrap();
        let empty = of_tree(&dir.path().join("a"));
        std::fs::write(inside.join("row"), vec![1; 64 << 10]).unwrap();
        std::fs::hard_link(inside.join("row"), inside.join("again")).unwrap();
        symlink("../../elsewhere", inside.join("link")).unwrap();
        let used = of_tree(&dir.path().join("a")) - empty;
        assert!((64 << 10..256 << 10).contains(&used), "{used}");
        assert_eq!(of_tree(&dir.path().join("missing")), 0);
    }
}
