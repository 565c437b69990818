//! configMap, secret, downwardAPI and projected volumes: files that change all at once.
//!
//! Upstream's protocol (pkg/volume/util/atomic_writer.go), so that programs that watch such volumes see what
//! they know: the files are in a folder with the time as its name, `..data` is a symbolic link to it, and
//! what the pod sees are symbolic links through `..data`. A change is a new folder and one rename.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use crate::empty_dir::make_folder;
use crate::error::VolumeError;
use crate::fs_group::{FsGroupChangePolicy, apply_fs_group};
use crate::teardown::tear_down;
use crate::{Medium, mounts};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";
const PATH_MAX: usize = 4096;

/// A file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedFile {
    /// Relative to the volume: `postgresql.conf` or `tls/server.key`.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// 0 to 0o777.
    pub mode: u32,
}

/// Makes the volume's folder; in memory for what must reach no disk, as secrets. Doing it again changes
/// nothing.
///
/// # Errors
///
/// When the folder cannot be made or mounted on.
pub fn set_up_projected(path: &Path, medium: Medium) -> Result<(), VolumeError> {
    make_folder(path)?;
    if medium == Medium::Memory {
        let real = path.canonicalize().map_err(VolumeError::io("look at", path))?;
        mounts::mount_tmpfs(&real, None)?;
    }
    Ok(())
}

/// Makes the volume hold these files and no others, all at once; answers whether anything was changed.
/// With a group, it may read them.
///
/// # Errors
///
/// When a path is absolute, leaves the volume, begins with `..` or is both file and folder; when the file
/// system refuses. Then the volume holds what it held before.
pub fn write_projected(
    volume: &Path,
    files: &[ProjectedFile],
    fs_group: Option<u32>,
) -> Result<bool, VolumeError> {
    let files = validated(files)?;
    let before = read_link(&volume.join(DATA))?.filter(|target| is_timed_folder(target));
    if let Some(before) = &before
        && holds(&volume.join(before), &files, fs_group).unwrap_or(false)
    {
        show(volume, &files)?;
        return Ok(false);
    }
    let fresh = new_folder(volume)?;
    if let Err(error) = fill(volume, &fresh, &files, fs_group) {
        // What is left of the attempt is of no use to anybody.
        let _ = tear_down(&fresh);
        return Err(error);
    }
    show(volume, &files)?;
    hide_others(volume, &files)?;
    if let Some(before) = before {
        tear_down(&volume.join(before))?;
    }
    Ok(true)
}

type Files<'a> = BTreeMap<&'a str, &'a ProjectedFile>;

/// The files by path, if every path is one and none is in the way of another.
fn validated(files: &[ProjectedFile]) -> Result<Files<'_>, VolumeError> {
    let mut by_path = Files::new();
    for file in files {
        let refused = |why| VolumeError::ProjectedPath { path: file.path.clone(), why };
        if let Some(why) = path_fault(&file.path) {
            return Err(refused(why));
        }
        if by_path.insert(&file.path, file).is_some() {
            return Err(refused("is there twice"));
        }
    }
    for path in by_path.keys() {
        let mut folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        if let Some(folder) = folders.find(|folder| by_path.contains_key(folder)) {
            return Err(VolumeError::ProjectedPath {
                path: folder.to_owned(),
                why: "is a file and also a folder of another file",
            });
        }
    }
    Ok(by_path)
}

/// As upstream's validatePath, and no empty or `.` parts, which upstream cleans away.
fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("is empty")
    } else if path.starts_with('/') {
        Some("is absolute")
    } else if path.len() > PATH_MAX {
        Some("is longer than 4096 bytes")
    } else if path.contains('\0') {
        Some("contains a NUL")
    } else if path.split('/').any(|part| part == "..") {
        Some("contains '..'")
    } else if path.starts_with("..") {
        Some("begins with '..'")
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        Some("has an empty part or a '.'")
    } else {
        None
    }
}

/// Whether the folder holds just these files. An error means no.
fn holds(folder: &Path, files: &Files<'_>, fs_group: Option<u32>) -> io::Result<bool> {
    let mut found = 0;
    let mut waiting = vec![folder.to_owned()];
    while let Some(here) = waiting.pop() {
        for entry in fs::read_dir(here)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                waiting.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).ok().and_then(Path::to_str);
            let Some(file) = relative.and_then(|relative| files.get(relative)) else { return Ok(false) };
            // A group adds bits to the mode; without one the mode is the file's own.
            let mode = metadata.permissions().mode() & 0o777;
            let same_mode =
                if fs_group.is_some() { mode & file.mode == file.mode } else { mode == file.mode };
            if !metadata.is_file() || !same_mode || fs::read(&path)? != file.bytes {
                return Ok(false);
            }
            found += 1;
        }
    }
    Ok(found == files.len())
}

/// A folder that is named after the time, as upstream's: `..2006_01_02_15_04_05.<nanoseconds>`.
fn new_folder(volume: &Path) -> Result<PathBuf, VolumeError> {
    loop {
        let name = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%N").to_string();
        let path = volume.join(name);
        match fs::create_dir(&path) {
            Ok(()) => {
                set_mode(&path, 0o755)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(VolumeError::io("make", &path)(error)),
        }
    }
}

/// Whether `..data` leads to a folder of ours, and not wherever somebody made it lead.
fn is_timed_folder(target: &Path) -> bool {
    let mut parts = target.components();
    matches!(parts.next(), Some(Component::Normal(name)) if name.as_encoded_bytes().starts_with(b".."))
        && parts.next().is_none()
}

/// Writes the files into the folder, and makes the folder the volume's data.
fn fill(volume: &Path, fresh: &Path, files: &Files<'_>, fs_group: Option<u32>) -> Result<(), VolumeError> {
    for (path, file) in files {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(VolumeError::io("make", parent))?;
        }
        fs::write(&path, &file.bytes).map_err(VolumeError::io("write", &path))?;
        set_mode(&path, file.mode & 0o777)?;
    }
    if let Some(gid) = fs_group {
        apply_fs_group(fresh, gid, FsGroupChangePolicy::Always, true)?;
    }
    let name = fresh.file_name().unwrap_or_default();
    let link = volume.join(DATA_NEW);
    remove_file(&link)?;
    symlink(name, &link).map_err(VolumeError::io("make", &link))?;
    fs::rename(&link, volume.join(DATA)).map_err(VolumeError::io("replace", &volume.join(DATA)))
}

/// Links to what is new at the top of the volume.
fn show(volume: &Path, files: &Files<'_>) -> Result<(), VolumeError> {
    for name in top_names(files) {
        let link = volume.join(name);
        let target = Path::new(DATA).join(name);
        if read_link(&link)?.as_deref() != Some(&target) {
            symlink(&target, &link).map_err(VolumeError::io("make", &link))?;
        }
    }
    Ok(())
}

/// Removes the links to what is no longer there.
fn hide_others(volume: &Path, files: &Files<'_>) -> Result<(), VolumeError> {
    let entries = fs::read_dir(volume).map_err(VolumeError::io("read", volume))?;
    for entry in entries {
        let path = entry.map_err(VolumeError::io("read", volume))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let shown = top_names(files).any(|shown| shown == name);
        let ours = read_link(&path)?.is_some_and(|target| target.starts_with(DATA));
        if ours && !shown {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn top_names<'a>(files: &Files<'a>) -> impl Iterator<Item = &'a str> {
    files.keys().map(|path| path.split('/').next().unwrap_or(path))
}

/// Where the symbolic link leads; `None` if there is none.
fn read_link(path: &Path) -> Result<Option<PathBuf>, VolumeError> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        // Not there, or not a link.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(error) => Err(VolumeError::io("read", path)(error)),
    }
}

fn remove_file(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(VolumeError::io("remove", path)(error)),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(VolumeError::io("set the mode of", path))
}
