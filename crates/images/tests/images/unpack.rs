//! What becomes of a layer's entries, and of those that mean harm.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::support::{Tar, TestImage, TestStore};

/// Imports one layer; the store must outlive the path.
fn unpack(tar: Tar) -> (TestStore, PathBuf) {
    let store = TestStore::new();
    let image = store.import(&TestImage::new("test", [tar])).unwrap().remove(0);
    let layer = image.layers[0].clone();
    (store, layer)
}

fn refusal(tar: Tar) -> String {
    let store = TestStore::new();
    let error = store.import(&TestImage::new("test", [tar])).unwrap_err().to_string();
    assert_eq!((store.layer_count(), store.unfinished()), (0, 0), "a refused layer leaves nothing");
    assert_eq!(store.store.resolve("test"), None);
    // The archive's path differs every time.
    error.split_once(": ").unwrap().1.to_owned()
}

fn meta(layer: &Path, name: &str) -> Metadata {
    fs::symlink_metadata(layer.join(name)).unwrap()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 64];
    let name = CString::new(name).unwrap();
    rustix::fs::lgetxattr(path, name.as_c_str(), &mut value).ok().map(|n| value[..n].to_vec())
}

fn is_opaque(path: &Path) -> bool {
    xattr(path, "trusted.overlay.opaque").as_deref() == Some(b"y")
}

#[test]
fn owners_modes_times_links_and_devices_arrive() {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (_store, layer) = unpack(
        Tar::new()
            .entry("tmp/", EntryType::Directory, "", |header| {
                header.set_mode(0o1777);
                header.set_mtime(77);
            })
            .entry("bin/su", EntryType::Regular, "su", |header| {
                header.set_mode(0o4755);
                header.set_uid(12);
                header.set_gid(34);
            })
            .link(EntryType::Link, "bin/also-su", "bin/su")
            .link(EntryType::Symlink, "bin/sh", "/bin/bash")
            .pax(&[("SCHILY.xattr.security.capability", &capability), ("mtime", b"1700000000.25")])
            .file("bin/ping", "ping")
            .entry("dev/null", EntryType::Char, "", |header| {
                header.set_device_major(1).unwrap();
                header.set_device_minor(3).unwrap();
            })
            .entry("run/pipe", EntryType::Fifo, "", |_| {})
            .file("tmp/inside", ""),
    );
    let tmp = meta(&layer, "tmp");
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 77));
    let su = meta(&layer, "bin/su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 12, 34, 1_000_000));
    assert_eq!(su.ino(), meta(&layer, "bin/also-su").ino());
    assert_eq!(fs::read_link(layer.join("bin/sh")).unwrap(), Path::new("/bin/bash"));
    let ping = meta(&layer, "bin/ping");
    assert_eq!((ping.mtime(), ping.mtime_nsec()), (1_700_000_000, 250_000_000));
    assert_eq!(xattr(&layer.join("bin/ping"), "security.capability").as_deref(), Some(&capability[..]));
    let null = meta(&layer, "dev/null");
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    assert!(meta(&layer, "run/pipe").file_type().is_fifo());
    assert_eq!(meta(&layer, "").mode() & 0o7777, 0o755);
}

#[test]
fn an_owner_that_is_left_out_is_root() {
    let (_store, layer) = unpack(Tar::new().entry("bin", EntryType::Directory, "", |header| {
        header.as_old_mut().uid = [0; 8];
        header.as_old_mut().gid = [0; 8];
    }));
    assert_eq!((meta(&layer, "bin").uid(), meta(&layer, "bin").gid()), (0, 0));
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    let (_store, layer) = unpack(
        Tar::new()
            .file("etc/.wh.gone", "")
            .directory("var/cache")
            .file("var/cache/.wh..wh..opq", "")
            .file(".wh..wh.plnk", ""),
    );
    let gone = meta(&layer, "etc/gone");
    assert!(gone.file_type().is_char_device());
    assert_eq!(gone.rdev(), 0);
    assert!(is_opaque(&layer.join("var/cache")));
    assert!(!is_opaque(&layer.join("etc")));
    let mut names: Vec<_> = fs::read_dir(&layer).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["etc", "var"]);
}

#[test]
fn a_directory_that_replaces_a_removed_one_hides_what_is_below() {
    let before = Tar::new().file(".wh.data", "").directory("data").file("data/new", "new");
    let after = Tar::new().directory("data").file("data/new", "new").file(".wh.data", "");
    for tar in [before, after] {
        let (_store, layer) = unpack(tar);
        assert!(is_opaque(&layer.join("data")));
        assert_eq!(fs::read_to_string(layer.join("data/new")).unwrap(), "new");
    }
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let (_store, layer) = unpack(
        Tar::new()
            .file("a", "first")
            .file("a", "second")
            .directory("b")
            .file("b/deep", "")
            .file("b", "now a file")
            .link(EntryType::Symlink, "c", "a")
            .file("c", "not through the link"),
    );
    assert_eq!(fs::read_to_string(layer.join("a")).unwrap(), "second");
    assert_eq!(fs::read_to_string(layer.join("b")).unwrap(), "now a file");
    assert_eq!(fs::read_to_string(layer.join("c")).unwrap(), "not through the link");
}

#[test]
fn links_in_parents_lead_as_after_a_chroot() {
    let (store, layer) = unpack(
        Tar::new()
            .directory("usr/lib")
            .link(EntryType::Symlink, "lib", "usr/lib")
            .file("lib/libc.so", "libc")
            .link(EntryType::Symlink, "out", "../../../../usr")
            .file("out/inside", "in")
            .link(EntryType::Symlink, "absolute", "/usr")
            .file("absolute/inside-too", "in")
            .file("/usr/rooted", "in"),
    );
    for name in ["usr/lib/libc.so", "usr/inside", "usr/inside-too", "usr/rooted"] {
        assert!(layer.join(name).is_file(), "{name}");
    }
    assert!(!store.dir.path().join("usr").exists());
}

#[test]
fn no_path_leads_out_of_the_image() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    // A link's target does not exist inside the image, so there is no parent to put the file in.
    let through_link =
        Tar::new().link(EntryType::Symlink, "out", target).file("out/owned", "not here, I hope");
    assert_eq!(refusal(through_link), "cannot unpack \"out/owned\": File exists (os error 17)");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    assert_eq!(
        refusal(Tar::new().file("a/../../b", "")),
        "the layer's entry \"a/../../b\" leads out of the image"
    );
    assert_eq!(
        refusal(Tar::new().file("a", "").link(EntryType::Link, "b", "../../../etc/passwd")),
        "the layer's entry \"b\" leads out of the image"
    );
    assert_eq!(
        refusal(Tar::new().link(EntryType::Link, "b", "/etc/passwd")),
        "cannot unpack \"b\": No such file or directory (os error 2)"
    );
    // A file over the root itself.
    assert_eq!(refusal(Tar::new().file(".", "x")), "the layer's entry \".\" leads out of the image");
    assert_eq!(
        refusal(Tar::new().file("x/.wh...", "")),
        "cannot unpack \"x/.wh...\": not the name of anything"
    );
}

#[test]
fn a_layer_cannot_set_overlayfs_marks_itself() {
    let (_store, layer) = unpack(
        Tar::new()
            .pax(&[
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc".as_slice()),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.note", b"fine"),
            ])
            .directory("data"),
    );
    let data = layer.join("data");
    assert_eq!(xattr(&data, "trusted.overlay.redirect"), None);
    assert_eq!(xattr(&data, "user.overlay.opaque"), None);
    assert_eq!(xattr(&data, "user.note").as_deref(), Some(b"fine".as_slice()));
}

#[test]
fn a_header_that_would_fill_the_memory_is_refused() {
    let long = "x".repeat(2 << 20);
    let tar = Tar::new().entry("name", EntryType::GNULongName, &long, |_| {}).file("a", "");
    let error = refusal(tar);
    assert_eq!(error, "cannot read the layer: a header of more than 1048576 bytes");
}

#[test]
fn an_archive_that_is_cut_off_is_refused() {
    let mut image = TestImage::new("test", [Tar::new().file("a", &"a".repeat(4000))]);
    let cut = image.layers[0].0[..2000].to_vec();
    image.layers[0] = (cut.clone(), cut);
    let store = TestStore::new();
    let error = store.import(&image).unwrap_err().to_string();
    assert!(error.contains("cannot read the layer: "), "{error}");
    assert_eq!((store.layer_count(), store.unfinished()), (0, 0));
}
