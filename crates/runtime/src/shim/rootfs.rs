//! The file systems of a worker: its own copy of the machine's mounts, with the container's root in it.
//!
//! A worker copies the mounts at the moment it is made, so it sees every volume that was mounted by then, and
//! what it mounts is gone with the last process of the container: nothing is left behind, whoever dies.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
    move_mount, open_tree, unmount,
};

use crate::cgroup::{Hierarchies, at};
use crate::mountpoints;
use crate::spec::cgroup_stage;

/// Where cgroups are mounted, and, for workers, a tmpfs.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Where libcontainer keeps its state of a container, for as long as it is made: in the worker's own tmpfs.
pub(super) const STATE: &str = "/sys/fs/cgroup/state";

/// How many mounts may lie on top of each other at one place.
const STACKED: usize = 16;

/// Leaves the machine's mount namespace for a copy that nothing flows into or out of.
pub(super) fn enter_private_mounts() -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Takes the cgroup file systems out of sight, so that libcontainer finds none to move the container into
/// (it is there already), and leaves the folders of `cgroup` where [`crate::spec`] expects them, if any.
pub(super) fn stage_cgroups(hierarchies: &Hierarchies, cgroup: Option<&str>) -> io::Result<()> {
    let mut staged: Vec<(PathBuf, OwnedFd)> = Vec::new();
    for (to, from) in cgroup.map(|cgroup| cgroup_stage(hierarchies, cgroup)).unwrap_or_default() {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        staged.push((to, open_tree(CWD, &from, flags).map_err(|e| at(&from, &e.into()))?));
    }
    let each = hierarchies.v1.iter().map(|h| h.mount.as_path()).chain(hierarchies.v2.as_deref());
    // The usual place first: what is mounted below goes with it, at the price of one wait for the kernel.
    for place in [Path::new(CGROUPS)].into_iter().chain(each) {
        for _ in 0..STACKED {
            if unmount(place, UnmountFlags::DETACH).is_err() {
                break;
            }
        }
    }
    mount("tmpfs", CGROUPS, "tmpfs", MountFlags::NODEV, Some(c"mode=700"))
        .map_err(|e| at(Path::new(CGROUPS), &e.into()))?;
    fs::create_dir_all(STATE)?;
    for (to, tree) in staged {
        fs::create_dir_all(&to)?;
        move_mount(&tree, "", CWD, &to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|e| at(&to, &e.into()))?;
    }
    Ok(())
}

/// Mounts `layers` (bottom first) as one, writable, at `dir/rootfs`, above the common [`mountpoints`].
///
/// Layers are named by descriptors: mount(2) takes a page of options, which is enough for some 200 of them
/// that way (images have at most 127), and needs none of the newer calls that Linux 6.1 does not have.
pub(super) fn mount_overlay(dir: &Path, layers: &[PathBuf]) -> io::Result<()> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| at(path, &e.into()))
    };
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lowest = mountpoints::below(dir);
    let lower = layers.iter().rev().chain(&lowest);
    let lower = lower.map(|layer| open(layer)).collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (open(&dir.join("upper"))?, open(&dir.join("work"))?);
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.iter().map(name).collect::<Vec<_>>().join(":"),
        name(&upper),
        name(&work)
    );
    let options = CString::new(options)?;
    let rootfs = dir.join("rootfs");
    mount("overlay", &rootfs, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(|e| at(&rootfs, &e.into()))
}

/// The home folder of `uid` in the container's own /etc/passwd, if it says so. Read here, because a C library
/// that looks it up inside the container would load what it finds there.
pub(super) fn home(rootfs: &Path, uid: u32) -> Option<String> {
    let root = rustix::fs::open(rootfs, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let passwd = rustix::fs::openat2(root, "etc/passwd", flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let text = io::read_to_string(fs::File::from(passwd)).ok()?;
    home_in(&text, uid)
}

/// See passwd(5).
fn home_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let own = fields.get(2)?.parse() == Ok(uid);
        fields.get(5).filter(|home| own && !home.is_empty()).map(|home| (*home).to_owned())
    })
}

/// Makes `cwd` inside the container if it is missing, as runc does.
pub(super) fn make_cwd(rootfs: &Path, cwd: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(rootfs, flags, Mode::empty())?;
    let root = at.try_clone()?;
    let mut so_far = PathBuf::new();
    for part in cwd.components().filter(|c| matches!(c, std::path::Component::Normal(_))) {
        so_far.push(part);
        let next = match rustix::fs::openat2(&root, &so_far, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::mkdirat(&at, Path::new(&part), Mode::from_raw_mode(0o755))?;
                rustix::fs::openat2(&root, &so_far, flags, Mode::empty(), ResolveFlags::IN_ROOT)?
            }
            other => other?,
        };
        at = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_comes_from_the_images_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# odd\npostgres:x:999:999::/var/lib/postgresql:\n";
        assert_eq!(home_in(passwd, 999).as_deref(), Some("/var/lib/postgresql"));
        assert_eq!(home_in(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(passwd, 5), None);
    }

    #[test]
    fn a_passwd_that_leads_out_of_the_image_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/passwd", dir.path().join("etc/passwd")).unwrap();
        assert_eq!(home(dir.path(), 0), None);
    }

    #[test]
    fn a_working_directory_is_made_inside_the_root_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("/inside", root.join("link")).unwrap();
        fs::create_dir(root.join("inside")).unwrap();
        make_cwd(&root, Path::new("/link/a/b")).unwrap();
        assert!(root.join("inside/a/b").is_dir());
    }
}
