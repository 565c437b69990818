//! What the machine must have before anything is started; each lack is one sentence.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use rustix::mount::{FsOpenFlags, fsopen};

/// The first long-term kernel with all that is needed: openat2(2) for walking volumes and layers (5.6),
/// clone3(2) straight into a cgroup of version 2 (5.7), close_range(2) in the shim (5.9). What is newer has
/// a way around it: `cgroup.kill` (5.14), `noswap` of a tmpfs (6.4), overlays by fsmount(2) (6.5).
const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// Where the kernel says whether packets inside a bridge pass the firewall, once it can do so.
const BRIDGE_NETFILTER: &str = "/proc/sys/net/bridge";

/// Checks that this process may run containers on this kernel.
pub(super) fn check() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("stead up must be run as root: it makes namespaces, mounts and cgroups (try sudo)");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_kernel(release.trim())?;
    // Asking for it makes the kernel load the module.
    if fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_err() {
        bail!("the kernel has no overlayfs: load it with `modprobe overlay`");
    }
    if !Path::new("/sys/fs/cgroup").is_dir() {
        bail!("no cgroups are mounted under /sys/fs/cgroup: mount the cgroup2 file system there");
    }
    load_bridge_netfilter();
    Ok(())
}

/// The one module that the kernel does not load by itself when it is needed. Without it (or without
/// modprobe) the network says what does not work.
fn load_bridge_netfilter() {
    if Path::new(BRIDGE_NETFILTER).exists() {
        return;
    }
    let mut modprobe = Command::new("modprobe");
    modprobe.arg("br_netfilter").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = modprobe.status() {
        tracing::debug!("modprobe: {error}");
    }
}

fn check_kernel(release: &str) -> Result<()> {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        bail!("kernel {release} is too old for stead: it needs Linux {major}.{minor} or newer");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_by_number() {
        for good in ["6.18.44-fc", "6.1.0-18-amd64", "5.10.0-28-amd64", "10.0"] {
            assert!(check_kernel(good).is_ok(), "{good}");
        }
        let error = check_kernel("5.4.0-91-generic").unwrap_err().to_string();
        assert_eq!(error, "kernel 5.4.0-91-generic is too old for stead: it needs Linux 5.10 or newer");
    }
}
