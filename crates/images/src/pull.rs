//! Pulling an image: manifest, configuration, layers in parallel, then the name.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::Image;
use crate::digest::Digest;
use crate::layers::{Expected, LayerError};
use crate::manifest::{Configuration, Descriptor, Document, Manifest, ManifestError};
use crate::reference::{Reference, ReferenceError};
use crate::registry::{Endpoint, Mirror, Repository, endpoints};
use crate::store::{ImageStore, StoreError};

/// Layers of one image that are downloaded at the same time; docker's number is three.
const MAX_PARALLEL_LAYERS: usize = 3;
/// Pieces of a layer that wait to be unpacked; each is some tens of kilobytes.
const MAX_WAITING_CHUNKS: usize = 32;
/// Another process may prune a layer just unpacked; it will hardly do so again.
const MAX_TRIES: usize = 3;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Asked in their order, before the registry itself.
    pub mirrors: Vec<Mirror>,
    /// For the registry, never for its mirrors.
    pub auth: Auth,
}

/// Who one is to a registry.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// User and password, or user and token.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).finish_non_exhaustive()
            }
        }
    }
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Layers of the image.
    pub layers: usize,
    /// Those that are unpacked.
    pub layers_done: usize,
    /// Bytes of all layers, as they travel.
    pub bytes: u64,
    /// Those that have arrived, or need not.
    pub bytes_done: u64,
}

/// What was wrong with one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not have the image.
    NotFound,
    /// It wants (other) credentials. Some registries say so too when the image does not exist.
    Unauthorized,
    /// No connection, or one that broke; why.
    Unreachable(String),
    /// It answered with something else; what.
    Refused(String),
    /// What it sent is not an image for this machine, or is damaged; why.
    Bad(String),
    /// The image is fine, but could not be stored here; why.
    Store(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("has no such image"),
            Self::Unauthorized => f.write_str("asks for credentials, or has no such image"),
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Bad(why) => write!(f, "sent what cannot be used: {why}"),
            Self::Store(why) => write!(f, "sent it, but it cannot be stored: {why}"),
        }
    }
}

/// One place that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The registry's or mirror's host.
    pub host: String,
    /// What was wrong.
    pub fault: Fault,
}

/// Why a pull failed. Several waiters may share one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The name cannot be understood.
    #[error(transparent)]
    InvalidName(#[from] ReferenceError),
    /// No place gave the image.
    #[error("cannot pull {name}: {}{}", joined(.attempts), advice(.attempts))]
    Failed {
        /// Normalised.
        name: String,
        /// What each place answered; the registry itself stands last.
        attempts: Vec<Attempt>,
    },
}

impl PullError {
    /// Kubernetes' reason for a container that waits for it (`pkg/kubelet/images/types.go`).
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "InvalidImageName",
            Self::Failed { .. } => "ErrImagePull",
        }
    }
}

fn joined(attempts: &[Attempt]) -> String {
    let each: Vec<_> = attempts.iter().map(|attempt| format!("{} {}", attempt.host, attempt.fault)).collect();
    each.join("; ")
}

/// What its reader can do, where that is plain.
fn advice(attempts: &[Attempt]) -> &'static str {
    match attempts.last().map(|attempt| &attempt.fault) {
        Some(Fault::Unauthorized) => "; check the name, or give imagePullSecrets",
        Some(Fault::NotFound) => "; check the name and the tag",
        Some(Fault::Unreachable(_)) => {
            "; check the network, name a mirror with --registry-mirror, or bring the image in with \
             \"stead image import\""
        }
        _ => "",
    }
}

type Listener = Arc<dyn Fn(Progress) + Send + Sync>;
type Pulling = Shared<BoxFuture<'static, Result<Image, PullError>>>;

/// The pulls under way. Joined only by callers with the same credentials: others must prove theirs.
#[derive(Default)]
pub(crate) struct Flights {
    pulls: Mutex<HashMap<(String, Auth), Flight>>,
    /// Layers being unpacked, so that two images with the same one do it once.
    layers: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

struct Flight {
    pulling: WeakShared<BoxFuture<'static, Result<Image, PullError>>>,
    meter: Arc<Meter>,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl Flights {
    fn layer(&self, diff_id: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = layers.get(diff_id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        layers.insert(diff_id.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// Counts, and tells all who listen.
#[derive(Default)]
struct Meter {
    layers: AtomicUsize,
    layers_done: AtomicUsize,
    bytes: AtomicU64,
    bytes_done: AtomicU64,
    listeners: Mutex<Vec<Listener>>,
}

impl Meter {
    fn start(&self, manifest: &Manifest) {
        self.layers.store(manifest.layers.len(), Ordering::Relaxed);
        self.layers_done.store(0, Ordering::Relaxed);
        self.bytes.store(manifest.size(), Ordering::Relaxed);
        self.bytes_done.store(0, Ordering::Relaxed);
    }

    fn add(&self, layers: usize, bytes: u64) {
        self.layers_done.fetch_add(layers, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        let progress = Progress {
            layers: self.layers.load(Ordering::Relaxed),
            layers_done: self.layers_done.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
        };
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(progress);
        }
    }

    fn listen(&self, listener: Listener) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }
}

impl ImageStore {
    /// Pulls an image, whether or not there is one of that name already; layers that are here are not pulled
    /// again. Callers that want the same with the same credentials at the same time share one pull. Dropping
    /// the future ends the pull, once nobody waits for it. The process must have a rustls provider installed.
    pub async fn pull(
        self: &Arc<Self>,
        name: &str,
        options: &PullOptions,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Image, PullError> {
        let name = Reference::parse(name)?;
        self.join(name, options, Arc::new(progress)).await
    }

    fn join(self: &Arc<Self>, name: Reference, options: &PullOptions, listener: Listener) -> Pulling {
        let key = (name.to_string(), options.auth.clone());
        let mut pulls = self.flights.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, flight| flight.pulling.upgrade().is_some());
        if let Some(flight) = pulls.get(&key)
            && let Some(pulling) = flight.pulling.upgrade()
        {
            flight.meter.listen(listener);
            return pulling;
        }
        let meter = Arc::new(Meter::default());
        meter.listen(listener);
        let (store, options) = (Arc::clone(self), options.clone());
        let pull = Pull { store, name, meter: Arc::clone(&meter) };
        let pulling = async move { pull.run(&options).await }.boxed().shared();
        if let Some(weak) = pulling.downgrade() {
            pulls.insert(key, Flight { pulling: weak, meter });
        }
        pulling
    }
}

/// One pull.
struct Pull {
    store: Arc<ImageStore>,
    name: Reference,
    meter: Arc<Meter>,
}

impl Pull {
    async fn run(&self, options: &PullOptions) -> Result<Image, PullError> {
        let mut attempts = Vec::new();
        for endpoint in endpoints(&self.name, &options.mirrors, &options.auth) {
            match self.from(&endpoint).await {
                Ok(image) => return Ok(image),
                Err(fault) => attempts.push(Attempt { host: endpoint.shown, fault }),
            }
        }
        Err(PullError::Failed { name: self.name.to_string(), attempts })
    }

    async fn from(&self, endpoint: &Endpoint) -> Result<Image, Fault> {
        let repository = Repository::open(endpoint, &self.name).await?;
        let mut bytes = repository.manifest(self.name.tag(), self.name.digest()).await?;
        let mut index = None;
        let manifest = match Document::parse(&bytes)? {
            Document::Manifest(manifest) => *manifest,
            Document::Index(list) => {
                index = Some(Digest::of(&bytes));
                bytes = repository.manifest(None, Some(list.choose()?.digest.as_str())).await?;
                Manifest::parse(&bytes)?
            }
        };
        let config = repository.document(manifest.config.digest.as_str()).await?;
        let diff_ids = Configuration::parse(&config, &manifest)?.diff_ids;
        let mut tries = 1;
        loop {
            self.meter.start(&manifest);
            let layers = manifest.layers.iter().zip(&diff_ids);
            let layers: Vec<_> =
                layers.map(|(layer, diff_id)| self.layer(&repository, layer, diff_id).boxed()).collect();
            stream::iter(layers).buffer_unordered(MAX_PARALLEL_LAYERS).try_collect::<()>().await?;
            let store = Arc::clone(&self.store);
            let (name, bytes, config) = (self.name.clone(), bytes.clone(), config.clone());
            let index = index.clone();
            match blocking(move || store.commit(&[name], &bytes, &config, index.as_ref(), false)).await? {
                Ok(image) => return Ok(image),
                Err(StoreError::LayerGone(_)) if tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(Fault::Store(error.to_string())),
            }
        }
    }

    async fn layer(
        &self,
        repository: &Repository,
        layer: &Descriptor,
        diff_id: &Digest,
    ) -> Result<(), Fault> {
        let lock = self.store.flights.layer(diff_id);
        let _one_at_a_time = lock.lock().await;
        if self.store.layers.has(diff_id) {
            self.meter.add(1, layer.size);
            return Ok(());
        }
        let stream = repository.blob(layer.digest.as_str()).await?;
        let (sender, receiver) = mpsc::channel(MAX_WAITING_CHUNKS);
        let expected = Expected { digest: layer.digest.clone(), size: layer.size };
        let (store, diff_id) = (Arc::clone(&self.store), diff_id.clone());
        let unpacking = blocking(move || {
            store.layers.put(
                &diff_id,
                Some(&expected),
                ChunkReader { receiver, chunk: Bytes::new(), ended: false },
            )
        });
        // A network fault is the cause of the unpacking's own complaint that the layer ends early.
        let (fed, unpacked) = tokio::join!(self.feed(stream, sender), unpacking);
        let unpacked = unpacked?;
        fed?;
        unpacked?;
        self.meter.add(1, 0);
        Ok(())
    }

    async fn feed(
        &self,
        mut stream: BoxStream<'static, Result<Bytes, Fault>>,
        sender: mpsc::Sender<Option<Bytes>>,
    ) -> Result<(), Fault> {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            let arrived = chunk.len() as u64;
            if sender.send(Some(chunk)).await.is_err() {
                // The reader has given up, and says why itself.
                return Ok(());
            }
            self.meter.add(0, arrived);
        }
        let _given_up = sender.send(None).await;
        Ok(())
    }
}

/// Reads the pieces that arrive. Only `None` is the end: a sender that is gone has failed or was dropped.
struct ChunkReader {
    receiver: mpsc::Receiver<Option<Bytes>>,
    chunk: Bytes,
    ended: bool,
}

impl Read for ChunkReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Some(chunk)) => self.chunk = chunk,
                Some(None) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = buf.len().min(self.chunk.len());
        buf[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::Store(error.to_string()))
}

impl From<ManifestError> for Fault {
    fn from(error: ManifestError) -> Self {
        Self::Bad(error.to_string())
    }
}

impl From<LayerError> for Fault {
    fn from(error: LayerError) -> Self {
        use crate::unpack::UnpackError;
        match error {
            LayerError::Io { .. } | LayerError::Unpack(UnpackError::Write { .. }) => {
                Self::Store(error.to_string())
            }
            _ => Self::Bad(error.to_string()),
        }
    }
}
