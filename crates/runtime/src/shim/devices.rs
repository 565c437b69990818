//! The machine's devices.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use libcontainer::oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

/// All devices of the machine, for a privileged container (containerd's `WithHostDevices`).
pub(super) fn host_devices() -> Vec<LinuxDevice> {
    let mut devices = Vec::new();
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            let own = ["pts", "shm", "mqueue", "fd", "console"].iter().any(|name| path.ends_with(name));
            let kind = meta.file_type();
            if own || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let typ = match (kind.is_char_device(), kind.is_block_device()) {
                (true, _) => LinuxDeviceType::C,
                (_, true) => LinuxDeviceType::B,
                _ => continue,
            };
            let device = LinuxDeviceBuilder::default()
                .path(path)
                .typ(typ)
                .major(i64::from(rustix::fs::major(meta.rdev())))
                .minor(i64::from(rustix::fs::minor(meta.rdev())))
                .file_mode(meta.mode() & 0o7777)
                .uid(meta.uid())
                .gid(meta.gid())
                .build();
            devices.extend(device);
        }
    }
    devices
}
