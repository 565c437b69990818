//! Volumes that are images: with real loop devices, in a mount namespace of the test's own, which takes along what is
//! mounted when the test fails.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::with_own_mounts;
use volumes::{Backing, FsType, VolumeError, VolumeSpec, Volumes};

const MIB: u64 = 1 << 20;

/// A folder of volumes, whose devices are given back whatever becomes of the test.
struct Disk {
    volumes: Volumes,
    dir: PathBuf,
}

impl Disk {
    fn at(dir: &Path) -> Self {
        Self { volumes: Volumes::open(&dir.join("volumes")).unwrap(), dir: dir.join("volumes") }
    }

    /// The devices of its images.
    fn devices(&self) -> Vec<String> {
        let all = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
        let file = |device: PathBuf| fs::read_to_string(device.join("loop/backing_file")).ok();
        all.filter_map(file).filter(|file| file.contains(self.dir.to_str().unwrap())).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let closed = self.volumes.close_all();
        if !std::thread::panicking() {
            closed.unwrap();
            assert_eq!(self.devices(), [""; 0], "no device stays");
        }
    }
}

/// Runs the test with a disk of its own.
fn with_disk(test: impl FnOnce(&Disk) + Send) {
    with_own_mounts(|dir| test(&Disk::at(dir)));
}

fn image(name: &str, mib: u64, fs_type: Option<FsType>) -> VolumeSpec {
    VolumeSpec {
        name: name.into(),
        capacity_bytes: mib * MIB,
        namespace: "default".into(),
        claim: "data-db-0".into(),
        backing: Backing::Image,
        fs_type,
        ..VolumeSpec::default()
    }
}

fn ext4(name: &str, mib: u64) -> VolumeSpec {
    image(name, mib, Some(FsType::Ext4))
}

fn available(path: &Path) -> u64 {
    let stat = nix::sys::statvfs::statvfs(path).unwrap();
    stat.blocks_available() * stat.fragment_size()
}

fn mounted_at(path: &Path) -> Option<String> {
    let mountinfo = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    mountinfo.lines().find(|line| line.contains(&format!(" {} ", path.display()))).map(str::to_owned)
}

/// Whether this process has CAP_SYS_RESOURCE (24), as root has outside of containers.
fn may_go_beyond_limits() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let caps = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(caps.trim(), 16).unwrap() & (1 << 24) != 0
}

/// Writes until the file system has no room left; answers how much it took.
fn fill(path: &Path) -> u64 {
    let mut file = File::create(path).unwrap();
    let block = vec![7; 1 << 20];
    let mut written = 0;
    loop {
        match file.write(&block) {
            Ok(bytes) => written += bytes as u64,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                return written;
            }
        }
    }
}

#[test]
fn a_full_image_takes_nothing_of_the_host() {
    with_disk(|disk| {
        let data = disk.volumes.provision(&ext4("pvc-1", 32)).unwrap();
        assert_eq!(data, disk.dir.join("pvc-1/mount/data"));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "databases want an empty folder");
        let file = fs::metadata(disk.dir.join("pvc-1/image")).unwrap();
        assert_eq!((file.len(), file.mode() & 0o7777), (32 * MIB, 0o600));
        assert!(file.blocks() * 512 >= 32 * MIB, "all of it is allocated");
        for closed in ["pvc-1", "pvc-1/mount"] {
            let mode = fs::metadata(disk.dir.join(closed)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{closed}");
        }
        let written = fill(&data.join("rows"));
        assert!((16 * MIB..=32 * MIB).contains(&written), "{written}");
        let blocks = fs::metadata(disk.dir.join("pvc-1/image")).unwrap().blocks();
        assert!(blocks <= file.blocks() + 64, "the host gave no more than before");
        let used = disk.volumes.used("pvc-1").unwrap().unwrap();
        assert!((written..=32 * MIB).contains(&used), "{used}");
    });
}

#[test]
fn after_a_reboot_an_image_is_mounted_again_where_it_was() {
    with_disk(|disk| {
        let data = disk.volumes.provision(&ext4("pvc-1", 16)).unwrap();
        fs::write(data.join("row"), "1").unwrap();
        disk.volumes.close_all().unwrap();
        assert_eq!(disk.devices(), [""; 0]);
        assert!(!data.exists(), "nobody writes to the host's disk meanwhile");
        assert_eq!(disk.volumes.used("pvc-1").unwrap(), None);
        assert_eq!(disk.volumes.path("pvc-1").unwrap(), data);
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "1");
        // Asked again, by somebody else: it is the same device.
        let other = Volumes::open(&disk.dir).unwrap();
        assert_eq!(other.path("pvc-1").unwrap(), data);
        assert_eq!(disk.devices().len(), 1);
    });
}

#[test]
fn an_image_whose_making_was_cut_short_is_begun_anew() {
    with_disk(|disk| {
        fs::create_dir(disk.dir.join("pvc-1")).unwrap();
        fs::write(disk.dir.join("pvc-1/image.new"), "half").unwrap();
        let data = disk.volumes.provision(&ext4("pvc-1", 16)).unwrap();
        assert!(data.is_dir() && !disk.dir.join("pvc-1/image.new").exists());
    });
}

#[test]
fn a_file_system_grows_while_it_is_used() {
    with_disk(|disk| {
        for (name, fs_type, before, after) in
            [("pvc-1", FsType::Ext4, 32, 96), ("pvc-2", FsType::Xfs, 300, 400)]
        {
            let data = disk.volumes.provision(&image(name, before, Some(fs_type))).unwrap();
            let mut open = File::create(data.join("row")).unwrap();
            let had = available(&data);
            disk.volumes.grow(name, after * MIB).unwrap();
            let grown = disk.volumes.grow_file_system(name);
            if fs_type == FsType::Ext4 && !may_go_beyond_limits() {
                // As in a container: then that is what is said.
                let refusal = grown.unwrap_err().to_string();
                assert!(
                    refusal.ends_with("needs CAP_SYS_RESOURCE to grow an ext4 that is mounted"),
                    "{refusal}"
                );
                continue;
            }
            grown.unwrap();
            let gained = available(&data) - had;
            assert!(gained > (after - before) * MIB * 8 / 10, "{name}: {gained}");
            open.write_all(b"still open").unwrap();
            open.sync_all().unwrap();
            // Done twice, as after a crash in between: nothing changes. Less is no wish to shrink.
            disk.volumes.grow(name, after * MIB).unwrap();
            disk.volumes.grow_file_system(name).unwrap();
            disk.volumes.grow(name, MIB).unwrap();
            assert_eq!(disk.volumes.list().unwrap().len(), if name == "pvc-1" { 1 } else { 2 });
            let spec = disk.volumes.list().unwrap().pop().unwrap().spec.unwrap();
            assert_eq!(spec.capacity_bytes, after * MIB);
        }
    });
}

#[test]
fn a_block_device_has_its_size_and_grows() {
    with_disk(|disk| {
        let path = disk.volumes.provision(&image("pvc-1", 8, None)).unwrap();
        assert_eq!(path, disk.dir.join("pvc-1/image"));
        let device = disk.volumes.device("pvc-1").unwrap();
        assert_eq!(disk.volumes.device("pvc-1").unwrap(), device, "one device for one image");
        let mut open = OpenOptions::new().read(true).write(true).open(&device).unwrap();
        assert_eq!(open.seek(io::SeekFrom::End(0)).unwrap(), 8 * MIB);
        disk.volumes.grow("pvc-1", 16 * MIB).unwrap();
        disk.volumes.grow_file_system("pvc-1").unwrap();
        let grown = OpenOptions::new().read(true).open(&device).unwrap().seek(io::SeekFrom::End(0)).unwrap();
        assert_eq!(grown, 16 * MIB);
        assert!(matches!(disk.volumes.path("pvc-1"), Err(VolumeError::Missing { .. })), "it has no files");
        // What was allocated stays so, whatever its user does with it.
        let discarded = std::process::Command::new("blkdiscard").arg(&device).output().unwrap();
        assert!(!discarded.status.success(), "{discarded:?}");
        assert!(fs::metadata(disk.dir.join("pvc-1/image")).unwrap().blocks() * 512 >= 16 * MIB);
    });
}

#[test]
fn an_image_in_use_is_not_deleted_and_comes_back_from_the_trash() {
    with_disk(|disk| {
        let data = disk.volumes.provision(&ext4("pvc-1", 16)).unwrap();
        let mut open = File::create(data.join("row")).unwrap();
        let refusal = disk.volumes.delete("pvc-1", SystemTime::now()).unwrap_err();
        assert!(matches!(refusal, VolumeError::InUse { .. }), "{refusal}");
        open.write_all(b"1").unwrap();
        drop(open);
        assert!(disk.volumes.delete("pvc-1", SystemTime::now()).unwrap());
        assert_eq!(disk.devices(), [""; 0]);
        assert!(disk.volumes.used_in_trash(&disk.volumes.trash().unwrap()[0]) >= 16 * MIB);
        disk.volumes.undelete("pvc-1").unwrap();
        assert_eq!(fs::read_to_string(disk.volumes.path("pvc-1").unwrap().join("row")).unwrap(), "1");
    });
}

#[test]
fn mount_options_reach_the_file_system_and_wrong_ones_are_told() {
    with_disk(|disk| {
        let options = vec!["noatime".to_owned(), "commit=17".to_owned()];
        let data =
            disk.volumes.provision(&VolumeSpec { mount_options: options, ..ext4("pvc-1", 16) }).unwrap();
        let mounted = mounted_at(data.parent().unwrap()).unwrap();
        assert!(mounted.contains("noatime") && mounted.contains("commit=17"), "{mounted}");
        let wrong = VolumeSpec { mount_options: vec!["colour=red".into()], ..ext4("pvc-2", 16) };
        let refusal = disk.volumes.provision(&wrong).unwrap_err().to_string();
        assert!(
            refusal.starts_with("cannot mount the ext4 of volume pvc-2 with options \"colour=red\":"),
            "{refusal}"
        );
    });
}

#[test]
fn a_full_disk_refuses_volumes_and_keeps_nothing_of_them() {
    with_disk(|outer| {
        let small = outer.volumes.provision(&ext4("pvc-0", 64)).unwrap();
        let disk = Disk::at(&small);
        let refusal = disk.volumes.provision(&ext4("pvc-1", 53)).unwrap_err().to_string();
        assert!(refusal.starts_with("volume pvc-1 needs 55574528 bytes more, and "), "{refusal}");
        assert!(refusal.ends_with("stay free for the machine): make room, or ask for less"), "{refusal}");
        disk.volumes.provision(&ext4("pvc-2", 16)).unwrap();
        let refusal = disk.volumes.grow("pvc-2", 53 * MIB).unwrap_err().to_string();
        assert!(refusal.starts_with("volume pvc-2 needs 38797312 bytes more"), "{refusal}");
        assert_eq!(fs::metadata(disk.dir.join("pvc-2/image")).unwrap().len(), 16 * MIB);
        fill(&small.join("rest"));
        // The file system keeps a little for folders that it has to make; then that is full, too.
        let refused = (3..5000).find_map(|n| {
            let spec =
                VolumeSpec { backing: Backing::Directory, fs_type: None, ..ext4(&format!("pvc-{n}"), 1) };
            disk.volumes.provision(&spec).err().map(|refusal| (spec.name, refusal))
        });
        let (name, refusal) = refused.expect("a full disk");
        assert!(matches!(refusal, VolumeError::Io { .. }), "{refusal}");
        assert!(
            disk.volumes.list().unwrap().iter().all(|volume| volume.name != name),
            "nothing stays of {name}"
        );
        // What has its room has it still.
        let data = disk.volumes.path("pvc-2").unwrap();
        let mut row = File::create(data.join("row")).unwrap();
        row.write_all(&vec![1; 8 << 20]).unwrap();
        row.sync_all().unwrap();
    });
}

#[test]
fn a_volume_is_not_there_before_a_failing_disk_has_it() {
    with_disk(|outer| {
        // What images are not: a sparse file, on a disk that others fill. Its file system takes on what it cannot keep.
        let small = outer.volumes.provision(&ext4("pvc-0", 32)).unwrap();
        let sparse = small.join("sparse");
        File::create(&sparse).unwrap().set_len(64 * MIB).unwrap();
        run("mkfs.ext4", &["-q", "-F"], &[&sparse]);
        let failing = small.join("failing");
        fs::create_dir(&failing).unwrap();
        run("mount", &["-o", "loop"], &[&sparse, &failing]);
        let disk = Disk::at(&failing);
        fill(&small.join("rest"));
        let folder = |n: u32| VolumeSpec {
            backing: Backing::Directory,
            fs_type: None,
            ..ext4(&format!("pvc-{n}"), 1)
        };
        // Few writes are sure to need a new block; none is told as done that was not.
        let refusal = (1..1000).find_map(|n| disk.volumes.provision(&folder(n)).err());
        let refusal = refusal.expect("an I/O error");
        assert!(matches!(refusal, VolumeError::Io { .. }), "{refusal}");
    });
}

fn run(program: &str, args: &[&str], paths: &[&Path]) {
    let output = std::process::Command::new(program).args(args).args(paths).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}
