//! What one stead has on a machine, seen from outside: for those who must know that nothing of it is left.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

/// The stead of a data directory.
#[derive(Debug)]
pub(crate) struct Instance {
    /// The data directory, absolute.
    pub(crate) dir: PathBuf,
    /// As `stead` derives it from the path (crates/stead/src/instance.rs).
    id: String,
}

impl Instance {
    /// The instance whose data is, or was, in a folder.
    pub(crate) fn at(dir: &Path) -> Result<Self> {
        let absolute =
            || -> Option<PathBuf> { Some(dir.parent()?.canonicalize().ok()?.join(dir.file_name()?)) };
        let dir = dir.canonicalize().ok().or_else(absolute);
        let dir = dir.context("the folder of a data directory must exist")?;
        let id = format!("{:016x}", fnv1a(dir.as_os_str().as_encoded_bytes()));
        Ok(Self { dir, id })
    }

    /// Whether a folder looks like a data directory.
    pub(crate) fn is_data_dir(dir: &Path) -> bool {
        dir.join("lock").is_file() && (dir.join("state.redb").exists() || dir.join("pki").exists())
    }

    /// Whether stead itself runs, whose lock this is.
    pub(crate) fn is_up(&self) -> bool {
        let Ok(lock) = File::open(self.dir.join("lock")) else { return false };
        Flock::lock(lock, FlockArg::LockSharedNonblock).is_err()
    }

    /// All that is there besides files: stead itself, processes, cgroups, mounts, loop devices, links, sockets. A line
    /// each.
    pub(crate) fn traces(&self) -> Result<Vec<String>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read mountinfo")?;
        let mut traces = Vec::new();
        if self.is_up() {
            traces.push(format!("stead runs in {}", self.dir.display()));
        }
        for cgroup in cgroup_mounts(&mounts).map(|mount| mount.join(format!("stead-{}", &self.id[..8]))) {
            if cgroup.is_dir() {
                traces.push(format!("cgroup {}", cgroup.display()));
                traces.extend(processes(&cgroup).map(|pid| format!("process {pid} ({})", name(pid))));
            }
        }
        traces.extend(mounts_below(&mounts, &self.dir).map(|path| format!("mount {path}")));
        traces.extend(loops_below(&self.dir).map(|device| format!("loop device {device}")));
        for link in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
            let link = link.file_name().to_string_lossy().into_owned();
            let tag = &self.id[..6];
            if link == format!("stead-{tag}") || link.starts_with(&format!("v{tag}")) {
                traces.push(format!("network interface {link}"));
            }
        }
        let run_dir = Path::new("/run/stead").join(&self.id);
        if run_dir.exists() {
            traces.push(format!("folder {}", run_dir.display()));
        }
        // A process is in a cgroup of every hierarchy.
        let mut seen = std::collections::HashSet::new();
        traces.retain(|trace| seen.insert(trace.clone()));
        Ok(traces)
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Mount point and file system of each line of mountinfo (proc_pid_mountinfo(5)).
fn mount_points(mountinfo: &str) -> impl Iterator<Item = (String, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mount = left.split(' ').nth(4)?.replace("\\040", " ");
        Some((mount, right.split(' ').next()?))
    })
}

fn cgroup_mounts(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    let cgroups = mount_points(mountinfo).filter(|(_, kind)| matches!(*kind, "cgroup" | "cgroup2"));
    cgroups.map(|(mount, _)| PathBuf::from(mount))
}

/// What is mounted at a path or below it.
pub(crate) fn mounts_below<'a>(mountinfo: &'a str, dir: &'a Path) -> impl Iterator<Item = String> {
    let below = mount_points(mountinfo).filter(move |(mount, _)| Path::new(mount).starts_with(dir));
    below.map(|(mount, _)| mount)
}

/// The loop devices whose files are in a folder, or were when they were deleted.
fn loops_below(dir: &Path) -> impl Iterator<Item = String> {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    disks.filter_map(move |disk| {
        let file = fs::read_to_string(disk.path().join("loop/backing_file")).ok()?;
        Path::new(file.trim()).starts_with(dir).then(|| disk.file_name().to_string_lossy().into_owned())
    })
}

fn processes(cgroup: &Path) -> impl Iterator<Item = i32> {
    let mut pids = Vec::new();
    let mut folders = vec![cgroup.to_owned()];
    while let Some(folder) = folders.pop() {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    pids.into_iter()
}

fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "ended".into(), |name| name.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
25 30 0:23 / /proc rw,nosuid - proc proc rw
40 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
41 30 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
99 30 0:50 / /data/one/pods/a\\040b/rootfs rw - overlay overlay rw
98 30 0:51 / /data/one-more rw - tmpfs tmpfs rw
";

    #[test]
    fn mounts_are_found_by_whole_path_components() {
        let below: Vec<_> = mounts_below(MOUNTINFO, Path::new("/data/one")).collect();
        assert_eq!(below, ["/data/one/pods/a b/rootfs"]);
    }

    #[test]
    fn cgroups_of_both_versions_are_looked_at() {
        let mounts: Vec<_> = cgroup_mounts(MOUNTINFO).collect();
        assert_eq!(mounts, [Path::new("/sys/fs/cgroup/unified"), Path::new("/sys/fs/cgroup/memory")]);
    }

    #[test]
    fn the_id_is_the_hash_that_stead_uses() {
        // Vectors of the FNV reference (draft-eastlake-fnv, appendix C).
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_folder_that_never_was_a_stead_has_no_traces() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Instance::is_data_dir(dir.path()));
        let instance = Instance::at(&dir.path().join("gone")).unwrap();
        assert_eq!(instance.traces().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_held_lock_is_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let instance = Instance::at(dir.path()).unwrap();
        assert_eq!(instance.traces().unwrap(), [format!("stead runs in {}", instance.dir.display())]);
        drop(held);
        assert_eq!(instance.traces().unwrap(), Vec::<String>::new());
    }
}
