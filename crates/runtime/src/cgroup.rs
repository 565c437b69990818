//! The cgroups of one path, in every hierarchy that the machine has: version 1, version 2, or both (hybrid).
//!
//! libcontainer could do this too, but it joins by writing a pid to v1's `cgroup.procs`, which waits 10 to
//! 15 ms in the kernel for a grace period. A single-threaded process that writes `0` to `tasks`, or is cloned
//! straight into a v2 group, waits for nothing.

mod devices;
mod kill;
mod limits;
mod usage;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

/// How often a group is tried to be removed while the kernel still counts a dead process in it.
const REMOVE_TRIES: u32 = 11;

/// One mounted v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct V1 {
    /// Where the host has it.
    pub(crate) mount: PathBuf,
    /// Its controllers, or `name=…`.
    pub(crate) controllers: Vec<String>,
}

impl V1 {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// All cgroup hierarchies of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Version 1, in the order of mountinfo.
    pub(crate) v1: Vec<V1>,
    /// The one of version 2.
    pub(crate) v2: Option<PathBuf>,
}

impl Hierarchies {
    /// Reads them from mountinfo.
    pub(crate) fn detect() -> io::Result<Self> {
        let found = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        if found.v1.is_empty() && found.v2.is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no cgroup file system is mounted"));
        }
        Ok(found)
    }

    /// See proc_pid_mountinfo(5): fields before ` - ` are positional, the type and super options follow it.
    fn parse(mountinfo: &str) -> Self {
        let mut found = Self { v1: Vec::new(), v2: None };
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (left, right) = (left.split(' ').collect::<Vec<_>>(), right.split(' ').collect::<Vec<_>>());
            let (Some(root), Some(mount), Some(kind)) = (left.get(3), left.get(4), right.first()) else {
                continue;
            };
            // A mount of a part of a hierarchy (inside a container, say) is not the hierarchy, unless it is
            // the only one there is; the first mount of each wins.
            match *kind {
                "cgroup2" if found.v2.is_none() => found.v2 = Some(PathBuf::from(mount)),
                "cgroup" if !root.starts_with("/..") => {
                    let options = right.get(2).copied().unwrap_or_default();
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|o| !matches!(*o, "rw" | "ro" | "xattr" | "none" | "clone_children"))
                        .filter(|o| !o.starts_with("release_agent="))
                        .map(str::to_owned)
                        .collect();
                    if !found.v1.iter().any(|h| h.controllers == controllers) {
                        found.v1.push(V1 { mount: PathBuf::from(mount), controllers });
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Version 2 alone, with the controllers in it.
    pub(crate) fn unified(&self) -> bool {
        self.v1.is_empty()
    }

    fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|h| h.mount.as_path()).chain(self.v2.as_deref())
    }

    /// The folder of `path` in the v1 hierarchy that holds `controller`.
    pub(crate) fn v1_dir(&self, controller: &str, path: &str) -> Option<PathBuf> {
        self.v1.iter().find(|h| h.has(controller)).map(|h| below(&h.mount, path))
    }

    /// The folder of `path` in version 2.
    pub(crate) fn v2_dir(&self, path: &str) -> Option<PathBuf> {
        self.v2.as_deref().map(|mount| below(mount, path))
    }

    /// Makes `path` and what is above it, everywhere, ready to be joined.
    pub(crate) fn create(&self, path: &str) -> io::Result<()> {
        for hierarchy in &self.v1 {
            let dir = below(&hierarchy.mount, path);
            fs::create_dir_all(&dir).map_err(|e| at(&dir, &e))?;
            if hierarchy.has("cpuset") {
                fill_cpuset(&hierarchy.mount, path)?;
            }
        }
        let Some(mount) = &self.v2 else { return Ok(()) };
        let dir = below(mount, path);
        fs::create_dir_all(&dir).map_err(|e| at(&dir, &e))?;
        if self.unified() {
            let mut level = mount.clone();
            for part in Path::new(path.trim_start_matches('/')).components() {
                hand_down(&level)?;
                level.push(part);
            }
        }
        Ok(())
    }

    /// The v2 folder of `path`, open, for `clone3` to put a child into.
    pub(crate) fn open_v2(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        let Some(dir) = self.v2_dir(path) else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Some(rustix::fs::open(&dir, flags, Mode::empty()).map_err(|e| at(&dir, &e.into()))?))
    }

    /// Moves the calling process, which must have one thread only, into `path` of every v1 hierarchy.
    pub(crate) fn join_v1(&self, path: &str) -> io::Result<()> {
        for hierarchy in &self.v1 {
            let tasks = below(&hierarchy.mount, path).join("tasks");
            fs::write(&tasks, "0").map_err(|e| at(&tasks, &e))?;
        }
        Ok(())
    }

    /// Removes `path` and all groups below it, everywhere. Nothing may run in them any more.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        self.mounts().try_for_each(|mount| remove_tree(&below(mount, path)))
    }
}

fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// An error that names the file: io::Error does not.
pub(crate) fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Lets the groups below the v2 group `dir` have what it has itself of the controllers that we use.
fn hand_down(dir: &Path) -> io::Result<()> {
    let list = |file: &str| fs::read_to_string(dir.join(file)).map_err(|e| at(&dir.join(file), &e));
    let (own, handed) = (list("cgroup.controllers")?, list("cgroup.subtree_control")?);
    let there = |list: &str, name: &str| list.split_whitespace().any(|c| c == name);
    for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
        if there(&own, controller) && !there(&handed, controller) {
            let file = dir.join("cgroup.subtree_control");
            fs::write(&file, format!("+{controller}")).map_err(|e| at(&file, &e))?;
        }
    }
    Ok(())
}

/// A new v1 cpuset has no processors and no memory nodes, and cannot be joined before it has.
fn fill_cpuset(mount: &Path, path: &str) -> io::Result<()> {
    let mut level = mount.to_owned();
    for part in Path::new(path.trim_start_matches('/')).components() {
        let parent = level.clone();
        level.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = level.join(file);
            if fs::read_to_string(&own).map_err(|e| at(&own, &e))?.trim().is_empty() {
                let inherited = fs::read_to_string(parent.join(file)).map_err(|e| at(&parent, &e))?;
                fs::write(&own, inherited).map_err(|e| at(&own, &e))?;
            }
        }
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| at(dir, &e))?,
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    // Up to 2 s: the kernel lets go of a dead process some time after it told its parent, and says when only
    // on v2.
    for attempt in 0..REMOVE_TRIES {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && attempt + 1 < REMOVE_TRIES => {
                std::thread::sleep(Duration::from_millis(1 << attempt));
            }
            Err(e) => return Err(at(dir, &e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_layout_is_read_from_mountinfo() {
        let found = Hierarchies::parse(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
             52 31 0:29 / /somewhere/else rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
        );
        assert_eq!(found.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(found.v1.len(), 2);
        assert_eq!(found.v1_dir("cpuacct", "/a/b"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a/b")));
        assert_eq!(found.v1[1].controllers, ["name=systemd"]);
        assert!(!found.unified());
    }

    #[test]
    fn unified_layout_is_read_from_mountinfo() {
        let found = Hierarchies::parse("25 23 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert!(found.unified());
        assert_eq!(found.v2_dir("/x"), Some(PathBuf::from("/sys/fs/cgroup/x")));
    }

    #[test]
    fn groups_are_made_and_removed_in_every_hierarchy() {
        let found = Hierarchies::detect().unwrap();
        let top = format!("/stead-cgroup-test-{}", std::process::id());
        let path = format!("{top}/burstable/pod1");
        found.create(&path).unwrap();
        assert!(found.mounts().all(|m| below(m, &path).is_dir()));
        found.remove(&top).unwrap();
        assert!(found.mounts().all(|m| !below(m, &top).exists()));
    }
}
