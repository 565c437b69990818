//! Archives come in, names lead to images, and what nobody needs goes.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use images::{ImageStore, ImportError, StoreError};
use serde_json::json;

use crate::support::{Layout, Tar, TestImage, TestStore, blob_path, descriptor, digest, gzip, read, zstd};

fn import_bytes(store: &TestStore, bytes: &[u8]) -> Result<Vec<images::Image>, ImportError> {
    let path = store.dir.path().join("archive");
    fs::write(&path, bytes).unwrap();
    store.store.import(&path, &[])
}

#[test]
fn a_layout_is_imported_from_a_folder_and_from_archives() {
    let image = TestImage::small("postgres:14", "hello");
    let tar = image.layout().tar();
    for bytes in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let store = TestStore::new();
        let imported = import_bytes(&store, &bytes).unwrap();
        assert_eq!(imported[0].names, ["docker.io/library/postgres:14"]);
        assert_eq!(read(&imported[0].layers[0], "content"), "hello");
        assert_eq!(store.store.resolve("postgres:14").as_ref(), Some(&imported[0]));
    }
    let store = TestStore::new();
    assert_eq!(store.import(&image).unwrap().len(), 1);
}

#[test]
fn layers_may_be_compressed() {
    for compress in [gzip, zstd] {
        let store = TestStore::new();
        let image = TestImage::small("a", "hello").compressed(compress);
        let imported = store.import(&image).unwrap();
        assert_eq!(read(&imported[0].layers[0], "content"), "hello");
        assert_eq!(imported[0].size, image.layers[0].0.len() as u64);
    }
}

#[test]
fn an_archive_of_docker_save_is_imported() {
    let image = TestImage::new("app:v1", [Tar::new().file("a", "1"), Tar::new().file("b", "2")]);
    let store = TestStore::new();
    let imported = import_bytes(&store, &image.docker_archive().tar()).unwrap();
    assert_eq!(imported[0].names, ["docker.io/library/app:v1"]);
    assert_eq!(imported[0].id, digest(&image.config_file()));
    assert_eq!(read(&imported[0].layers[0], "a"), "1");
    assert_eq!(read(&imported[0].layers[1], "b"), "2");
}

#[test]
fn the_configuration_says_how_to_run_it() {
    let mut image = TestImage::small("a", "");
    image.config = json!({
        "Entrypoint": ["run"], "Cmd": null, "Env": ["A=1", "B=2"], "WorkingDir": "/w", "User": "app:app",
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGINT", "Labels": {"l": "v"},
    });
    let store = TestStore::new();
    let config = store.import(&image).unwrap().remove(0).config;
    assert_eq!(
        config,
        images::ImageConfig {
            entrypoint: vec!["run".into()],
            cmd: vec![],
            env: vec!["A=1".into(), "B=2".into()],
            working_dir: "/w".into(),
            user: "app:app".into(),
            exposed_ports: vec!["80/tcp".into()],
            volumes: vec!["/data".into()],
            stop_signal: Some("SIGINT".into()),
            labels: BTreeMap::from([("l".into(), "v".into())]),
        }
    );
}

#[test]
fn a_name_can_be_given_where_the_archive_has_none() {
    let store = TestStore::new();
    let mut layout = TestImage::small("x", "").layout();
    let index = String::from_utf8(layout.files["index.json"].clone()).unwrap();
    let index = index.replace("io.containerd.image.name", "nothing");
    layout.files.insert("index.json".into(), index.into_bytes());
    let folder = store.dir.path().join("folder");
    layout.write_folder(&folder);
    let shown = folder.display();
    let error = store.store.import(&folder, &[]).unwrap_err().to_string();
    assert_eq!(error, format!("{shown} does not say what its image is called: give a name"));
    let imported = store.store.import(&folder, &["a:1".into(), "b:2".into()]).unwrap();
    assert_eq!(imported[0].names, ["docker.io/library/a:1", "docker.io/library/b:2"]);
}

#[test]
fn what_is_no_image_is_refused() {
    let store = TestStore::new();
    let path = store.dir.path().join("archive");
    let shown = path.display().to_string();
    let refusal = |bytes: &[u8]| import_bytes(&store, bytes).unwrap_err().to_string();
    let not = format!("{shown} is neither an OCI layout nor an archive of docker save");
    assert_eq!(refusal(&Tar::new().file("hello", "").bytes()), not);
    assert_eq!(refusal(b"just some text"), not);
    assert_eq!(refusal("root:x:0:0:root:/root:/bin/bash\n".repeat(100).as_bytes()), not);
    let cut = TestImage::small("a", "a").layout().tar();
    assert!(refusal(&cut[..cut.len() / 2]).starts_with(&shown), "a part of an archive is told as such");
    let two = [&TestImage::small("a", "a"), &TestImage::small("b", "b")];
    fs::write(&path, Layout::of(&two).tar()).unwrap();
    let error = store.store.import(&path, &["c".into()]).unwrap_err().to_string();
    assert_eq!(error, format!("{shown} holds 2 images: a name can be given to one alone"));
}

#[test]
fn a_wrong_digest_is_refused() {
    let image = TestImage::small("a", "right");
    let wrong = Tar::new().file("content", "wrong").bytes();
    let mut layout = image.layout();
    layout.files.insert(blob_path(&image.layers[0].0), wrong.clone());
    let store = TestStore::new();
    let error = import_bytes(&store, &layout.tar()).unwrap_err().to_string();
    let layer = digest(&image.layers[0].0);
    let expected = format!("the digest of layer {layer} is wrong: it is {}", digest(&wrong));
    assert!(error.ends_with(&expected), "{error}");

    // The blob is what the manifest says; its content is not what the configuration says.
    let mut image = TestImage::small("a", "right");
    image.layers[0].0 = gzip(&wrong);
    let error = import_bytes(&store, &image.layout().tar()).unwrap_err().to_string();
    let expected = format!("the diff id of layer {layer} is wrong: it is {}", digest(&wrong));
    assert!(error.ends_with(&expected), "{error}");

    let mut layout = TestImage::small("a", "right").layout();
    let config = TestImage::small("a", "right").config_file();
    layout.files.insert(blob_path(&config), b"{}".to_vec());
    let error = import_bytes(&store, &layout.tar()).unwrap_err().to_string();
    assert!(error.contains(&format!("the digest of blob {} is wrong", digest(&config))), "{error}");
    assert_eq!((store.layer_count(), store.unfinished()), (0, 0));
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let mine = TestImage::small("a", "mine");
    let mut other = TestImage::small("a", "other");
    other.architecture = "riscv64";
    let entry = |image: &TestImage| {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &image.manifest());
        entry["platform"] = json!({"os": "linux", "architecture": image.architecture});
        entry
    };
    let layout = |images: &[&TestImage]| {
        let entries: Vec<_> = images.iter().map(|image| entry(image)).collect();
        let inner = json!({"schemaVersion": 2, "manifests": entries}).to_string().into_bytes();
        let mut outer = descriptor("application/vnd.oci.image.index.v1+json", &inner);
        outer["annotations"] = json!({"org.opencontainers.image.ref.name": "docker.io/library/a:1"});
        let mut layout = Layout::of(images);
        let index = json!({"schemaVersion": 2, "manifests": [outer]});
        layout.files.insert("index.json".into(), index.to_string().into_bytes());
        layout.files.insert(blob_path(&inner), inner.clone());
        (layout, digest(&inner))
    };
    let store = TestStore::new();
    let (both, index) = layout(&[&other, &mine]);
    let imported = import_bytes(&store, &both.tar()).unwrap().remove(0);
    assert_eq!(imported.names, ["docker.io/library/a:1"]);
    assert_eq!(read(&imported.layers[0], "content"), "mine");
    assert_eq!(imported.digest, index);
    assert_eq!(store.store.resolve(&format!("a@{index}")).unwrap().id, imported.id);
    assert_eq!(store.store.resolve(&format!("other@{index}")), None);

    let (none, _) = layout(&[&other]);
    let error = import_bytes(&store, &none.tar()).unwrap_err().to_string();
    let wanted = format!("there is no image for linux/{}, only for linux/riscv64", mine.architecture);
    assert!(error.ends_with(&wanted), "{error}");
}

#[test]
fn layers_are_shared_and_go_with_the_last_image_that_has_them() {
    let base = || Tar::new().file("base", "shared");
    let one = TestImage::new("one", [base(), Tar::new().file("one", "1")]);
    let two = TestImage::new("two", [base(), Tar::new().file("two", "2")]);
    let store = TestStore::new();
    store.import(&one).unwrap();
    store.import(&two).unwrap();
    assert_eq!(store.layer_count(), 3);
    let nothing = HashSet::new();
    assert_eq!(store.store.remove("one", &nothing).unwrap(), ["docker.io/library/one:latest"]);
    assert_eq!(store.layer_count(), 2);
    assert_eq!(store.store.resolve("one"), None);
    assert_eq!(read(&store.store.resolve("two").unwrap().layers[0], "base"), "shared");
    let id = store.store.resolve("two").unwrap().id;
    store.store.remove(&id, &nothing).unwrap();
    assert_eq!((store.layer_count(), store.unfinished()), (0, 0));
    assert!(matches!(store.store.remove("two", &nothing), Err(StoreError::NotFound(_))));
}

#[test]
fn what_containers_use_stays_until_they_are_gone() {
    let store = TestStore::new();
    let used = store.import(&TestImage::small("used", "u")).unwrap().remove(0);
    store.import(&TestImage::small("unused", "n")).unwrap();
    let in_use: HashSet<PathBuf> = used.layers.iter().cloned().collect();
    let pruned = store.store.prune(&in_use).unwrap();
    assert_eq!(pruned, images::Pruned { names: vec!["docker.io/library/unused:latest".into()], layers: 1 });
    assert!(store.store.resolve("used").is_some());
    // The name goes, the files stay below the running container, until it is gone too.
    store.store.remove("used", &in_use).unwrap();
    assert_eq!(read(&used.layers[0], "content"), "u");
    assert_eq!(store.store.prune(&HashSet::new()).unwrap().layers, 1);
    assert_eq!(store.layer_count(), 0);
}

#[test]
fn a_name_moves_to_another_image() {
    let store = TestStore::new();
    let old = store.import(&TestImage::small("a", "old")).unwrap().remove(0);
    let new = store.import(&TestImage::small("a", "new")).unwrap().remove(0);
    assert_ne!(old.id, new.id);
    assert_eq!(store.store.resolve("a").unwrap().id, new.id);
    assert_eq!(store.store.list().unwrap(), [new]);
    assert_eq!(store.store.prune(&HashSet::new()).unwrap().layers, 2);
}

#[test]
fn another_process_sees_what_was_imported() {
    let store = TestStore::new();
    let other = ImageStore::open(&store.dir.path().join("images")).unwrap();
    assert_eq!(other.resolve("a"), None);
    let image = store.import(&TestImage::small("a", "")).unwrap().remove(0);
    assert_eq!(other.resolve("a"), Some(image));
    other.remove("a", &HashSet::new()).unwrap();
    assert_eq!(store.store.resolve("a"), None);
}

#[test]
fn what_a_crash_left_is_removed_at_the_next_start() {
    let store = TestStore::new();
    let images = store.dir.path().join("images");
    fs::create_dir_all(images.join("tmp/half/root/etc")).unwrap();
    fs::write(images.join("tmp/.refs"), "{").unwrap();
    // Somebody is at work on this one.
    let busy = images.join("tmp/busy");
    fs::create_dir(&busy).unwrap();
    let lock = fs::File::open(&busy).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    ImageStore::open(&images).unwrap();
    let left: Vec<_> = fs::read_dir(images.join("tmp")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [busy]);
}

#[test]
fn an_image_whose_layer_is_missing_is_as_good_as_absent_until_it_comes_again() {
    let store = TestStore::new();
    let image = TestImage::small("a", "x");
    let imported = store.import(&image).unwrap().remove(0);
    fs::remove_dir_all(&imported.layers[0]).unwrap();
    assert_eq!(store.store.resolve("a"), None);
    store.import(&image).unwrap();
    assert_eq!(store.store.resolve("a"), Some(imported));
}
