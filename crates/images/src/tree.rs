//! A directory being filled, from which no path leads out.
//!
//! Parents are resolved by the kernel with `RESOLVE_IN_ROOT` (openat2(2)): symbolic links and `..` inside an
//! image lead where they would after a chroot. The last component is never followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

/// The kernel answers EAGAIN when something was renamed while it resolved; nobody does that here for long.
const MAX_RESOLVE_TRIES: usize = 16;

/// A place in the tree: an open parent and a name in it.
pub(crate) struct Place {
    parent: Rc<OwnedFd>,
    name: OsString,
}

/// The tree.
pub(crate) struct Tree {
    root: Rc<OwnedFd>,
    /// The parent found last: archives come directory by directory.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
}

impl Tree {
    /// Opens an existing directory as the root.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { root: Rc::new(fs::open(root, flags, Mode::empty())?), last: None })
    }

    /// The root itself.
    pub(crate) fn root(&self) -> Place {
        Place { parent: Rc::clone(&self.root), name: ".".into() }
    }

    /// The place of a path made of plain names (see [`clean`]). With `make`, missing parents are made, owned by
    /// root and open to all for reading.
    pub(crate) fn place(&mut self, path: &Path, make: bool) -> io::Result<Place> {
        let Some(name) = path.file_name() else { return Ok(self.root()) };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")), make)?;
        Ok(Place { parent, name: name.to_owned() })
    }

    fn directory(&mut self, path: &Path, make: bool) -> io::Result<Rc<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.resolve(path) {
            Err(Errno::NOENT) if make => self.make(path)?,
            other => other?,
        };
        let fd = Rc::new(fd);
        self.last = Some((path.to_owned(), Rc::clone(&fd)));
        Ok(fd)
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 1;
        loop {
            match fs::openat2(&*self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < MAX_RESOLVE_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn make(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut so_far = PathBuf::new();
        let mut parent = self.resolve(Path::new("."))?;
        for name in path.iter() {
            so_far.push(name);
            parent = match self.resolve(&so_far) {
                Err(Errno::NOENT) => {
                    fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    self.resolve(&so_far)?
                }
                other => other?,
            };
        }
        Ok(parent)
    }

    /// Forgets what was resolved: something that may be part of a path was taken away.
    pub(crate) fn changed(&mut self) {
        self.last = None;
    }
}

impl Place {
    /// What is there, links not followed; `None` when nothing is.
    pub(crate) fn stat(&self) -> io::Result<Option<Stat>> {
        match fs::statat(&*self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Another name in the same directory.
    pub(crate) fn sibling(&self, name: &OsStr) -> Self {
        Self { parent: Rc::clone(&self.parent), name: name.to_owned() }
    }

    /// The directory that it is in.
    pub(crate) fn directory(&self) -> Self {
        self.sibling(OsStr::new("."))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Removes what is there, with all that is below.
    pub(crate) fn remove(&self, stat: &Stat) -> io::Result<()> {
        if is_directory(stat) {
            std::fs::remove_dir_all(self.proc_path())
        } else {
            Ok(fs::unlinkat(&*self.parent, &self.name, AtFlags::empty())?)
        }
    }

    /// Makes a directory.
    pub(crate) fn make_directory(&self) -> io::Result<()> {
        Ok(fs::mkdirat(&*self.parent, &self.name, Mode::from_raw_mode(0o700))?)
    }

    /// Makes an empty file and opens it for writing.
    pub(crate) fn make_file(&self) -> io::Result<std::fs::File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&*self.parent, &self.name, flags, Mode::from_raw_mode(0o600))?;
        Ok(fd.into())
    }

    /// Makes a symbolic link; where it points is the container's affair.
    pub(crate) fn make_symlink(&self, target: &[u8]) -> io::Result<()> {
        Ok(fs::symlinkat(target, &*self.parent, &self.name)?)
    }

    /// Makes this another name of `other`, which is not followed.
    pub(crate) fn make_hard_link(&self, other: &Self) -> io::Result<()> {
        Ok(fs::linkat(&*other.parent, &other.name, &*self.parent, &self.name, AtFlags::empty())?)
    }

    /// Makes a device or a named pipe.
    pub(crate) fn make_node(&self, kind: FileType, device: fs::Dev) -> io::Result<()> {
        Ok(fs::mknodat(&*self.parent, &self.name, kind, Mode::from_raw_mode(0o600), device)?)
    }

    /// Changes the owner.
    pub(crate) fn chown(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
        Ok(fs::chownat(&*self.parent, &self.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Changes the mode, of anything but a symbolic link.
    pub(crate) fn chmod(&self, mode: u32) -> io::Result<()> {
        Ok(fs::chmodat(&*self.parent, &self.name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    /// Sets access and change time.
    pub(crate) fn set_times(&self, time: fs::Timespec) -> io::Result<()> {
        let times = fs::Timestamps { last_access: time, last_modification: time };
        Ok(fs::utimensat(&*self.parent, &self.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets an extended attribute.
    pub(crate) fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(fs::lsetxattr(self.proc_path(), name, value, XattrFlags::empty())?)
    }

    /// A path for calls that take no directory.
    fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.parent.as_raw_fd())).join(&self.name)
    }
}

/// Whether it is a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether it is overlayfs' mark that there is nothing here: a character device 0/0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A path of plain names from one in an archive: leading `/` and `./` are dropped. `None` if it has `..`.
pub(crate) fn clean(path: &[u8]) -> Option<PathBuf> {
    let mut cleaned = PathBuf::new();
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return None,
            name => cleaned.push(OsStr::from_bytes(name)),
        }
    }
    Some(cleaned)
}
