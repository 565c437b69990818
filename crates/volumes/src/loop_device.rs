//! Loop devices: a file as a block device (loop(4)).
//!
//! **A file has one loop device at the most**: two would be two caches, and a file system that is mounted from both
//! would destroy itself. So whoever wants one looks for it first, by the file's device and inode: names change when
//! a volume goes to the trash, and mount namespaces of containers may keep a device that was unmounted here.

mod sys;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The devices that the kernel has, used and free.
const DEVICES: &str = "/sys/block";
/// Somebody else may take the free device that the kernel named: so often is another one asked for.
const TRIES: usize = 32;

/// A loop device, open: as long as it is, it does not go away by itself.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    /// `/dev/loop0`, …
    pub(crate) path: PathBuf,
    device: File,
}

impl LoopDevice {
    /// The device of a file, if it has one.
    pub(crate) fn find(image: &Path) -> io::Result<Option<Self>> {
        let wanted = fs::metadata(image)?;
        for path in in_use()? {
            let device = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(device) => device,
                // It has just gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => continue,
                Err(error) => return Err(error),
            };
            match sys::backing_file(&device) {
                Ok(file) if file == (wanted.dev(), wanted.ino()) => return Ok(Some(Self { path, device })),
                // Of another file, or of none any more.
                Ok(_) | Err(Errno::NXIO) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(None)
    }

    /// The device of a file: the one that it has, or a new one. A new one goes with its last user if it is
    /// `transient`, and otherwise with [`LoopDevice::detach`].
    ///
    /// It reads and writes past the page cache, where the file system below can: pages would be kept twice, and what
    /// a database has synced would wait in the lower cache for a second sync.
    pub(crate) fn attach(image: &Path, transient: bool) -> io::Result<Self> {
        if let Some(there) = Self::find(image)? {
            return Ok(there);
        }
        let file = OpenOptions::new().read(true).write(true).open(image)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        for _ in 0..TRIES {
            let path = PathBuf::from(format!("/dev/loop{}", sys::free_device(&control)?));
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            match sys::configure(&device, &file, transient) {
                Ok(()) => {
                    let attached = Self { path, device };
                    if !transient {
                        attached.set_discards("0");
                    }
                    return Ok(attached);
                }
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other("no loop device stays free for long enough"))
    }

    /// Takes over the file's size, after that has grown.
    pub(crate) fn take_size(&self) -> io::Result<()> {
        Ok(sys::take_size(&self.device)?)
    }

    /// Lets the file go, at once or when the last user does.
    pub(crate) fn detach(self) -> io::Result<()> {
        // As the next user of the device finds it who never met this one.
        if let Ok(most) = fs::read_to_string(self.queue().join("discard_max_hw_bytes")) {
            self.set_discards(most.trim());
        }
        match sys::detach(&self.device) {
            // It had let go already.
            Ok(()) | Err(Errno::NXIO) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// How many bytes its user may discard at a time. None, for whoever has the device itself: that would make holes
    /// in the file, and its room would be anybody's. (File systems discard only where their mount options say so.)
    fn set_discards(&self, bytes: &str) {
        let setting = self.queue().join("discard_max_bytes");
        if let Err(error) = fs::write(&setting, bytes) {
            tracing::warn!(%error, "cannot set {} to {bytes}", setting.display());
        }
    }

    fn queue(&self) -> PathBuf {
        Path::new(DEVICES).join(self.path.file_name().unwrap_or_default()).join("queue")
    }
}

/// The devices that have a file.
fn in_use() -> io::Result<Vec<PathBuf>> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(DEVICES)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_loop = name.to_string_lossy().starts_with("loop");
        if is_loop && entry.path().join("loop/backing_file").exists() {
            devices.push(Path::new("/dev").join(name));
        }
    }
    Ok(devices)
}
