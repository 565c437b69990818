//! List and watch: keeps a world current and tells listeners what changed
//! (`k8s.io/client-go/tools/cache.Reflector`'s job).

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use planner::world::KindName;
use planner::{Change, World};
use serde_json::Value;
use tokio::sync::watch;

use crate::paths::collection_path;

/// The first pause after a failed list or watch; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the API is asked to keep one watch open, in seconds.
const WATCH_SECONDS: u32 = 290;

type Listener = Box<dyn Fn(&World, &Change) + Send + Sync>;

/// Keeps a [`World`] current. Share it behind an `Arc`.
pub struct Informers {
    client: Client,
    world: RwLock<World>,
    listeners: RwLock<Vec<Listener>>,
    unsynced: AtomicUsize,
    synced: watch::Sender<bool>,
}

impl Informers {
    /// Informers with an empty world; [`Informers::run`] fills it.
    pub fn new(client: Client) -> Arc<Self> {
        Arc::new(Self {
            client,
            world: RwLock::default(),
            listeners: RwLock::default(),
            unsynced: AtomicUsize::new(World::KINDS.len()),
            synced: watch::channel(false).0,
        })
    }

    /// Calls `listener` after every change, with the world that already holds it. Listeners must be quick:
    /// they note a key and leave.
    pub fn on_change(&self, listener: impl Fn(&World, &Change) + Send + Sync + 'static) {
        self.listeners.write().unwrap_or_else(|e| e.into_inner()).push(Box::new(listener));
    }

    /// The world as of now. Do not hold it across an await.
    pub fn world(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(|e| e.into_inner())
    }

    /// Resolves once every kind has been listed.
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as self: this cannot fail while we are borrowed.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Takes the answer to a write into the world, so that nobody plans on something older than it.
    pub fn observe(&self, object: Value) {
        let Some(kind) = kind_of(&object) else { return };
        let change = self.write().observe(kind, object);
        self.tell(change.inspect_err(|e| tracing::warn!("answer of a write: {e}")).ok().flatten());
    }

    /// Lists and watches every kind of [`World::KINDS`] until `shutdown` resolves.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut tasks = tokio::task::JoinSet::new();
        for kind in World::KINDS {
            let this = Arc::clone(&self);
            tasks.spawn(async move { this.follow(*kind).await });
        }
        shutdown.await;
        tasks.shutdown().await;
    }

    async fn follow(&self, kind: KindName) {
        let mut pause = FIRST_PAUSE;
        let mut first = true;
        loop {
            match self.list(kind).await {
                Ok(mut revision) => {
                    pause = FIRST_PAUSE;
                    if std::mem::take(&mut first) && self.unsynced.fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.synced.send_replace(true);
                    }
                    // A watch that ends in good order goes on from where it was; anything else lists again.
                    while let Ok(reached) = self.watch(kind, revision).await {
                        revision = reached;
                    }
                }
                Err(error) => tracing::debug!(kind = kind.1, "list failed: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn list(&self, kind: KindName) -> Result<u64, kube::Error> {
        let path = collection_path(kind.0, kind.1, "").unwrap_or_default();
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        let mut list: Value = self.client.request(request).await?;
        let revision = list["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
        let items = match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let changes = self.write().replace(kind, items, revision).map_err(kube::Error::SerdeError)?;
        for change in changes {
            self.tell(Some(change));
        }
        Ok(revision)
    }

    async fn watch(&self, kind: KindName, from: u64) -> Result<u64, kube::Error> {
        let path = collection_path(kind.0, kind.1, "").unwrap_or_default();
        let query = format!(
            "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={from}"
        );
        let request = Request::get(query).body(Vec::new()).map_err(kube::Error::HttpError)?;
        let mut events = self.client.request_events::<Value>(request).await?.boxed();
        let mut reached = from;
        while let Some(event) = events.try_next().await? {
            let change = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    reached = revision_of(&object).unwrap_or(reached);
                    self.write().apply(kind, object)
                }
                WatchEvent::Deleted(object) => {
                    reached = revision_of(&object).unwrap_or(reached);
                    self.write().remove(kind, object)
                }
                WatchEvent::Bookmark(bookmark) => {
                    reached = bookmark.metadata.resource_version.parse().unwrap_or(reached);
                    continue;
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            };
            self.tell(change.map_err(kube::Error::SerdeError)?);
        }
        Ok(reached)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(|e| e.into_inner())
    }

    fn tell(&self, change: Option<Change>) {
        let Some(change) = change else { return };
        let world = self.world();
        for listener in self.listeners.read().unwrap_or_else(|e| e.into_inner()).iter() {
            listener(&world, &change);
        }
    }
}

fn kind_of(object: &Value) -> Option<KindName> {
    let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    World::KINDS.iter().copied().find(|known| *known == (api_version, kind))
}

fn revision_of(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}
