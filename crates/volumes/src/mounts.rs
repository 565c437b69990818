//! Mounts of the calling thread's mount namespace.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::error::VolumeError;
use crate::mount_options::MountOptions;

/// `TMPFS_MAGIC` of include/uapi/linux/magic.h.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Mounts a file system in memory, unless there is one at the path already. `size` is in bytes; `None` is
/// the kernel's default of half the memory.
///
/// It is kept out of swap where the kernel can (Linux 6.4): what is in memory is there to be nowhere else.
pub(crate) fn mount_tmpfs(path: &Path, size: Option<u64>) -> Result<(), VolumeError> {
    if is_tmpfs_mount(path)? {
        return Ok(());
    }
    let size = size.map_or_else(String::new, |bytes| format!(",size={bytes}"));
    let options = |more: &str| CString::new(format!("mode=0777{size}{more}")).expect("no NUL in options");
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    let attempt = |more| mount("tmpfs", path, "tmpfs", flags, options(more).as_c_str());
    match attempt(",noswap") {
        Err(Errno::INVAL) => attempt(""),
        other => other,
    }
    .map_err(VolumeError::io("mount a tmpfs on", path))
}

/// Mounts the file system that is on the block device.
pub(crate) fn mount_device(
    device: &Path,
    target: &Path,
    fs_type: &str,
    options: &MountOptions,
) -> Result<(), Errno> {
    let data = CString::new(options.data.as_str()).map_err(|_| Errno::INVAL)?;
    mount(device, target, fs_type, options.flags, Some(data.as_c_str()))
}

/// Whether something is mounted at this very path.
pub(crate) fn is_mounted(path: &Path) -> Result<bool, VolumeError> {
    Ok(mount_points(path)?.iter().any(|mount| mount == path))
}

/// Unmounts what is mounted at the path, unless somebody uses it (`Errno::BUSY`).
pub(crate) fn unmount_idle(path: &Path) -> Result<(), Errno> {
    match unmount(path, UnmountFlags::NOFOLLOW) {
        // Nothing is mounted there, or there is no such place.
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn is_tmpfs_mount(path: &Path) -> Result<bool, VolumeError> {
    let there = statfs(path).map_err(VolumeError::io("look at", path))?;
    let is_tmpfs = u64::try_from(there.f_type) == Ok(TMPFS_MAGIC);
    Ok(is_tmpfs && mount_points(path)?.iter().any(|mount| mount == path))
}

/// Unmounts everything at the path or below it, the last one first. The path has no symbolic links in it.
pub(crate) fn unmount_all(path: &Path) -> Result<(), VolumeError> {
    for mount in mount_points(path)?.into_iter().rev() {
        // A mount that containers still use goes when they do.
        match unmount(&mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Gone with the one that it was in, or hidden under another.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(VolumeError::io("unmount", &mount)(errno)),
        }
    }
    Ok(())
}

/// The mount points at the path or below it, in the order in which they were mounted.
fn mount_points(path: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let mountinfo = Path::new("/proc/thread-self/mountinfo");
    let text = std::fs::read(mountinfo).map_err(VolumeError::io("read", mountinfo))?;
    Ok(parse_mount_points(&text).filter(|mount| mount.starts_with(path)).collect())
}

/// The fifth field of each line (proc_pid_mountinfo(5)).
fn parse_mount_points(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
}

/// Undoes the kernel's escapes: space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let text = b"28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            40 28 0:31 / /var/lib/a\\040b\\134c rw - tmpfs tmpfs rw\n";
        let points: Vec<PathBuf> = parse_mount_points(text).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/var/lib/a b\\c")]);
    }

    #[test]
    fn a_sibling_with_a_longer_name_is_not_below() {
        assert!(!Path::new("/pods/ab").starts_with("/pods/a"));
        assert!(mount_points(Path::new("/no/such/place")).unwrap().is_empty());
    }
}
