//! Named files inside an archive or a folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::compression::{Compression, decompress};
use crate::digest::HashingReader;
use crate::tree::clean;
use crate::unpack::{HeaderGuard, LIMITS, MAX_HEADER};

/// The most files in one archive: blobs, not the files of an image.
const MAX_MEMBERS: usize = 100_000;
/// docker's older archives link equal layers to each other.
const MAX_LINKS: usize = 8;

/// An archive (tar; plain, gzip or zstd) or a folder.
pub(crate) enum Archive {
    /// Read where it lies, by position: blobs of gigabytes are not copied.
    Tar { file: File, members: HashMap<PathBuf, Member> },
    /// A folder with the same files.
    Folder(PathBuf),
}

/// A file of an archive.
pub(crate) enum Member {
    File { position: u64, size: u64 },
    Link(PathBuf),
}

impl Archive {
    /// Opens it. A compressed archive is decompressed into a nameless file in `tmp`.
    pub(crate) fn open(path: &Path, tmp: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let mut file = File::open(path)?;
        if is_compressed(&file)? {
            let mut plain = tempfile::tempfile_in(tmp)?;
            let mut content = HashingReader::new(decompress(file)?, LIMITS.bytes);
            io::copy(&mut content, &mut plain)?;
            plain.rewind()?;
            file = plain;
        }
        let members = members(&file)?;
        Ok(Self::Tar { file, members })
    }

    /// Whether there is a file of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.reader(name).is_ok()
    }

    /// A file's content and its size in bytes.
    pub(crate) fn reader(&self, name: &str) -> io::Result<(Box<dyn Read + '_>, u64)> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        let path = clean(name.as_bytes()).ok_or_else(missing)?;
        match self {
            Self::Folder(folder) => {
                let file = File::open(folder.join(path)).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => missing(),
                    _ => error,
                })?;
                let size = file.metadata()?.len();
                Ok((Box::new(file), size))
            }
            Self::Tar { file, members } => {
                let mut path = &path;
                for _ in 0..MAX_LINKS {
                    match members.get(path).ok_or_else(missing)? {
                        Member::Link(target) => path = target,
                        Member::File { position, size } => {
                            let section = Section { file, position: *position, left: *size };
                            return Ok((Box::new(section), *size));
                        }
                    }
                }
                Err(missing())
            }
        }
    }

    /// A small file's whole content.
    pub(crate) fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let (reader, size) = self.reader(name)?;
        if size > max {
            return Err(io::Error::other(format!("{name} has {size} bytes, more than {max}")));
        }
        let mut bytes = Vec::new();
        reader.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn is_compressed(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    let section = Section { file, position: 0, left: file.metadata()?.len().min(4) };
    section.take(4).read_to_end(&mut start)?;
    Ok(Compression::of(&start) != Compression::None)
}

fn members(file: &File) -> io::Result<HashMap<PathBuf, Member>> {
    let mut members = HashMap::new();
    let (reader, budget) = HeaderGuard::new(file);
    let mut archive = tar::Archive::new(reader);
    let mut entries = archive.entries_with_seek()?;
    let mut is_first = true;
    loop {
        budget.set(Some(MAX_HEADER));
        let Some(entry) = entries.next() else { break };
        let entry = match entry {
            // What does not even begin as a tar archive has nothing that an image has.
            Err(error) if is_first && error.raw_os_error().is_none() => break,
            entry => entry?,
        };
        is_first = false;
        let Some(path) = clean(&entry.path_bytes()) else { continue };
        let member = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                Member::File { position: entry.raw_file_position(), size: entry.size() }
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let Some(target) = link_target(&path, entry.header().entry_type(), &target) else { continue };
                Member::Link(target)
            }
            _ => continue,
        };
        members.insert(path, member);
        if members.len() > MAX_MEMBERS {
            return Err(io::Error::other(format!("more than {MAX_MEMBERS} files")));
        }
    }
    Ok(members)
}

/// `id/layer.tar` may be a symbolic link to `../other/layer.tar`.
fn link_target(path: &Path, kind: EntryType, target: &[u8]) -> Option<PathBuf> {
    if kind == EntryType::Link {
        return clean(target);
    }
    let mut directory = path.parent()?.to_owned();
    let mut target = target;
    while let Some(rest) = target.strip_prefix(b"../") {
        if !directory.pop() {
            return None;
        }
        target = rest;
    }
    Some(directory.join(clean(target)?))
}

/// A part of a file, read without moving its position.
struct Section<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buf[..most], self.position)?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        self.position += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
