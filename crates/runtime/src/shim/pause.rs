//! The process that holds a process namespace for all containers of a pod (`shareProcessNamespace`): number 1 in
//! it, as upstream's `pause`. It does nothing, may do nothing, and sees no file of the machine: whoever in the pod
//! may look into it (CAP_SYS_PTRACE) finds nothing there.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::{rootfs, sys};

/// The user that upstream's image of it names.
const NOBODY: u32 = 65535;

/// Where its empty root is mounted before it becomes the root; any folder of the machine will do.
const PLACE: &str = "/proc";

/// Starts it in the shim's own cgroup; answers with its number. It ends with the shim.
pub(super) fn start() -> io::Result<i32> {
    match sys::fork_first_process()? {
        sys::Fork::Parent(pid) => Ok(pid),
        sys::Fork::Child => match hold() {
            Ok(()) => loop {
                nix::unistd::pause();
            },
            Err(e) => {
                super::say(&format!("pause: {e}"));
                sys::exit_now(1)
            }
        },
    }
}

/// `PF_EXITING` of linux/sched.h.
const EXITING: u64 = 0x4;

/// Whether it is on its way out: nothing can join its namespace any more, although it is there until all that shared
/// it has been waited for.
pub(super) fn is_ending(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| has_flag(&stat, EXITING))
}

/// Whether a process has a flag of the kernel's: the seventh field behind its name (proc_pid_stat(5)).
fn has_flag(stat: &str, flag: u64) -> bool {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let flags = fields.split_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & flag != 0)
}

fn hold() -> io::Result<()> {
    // Orphans of all containers are its children.
    sys::ignore_children();
    sys::close_others(&[])?;
    empty_root()?;
    sys::become_nobody(NOBODY)?;
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    prctl::set_name(c"pause")?;
    // After the change of user, which would undo it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}

/// Changes the root for an empty one, and lets go of all mounts of the machine.
fn empty_root() -> io::Result<()> {
    rootfs::enter_private_mounts()?;
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", PLACE, "tmpfs", flags, Some(c"size=4k,mode=555"))?;
    std::env::set_current_dir(PLACE)?;
    nix::unistd::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    mount_remount("/", flags | MountFlags::RDONLY, "")?;
    (0..=2).try_for_each(|stream| sys::redirect(&null, stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_is_told_by_the_kernels_flags() {
        assert!(has_flag("7 (a) b) S 1 7 7 0 -1 4194308 0 0", EXITING));
        assert!(!has_flag("7 (a) b) S 1 7 7 0 -1 4194304 0 0", EXITING));
        assert!(!is_ending(std::process::id().cast_signed()));
        assert!(is_ending(i32::MAX), "who is not there has ended");
    }
}
