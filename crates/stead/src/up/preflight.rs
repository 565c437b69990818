//! What the machine must have before anything is started; each lack is one sentence.

use std::path::Path;

use anyhow::{Result, bail};

/// Mounting overlays with `lowerdir+` needs this kernel.
const OLDEST_KERNEL: (u32, u32) = (6, 8);

/// Checks that this process may run containers on this kernel.
pub(super) fn check() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("stead up must be run as root: it makes namespaces, mounts and cgroups (try sudo)");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_kernel(release.trim())?;
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.split_whitespace().any(|word| word == "overlay")
        && !Path::new("/sys/module/overlay").exists()
    {
        bail!("the kernel has no overlayfs: load it with `modprobe overlay`");
    }
    if !Path::new("/sys/fs/cgroup").is_dir() {
        bail!("no cgroups are mounted under /sys/fs/cgroup: mount the cgroup2 file system there");
    }
    Ok(())
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
        assert!(check_kernel("6.18.44-fc").is_ok());
        assert!(check_kernel("6.8.0-1-amd64").is_ok());
        let error = check_kernel("5.15.0-91-generic").unwrap_err().to_string();
        assert_eq!(error, "kernel 5.15.0-91-generic is too old for stead: it needs Linux 6.8 or newer");
    }
}
