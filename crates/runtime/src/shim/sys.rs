//! The system calls that need `unsafe`, each with its reason.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use seccompiler::BpfProgram;

/// What [`fork_into`] returns.
pub(super) enum Fork {
    /// In the new process.
    Child,
    /// In the calling one: the new one's number.
    Parent(i32),
}

/// `struct clone_args`, first version (64 bytes) plus set_tid and cgroup: clone(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_INTO_CGROUP` of linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks the process, straight into the v2 cgroup `group` if there is one.
///
/// The caller must have one thread only; the shim never makes a second.
pub(super) fn fork_into(group: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    fork(group, 0)
}

/// Forks the process; the new one is the first of a process namespace. The caller must have one thread only.
pub(super) fn fork_first_process() -> io::Result<Fork> {
    fork(None, libc::CLONE_NEWPID as u64)
}

fn fork(group: Option<BorrowedFd<'_>>, flags: u64) -> io::Result<Fork> {
    let mut args = CloneArgs { flags, exit_signal: libc::SIGCHLD as u64, ..CloneArgs::default() };
    if let Some(group) = group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the child runs on a copy of our memory, as after fork(2). No lock can be held
    // by a thread that the child does not have, because there is one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Ok(Fork::Parent(i32::try_from(pid).map_err(io::Error::other)?)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends the process without running destructors or exit handlers: what they would tidy up is the parent's.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes all descriptors from 3 up, except those in `keep`.
///
/// Only for the start of a process's life (after exec or fork): whoever thinks to own a closed descriptor
/// must not use or drop it any more.
pub(super) fn close_others(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter(|fd| **fd >= 3).map(|fd| fd.unsigned_abs()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for end in keep.into_iter().chain([u32::MAX]) {
        let last = if end == u32::MAX { end } else { end - 1 };
        if first <= last {
            // SAFETY: closing descriptors touches no memory; see above for who may have owned them.
            if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = end.saturating_add(1);
    }
    Ok(())
}

/// Makes `from` the process's descriptor `to` (0, 1 or 2), which stays open over exec.
pub(super) fn redirect(from: &OwnedFd, to: RawFd) -> io::Result<()> {
    // SAFETY: dup2 touches no memory; 0 to 2 are owned by nobody in Rust's sense.
    if unsafe { libc::dup2(from.as_raw_fd(), to) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives every signal its default disposition and lets all of them through.
pub(super) fn reset_signals() {
    // SAFETY: the set is initialised before it is used, and SIG_DFL is a valid disposition everywhere; the
    // kernel refuses it for SIGKILL, SIGSTOP and libc's own signals, which is fine.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Lets the kernel clear away children that have ended: nobody waits for them.
pub(super) fn ignore_children() {
    // SAFETY: SIG_IGN is a valid disposition for SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives up all that root may do, for good: the process becomes `id`, in no other group.
pub(super) fn become_nobody(id: u32) -> io::Result<()> {
    // SAFETY: none of these calls touches memory; an empty list of groups is not read.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(id, id, id) == 0
            && libc::setresuid(id, id, id) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Installs a seccomp filter. Unlike `seccompiler::apply_filter` it does not set no_new_privs, and so needs
/// either that or CAP_SYS_ADMIN.
pub(super) fn install_filter(program: &BpfProgram) -> io::Result<()> {
    #[repr(C)]
    struct SockFprog {
        len: libc::c_ushort,
        filter: *const seccompiler::sock_filter,
    }
    let len = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let fprog = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: `fprog` and the program live until the call returns; the kernel copies and checks them.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const fprog) };
    if done != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Replaces the process by `path`; returns only the reason why that failed.
pub(super) fn exec(path: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all pointers lead to NUL-terminated strings that outlive the call, and both lists end in null.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Sends any signal, real-time ones too, to a child that has not been waited for.
pub(super) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill touches no memory.
    if unsafe { libc::kill(pid, signal) } != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
