//! Users are looked up in what overlayfs would show of the layers.

use images::{UserIds, resolve_user};
use tar::EntryType;

use crate::support::{Tar, TestImage, TestStore};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:998::/:/bin/sh\nbroken\n";
const GROUP: &str = "root:x:0:\npostgres:x:998:\nssl-cert:x:101:postgres,other\nadm:x:4:postgres\n";

fn resolve(layers: impl IntoIterator<Item = Tar>, spec: &str) -> Result<UserIds, String> {
    let store = TestStore::new();
    let image = store.import(&TestImage::new("a", layers)).unwrap().remove(0);
    resolve_user(&image, spec).map_err(|error| error.to_string())
}

fn base() -> Tar {
    Tar::new().file("etc/passwd", PASSWD).file("etc/group", GROUP)
}

fn ids(uid: u32, gid: u32, additional_gids: &[u32]) -> Result<UserIds, String> {
    Ok(UserIds { uid, gid, additional_gids: additional_gids.to_vec() })
}

#[test]
fn users_are_found_by_name_and_number() {
    for (spec, expected) in [
        ("", ids(0, 0, &[])),
        ("postgres", ids(999, 998, &[4, 101])),
        ("999", ids(999, 998, &[4, 101])),
        ("1000", ids(1000, 0, &[])),
        ("1000:2000", ids(1000, 2000, &[])),
        ("postgres:adm", ids(999, 4, &[])),
        ("root:ssl-cert", ids(0, 101, &[])),
        (":adm", ids(0, 4, &[])),
        ("nobody", Err("the image has no user \"nobody\" in /etc/passwd".into())),
        ("root:wheel", Err("the image has no group \"wheel\" in /etc/group".into())),
        ("4294967295", Err("4294967295 is not a user's or group's number: they go up to 2147483647".into())),
    ] {
        assert_eq!(resolve([base()], spec), expected, "{spec:?}");
    }
}

#[test]
fn an_image_without_files_knows_numbers_only() {
    let empty = || Tar::new().directory("bin");
    assert_eq!(resolve([empty()], ""), ids(0, 0, &[]));
    assert_eq!(resolve([empty()], "5:6"), ids(5, 6, &[]));
    assert!(resolve([empty()], "root").is_err());
}

#[test]
fn the_topmost_layer_wins() {
    let upper = Tar::new().file("etc/passwd", "postgres:x:70:71::/:/bin/sh\n");
    // The groups below are still there.
    assert_eq!(resolve([base(), upper], "postgres"), ids(70, 71, &[4, 101]));
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let hidden = [
        Tar::new().file("etc/.wh.passwd", ""),
        Tar::new().file(".wh.etc", ""),
        Tar::new().file("etc/.wh..wh..opq", ""),
        Tar::new().file("etc", "a file now"),
    ];
    for upper in hidden {
        assert!(resolve([base(), upper], "postgres").is_err());
    }
}

#[test]
fn links_stay_inside_the_image() {
    let linked = Tar::new()
        .file("store/1/passwd", "app:x:7:8::/:/bin/sh\n")
        .link(EntryType::Symlink, "current", "../../store/1")
        .link(EntryType::Symlink, "etc/passwd", "/current/passwd");
    assert_eq!(resolve([linked], "app"), ids(7, 8, &[]));
    let looping = Tar::new().link(EntryType::Symlink, "etc/passwd", "passwd");
    assert!(resolve([looping], "app").is_err());
    // The machine's own /etc/passwd has a root, the image has none.
    let out = Tar::new().link(EntryType::Symlink, "etc/passwd", "../../../../../../etc/passwd");
    assert!(resolve([out], "root").is_err());
}
