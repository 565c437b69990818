//! The layer below every image: what containers get mounted on, and images may lack.
//!
//! Without it libcontainer makes these in every container's own layer, which copies /etc up first: six new
//! files on the disk for each start. An image that brings its own, or hides them, is not changed by it. (Docker
//! has an "init" layer for the same purpose.)

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cgroup::at;

const NAME: &str = ".mountpoints";
const FOLDERS: [&str; 5] = ["", "dev", "etc", "proc", "sys"];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Makes the layer below `root`, the folder of all sandboxes. No sandbox's id begins with a dot.
pub(crate) fn make(root: &Path) -> io::Result<()> {
    let layer = root.join(NAME);
    let put = |path: &Path, mode: u32, made: io::Result<()>| {
        // Whatever our umask is: containers see this.
        made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode))).map_err(|e| at(path, &e))
    };
    for folder in FOLDERS.map(|name| layer.join(name)) {
        put(&folder, 0o755, fs::create_dir_all(&folder))?;
    }
    for file in FILES.map(|name| layer.join(name)) {
        put(&file, 0o644, File::options().create(true).append(true).open(&file).map(drop))?;
    }
    Ok(())
}

/// The layer for the container whose folder is `container`; none when nobody made it.
pub(crate) fn below(container: &Path) -> Option<PathBuf> {
    // <root>/<sandbox>/containers/<id>
    let layer = container.ancestors().nth(3)?.join(NAME);
    layer.is_dir().then_some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::container_dir;

    #[test]
    fn containers_find_the_layer_that_was_made_and_it_holds_nothing() {
        let root = tempfile::tempdir().unwrap();
        let container = container_dir(&root.path().join("pod"), "db.0");
        assert_eq!(below(&container), None);
        for _ in 0..2 {
            make(root.path()).unwrap();
        }
        let layer = below(&container).unwrap();
        for name in FILES {
            let meta = fs::metadata(layer.join(name)).unwrap();
            assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (0, 0o644), "{name}");
        }
        for name in FOLDERS {
            assert_eq!(fs::metadata(layer.join(name)).unwrap().permissions().mode() & 0o777, 0o755, "{name}");
        }
    }
}
