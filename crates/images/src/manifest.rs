//! Manifests, indexes and configurations: the parts of them that stead reads.
//!
//! Both the OCI's and docker's documents (they differ in their media types alone). Everything optional may
//! also be `null`: docker writes that.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ImageConfig;
use crate::digest::Digest;

/// The biggest manifest, index or configuration that is read, in bytes. Registries allow 4 MiB.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;
/// The most layers of one image; overlayfs takes 500 lower directories, docker builds at most 127.
pub(crate) const MAX_LAYERS: usize = 256;

/// What a registry may send for a name.
pub(crate) const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Why a document cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// Not JSON, or a field of the wrong type.
    #[error("the {what} is not understood: {why}")]
    Malformed { what: &'static str, why: String },
    /// An index without an image for this machine.
    #[error("there is no image for linux/{wanted}, only for {found}")]
    NoPlatform { wanted: &'static str, found: String },
    /// The layers named by manifest and configuration are not as many.
    #[error("the manifest has {layers} layers, the configuration {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    /// More than [`MAX_LAYERS`].
    #[error("it has {0} layers, more than {MAX_LAYERS}")]
    TooManyLayers(usize),
    /// Something that is not to be run: a chart, a signature.
    #[error("it is not an image but {0}")]
    NotAnImage(String),
}

/// Points to a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "null", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What an image was built for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// One image's configuration and layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    #[serde(default, deserialize_with = "null")]
    pub(crate) layers: Vec<Descriptor>,
}

/// Images for several platforms; in a layout also the list of all that is in it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    #[serde(default, deserialize_with = "null")]
    pub(crate) manifests: Vec<Descriptor>,
}

/// Either, as a registry or a layout hands it out.
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

impl Document {
    /// Tells the two apart by what is in them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let value: serde_json::Value = json(bytes, "manifest")?;
        if value.get("manifests").is_some() {
            return json(bytes, "index").map(Self::Index);
        }
        if value.get("config").is_none() {
            return Err(ManifestError::NotAnImage("a document without a configuration".into()));
        }
        Manifest::parse(bytes).map(|manifest| Self::Manifest(Box::new(manifest)))
    }
}

impl Manifest {
    /// Parses and checks.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = json(bytes, "manifest")?;
        if manifest.layers.len() > MAX_LAYERS {
            return Err(ManifestError::TooManyLayers(manifest.layers.len()));
        }
        Ok(manifest)
    }

    /// Bytes of all layers.
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

impl Index {
    /// The entry for this machine. A first match wins, as the specification has it; an entry that says nothing
    /// is for everyone.
    pub(crate) fn choose(&self) -> Result<&Descriptor, ManifestError> {
        let wanted = architecture();
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == wanted;
        let images = || self.manifests.iter().filter(|entry| !is_attestation(entry));
        images()
            .find(|entry| entry.platform.as_ref().is_some_and(fits))
            .or_else(|| images().find(|entry| entry.platform.is_none()))
            .ok_or_else(|| {
                let found: Vec<_> = images()
                    .filter_map(|entry| entry.platform.as_ref())
                    .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                    .collect();
                ManifestError::NoPlatform { wanted, found: found.join(", ") }
            })
    }
}

/// BuildKit puts what it attests next to the images, for a platform of its own.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key("vnd.docker.reference.type")
}

/// This machine's, as Go names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A parsed configuration.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) config: ImageConfig,
    /// The digests of the layers' content, uncompressed, bottom first.
    pub(crate) diff_ids: Vec<Digest>,
}

impl Configuration {
    /// Parses it, and checks it against the manifest's layers.
    pub(crate) fn parse(bytes: &[u8], manifest: &Manifest) -> Result<Self, ManifestError> {
        let file: ConfigFile = json(bytes, "configuration")?;
        let Some(rootfs) = file.rootfs else {
            return Err(ManifestError::NotAnImage(manifest.config.media_type.clone()));
        };
        let (layers, diff_ids) = (manifest.layers.len(), rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(ManifestError::LayerCount { layers, diff_ids });
        }
        let run = file.config;
        Ok(Self {
            config: ImageConfig {
                entrypoint: run.entrypoint,
                cmd: run.cmd,
                env: run.env,
                working_dir: run.working_dir,
                user: run.user,
                exposed_ports: run.exposed_ports.into_keys().collect(),
                volumes: run.volumes.into_keys().collect(),
                stop_signal: run.stop_signal.filter(|signal| !signal.is_empty()),
                labels: run.labels,
            },
            diff_ids: rootfs.diff_ids,
        })
    }

    /// The digests of the layers' content, from a configuration alone (docker's archives have no manifest).
    pub(crate) fn diff_ids(bytes: &[u8]) -> Result<Vec<Digest>, ManifestError> {
        let file: ConfigFile = json(bytes, "configuration")?;
        Ok(file.rootfs.map(|rootfs| rootfs.diff_ids).unwrap_or_default())
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default, deserialize_with = "null")]
    config: RunConfig,
    rootfs: Option<RootFs>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    #[serde(deserialize_with = "null")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "null")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "null")]
    env: Vec<String>,
    #[serde(deserialize_with = "null")]
    working_dir: String,
    #[serde(deserialize_with = "null")]
    user: String,
    #[serde(deserialize_with = "null")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "null")]
    volumes: BTreeMap<String, serde_json::Value>,
    stop_signal: Option<String>,
    #[serde(deserialize_with = "null")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null")]
    diff_ids: Vec<Digest>,
}

/// `null` where a value is expected means that there is none.
fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Parses JSON; `what` is for the message.
pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(|error| ManifestError::Malformed { what, why: error.to_string() })
}
