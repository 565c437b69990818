//! Made-up images.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use images::{Image, ImageStore};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

/// A store in a directory of its own, which goes with it.
pub(crate) struct TestStore {
    pub(crate) store: Arc<ImageStore>,
    pub(crate) dir: tempfile::TempDir,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: ImageStore::open(&dir.path().join("images")).unwrap(), dir }
    }

    /// Imports an image by way of a layout folder.
    pub(crate) fn import(&self, image: &TestImage) -> Result<Vec<Image>, images::ImportError> {
        let folder = tempfile::tempdir().unwrap();
        image.layout().write_folder(folder.path());
        self.store.import(folder.path(), &[])
    }

    /// The layers on the disk.
    pub(crate) fn layer_count(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("images/layers/sha256")).unwrap().count()
    }

    /// What is being worked on, or was left behind.
    pub(crate) fn unfinished(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("images/tmp")).unwrap().count()
    }
}

/// A layer's tar archive, being written.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.entry(path, EntryType::Regular, content, |_| {})
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, "", |header| header.set_mode(0o755))
    }

    pub(crate) fn link(self, kind: EntryType, path: &str, target: &str) -> Self {
        self.entry(path, kind, "", |header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        })
    }

    /// Any entry, under any path: what a builder would never write included.
    pub(crate) fn entry(
        mut self,
        path: &str,
        kind: EntryType,
        content: &str,
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, content.as_bytes()).unwrap();
        self
    }

    /// Extensions for the entry that follows.
    pub(crate) fn pax(mut self, extensions: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(extensions.iter().copied()).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// An image to be.
pub(crate) struct TestImage {
    pub(crate) name: String,
    /// As they travel, and uncompressed.
    pub(crate) layers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) config: Value,
    pub(crate) architecture: &'static str,
}

impl TestImage {
    pub(crate) fn new(name: &str, layers: impl IntoIterator<Item = Tar>) -> Self {
        let layers = layers.into_iter().map(Tar::bytes).map(|tar| (tar.clone(), tar)).collect();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self { name: name.to_owned(), layers, config: json!({}), architecture }
    }

    /// An image of one layer with one file.
    pub(crate) fn small(name: &str, content: &str) -> Self {
        Self::new(name, [Tar::new().file("content", content)])
    }

    pub(crate) fn compressed(mut self, compress: fn(&[u8]) -> Vec<u8>) -> Self {
        for (travels, plain) in &mut self.layers {
            *travels = compress(plain);
        }
        self
    }

    pub(crate) fn config_file(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|(_, plain)| digest(plain)).collect();
        let file = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        file.to_string().into_bytes()
    }

    pub(crate) fn manifest(&self) -> Vec<u8> {
        let config = self.config_file();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|(travels, _)| descriptor("application/vnd.oci.image.layer.v1.tar", travels))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        });
        manifest.to_string().into_bytes()
    }

    /// Every blob but the manifest.
    pub(crate) fn blobs(&self) -> Vec<Vec<u8>> {
        let mut blobs: Vec<_> = self.layers.iter().map(|(travels, _)| travels.clone()).collect();
        blobs.push(self.config_file());
        blobs
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::of(&[self])
    }

    /// The older archive of `docker save`: its second and further layers as links, when they are equal.
    pub(crate) fn docker_archive(&self) -> Layout {
        let config = self.config_file();
        let config_name = format!("{}.json", &digest(&config)["sha256:".len()..]);
        let mut files = BTreeMap::from([(config_name.clone(), config)]);
        let mut layers = Vec::new();
        for (number, (_, plain)) in self.layers.iter().enumerate() {
            let name = format!("{number}/layer.tar");
            files.insert(name.clone(), plain.clone());
            layers.push(name);
        }
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": layers}]);
        files.insert("manifest.json".into(), manifest.to_string().into_bytes());
        Layout { files }
    }
}

/// Files that make an archive.
pub(crate) struct Layout {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    pub(crate) fn of(images: &[&TestImage]) -> Self {
        let mut files = BTreeMap::new();
        let mut manifests = Vec::new();
        for image in images {
            let manifest = image.manifest();
            let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            entry["annotations"] = json!({"io.containerd.image.name": image.name});
            manifests.push(entry);
            for blob in image.blobs().into_iter().chain([manifest]) {
                files.insert(blob_path(&blob), blob);
            }
        }
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        files.insert("index.json".into(), index.to_string().into_bytes());
        files.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        Self { files }
    }

    pub(crate) fn write_folder(&self, folder: &Path) {
        for (name, content) in &self.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in &self.files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", &digest(bytes)["sha256:".len()..])
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// A file of a layer.
pub(crate) fn read(layer: &Path, name: &str) -> String {
    let mut content = String::new();
    std::fs::File::open(layer.join(name)).unwrap().read_to_string(&mut content).unwrap();
    content
}
