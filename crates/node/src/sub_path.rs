//! Parts of volumes: `volumeMounts[].subPath` and `subPathExpr` (`pkg/volume/util/subpath`).
//!
//! A container may put symbolic links into its volumes, also while this looks. So the way down is the
//! kernel's (`RESOLVE_BENEATH`: links are followed, and never out of the volume), and what was found is bound
//! by its descriptor, whatever stands at its path by then.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::VolumeMount;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

/// Which part of its volume a mount asks for; `None` for all of it.
pub(crate) fn of(mount: &VolumeMount, env: &[(String, String)]) -> Result<Option<String>, String> {
    let plain = mount.sub_path.clone().filter(|path| !path.is_empty());
    let expression = mount.sub_path_expr.as_deref().filter(|path| !path.is_empty());
    let path = match (plain, expression) {
        (Some(plain), _) => plain,
        (None, Some(expression)) => {
            let missing = std::cell::RefCell::new(None);
            let expanded = crate::env::expand(expression, |name| {
                let found = env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                if found.is_none() {
                    missing.replace(Some(name.to_owned()));
                }
                found
            });
            match missing.into_inner() {
                Some(name) => return Err(format!("subPathExpr {expression:?}: missing value for {name:?}")),
                None => expanded,
            }
        }
        (None, None) => return Ok(None),
    };
    let inside = Path::new(&path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if inside {
        Ok(Some(path))
    } else {
        Err(format!("subPath {path:?} must be relative and must not contain '..'"))
    }
}

/// Binds `part` of the volume to `place`, instead of what was bound there for the run before. Folders that
/// are missing are made. Answers with `place`.
pub(crate) fn bind(volume: &Path, part: &str, place: &Path) -> io::Result<PathBuf> {
    let root = open(CWD, volume, ResolveFlags::empty())?;
    let found = open_or_make(&root, Path::new(part))?;
    let is_folder = FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(&found, c"", flags)?;
    clear(place)?;
    match is_folder {
        true => std::fs::create_dir_all(place)?,
        false => {
            std::fs::create_dir_all(place.parent().unwrap_or(place))?;
            File::create(place)?;
        }
    }
    move_mount(&tree, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(place.to_owned())
}

/// Unmounts and removes the place of a former run.
fn clear(place: &Path) -> io::Result<()> {
    loop {
        match unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    // Not a mount any more: it is ours, and empty.
    match std::fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() => std::fs::remove_dir(place),
        Ok(_) => std::fs::remove_file(place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn open(dir: impl std::os::fd::AsFd, path: &Path, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    openat2(dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens what is at `part` of the volume; makes the folders that are missing, with the mode of the volume.
fn open_or_make(root: &OwnedFd, part: &Path) -> io::Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mode = Mode::from_raw_mode(fstat(root)?.st_mode & 0o7777);
    let mut here = open(root, Path::new("."), beneath)?;
    let mut way = PathBuf::new();
    for name in part.components().filter(|c| matches!(c, Component::Normal(_))) {
        way.push(name);
        // From the top each time: a link may lead anywhere within the volume.
        here = match open(root, &way, beneath) {
            Err(Errno::NOENT) => {
                match mkdirat(&here, name.as_os_str(), mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                open(root, &way, beneath)?
            }
            Err(Errno::XDEV) => return Err(io::Error::other("it leads out of the volume")),
            other => other?,
        };
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    fn asked(mount: serde_json::Value) -> Result<Option<String>, String> {
        let mount: VolumeMount = serde_json::from_value(mount).unwrap();
        of(&mount, &[("POD_NAME".to_owned(), "db-0".to_owned())])
    }

    #[test]
    fn a_part_is_named_or_made_from_the_environment_and_stays_inside() {
        let base = json!({"name": "data", "mountPath": "/data"});
        let with = |key: &str, value: &str| {
            let mut mount = base.clone();
            mount[key] = json!(value);
            asked(mount)
        };
        assert_eq!(asked(base.clone()), Ok(None));
        assert_eq!(with("subPath", "a/b"), Ok(Some("a/b".to_owned())));
        assert_eq!(with("subPathExpr", "pods/$(POD_NAME)"), Ok(Some("pods/db-0".to_owned())));
        assert_eq!(with("subPathExpr", "$(X)").unwrap_err(), r#"subPathExpr "$(X)": missing value for "X""#);
        for path in ["../x", "/etc", "a/../../b"] {
            assert!(with("subPath", path).unwrap_err().contains("must not contain '..'"), "{path}");
        }
    }

    /// Binds, and takes the mount away when the test is over.
    struct Bound(tempfile::TempDir);

    impl Bound {
        fn volume(&self) -> PathBuf {
            self.0.path().join("volume")
        }

        fn bind(&self, part: &str) -> io::Result<PathBuf> {
            bind(&self.volume(), part, &self.0.path().join("places/c/0"))
        }
    }

    impl Drop for Bound {
        fn drop(&mut self) {
            volumes::tear_down(&self.0.path().join("places")).unwrap();
        }
    }

    fn volume() -> Bound {
        let bound = Bound(tempfile::tempdir().unwrap());
        std::fs::create_dir(bound.volume()).unwrap();
        bound
    }

    #[test]
    fn a_folder_that_is_missing_is_made_and_what_is_written_there_is_in_the_volume() {
        let test = volume();
        let place = test.bind("pods/db-0").unwrap();
        std::fs::write(place.join("x"), "1").unwrap();
        assert_eq!(std::fs::read_to_string(test.volume().join("pods/db-0/x")).unwrap(), "1");
    }

    #[test]
    fn the_next_run_gets_what_is_there_then_also_when_it_is_a_file() {
        let test = volume();
        test.bind("conf").unwrap();
        std::fs::remove_dir(test.volume().join("conf")).unwrap();
        std::fs::create_dir(test.volume().join("..1")).unwrap();
        std::fs::write(test.volume().join("..1/conf"), "new").unwrap();
        symlink("..1", test.volume().join("..data")).unwrap();
        symlink("..data/conf", test.volume().join("conf")).unwrap();
        let place = test.bind("conf").unwrap();
        assert_eq!(std::fs::read_to_string(place).unwrap(), "new");
    }

    #[test]
    fn a_link_never_leads_out_of_the_volume() {
        let test = volume();
        symlink("/etc", test.volume().join("absolute")).unwrap();
        symlink("../..", test.volume().join("up")).unwrap();
        for part in ["absolute", "absolute/passwd", "up", "up/etc/new"] {
            let error = test.bind(part).unwrap_err().to_string();
            assert_eq!(error, "it leads out of the volume", "{part}");
        }
    }
}
