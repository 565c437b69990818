//! A layer's tar archive becomes a directory that overlayfs can use as it is.
//!
//! Whiteouts (`.wh.*`, OCI image specification, `layer.md`) become overlayfs' own marks: a character device 0/0
//! for something removed, the attribute `trusted.overlay.opaque` for a directory that hides the ones below.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{FileType, Timespec, makedev};
use tar::EntryType;

use crate::tree::{Place, Tree, clean, is_directory, is_whiteout};

/// The most bytes of one tar header with its extensions (long names, attributes): they are kept in memory.
pub(crate) const MAX_HEADER: u64 = 1 << 20;

/// Bounds on one layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes, unpacked.
    pub(crate) bytes: u64,
    /// Files, directories, links and so on.
    pub(crate) entries: u64,
}

/// What no honest layer exceeds.
pub(crate) const LIMITS: Limits = Limits { bytes: 64 << 30, entries: 4_000_000 };

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is damaged, cut off or too big; the compression's and the connection's faults come this way
    /// too.
    #[error("cannot read the layer: {0}")]
    Read(io::Error),
    /// A path leads out of the image.
    #[error("the layer's entry {path:?} leads out of the image")]
    Escape {
        /// As the archive has it.
        path: String,
    },
    /// A kind of entry that no image has.
    #[error("the layer's entry {path:?} is of an unknown kind ({kind:?})")]
    UnknownKind {
        /// As the archive has it.
        path: String,
        /// The archive's type flag.
        kind: u8,
    },
    /// More than the limits.
    #[error("the layer has more than {limit} {what}")]
    TooBig {
        /// `bytes` or `entries`.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The disk or the kernel refused.
    #[error("cannot unpack {path:?}: {why}")]
    Write {
        /// As the archive has it.
        path: String,
        /// What went wrong.
        why: io::Error,
    },
}

/// Unpacks a plain tar archive into an existing, empty directory.
pub(crate) fn unpack(reader: impl Read, root: &Path, limits: Limits) -> Result<(), UnpackError> {
    let (reader, budget) = HeaderGuard::new(reader);
    let tree =
        Tree::open(root).map_err(|why| UnpackError::Write { path: root.display().to_string(), why })?;
    let mut unpacker = Unpacker { tree, directory_times: BTreeMap::new(), bytes: 0, limits };
    let mut archive = tar::Archive::new(reader);
    let mut entries = archive.entries().map_err(UnpackError::Read)?;
    let mut seen = 0;
    loop {
        budget.set(Some(MAX_HEADER));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(UnpackError::Read)?;
        budget.set(None);
        seen += 1;
        if seen > limits.entries {
            return Err(UnpackError::TooBig { what: "entries", limit: limits.entries });
        }
        unpacker.entry(&mut entry)?;
        // What an entry leaves unread would count as the next one's header.
        io::copy(&mut entry, &mut io::sink()).map_err(UnpackError::Read)?;
    }
    unpacker.finish()
}

/// Bounds what is read between two entries' contents: the tar crate reads extensions into memory whole.
pub(crate) struct HeaderGuard<R> {
    inner: R,
    budget: Budget,
}

/// The bytes that a [`HeaderGuard`] still lets through; `None` is no bound.
pub(crate) type Budget = Rc<Cell<Option<u64>>>;

impl<R> HeaderGuard<R> {
    /// A guard, and the budget to set before each header.
    pub(crate) fn new(inner: R) -> (Self, Budget) {
        let budget = Budget::default();
        (Self { inner, budget: Rc::clone(&budget) }, budget)
    }
}

impl<R: Read> Read for HeaderGuard<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(left) = self.budget.get() {
            let left = left
                .checked_sub(n as u64)
                .ok_or_else(|| io::Error::other(format!("a header of more than {MAX_HEADER} bytes")))?;
            self.budget.set(Some(left));
        }
        Ok(n)
    }
}

impl<R: Seek> Seek for HeaderGuard<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// What an entry says about itself, beside its content.
struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: Timespec,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Unpacker {
    tree: Tree,
    /// Filling a directory changes its time: set when all is there.
    directory_times: BTreeMap<PathBuf, Timespec>,
    bytes: u64,
    limits: Limits,
}

impl Unpacker {
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let raw = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let path = clean(&raw).ok_or_else(|| UnpackError::Escape { path: shown.clone() })?;
        let kind = match entry.header().entry_type() {
            // From before POSIX: a directory was a file whose name ends in a slash.
            EntryType::Regular if raw.ends_with(b"/") => EntryType::Directory,
            EntryType::XGlobalHeader => return Ok(()),
            kind => kind,
        };
        let place = self.tree.place(&path, true);
        let place = place.map_err(|why| UnpackError::Write { path: shown.clone(), why })?;
        let name = place.name().as_bytes();
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            let done = self.whiteout(&place, hidden);
            return done.map_err(|why| UnpackError::Write { path: shown, why });
        }
        self.make(entry, kind, &path, &place).map_err(|error| match error {
            MakeError::Io(why) => UnpackError::Write { path: shown, why },
            MakeError::Unpack(error) => error,
            MakeError::Escape => UnpackError::Escape { path: shown },
            MakeError::Kind => UnpackError::UnknownKind { path: shown, kind: kind.as_byte() },
        })
    }

    fn whiteout(&mut self, place: &Place, hidden: &[u8]) -> io::Result<()> {
        match hidden {
            b".wh..opq" => set_opaque(&place.directory()),
            // The rest of that kind is aufs' own book-keeping.
            hidden if hidden.starts_with(b".wh.") => Ok(()),
            b"" | b"." | b".." => Err(io::Error::other("not the name of anything")),
            hidden => {
                let place = place.sibling(OsStr::from_bytes(hidden));
                match place.stat()? {
                    // Whiteouts are about the layers below, wherever in the archive they stand.
                    Some(stat) if is_directory(&stat) => set_opaque(&place),
                    Some(_) => Ok(()),
                    None => place.make_node(FileType::CharacterDevice, 0),
                }
            }
        }
    }

    fn make(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        kind: EntryType,
        path: &Path,
        place: &Place,
    ) -> Result<(), MakeError> {
        let attributes = attributes(entry)?;
        let existing = place.stat()?;
        let replaces_whiteout = existing.as_ref().is_some_and(is_whiteout);
        let keep = kind == EntryType::Directory && existing.as_ref().is_some_and(is_directory);
        if path.as_os_str().is_empty() && !keep {
            return Err(MakeError::Escape);
        }
        if let Some(stat) = existing.filter(|_| !keep) {
            self.tree.changed();
            self.directory_times.retain(|other, _| !other.starts_with(path));
            place.remove(&stat)?;
        }
        match kind {
            EntryType::Directory => {
                if !keep {
                    place.make_directory()?;
                }
                if replaces_whiteout {
                    set_opaque(place)?;
                }
                self.directory_times.insert(path.to_owned(), attributes.mtime);
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, place)?,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| io::Error::other("a link to nothing"))?;
                place.make_symlink(&target)?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or_else(|| io::Error::other("a link to nothing"))?;
                let target = clean(&target).ok_or(MakeError::Escape)?;
                // The attributes are those of the file that it is another name of.
                return Ok(place.make_hard_link(&self.tree.place(&target, false)?)?);
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => special(entry, kind, place)?,
            _ => return Err(MakeError::Kind),
        }
        Ok(attributes.apply(place, kind)?)
    }

    fn file(&mut self, entry: &mut tar::Entry<'_, impl Read>, place: &Place) -> Result<(), MakeError> {
        let mut file = place.make_file()?;
        let left = self.limits.bytes - self.bytes;
        let mut buffer = vec![0; (entry.size() as usize).clamp(1, 256 << 10)];
        let mut written = 0;
        loop {
            let n = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Err(MakeError::Unpack(UnpackError::Read(error))),
            };
            written += n as u64;
            if written > left {
                return Err(MakeError::Unpack(UnpackError::TooBig {
                    what: "bytes",
                    limit: self.limits.bytes,
                }));
            }
            io::Write::write_all(&mut file, &buffer[..n])?;
        }
        if written != entry.size() {
            return Err(MakeError::Unpack(UnpackError::Read(io::ErrorKind::UnexpectedEof.into())));
        }
        self.bytes += written;
        Ok(())
    }

    fn finish(mut self) -> Result<(), UnpackError> {
        // The deepest first: setting a time does not change the parent's, but reads well that way round.
        for (path, time) in std::mem::take(&mut self.directory_times).into_iter().rev() {
            let set = self.tree.place(&path, false).and_then(|place| place.set_times(time));
            set.map_err(|why| UnpackError::Write { path: path.display().to_string(), why })?;
        }
        Ok(())
    }
}

/// What can go wrong with one entry, before its path is put to it.
enum MakeError {
    Io(io::Error),
    Unpack(UnpackError),
    Escape,
    Kind,
}

impl From<io::Error> for MakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn set_opaque(place: &Place) -> io::Result<()> {
    place.set_xattr(b"trusted.overlay.opaque", b"y")
}

fn special(entry: &tar::Entry<'_, impl Read>, kind: EntryType, place: &Place) -> io::Result<()> {
    let device = || -> io::Result<u64> {
        let number = |n: io::Result<Option<u32>>| n.map(Option::unwrap_or_default);
        Ok(makedev(number(entry.header().device_major())?, number(entry.header().device_minor())?))
    };
    match kind {
        EntryType::Char => place.make_node(FileType::CharacterDevice, device()?),
        EntryType::Block => place.make_node(FileType::BlockDevice, device()?),
        _ => place.make_node(FileType::Fifo, 0),
    }
}

fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Attributes> {
    let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other(format!("no such owner: {id}")));
    let header = entry.header();
    let old = header.as_old();
    // Writers may leave these out: that is 0, as GNU tar and Go's archive/tar read it.
    let given = |field: &[u8]| field.iter().any(|byte| !matches!(byte, 0 | b' '));
    let mut attributes = Attributes {
        uid: if given(&old.uid) { id(header.uid()?)? } else { 0 },
        gid: if given(&old.gid) { id(header.gid()?)? } else { 0 },
        mode: header.mode()? & 0o7777,
        mtime: Timespec { tv_sec: i64::try_from(header.mtime()?).unwrap_or(0), tv_nsec: 0 },
        xattrs: Vec::new(),
    };
    let Some(extensions) = entry.pax_extensions()? else { return Ok(attributes) };
    for extension in extensions {
        let extension = extension?;
        let key = extension.key_bytes();
        if key == b"mtime"
            && let Some(time) = extension.value().ok().and_then(pax_time)
        {
            attributes.mtime = time;
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
            && may_be_set(name)
        {
            attributes.xattrs.push((name.to_owned(), extension.value_bytes().to_owned()));
        }
    }
    Ok(attributes)
}

/// File capabilities, and what has no meaning to the kernel. Never overlayfs' own marks: a layer that sets these
/// could uncover what lies below.
fn may_be_set(xattr: &[u8]) -> bool {
    xattr == b"security.capability" || (xattr.starts_with(b"user.") && !xattr.starts_with(b"user.overlay."))
}

/// `1700000000.25`, in seconds since 1970 (pax's `mtime`).
fn pax_time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, i64) = (seconds.parse().ok()?, digits.parse().ok()?);
    Some(if text.starts_with('-') && nanoseconds > 0 {
        Timespec { tv_sec: seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds }
    } else {
        Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
    })
}

impl Attributes {
    /// The order matters: a change of the owner clears setuid bits and capabilities.
    fn apply(&self, place: &Place, kind: EntryType) -> io::Result<()> {
        place.chown(self.uid, self.gid)?;
        if kind != EntryType::Symlink {
            place.chmod(self.mode)?;
        }
        for (name, value) in &self.xattrs {
            match place.set_xattr(name, value) {
                // `user.*` is for files and directories alone, and not every disk has it.
                Err(error)
                    if name.starts_with(b"user.")
                        && matches!(
                            error.kind(),
                            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                        ) => {}
                other => other?,
            }
        }
        place.set_times(self.mtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of files of these sizes within limits.
    fn unpack_files(sizes: &[usize], limits: Limits) -> Result<(), String> {
        let mut tar = tar::Builder::new(Vec::new());
        for (index, size) in sizes.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_size(*size as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("file-{index}"), &vec![7; *size][..]).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        unpack(&tar.into_inner().unwrap()[..], dir.path(), limits).map_err(|error| error.to_string())
    }

    #[test]
    fn a_layer_may_have_as_many_bytes_as_the_limit_and_no_more() {
        let limits = Limits { bytes: 1000, entries: 10 };
        assert_eq!(unpack_files(&[400, 600], limits), Ok(()));
        let refusal = Err("the layer has more than 1000 bytes".to_owned());
        assert_eq!(unpack_files(&[400, 601], limits), refusal);
        assert_eq!(unpack_files(&[1001], limits), refusal);
    }

    #[test]
    fn a_layer_may_have_as_many_entries_as_the_limit_and_no_more() {
        let limits = Limits { bytes: 1000, entries: 2 };
        assert_eq!(unpack_files(&[1, 1], limits), Ok(()));
        assert_eq!(unpack_files(&[1, 1, 1], limits), Err("the layer has more than 2 entries".to_owned()));
    }
}
