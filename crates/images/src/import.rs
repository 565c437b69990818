//! Images out of archives: OCI layouts (image specification, `image-layout.md`) and what `docker save` writes.

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::Image;
use crate::archive::Archive;
use crate::digest::Digest;
use crate::layers::Expected;
use crate::manifest::{
    Configuration, Descriptor, Document, Index, MAX_DOCUMENT, Manifest, ManifestError, json,
};
use crate::reference::{Reference, ReferenceError};
use crate::store::{ImageStore, StoreError};

/// containerd's and docker's annotation: the full name.
const FULL_NAME: &str = "io.containerd.image.name";
/// The OCI's annotation: a full name, or only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Another process may prune a layer just unpacked; it will hardly do so again.
const MAX_TRIES: usize = 3;

/// Why an archive could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Read {
        /// The archive.
        path: String,
        /// What went wrong.
        why: io::Error,
    },
    /// It is something else.
    #[error("{path} is neither an OCI layout nor an archive of docker save")]
    NotAnArchive {
        /// The archive.
        path: String,
    },
    /// It holds no name for its image, and none was given.
    #[error("{path} does not say what its image is called: give a name")]
    NoName {
        /// The archive.
        path: String,
    },
    /// Names were given, but for which of the images?
    #[error("{path} holds {count} images: a name can be given to one alone")]
    ManyImages {
        /// The archive.
        path: String,
        /// How many there are.
        count: usize,
    },
    /// A name cannot be understood.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// What is in it does not fit together, or a digest is wrong.
    #[error("{path}: {why}")]
    Image {
        /// The archive.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image found in an archive.
struct Candidate {
    manifest: Vec<u8>,
    config: Vec<u8>,
    index: Option<Digest>,
    names: Vec<String>,
    layers: Vec<Layer>,
}

struct Layer {
    file: String,
    diff_id: Digest,
    expected: Option<Expected>,
}

/// One image of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Inside, before the archive's path is put to it.
enum Fault {
    Io(io::Error),
    Manifest(ManifestError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ManifestError> for Fault {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

impl ImageStore {
    /// Imports all images of an OCI layout or a `docker save` archive: a folder, or tar, plain or compressed by
    /// gzip or zstd. With `names`, its one image gets these instead of its own. Blocks.
    pub fn import(&self, path: &Path, names: &[String]) -> Result<Vec<Image>, ImportError> {
        let shown = || path.display().to_string();
        let read = |why| ImportError::Read { path: shown(), why };
        let archive = Archive::open(path, self.layers.tmp()).map_err(read)?;
        let mut candidates = if archive.has("index.json") {
            oci(&archive)
        } else if archive.has("manifest.json") {
            docker(&archive)
        } else {
            return Err(ImportError::NotAnArchive { path: shown() });
        }
        .map_err(|fault| match fault {
            Fault::Io(why) => ImportError::Image { path: shown(), why: why.to_string() },
            Fault::Manifest(why) => ImportError::Image { path: shown(), why: why.to_string() },
        })?;
        if !names.is_empty() {
            match candidates.as_mut_slice() {
                [only] => only.names = names.to_vec(),
                many => return Err(ImportError::ManyImages { path: shown(), count: many.len() }),
            }
        }
        candidates.iter().map(|candidate| self.take(path, &archive, candidate)).collect()
    }

    fn take(&self, path: &Path, archive: &Archive, candidate: &Candidate) -> Result<Image, ImportError> {
        let shown = || path.display().to_string();
        let names = candidate.names.iter().map(|name| Reference::parse(name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(ImportError::NoName { path: shown() });
        }
        let mut tries = 1;
        loop {
            for layer in &candidate.layers {
                let (reader, _) = archive
                    .reader(&layer.file)
                    .map_err(|why| ImportError::Image { path: shown(), why: why.to_string() })?;
                self.layers
                    .put(&layer.diff_id, layer.expected.as_ref(), reader)
                    .map_err(|why| ImportError::Image { path: shown(), why: why.to_string() })?;
            }
            match self.commit(&names, &candidate.manifest, &candidate.config, candidate.index.as_ref(), true)
            {
                Err(StoreError::LayerGone(_)) if tries < MAX_TRIES => tries += 1,
                other => return Ok(other?),
            }
        }
    }
}

fn oci(archive: &Archive) -> Result<Vec<Candidate>, Fault> {
    let index = archive.read("index.json", MAX_DOCUMENT)?;
    let index: Index = json(&index, "index")?;
    let mut candidates = Vec::new();
    let mut other_platform = None;
    for entry in &index.manifests {
        // One image for several platforms may be listed flat: each entry is then one platform's.
        let alone = Index { manifests: vec![entry.clone()] };
        match alone.choose() {
            Ok(entry) => candidates.extend(oci_image(archive, entry)?),
            Err(error) => other_platform = Some(error),
        }
    }
    if candidates.is_empty() {
        return Err(other_platform.unwrap_or(ManifestError::NotAnImage("empty".into())).into());
    }
    if candidates.iter().any(|candidate| candidate.names.is_empty()) {
        name_as_docker(archive, &mut candidates)?;
    }
    Ok(candidates)
}

/// The image of one entry; `None` when it is a signature or the like.
fn oci_image(archive: &Archive, entry: &Descriptor) -> Result<Option<Candidate>, Fault> {
    let mut names = Vec::new();
    if let Some(name) = entry.annotations.get(FULL_NAME) {
        names.push(name.clone());
    } else if let Some(name) = entry.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':'])) {
        names.push(name.clone());
    }
    let mut bytes = blob(archive, &entry.digest)?;
    let mut index = None;
    let manifest = match Document::parse(&bytes) {
        Ok(Document::Manifest(manifest)) => *manifest,
        Ok(Document::Index(list)) => {
            index = Some(entry.digest.clone());
            bytes = blob(archive, &list.choose()?.digest)?;
            Manifest::parse(&bytes)?
        }
        Err(ManifestError::NotAnImage(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let config = blob(archive, &manifest.config.digest)?;
    let diff_ids = match Configuration::parse(&config, &manifest) {
        Ok(configuration) => configuration.diff_ids,
        Err(ManifestError::NotAnImage(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let layers = manifest.layers.iter().zip(diff_ids).map(|(layer, diff_id)| Layer {
        file: blob_path(&layer.digest),
        diff_id,
        expected: Some(Expected { digest: layer.digest.clone(), size: layer.size }),
    });
    Ok(Some(Candidate { layers: layers.collect(), manifest: bytes, config, index, names }))
}

/// docker writes both kinds of list into one archive, and names in either.
fn name_as_docker(archive: &Archive, candidates: &mut [Candidate]) -> Result<(), Fault> {
    if !archive.has("manifest.json") {
        return Ok(());
    }
    let images: Vec<DockerImage> = json(&archive.read("manifest.json", MAX_DOCUMENT)?, "manifest")?;
    for candidate in candidates.iter_mut().filter(|candidate| candidate.names.is_empty()) {
        let config = blob_path(&Digest::of(&candidate.config));
        let image = images.iter().find(|image| image.config == config);
        candidate.names = image.and_then(|image| image.repo_tags.clone()).unwrap_or_default();
    }
    Ok(())
}

fn docker(archive: &Archive) -> Result<Vec<Candidate>, Fault> {
    let images: Vec<DockerImage> = json(&archive.read("manifest.json", MAX_DOCUMENT)?, "manifest")?;
    let image = |image: DockerImage| {
        let config = archive.read(&image.config, MAX_DOCUMENT)?;
        let diff_ids = Configuration::diff_ids(&config)?;
        let (layers, wanted) = (image.layers.len(), diff_ids.len());
        if layers != wanted {
            return Err(ManifestError::LayerCount { layers, diff_ids: wanted }.into());
        }
        let layers = image.layers.into_iter().zip(diff_ids);
        let layers: Vec<Layer> =
            layers.map(|(file, diff_id)| Layer { file, diff_id, expected: None }).collect();
        let manifest = made_up_manifest(archive, &config, &layers)?;
        let names = image.repo_tags.unwrap_or_default();
        Ok(Candidate { manifest, config, index: None, names, layers })
    };
    images.into_iter().map(image).collect()
}

/// docker's older archives hold no manifest; the store wants one. It describes the layers uncompressed.
fn made_up_manifest(archive: &Archive, config: &[u8], layers: &[Layer]) -> Result<Vec<u8>, Fault> {
    let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    };
    let mut described = Vec::with_capacity(layers.len());
    for layer in layers {
        let (_, size) = archive.reader(&layer.file)?;
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        described.push(descriptor(media_type, layer.diff_id.clone(), size));
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        config: descriptor(
            "application/vnd.oci.image.config.v1+json",
            Digest::of(config),
            config.len() as u64,
        ),
        layers: described,
    };
    serde_json::to_vec(&manifest).map_err(|error| io::Error::from(error).into())
}

/// A document by its digest, verified.
fn blob(archive: &Archive, digest: &Digest) -> Result<Vec<u8>, Fault> {
    let bytes = archive.read(&blob_path(digest), MAX_DOCUMENT)?;
    let actual = Digest::of(&bytes);
    if actual != *digest {
        return Err(io::Error::other(format!("the digest of blob {digest} is wrong: it is {actual}")).into());
    }
    Ok(bytes)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
