//! Writes an OCI image layout (image specification, `image-layout.md`) as one tar archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::recipe::Config;

/// An archive being written.
pub(crate) struct Layout {
    tar: tar::Builder<BufWriter<File>>,
    blobs: BTreeSet<String>,
    manifests: Vec<Value>,
}

/// A layer that is in the archive: uncompressed, so its digest is also that of its content.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    digest: String,
    size: u64,
}

impl Layout {
    /// Starts an archive, in place of what is at the path.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let tar = tar::Builder::new(BufWriter::new(File::create(path)?));
        let mut layout = Self { tar, blobs: BTreeSet::new(), manifests: Vec::new() };
        layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(layout)
    }

    /// Adds a layer from its tar archive.
    pub(crate) fn layer(&mut self, mut content: impl Read + Seek) -> Result<Layer> {
        let mut hash = Sha256::new();
        let size = io::copy(&mut content, &mut hash)?;
        let digest = hex::encode(hash.finalize());
        content.seek(SeekFrom::Start(0))?;
        if self.blobs.insert(digest.clone()) {
            let mut header = header(size);
            self.tar.append_data(&mut header, format!("blobs/sha256/{digest}"), content)?;
        }
        Ok(Layer { digest: format!("sha256:{digest}"), size })
    }

    /// Adds an image under a full name.
    pub(crate) fn image(&mut self, name: &str, config: &Config, note: &str, layers: &[Layer]) -> Result<()> {
        let object = |keys: &[String]| -> Value { keys.iter().map(|key| (key.clone(), json!({}))).collect() };
        let env: Vec<_> = config.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": config.entrypoint,
                "Cmd": config.cmd,
                "Env": env,
                "Volumes": object(&config.volumes),
                "ExposedPorts": object(&config.ports),
                "StopSignal": config.stop_signal.clone().unwrap_or_default(),
                "Labels": {"dev.stead.image.note": note.trim_end()},
            },
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| &l.digest).collect::<Vec<_>>()},
        });
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", &layer.digest, layer.size))
            .collect();
        let config = self.document("application/vnd.oci.image.config.v1+json", &config)?;
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        let mut entry = self.document(media_type, &manifest)?;
        entry["annotations"] = json!({"io.containerd.image.name": name});
        self.manifests.push(entry);
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<()> {
        let manifests = std::mem::take(&mut self.manifests);
        self.file("index.json", json!({"schemaVersion": 2, "manifests": manifests}).to_string().as_bytes())?;
        let file = self.tar.into_inner()?.into_inner()?;
        Ok(file.sync_all()?)
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Result<Value> {
        let bytes = document.to_string().into_bytes();
        let digest = hex::encode(Sha256::digest(&bytes));
        if self.blobs.insert(digest.clone()) {
            self.file(&format!("blobs/sha256/{digest}"), &bytes)?;
        }
        Ok(descriptor(media_type, &format!("sha256:{digest}"), bytes.len() as u64))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.tar.append_data(&mut header(bytes.len() as u64), name, bytes)?)
    }
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(0o644);
    header.set_mtime(super::root::EPOCH);
    header
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Adds a file or folder to a layer: owned by root, its time fixed.
pub(crate) fn append<W: Write>(tar: &mut tar::Builder<W>, path: &Path, name: &Path, mode: u32) -> Result<()> {
    let mut header = header(0);
    header.set_mode(mode);
    if path.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        return Ok(tar.append_data(&mut header, name, io::empty())?);
    }
    let file = File::open(path)?;
    header.set_size(file.metadata()?.len());
    Ok(tar.append_data(&mut header, name, file)?)
}

/// Adds a symbolic link to a layer.
pub(crate) fn append_link<W: Write>(tar: &mut tar::Builder<W>, name: &str, target: &str) -> Result<()> {
    let mut header = header(0);
    header.set_mode(0o777);
    header.set_entry_type(tar::EntryType::Symlink);
    Ok(tar.append_link(&mut header, name, target)?)
}
