//! Keeps pods' files away from each other on ext4.
//!
//! ext4 puts a new directory near its parent and gives no inode out again for a minute or more after it was
//! freed (`recently_deleted` in fs/ext4/ialloc.c): where many files come and go, each new one walks past all
//! those that went. With the flag for a "top directory" (chattr(1), `T`) the entries of a folder count as
//! unrelated, and each is put where there is room.

use std::fs::File;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// The folders below the data directory whose entries have nothing to do with each other.
const UNRELATED: [&str; 3] = ["pods", "sandboxes", "volumes"];

/// Makes these folders and marks them. Other file systems refuse the mark and do not need it.
pub(super) fn spread(dir: &Path) -> std::io::Result<()> {
    for name in UNRELATED {
        let path = dir.join(name);
        std::fs::create_dir_all(&path)?;
        let folder = File::open(&path)?;
        let marked =
            ioctl_getflags(&folder).and_then(|flags| ioctl_setflags(&folder, flags | IFlags::TOPDIR));
        marked.unwrap_or_else(|error| tracing::debug!("no mark on {}: {error}", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_marked_where_the_file_system_knows_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        spread(dir.path()).unwrap();
        let flags = |path: &Path| ioctl_getflags(File::open(path).unwrap());
        let plain = dir.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        let folder = File::open(&plain).unwrap();
        let can_be_marked = ioctl_setflags(&folder, IFlags::TOPDIR).is_ok();
        for name in UNRELATED {
            let marked = flags(&dir.path().join(name)).is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
            assert_eq!(marked, can_be_marked, "{name}");
        }
    }
}
