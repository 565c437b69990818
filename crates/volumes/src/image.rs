//! Volumes that are a file: `image`, with a file system in it that is mounted at `mount/`, or as a block device.
//!
//! The file is allocated in full when it is made. A sparse one would promise room that somebody else may take first,
//! and a write that finds none comes back to the file system as an I/O error: ext4 stops writing, and a database with
//! it. So the host can never be filled by what is in an image, and an image is never short of what it was promised.
//!
//! Data lies in a folder *within* the file system: its root belongs to it (`lost+found`), and databases want an empty
//! folder. And as the folder is not there while nothing is mounted, nobody writes to the host's disk by mistake.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::about::{self, Backing, FsType, VolumeSpec};
use crate::error::VolumeError;
use crate::files::{entries, make_dir, set_mode, sync};
use crate::loop_device::LoopDevice;
use crate::mount_options::MountOptions;
use crate::persistent::{DATA, Space, Volumes, is_volume_name};
use crate::programs::{self, E2FSPROGS, XFSPROGS};
use crate::{mounts, usage};

pub(crate) const IMAGE: &str = "image";
const MOUNT: &str = "mount";
/// Images have whole pages.
const PAGE: u64 = 4096;
/// What an image leaves of the host's file system, so that stead and the machine can go on writing: a twentieth of
/// it, or this many bytes if that is less.
const HEADROOM_MOST: u64 = 1 << 30;

impl Volumes {
    /// Makes the image, unless it is there.
    pub(crate) fn make_image(&self, folder: &Path, spec: &VolumeSpec) -> Result<(), VolumeError> {
        let (image, fresh) = (folder.join(IMAGE), folder.join("image.new"));
        if image.exists() {
            return Ok(());
        }
        let bytes = whole_pages(spec.capacity_bytes);
        self.check_room(&spec.name, bytes)?;
        let io = |doing| VolumeError::io(doing, &fresh);
        // What an attempt that was cut short has left is begun anew.
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).read(true).write(true).mode(0o600);
        let file = options.open(&fresh).map_err(io("make"))?;
        self.allocate(&spec.name, &file, &fresh, 0, bytes)?;
        match spec.fs_type {
            Some(FsType::Ext4) => programs::run(
                &E2FSPROGS,
                "mkfs.ext4",
                // Nothing is kept for root, who has no business in there; what was allocated is not given back.
                &["-q", "-F", "-m", "0", "-e", "remount-ro", "-E", "nodiscard"],
                &fresh,
            )?,
            Some(FsType::Xfs) => programs::run(&XFSPROGS, "mkfs.xfs", &["-q", "-f", "-K"], &fresh)?,
            None => {}
        }
        file.sync_all().map_err(io("sync"))?;
        fs::rename(&fresh, &image).map_err(io("put in its place"))?;
        sync(folder)
    }

    /// The folder for the data of an image with a file system, which is mounted if it is not.
    pub(crate) fn open_image(&self, folder: &Path, spec: &VolumeSpec) -> Result<PathBuf, VolumeError> {
        let _turn = self.attaching.lock().unwrap_or_else(PoisonError::into_inner);
        let mount = folder.join(MOUNT);
        make_dir(&mount, 0o700)?;
        if !mounts::is_mounted(&mount)? {
            let image = folder.join(IMAGE);
            let device = LoopDevice::attach(&image, true)
                .map_err(VolumeError::io("make a block device of", &image))?;
            let fs_type = spec.fs_type.unwrap_or_default();
            let options = MountOptions::parse(&spec.mount_options);
            mounts::mount_device(&device.path, &mount, fs_type.name(), &options).map_err(|errno| {
                VolumeError::Mount {
                    name: spec.name.clone(),
                    fs_type: fs_type.name(),
                    options: spec.mount_options.join(","),
                    error: errno.into(),
                }
            })?;
        }
        let data = mount.join(DATA);
        if make_dir(&data, 0o700)? {
            set_mode(&data, 0o777)?;
            // The root of the file system hides the folder that it is mounted on.
            set_mode(&mount, 0o700)?;
            sync(&mount)?;
        }
        Ok(data)
    }

    /// The block device of a volume that is one (`volumeMode: Block`).
    ///
    /// # Errors
    ///
    /// When there is no such volume, it has a file system, or the machine gives no loop device.
    pub fn device(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let folder = self.folder(name)?;
        let image = folder.join(IMAGE);
        let is_device = about::read(&folder).is_some_and(|spec| spec.is_device());
        if !is_device || !image.exists() {
            return Err(VolumeError::Missing { name: name.to_owned(), path: image });
        }
        let _turn = self.attaching.lock().unwrap_or_else(PoisonError::into_inner);
        let device = LoopDevice::attach(&image, false);
        Ok(device.map_err(VolumeError::io("make a block device of", &image))?.path)
    }

    /// Unmounts the image and gives its device back; nothing happens to a volume that is none.
    pub(crate) fn close_image(&self, name: &str, folder: &Path) -> Result<(), VolumeError> {
        let image = folder.join(IMAGE);
        if !image.exists() {
            return Ok(());
        }
        let _turn = self.attaching.lock().unwrap_or_else(PoisonError::into_inner);
        mounts::unmount_idle(&folder.join(MOUNT)).map_err(|errno| match errno {
            Errno::BUSY => VolumeError::InUse { name: name.to_owned() },
            errno => VolumeError::io("unmount", &folder.join(MOUNT))(errno),
        })?;
        let device = LoopDevice::find(&image).map_err(VolumeError::io("find the block device of", &image))?;
        let Some(device) = device else { return Ok(()) };
        device.detach().map_err(VolumeError::io("detach the block device of", &image))
    }

    /// Unmounts all images and gives their devices back: when the machine is to keep nothing but files. The pods that
    /// used them are gone; what others have mounted of them goes when they do.
    ///
    /// # Errors
    ///
    /// When something cannot be unmounted; doing it again goes on from there.
    pub fn close_all(&self) -> Result<(), VolumeError> {
        mounts::unmount_all(&self.dir)?;
        for name in entries(&self.dir)?.into_iter().filter(|name| is_volume_name(name)) {
            self.close_image(&name, &self.dir.join(&name))?;
        }
        Ok(())
    }

    /// Lets the volume hold more, while it is in use: a file system in it learns of it by
    /// [`Volumes::grow_file_system`]. It never shrinks.
    ///
    /// # Errors
    ///
    /// When there is no such volume or no room for it; it is then as large as it was.
    pub fn grow(&self, name: &str, capacity_bytes: u64) -> Result<(), VolumeError> {
        let folder = self.folder(name)?;
        let Some(spec) = about::read(&folder) else {
            return Err(VolumeError::Missing { name: name.to_owned(), path: folder });
        };
        if capacity_bytes <= spec.capacity_bytes {
            return Ok(());
        }
        match spec.backing {
            Backing::Directory => self.check_total(name, capacity_bytes)?,
            Backing::Image => self.grow_image(name, &folder.join(IMAGE), whole_pages(capacity_bytes))?,
        }
        about::write(&folder, &VolumeSpec { capacity_bytes, ..spec })?;
        sync(&folder)
    }

    fn grow_image(&self, name: &str, image: &Path, bytes: u64) -> Result<(), VolumeError> {
        let file = OpenOptions::new().read(true).write(true).open(image);
        let file = file.map_err(VolumeError::io("open", image))?;
        let before = file.metadata().map_err(VolumeError::io("look at", image))?.len();
        if before < bytes {
            self.check_room(name, bytes - before)?;
            self.allocate(name, &file, image, before, bytes - before)?;
            file.sync_all().map_err(VolumeError::io("sync", image))?;
        }
        let device = LoopDevice::find(image).map_err(VolumeError::io("find the block device of", image))?;
        let Some(device) = device else { return Ok(()) };
        device.take_size().map_err(VolumeError::io("grow the block device of", image))
    }

    /// Lets the file system in the volume fill what [`Volumes::grow`] has added; nothing happens where there is none.
    ///
    /// # Errors
    ///
    /// When the volume is not there, or the file system's own program fails or is missing.
    pub fn grow_file_system(&self, name: &str) -> Result<(), VolumeError> {
        let folder = self.folder(name)?;
        let spec = about::read(&folder).unwrap_or_default();
        let Some(fs_type) = spec.fs_type.filter(|_| spec.backing == Backing::Image) else { return Ok(()) };
        self.open_image(&folder, &spec)?;
        let image = folder.join(IMAGE);
        let device = LoopDevice::find(&image).map_err(VolumeError::io("find the block device of", &image))?;
        let Some(device) = device else {
            return Err(VolumeError::Missing { name: name.to_owned(), path: image });
        };
        match fs_type {
            FsType::Ext4 => programs::run(&E2FSPROGS, "resize2fs", &[], &device.path).map_err(unable),
            FsType::Xfs => programs::run(&XFSPROGS, "xfs_growfs", &[], &folder.join(MOUNT)),
        }
    }

    /// The bytes that are used in an image, while it is mounted.
    pub(crate) fn used_in_image(&self, folder: &Path) -> Option<u64> {
        let mount = folder.join(MOUNT);
        if !mounts::is_mounted(&mount).ok()? {
            return None;
        }
        usage::of_file_system(&mount)
    }

    /// Allocates more of the file, or leaves it as it was.
    fn allocate(
        &self,
        name: &str,
        file: &File,
        path: &Path,
        from: u64,
        bytes: u64,
    ) -> Result<(), VolumeError> {
        let errno = match fallocate(file, FallocateFlags::empty(), from, bytes) {
            Ok(()) => return Ok(()),
            Err(errno) => errno,
        };
        file.set_len(from).map_err(VolumeError::io("cut", path))?;
        Err(match errno {
            Errno::NOSPC => self.no_room(name, bytes)?,
            Errno::OPNOTSUPP => VolumeError::NotAllocated { path: self.dir.clone() },
            errno => VolumeError::io("allocate", path)(errno),
        })
    }

    /// Whether so many more bytes can be allocated.
    fn check_room(&self, name: &str, bytes: u64) -> Result<(), VolumeError> {
        let space = self.space()?;
        let headroom = (space.total / 20).min(HEADROOM_MOST);
        if bytes.saturating_add(headroom) <= space.available {
            Ok(())
        } else {
            Err(self.no_room(name, bytes)?)
        }
    }

    fn no_room(&self, name: &str, needed: u64) -> Result<VolumeError, VolumeError> {
        let Space { total, available } = self.space()?;
        let headroom = (total / 20).min(HEADROOM_MOST);
        Ok(VolumeError::NoRoom {
            name: name.to_owned(),
            needed,
            available: available.saturating_sub(headroom),
            headroom,
            path: self.dir.clone(),
        })
    }
}

/// ext4 grows under its users for those alone who may go beyond limits (`ext4_resize_begin`): not for root in every
/// container.
fn unable(error: VolumeError) -> VolumeError {
    match error {
        VolumeError::Program { program, path, words } if words.contains("Permission denied") => {
            let words = format!("{words}: stead needs CAP_SYS_RESOURCE to grow an ext4 that is mounted");
            VolumeError::Program { program, path, words }
        }
        other => other,
    }
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE).max(PAGE)
}

/// Removes what an attempt to make a volume has left, when nothing was there before it.
pub(crate) fn remove_unfinished(folder: &Path) {
    for name in ["image.new", "volume.json", "volume.json.new"] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "{} of a volume that was not made stays", folder.join(name).display());
            }
            _ => {}
        }
    }
    for name in [MOUNT, DATA] {
        // Only what is empty goes.
        let _ = fs::remove_dir(folder.join(name));
    }
    let _ = fs::remove_dir(folder);
}
