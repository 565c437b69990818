//! Trees of files that containers wrote, walked without trusting what is in them.
//!
//! Every step goes from an open folder to a name in it, never over a mount and never through a symbolic
//! link, so that nobody who can write there can lead us elsewhere (openat2(2), Linux 5.6).

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::error::VolumeError;

/// A folder deeper than this is moved up to the top before it is emptied: descriptors and stack are finite,
/// the depth of what a container makes is not.
const DEPTH_MAX: usize = 64;
/// Entries that are read before they are removed.
const BATCH: usize = 1024;

/// Opens what is below `folder`; `Errno::XDEV` for a mount.
pub(crate) fn open_below(folder: BorrowedFd<'_>, name: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(
        folder,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Opens the folder below `folder`; `Errno::NOTDIR` or `Errno::LOOP` for anything else.
pub(crate) fn open_folder(folder: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    openat2(
        folder,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS,
    )
}

/// Some of the names in the folder, at most `limit`.
pub(crate) fn names(folder: BorrowedFd<'_>, limit: usize) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
            if names.len() == limit {
                break;
            }
        }
    }
    Ok(names)
}

/// Removes `name` in `folder` and everything below it; nothing happens if it is not there. A mount stops it.
/// `path` is for messages.
pub(crate) fn remove(folder: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<(), VolumeError> {
    let name = CString::new(name.as_bytes())
        .map_err(|_| VolumeError::Name { name: name.to_string_lossy().into_owned() })?;
    Removal { path, top: None, moved: 0 }.remove(folder, &name, 0)
}

struct Removal<'a> {
    path: &'a Path,
    /// The folder that everything is in.
    top: Option<OwnedFd>,
    /// How many folders were moved up to it.
    moved: u64,
}

impl Removal<'_> {
    fn remove(&mut self, folder: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), VolumeError> {
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) if depth >= DEPTH_MAX => self.move_up(folder, name),
            Err(Errno::ISDIR) => {
                let opened = open_folder(folder, name).map_err(|errno| self.failed(errno))?;
                if depth == 0 {
                    self.top = Some(opened.try_clone().map_err(VolumeError::io("open", self.path))?);
                }
                self.empty(opened.as_fd(), depth)?;
                match unlinkat(folder, name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(errno) => Err(self.failed(errno)),
                }
            }
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn empty(&mut self, folder: BorrowedFd<'_>, depth: usize) -> Result<(), VolumeError> {
        loop {
            let batch = names(folder, BATCH).map_err(|errno| self.failed(errno))?;
            if batch.is_empty() {
                return Ok(());
            }
            for name in batch {
                self.remove(folder, &name, depth + 1)?;
            }
        }
    }

    fn move_up(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> Result<(), VolumeError> {
        let top = self.top.as_ref().expect("the top was opened before anything below it");
        loop {
            self.moved += 1;
            let above = format!(".removing-{}", self.moved);
            match renameat_with(folder, name, top, above, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed(errno)),
            }
        }
    }

    fn failed(&self, errno: Errno) -> VolumeError {
        match errno {
            Errno::XDEV | Errno::BUSY => VolumeError::Mounted { path: self.path.to_owned() },
            _ => VolumeError::io("remove", self.path)(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn remove_in(dir: &Path, name: &str) -> Result<(), VolumeError> {
        let folder = fs::File::open(dir).unwrap();
        remove(folder.as_fd(), OsStr::new(name), &dir.join(name))
    }

    #[test]
    fn a_tree_goes_with_all_that_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        for index in 0..BATCH + 10 {
            fs::write(dir.path().join(format!("a/b/{index}")), "x").unwrap();
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("a/fifo"), Mode::RUSR).unwrap();
        fs::write(dir.path().join("beside"), "stays").unwrap();
        remove_in(dir.path(), "a").unwrap();
        remove_in(dir.path(), "a").unwrap();
        assert_eq!(names(fs::File::open(dir.path()).unwrap().as_fd(), 9).unwrap(), [c"beside".to_owned()]);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::create_dir_all(&precious).unwrap();
        fs::write(precious.join("row"), "1").unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join("a/link")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("a/root")).unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join("b")).unwrap();
        remove_in(dir.path(), "a").unwrap();
        remove_in(dir.path(), "b").unwrap();
        assert_eq!(fs::read_to_string(precious.join("row")).unwrap(), "1");
        assert!(!dir.path().join("a").exists() && !dir.path().join("b").is_symlink());
    }

    #[test]
    fn any_depth_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let mut folder = OwnedFd::from(fs::File::open(dir.path().join("a")).unwrap());
        for _ in 0..5000 {
            rustix::fs::mkdirat(&folder, "deeper", Mode::RWXU).unwrap();
            folder = open_folder(folder.as_fd(), "deeper").unwrap();
        }
        // A name that the removal would like to use itself.
        fs::create_dir(dir.path().join("a/.removing-1")).unwrap();
        remove_in(dir.path(), "a").unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
