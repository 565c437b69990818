//! The machine's devices.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use crate::Device;
use crate::cgroup::at;

/// The devices that a container asks for, under the names that it asks for.
pub(super) fn asked_devices(asked: &[Device]) -> io::Result<Vec<LinuxDevice>> {
    let device = |asked: &Device| {
        let meta = fs::metadata(&asked.source).map_err(|e| at(&asked.source, &e))?;
        let built = described(&asked.destination, LinuxDeviceType::B, &meta);
        built.map_err(io::Error::other)
    };
    asked.iter().map(device).collect()
}

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
            devices.extend(described(&path, typ, &meta));
        }
    }
    devices
}

/// A device under a name of the container's, as the machine has it.
fn described(path: &Path, typ: LinuxDeviceType, meta: &fs::Metadata) -> Result<LinuxDevice, OciSpecError> {
    LinuxDeviceBuilder::default()
        .path(path)
        .typ(typ)
        .major(i64::from(rustix::fs::major(meta.rdev())))
        .minor(i64::from(rustix::fs::minor(meta.rdev())))
        .file_mode(meta.mode() & 0o7777)
        .uid(meta.uid())
        .gid(meta.gid())
        .build()
}
