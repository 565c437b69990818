//! Volumes with mounts, in a mount namespace of the test's own.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::with_own_mounts;
use nix::mount::{MsFlags, mount};
use volumes::{
    EmptyDir, Medium, ProjectedFile, VolumeSpec, Volumes, set_up_empty_dir, set_up_projected, tear_down,
    unmount_below, write_projected,
};

fn bind(source: &Path, target: &Path) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn mounts_below(path: &Path) -> usize {
    let mountinfo = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    mountinfo.lines().filter(|line| line.contains(path.to_str().unwrap())).count()
}

fn persistent(dir: &Path) -> std::path::PathBuf {
    let volumes = Volumes::open(&dir.join("volumes")).unwrap();
    let data = volumes
        .provision(&VolumeSpec {
            name: "pvc-1".into(),
            capacity_bytes: 1,
            namespace: "default".into(),
            claim: "data-db-0".into(),
            ..VolumeSpec::default()
        })
        .unwrap();
    fs::write(data.join("row"), "precious").unwrap();
    data
}

fn memory(size_limit: Option<u64>) -> EmptyDir {
    EmptyDir { medium: Medium::Memory, size_limit }
}

#[test]
fn volumes_that_only_rest_keep_what_is_on_disk() {
    with_own_mounts(|dir| {
        let data = persistent(dir);
        let pod = dir.join("pods/uid/volumes");
        fs::create_dir_all(pod.join("data")).unwrap();
        bind(&data, &pod.join("data"));
        set_up_empty_dir(&pod.join("cache"), &EmptyDir { medium: Medium::Disk, size_limit: None }).unwrap();
        fs::write(pod.join("cache/file"), "kept").unwrap();
        unmount_below(&dir.join("pods")).unwrap();
        unmount_below(&dir.join("nothing")).unwrap();
        assert_eq!(mounts_below(&pod), 0);
        assert_eq!(fs::read_to_string(pod.join("cache/file")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "precious");
    });
}

#[test]
fn a_persistent_volume_mounted_into_a_pod_survives_the_pods_end() {
    with_own_mounts(|dir| {
        let data = persistent(dir);
        let pod = dir.join("pods/uid/volumes");
        let scratch = pod.join("scratch");
        set_up_empty_dir(&scratch, &EmptyDir::default()).unwrap();
        fs::create_dir_all(scratch.join("deep/inside")).unwrap();
        bind(&data, &scratch.join("deep/inside"));
        assert_eq!(fs::read_to_string(scratch.join("deep/inside/row")).unwrap(), "precious");
        tear_down(&scratch).unwrap();
        assert!(!scratch.exists());
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "precious");

        fs::create_dir(pod.join("itself")).unwrap();
        bind(&data, &pod.join("itself"));
        tear_down(&pod.join("itself")).unwrap();
        assert!(!pod.join("itself").exists());
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "precious");
        assert_eq!(mounts_below(dir), 0);
    });
}

#[test]
fn a_mount_in_the_trash_is_not_emptied() {
    with_own_mounts(|dir| {
        let data = persistent(dir);
        let precious = dir.join("precious");
        fs::create_dir_all(data.join("sub")).unwrap();
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("row"), "1").unwrap();
        let volumes = Volumes::open(&dir.join("volumes")).unwrap();
        let long_ago = std::time::UNIX_EPOCH;
        volumes.delete("pvc-1", long_ago).unwrap();
        let resting = dir.join("volumes/.trash/pvc-1@0/data/sub");
        bind(&precious, &resting);
        let removed = volumes.empty_trash(std::time::SystemTime::now(), std::time::Duration::ZERO).unwrap();
        assert_eq!(removed, [""; 0]);
        assert_eq!(fs::read_to_string(precious.join("row")).unwrap(), "1");
        assert!(resting.exists());
    });
}

#[test]
fn a_planted_link_leads_the_teardown_nowhere() {
    with_own_mounts(|dir| {
        let data = persistent(dir);
        let scratch = dir.join("pods/uid/volumes/scratch");
        set_up_empty_dir(&scratch, &EmptyDir::default()).unwrap();
        symlink("/", scratch.join("root")).unwrap();
        symlink(&data, scratch.join("data")).unwrap();
        symlink("..", scratch.join("up")).unwrap();
        tear_down(&scratch).unwrap();
        assert!(Path::new("/proc/self").exists());
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "precious");

        // The volume's own place became a link.
        symlink(&data, &scratch).unwrap();
        tear_down(&scratch).unwrap();
        assert!(!scratch.is_symlink());
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "precious");
    });
}

#[test]
fn an_empty_dir_is_for_any_user_and_stays_when_it_is_set_up_again() {
    with_own_mounts(|dir| {
        let scratch = dir.join("pods/uid/volumes/scratch");
        set_up_empty_dir(&scratch, &EmptyDir::default()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&scratch), 0o777);
        assert_eq!(mode(&dir.join("pods/uid")), 0o700);
        fs::write(scratch.join("a"), "1").unwrap();
        set_up_empty_dir(&scratch, &EmptyDir::default()).unwrap();
        assert_eq!(fs::read_to_string(scratch.join("a")).unwrap(), "1");
    });
}

#[test]
fn memory_is_limited_and_ends_with_the_volume() {
    with_own_mounts(|dir| {
        let shm = dir.join("pods/uid/volumes/sh m");
        set_up_empty_dir(&shm, &memory(Some(64 << 10))).unwrap();
        fs::write(shm.join("fits"), vec![0; 16 << 10]).unwrap();
        let full = fs::write(shm.join("too-much"), vec![0; 128 << 10]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        set_up_empty_dir(&shm, &memory(Some(64 << 10))).unwrap();
        assert!(shm.join("fits").exists(), "mounted once only");
        assert_eq!(mounts_below(dir), 1);
        tear_down(&shm).unwrap();
        tear_down(&shm).unwrap();
        assert_eq!((shm.exists(), mounts_below(dir)), (false, 0));
    });
}

#[test]
fn a_secret_is_in_memory_only() {
    with_own_mounts(|dir| {
        let secret = dir.join("pods/uid/volumes/secret");
        for text in ["one", "two"] {
            set_up_projected(&secret, Medium::Memory).unwrap();
            let file = ProjectedFile { path: "password".into(), bytes: text.into(), mode: 0o400 };
            write_projected(&secret, &[file], None).unwrap();
            assert_eq!(fs::read_to_string(secret.join("password")).unwrap(), text);
        }
        nix::mount::umount(&secret).unwrap();
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 0, "nothing on the disk below");
        tear_down(&secret).unwrap();
    });
}

#[test]
fn what_never_was_is_torn_down_too() {
    with_own_mounts(|dir| {
        tear_down(&dir.join("pods/uid/volumes/none")).unwrap();
        assert!(tear_down(Path::new("/")).is_err());
    });
}
