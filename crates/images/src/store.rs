//! The store: names, documents and layers in one directory.
//!
//! Several processes may have it open: what changes names, or removes anything, holds the lock of the file
//! `lock`; readers notice another process's work by the file `refs.json` being a new one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::Image;
use crate::digest::Digest;
use crate::layers::{Layers, Retired};
use crate::manifest::{Configuration, MAX_DOCUMENT, Manifest, ManifestError};
use crate::pull::Flights;
use crate::reference::Reference;
use crate::refs::{Refs, Stamp, Target, write_durably};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no image of that name.
    #[error("there is no image {0:?}")]
    NotFound(String),
    /// A layer went away between its unpacking and the image's completion: another process pruned.
    #[error("layer {0} was removed meanwhile; try again")]
    LayerGone(String),
    /// A document in the store cannot be used.
    #[error("{path}: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk refused.
    #[error("{path}: {why}")]
    Io {
        /// The file or directory.
        path: String,
        /// What went wrong.
        why: io::Error,
    },
}

/// What [`ImageStore::prune`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Normalised names.
    pub names: Vec<String>,
    /// The number of layers.
    pub layers: usize,
}

/// A directory of images. See the crate's documentation.
#[derive(Debug)]
pub struct ImageStore {
    dir: PathBuf,
    pub(crate) layers: Layers,
    known: Mutex<Known>,
    pub(crate) flights: Flights,
}

/// What `refs.json` said when it was last read.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// By normalised name.
    images: BTreeMap<String, Arc<Image>>,
}

/// The lock between processes; released when dropped. Each use opens the file anew, so it also excludes other
/// threads.
pub(crate) struct Lock {
    _file: File,
}

impl ImageStore {
    /// Opens a directory of images, making it where needed, and removes what a crash left half done.
    pub fn open(dir: &Path) -> Result<Arc<Self>, StoreError> {
        let open = || {
            fs::create_dir_all(dir.join("blobs/sha256"))?;
            // Images hold setuid programs, which the machine's own users must not reach.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
            let dir = dir.canonicalize()?;
            let layers = Layers::open(&dir)?;
            Ok((dir, layers))
        };
        let (dir, layers) = open().map_err(|why| io_error(dir, why))?;
        let store = Self { dir, layers, known: Mutex::default(), flights: Flights::default() };
        let lock = store.lock()?;
        store.layers.remove_leftovers().map_err(|why| io_error(store.layers.tmp(), why))?;
        drop(lock);
        Ok(Arc::new(store))
    }

    /// Where the images are. A new file `refs.json` is moved into it whenever names change.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The image that a name leads to: `postgres:14`, `repository@sha256:…`, or an image's id, `sha256:…`.
    /// `None` when it is not here, or not complete.
    pub fn resolve(&self, name: &str) -> Option<Image> {
        let known =
            self.known().inspect_err(|error| tracing::warn!(%error, "cannot read the images")).ok()?;
        let found = if Digest::try_from(name.to_owned()).is_ok() {
            known.images.values().find(|image| image.id == name)
        } else {
            let reference = Reference::parse(name).ok()?;
            known.images.get(&reference.key()).or_else(|| {
                let digest = reference.digest()?;
                let repository = reference.without_version();
                known.images.iter().find_map(|(name, image)| {
                    let same = image.digest == digest && is_of(name, &repository);
                    same.then_some(image)
                })
            })
        };
        found.filter(|image| image.layers.iter().all(|layer| layer.is_dir())).map(|image| Image::clone(image))
    }

    /// All images, by name.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        let known = self.known()?;
        let mut seen = HashSet::new();
        let images = known.images.values().filter(|image| seen.insert((&image.id, &image.digest)));
        Ok(images.map(|image| Image::clone(image)).collect())
    }

    /// Removes a name, or all names of an image's id; returns them. Layers go when no other image has them and
    /// they are not among `in_use` (the [`Image::layers`] of the containers there are). Blocks.
    pub fn remove(&self, name: &str, in_use: &HashSet<PathBuf>) -> Result<Vec<String>, StoreError> {
        let lock = self.lock()?;
        let mut refs = self.read_refs()?;
        let names: Vec<String> = if Digest::try_from(name.to_owned()).is_ok() {
            let known = self.known()?;
            let of_id = known.images.iter().filter(|(_, image)| image.id == name);
            of_id.map(|(name, _)| name.clone()).collect()
        } else {
            let key = Reference::parse(name).map(|reference| reference.key()).unwrap_or_default();
            refs.names.contains_key(&key).then_some(key).into_iter().collect()
        };
        if names.is_empty() {
            return Err(StoreError::NotFound(name.to_owned()));
        }
        refs.names.retain(|name, _| !names.contains(name));
        self.write_refs(&refs)?;
        let retired = self.sweep(&refs, in_use)?;
        drop(lock);
        drop(retired);
        Ok(names)
    }

    /// Removes all images that no container uses, and all layers that no image has. An image is in use when all
    /// of its layers are among `in_use`. Blocks.
    pub fn prune(&self, in_use: &HashSet<PathBuf>) -> Result<Pruned, StoreError> {
        let lock = self.lock()?;
        let mut refs = self.read_refs()?;
        let used = layer_names(in_use);
        let known = self.known()?;
        let is_used = |name: &String| {
            let image = known.images.get(name);
            image.is_some_and(|image| layer_names(&image.layers).is_subset(&used))
        };
        let names: Vec<String> = refs.names.keys().filter(|name| !is_used(name)).cloned().collect();
        drop(known);
        refs.names.retain(|name, _| !names.contains(name));
        self.write_refs(&refs)?;
        let retired = self.sweep(&refs, in_use)?;
        drop(lock);
        Ok(Pruned { names, layers: retired.len() })
    }

    /// Makes names lead to a manifest whose layers are on the disk.
    pub(crate) fn commit(
        &self,
        names: &[Reference],
        manifest: &[u8],
        config: &[u8],
        index: Option<&Digest>,
        imported: bool,
    ) -> Result<Image, StoreError> {
        let _lock = self.lock()?;
        let digest = Digest::of(manifest);
        let image = self.image(&digest, manifest, config)?;
        if let Some(gone) = image.layers.iter().find(|layer| !layer.is_dir()) {
            return Err(StoreError::LayerGone(gone.display().to_string()));
        }
        for bytes in [config, manifest] {
            let path = self.blob_path(&Digest::of(bytes));
            if !path.exists() {
                write_durably(&path, self.layers.tmp(), bytes).map_err(|why| io_error(&path, why))?;
            }
        }
        let mut refs = self.read_refs()?;
        for name in names {
            refs.names
                .insert(name.key(), Target { manifest: digest.clone(), index: index.cloned(), imported });
        }
        self.write_refs(&refs)?;
        let known = self.known()?;
        let image = names.first().and_then(|name| known.images.get(&name.key()));
        image.map(|image| Image::clone(image)).ok_or_else(|| StoreError::NotFound(digest.to_string()))
    }

    /// Waits for whoever changes the store.
    fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.dir.join("lock");
        let lock = || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(Lock { _file: file })
        };
        lock().map_err(|why| io_error(&path, why))
    }

    /// What the names lead to, read again if they have changed.
    fn known(&self) -> Result<MutexGuard<'_, Known>, StoreError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.refs_path();
        let stamp = Refs::stamp(&path).map_err(|why| io_error(&path, why))?;
        if known.stamp != stamp {
            *known = Known { stamp, images: self.load()? };
        }
        Ok(known)
    }

    fn load(&self) -> Result<BTreeMap<String, Arc<Image>>, StoreError> {
        let refs = self.read_refs()?;
        let mut names: HashMap<&Target, Vec<String>> = HashMap::new();
        for (name, target) in &refs.names {
            names.entry(target).or_default().push(name.clone());
        }
        let mut images = BTreeMap::new();
        for (target, names) in names {
            let read = || {
                let bytes = self.read_blob(&target.manifest)?;
                let path = self.blob_path(&target.manifest);
                let manifest = Manifest::parse(&bytes).map_err(|why| damaged(&path, &why))?;
                let config = self.read_blob(&manifest.config.digest)?;
                self.image(&target.manifest, &bytes, &config)
            };
            match read() {
                Ok(mut image) => {
                    if let Some(index) = &target.index {
                        image.digest = index.to_string();
                    }
                    image.names = names.clone();
                    image.imported = target.imported;
                    let image = Arc::new(image);
                    images.extend(names.into_iter().map(|name| (name, Arc::clone(&image))));
                }
                // As good as not there: it can be pulled or imported again.
                Err(error) => tracing::warn!(%error, names = names.join(", "), "image left out"),
            }
        }
        Ok(images)
    }

    fn image(&self, digest: &Digest, manifest: &[u8], config: &[u8]) -> Result<Image, StoreError> {
        let path = self.blob_path(digest);
        let manifest = Manifest::parse(manifest).map_err(|why| damaged(&path, &why))?;
        let path = self.blob_path(&manifest.config.digest);
        let configuration = Configuration::parse(config, &manifest).map_err(|why| damaged(&path, &why))?;
        Ok(Image {
            id: manifest.config.digest.to_string(),
            digest: digest.to_string(),
            names: Vec::new(),
            imported: false,
            layers: configuration.diff_ids.iter().map(|diff_id| self.layers.path(diff_id)).collect(),
            config: configuration.config,
            size: manifest.size(),
        })
    }

    /// Takes away every layer and document that no name leads to; the caller holds the lock, and drops what it
    /// gets after that. A document that cannot be read stops it: it may be the one that needs a layer.
    fn sweep(&self, refs: &Refs, in_use: &HashSet<PathBuf>) -> Result<Vec<Retired>, StoreError> {
        let mut layers: BTreeSet<String> = layer_names(in_use);
        let mut blobs = BTreeSet::new();
        for target in refs.names.values() {
            let path = self.blob_path(&target.manifest);
            let manifest = self.read_blob(&target.manifest)?;
            let manifest = Manifest::parse(&manifest).map_err(|why| damaged(&path, &why))?;
            let path = self.blob_path(&manifest.config.digest);
            let config = self.read_blob(&manifest.config.digest)?;
            let diff_ids = Configuration::diff_ids(&config).map_err(|why| damaged(&path, &why))?;
            layers.extend(diff_ids.iter().map(|diff_id| diff_id.hex().to_owned()));
            blobs.extend([target.manifest.hex().to_owned(), manifest.config.digest.hex().to_owned()]);
        }
        let sweep = || {
            let mut retired = Vec::new();
            for hex in self.layers.all()?.into_iter().filter(|hex| !layers.contains(hex)) {
                retired.push(self.layers.retire(&hex)?);
            }
            for entry in fs::read_dir(self.dir.join("blobs/sha256"))? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|hex| blobs.contains(hex)) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(retired)
        };
        sweep().map_err(|why| io_error(&self.dir, why))
    }

    fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let read = || {
            let mut bytes = Vec::new();
            File::open(&path)?.take(MAX_DOCUMENT).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|why| io_error(&path, why))?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            let why = format!("its digest is {actual}");
            return Err(StoreError::Damaged { path: path.display().to_string(), why });
        }
        Ok(bytes)
    }

    fn read_refs(&self) -> Result<Refs, StoreError> {
        let path = self.refs_path();
        Refs::read(&path).map_err(|why| io_error(&path, why))
    }

    fn write_refs(&self, refs: &Refs) -> Result<(), StoreError> {
        let path = self.refs_path();
        refs.write(&path, self.layers.tmp()).map_err(|why| io_error(&path, why))
    }

    fn refs_path(&self) -> PathBuf {
        self.dir.join("refs.json")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }
}

/// Whether a normalised name is of a repository, whatever its tag or digest.
fn is_of(name: &str, repository: &str) -> bool {
    name.strip_prefix(repository).is_some_and(|version| version.starts_with([':', '@']))
}

/// Layers by the last part of their paths: the directory above may have been spelled differently.
fn layer_names<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> BTreeSet<String> {
    let names = paths.into_iter().filter_map(|path| path.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

fn io_error(path: &Path, why: io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), why }
}

fn damaged(path: &Path, why: &ManifestError) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), why: why.to_string() }
}
