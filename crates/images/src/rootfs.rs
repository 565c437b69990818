//! Reading a file of an image out of its layers, without mounting them.
//!
//! The rules are overlayfs': the topmost layer wins, whiteouts and opaque directories hide what is below, and
//! symbolic links stay inside the image.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// What stands at a path, all layers seen as one.
enum Found {
    /// A directory, in these layers, top first.
    Directory(Vec<PathBuf>),
    File(PathBuf),
    Link(PathBuf),
    Nothing,
}

/// The content of a regular file, at most `max` bytes of it; `None` when there is no such file.
pub(crate) fn read_file(layers: &[PathBuf], path: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut todo: Vec<OsString> = Vec::new();
    push(&mut todo, Path::new(path));
    let root: Vec<PathBuf> = layers.iter().rev().cloned().collect();
    let mut above = vec![root];
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            // The root's parent is the root.
            above.truncate(above.len().saturating_sub(1).max(1));
            continue;
        }
        match look(&above[above.len() - 1], &name)? {
            Found::Directory(layers) => above.push(layers),
            Found::File(file) if todo.is_empty() => {
                let mut bytes = Vec::new();
                File::open(file)?.take(max).read_to_end(&mut bytes)?;
                return Ok(Some(bytes));
            }
            Found::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Ok(None);
                }
                if target.is_absolute() {
                    above.truncate(1);
                }
                push(&mut todo, &target);
            }
            Found::File(_) | Found::Nothing => return Ok(None),
        }
    }
    Ok(None)
}

/// Puts a path's names on the stack, so that its first comes off first.
fn push(todo: &mut Vec<OsString>, path: &Path) {
    todo.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
}

/// Looks for a name in a directory that is the union of several, top first.
fn look(directories: &[PathBuf], name: &OsStr) -> io::Result<Found> {
    let mut found = Vec::new();
    for directory in directories {
        let path = directory.join(name);
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let kind = meta.file_type();
        if kind.is_dir() {
            let opaque = is_opaque(&path);
            found.push(path);
            if opaque {
                break;
            }
        } else if !found.is_empty() || (kind.is_char_device() && meta.rdev() == 0) {
            break;
        } else if kind.is_symlink() {
            return Ok(Found::Link(fs::read_link(&path)?));
        } else if kind.is_file() {
            return Ok(Found::File(path));
        } else {
            return Ok(Found::Nothing);
        }
    }
    Ok(if found.is_empty() { Found::Nothing } else { Found::Directory(found) })
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 1];
    let name = OsStr::from_bytes(b"trusted.overlay.opaque");
    matches!(rustix::fs::lgetxattr(directory, name, &mut value), Ok(1)) && value == *b"y"
}
