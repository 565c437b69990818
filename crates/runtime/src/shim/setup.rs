//! How a shim comes to be: out of the daemon's session, cgroups and descriptors, into the pod's namespaces.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use nix::unistd;

use super::protocol::Fault;
use super::sys;
use crate::SandboxConfig;
use crate::cgroup::Hierarchies;
use crate::record::{self, SandboxRecord};

/// What a shim has when it is ready to serve.
pub(super) struct Surroundings {
    /// What the daemon asked for.
    pub(super) record: SandboxRecord,
    /// The machine's cgroups.
    pub(super) hierarchies: Hierarchies,
    /// Where requests come in.
    pub(super) listener: UnixListener,
    /// SIGCHLD and SIGTERM.
    pub(super) signals: SignalFd,
}

/// Makes the shim of the sandbox whose record is in `dir`. Comes back in a process of its own; the one that
/// called has ended.
pub(super) fn set_up(dir: &Path) -> Result<Surroundings, Fault> {
    let fault = |doing: &'static str| move |e: io::Error| Fault::system(doing, e);
    sys::close_others(&[]).map_err(fault("closing descriptors"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/").map_err(fault("leaving the working directory"))?;
    let record = record::read::<SandboxRecord>(&record::sandbox_file(dir))
        .and_then(|record| record.ok_or_else(|| io::Error::other("the sandbox has no record")))
        .map_err(fault("reading the sandbox's record"))?;
    let hierarchies = Hierarchies::detect().map_err(fault("looking for cgroups"))?;
    detach(&hierarchies, &record.shim_cgroup()).map_err(fault("leaving the daemon"))?;
    let log = OpenOptions::new().append(true).create(true).open(dir.join("shim.log"));
    log.and_then(|log| sys::redirect(&log.into(), 2)).map_err(fault("opening the shim's log"))?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.add(Signal::SIGTERM);
    let signals = mask
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
        .map_err(|e| Fault::system("taking signals", e))?;
    enter_namespaces(&record)?;
    // A leftover of a shim that died; the daemon made sure that it did.
    let _ = fs::remove_file(&record.socket);
    let listener = UnixListener::bind(&record.socket)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|e| Fault::system(format!("listening on {}", record.socket.display()), e))?;
    Ok(Surroundings { record, hierarchies, listener, signals })
}

/// Tells the daemon, which reads our standard output to its end, how it went, and lets go of it.
pub(super) fn report(result: Result<(), &Fault>) -> io::Result<()> {
    if let Err(fault) = result {
        io::stdout().write_all(&serde_json::to_vec(fault)?)?;
        io::stdout().flush()?;
    }
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    sys::redirect(&null, 0)?;
    sys::redirect(&null, 1)
}

/// A new process in a session and a cgroup of its own, that adopts what its children leave behind.
fn detach(hierarchies: &Hierarchies, cgroup: &str) -> io::Result<()> {
    let group = hierarchies.open_v2(cgroup)?;
    if matches!(sys::fork_into(group.as_ref().map(AsFd::as_fd))?, sys::Fork::Parent(_)) {
        sys::exit_now(0);
    }
    unistd::setsid()?;
    hierarchies.join_v1(cgroup)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // The shim is small and must outlive what it watches. Not every root may do this.
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
    Ok(())
}

fn enter_namespaces(record: &SandboxRecord) -> Result<(), Fault> {
    let config = &record.config;
    let mut flags = CloneFlags::CLONE_NEWUTS;
    if !config.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    if !config.host_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    nix::sched::unshare(flags).map_err(|e| Fault::system("making the pod's namespaces", e))?;
    unistd::sethostname(&config.hostname)
        .map_err(|e| Fault::system(format!("setting the host name {:?}", config.hostname), e))?;
    if !config.host_network {
        bring_loopback_up().map_err(|e| Fault::system("bringing the loopback interface up", e))?;
    }
    set_sysctls(&config.sysctls, config)
}

/// Sets kernel parameters of the pod's own namespaces; those of the machine are refused.
fn set_sysctls(sysctls: &BTreeMap<String, String>, config: &SandboxConfig) -> Result<(), Fault> {
    for (name, value) in sysctls {
        let doing = || format!("setting the sysctl {name}");
        if !is_namespaced(name, config.host_network, config.host_ipc) {
            return Err(Fault::system(doing(), "it belongs to the machine and not to the pod"));
        }
        fs::write(sysctl_file(name), value).map_err(|e| Fault::system(doing(), e))?;
    }
    Ok(())
}

/// sysctl(8): dots separate, and a slash stands for a dot within a name, or the other way round.
fn sysctl_file(name: &str) -> String {
    let dots_first = name.find('.').unwrap_or(usize::MAX) < name.find('/').unwrap_or(usize::MAX);
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    let path = if dots_first { name.chars().map(swapped).collect() } else { name.to_owned() };
    format!("/proc/sys/{path}")
}

/// Upstream's list: `pkg/kubelet/sysctl/namespace.go`.
fn is_namespaced(name: &str, host_network: bool, host_ipc: bool) -> bool {
    let name = name.replace('/', ".");
    let ipc = ["kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue."];
    (ipc.iter().any(|prefix| name.starts_with(prefix)) && !host_ipc)
        || (name.starts_with("net.") && !host_network)
}

/// One RTM_NEWLINK message that sets IFF_UP on interface 1, which is `lo` in every network namespace
/// (rtnetlink(7)).
fn bring_loopback_up() -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket =
        nix::sys::socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let up = libc::IFF_UP.unsigned_abs();
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes()); // nlmsghdr: length
    message.extend(libc::RTM_NEWLINK.to_ne_bytes());
    message.extend(5_u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_ACK
    message.extend([0; 8]); // sequence, port
    message.extend([0; 4]); // ifinfomsg: family, padding, type
    message.extend(1_i32.to_ne_bytes()); // index
    message.extend(up.to_ne_bytes()); // flags
    message.extend(up.to_ne_bytes()); // the flags to change
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    nix::sys::socket::send(fd, &message, MsgFlags::empty())?;
    let mut answer = [0; 64];
    let len = File::from(socket).read(&mut answer)?;
    // nlmsghdr (16 bytes), then nlmsgerr, whose first field is the negative error number, or 0.
    match answer[..len].get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_are_found_in_both_spellings() {
        assert_eq!(sysctl_file("net.core.somaxconn"), "/proc/sys/net/core/somaxconn");
        assert_eq!(
            sysctl_file("net/ipv4/conf/eth0.100/rp_filter"),
            "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"
        );
        assert_eq!(
            sysctl_file("net.ipv4.conf.eth0/100.rp_filter"),
            "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"
        );
    }

    #[test]
    fn sysctls_of_the_machine_are_refused() {
        let of_the_pod = |name| is_namespaced(name, false, false);
        assert!(of_the_pod("net.core.somaxconn") && is_namespaced("kernel.shmmax", true, false));
        assert!(!is_namespaced("net.core.somaxconn", true, false));
        assert!(!is_namespaced("kernel.shmmax", false, true));
        assert!(!of_the_pod("vm.swappiness") && !of_the_pod("kernel.hostname"));
    }
}
