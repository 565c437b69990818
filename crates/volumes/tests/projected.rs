//! Projected volumes as a program in a pod sees them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use volumes::{Medium, ProjectedFile, VolumeError, set_up_projected, tear_down, write_projected};

fn file(path: &str, text: &str) -> ProjectedFile {
    ProjectedFile { path: path.into(), bytes: text.into(), mode: 0o644 }
}

fn volume() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("config");
    set_up_projected(&volume, Medium::Disk).unwrap();
    (dir, volume)
}

/// What the pod sees at the top, and where it leads.
fn top(volume: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(volume)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_str().unwrap().starts_with("..2"))
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned();
            let target = if target.starts_with("..2") { "..<time>".into() } else { target };
            format!("{} -> {target}", entry.file_name().to_str().unwrap())
        })
        .collect();
    names.sort();
    names
}

fn timed_folders(volume: &Path) -> usize {
    let entries = fs::read_dir(volume).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("..2")).count()
}

#[test]
fn files_are_seen_through_the_data_link() {
    let (_dir, volume) = volume();
    let key = ProjectedFile { mode: 0o400, ..file("tls/server.key", "secret") };
    assert!(write_projected(&volume, &[file("app.conf", "a=1"), key], None).unwrap());
    assert_eq!(top(&volume), ["..data -> ..<time>", "app.conf -> ..data/app.conf", "tls -> ..data/tls"]);
    assert_eq!(fs::read_to_string(volume.join("app.conf")).unwrap(), "a=1");
    assert_eq!(fs::read_to_string(volume.join("tls/server.key")).unwrap(), "secret");
    assert_eq!(fs::metadata(volume.join("tls/server.key")).unwrap().mode() & 0o7777, 0o400);
    assert_eq!(fs::metadata(volume.join("..data")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_change_replaces_everything_in_one_step() {
    let (_dir, volume) = volume();
    write_projected(&volume, &[file("a", "1"), file("b", "1"), file("gone/x", "1")], None).unwrap();
    let before = fs::read_link(volume.join("..data")).unwrap();
    assert!(write_projected(&volume, &[file("a", "2"), file("b", "1"), file("new", "2")], None).unwrap());
    assert_ne!(fs::read_link(volume.join("..data")).unwrap(), before);
    assert_eq!(top(&volume), ["..data -> ..<time>", "a -> ..data/a", "b -> ..data/b", "new -> ..data/new"]);
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "2");
    assert_eq!(timed_folders(&volume), 1, "the old one is gone");
}

#[test]
fn the_same_files_change_nothing() {
    let (_dir, volume) = volume();
    let files = [file("a", "1"), file("d/b", "2")];
    assert!(write_projected(&volume, &files, None).unwrap());
    let before = fs::read_link(volume.join("..data")).unwrap();
    assert!(!write_projected(&volume, &files, None).unwrap());
    assert_eq!(fs::read_link(volume.join("..data")).unwrap(), before);
    for other in [
        vec![file("a", "1")],
        vec![file("a", "1"), file("d/b", "other")],
        vec![file("a", "1"), ProjectedFile { mode: 0o600, ..file("d/b", "other") }],
    ] {
        assert!(write_projected(&volume, &other, None).unwrap(), "{other:?}");
    }
}

#[test]
fn an_empty_volume_has_only_its_data_link() {
    let (_dir, volume) = volume();
    assert!(write_projected(&volume, &[], None).unwrap());
    assert!(!write_projected(&volume, &[], None).unwrap());
    assert_eq!(top(&volume), ["..data -> ..<time>"]);
}

#[test]
fn an_interrupted_change_is_made_again() {
    let (_dir, volume) = volume();
    write_projected(&volume, &[file("a", "1")], None).unwrap();
    // As stead leaves it when it is killed before the rename, and after it but before the links.
    std::os::unix::fs::symlink("..2001_01_01_00_00_00.0", volume.join("..data_tmp")).unwrap();
    fs::remove_file(volume.join("a")).unwrap();
    assert!(!write_projected(&volume, &[file("a", "1")], None).unwrap());
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "1");
    assert!(write_projected(&volume, &[file("a", "2")], None).unwrap());
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "2");
}

#[test]
fn paths_that_leave_the_volume_are_refused_and_nothing_changes() {
    let (dir, volume) = volume();
    write_projected(&volume, &[file("a", "1")], None).unwrap();
    for path in ["", "/etc/passwd", "../x", "a/../../x", "..data", "..x/y", "a//b", "./a", "x\0y"] {
        let refused = write_projected(&volume, &[file(path, "2")], None);
        assert!(matches!(refused, Err(VolumeError::ProjectedPath { .. })), "{path:?}");
    }
    let clash = write_projected(&volume, &[file("a", "2"), file("a/b", "2")], None).unwrap_err();
    assert_eq!(clash.to_string(), "path \"a\" is a file and also a folder of another file");
    assert_eq!(top(&volume), ["..data -> ..<time>", "a -> ..data/a"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_data_link_that_leads_away_is_replaced_and_what_it_led_to_stays() {
    let (dir, volume) = volume();
    let precious = dir.path().join("precious");
    fs::create_dir(&precious).unwrap();
    for target in ["../precious", precious.to_str().unwrap(), "..", "."] {
        let _ = fs::remove_file(volume.join("..data"));
        std::os::unix::fs::symlink(target, volume.join("..data")).unwrap();
        assert!(write_projected(&volume, &[file("a", target)], None).unwrap());
        assert!(precious.exists(), "{target}");
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), target);
    }
}

#[test]
fn a_group_may_read_the_files() {
    let (_dir, volume) = volume();
    let key = ProjectedFile { mode: 0o400, ..file("key", "secret") };
    assert!(write_projected(&volume, std::slice::from_ref(&key), Some(4242)).unwrap());
    let seen = fs::metadata(volume.join("key")).unwrap();
    assert_eq!((seen.gid(), seen.mode() & 0o7777), (4242, 0o440));
    assert!(!write_projected(&volume, &[key], Some(4242)).unwrap());
}

#[test]
fn a_volume_ends_with_all_that_is_in_it() {
    let (dir, volume) = volume();
    write_projected(&volume, &[file("a", "1"), file("d/b", "2")], None).unwrap();
    tear_down(&volume).unwrap();
    tear_down(&volume).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
