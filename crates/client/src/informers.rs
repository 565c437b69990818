//! List and watch: keeps a world current and tells listeners what changed
//! (`k8s.io/client-go/tools/cache.Reflector`'s job).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use apimachinery::inject::Clock;
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use kube::Client;
use kube::core::WatchEvent;
use planner::world::KindName;
use planner::{Change, Object, World};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::head::Head;
use crate::paths::collection_path;
use crate::request::send_json;

/// The first pause after a failed list or watch; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between tries. A watch that lived as long as this was a good one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the API is asked to keep one watch open, in seconds.
const WATCH_SECONDS: u32 = 290;

type Listener = Box<dyn Fn(&World, &Change) + Send + Sync>;

/// Keeps a [`World`] current. Share it behind an `Arc`.
pub struct Informers {
    client: Client,
    clock: Clock,
    world: RwLock<World>,
    /// Held from a change of the world until all listeners know of it: they hear of changes in the order in
    /// which the world took them, whoever brought them.
    order: Mutex<()>,
    listeners: RwLock<Vec<Listener>>,
    unsynced: AtomicUsize,
    /// Told when the last kind has been listed. (A channel of tokio's would wake its waiters in an order drawn
    /// by chance.)
    synced: Notify,
}

impl Informers {
    /// Informers with an empty world; [`Informers::run`] fills it, and notes by `clock` when nodes are heard of.
    pub fn new(client: Client, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            client,
            clock,
            world: RwLock::default(),
            order: Mutex::default(),
            listeners: RwLock::default(),
            unsynced: AtomicUsize::new(World::KINDS.len()),
            synced: Notify::new(),
        })
    }

    /// Calls `listener` after every change from now on, with the world that already holds it, one call at a
    /// time and in order. What happened before is in [`Informers::world`]: listen first, then look.
    ///
    /// Listeners must be quick: they note a key and leave. They must not call back here.
    pub fn on_change(&self, listener: impl Fn(&World, &Change) + Send + Sync + 'static) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// The world as of now. Do not hold it across an await.
    pub fn world(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once every kind has been listed.
    pub async fn synced(&self) {
        // It counts from here on as waiting: what is told while we look is not missed.
        let told = self.synced.notified();
        if self.unsynced.load(Ordering::Acquire) > 0 {
            told.await;
        }
    }

    /// Takes the answer to a write into the world, so that nobody plans on something older than it.
    pub fn observe(&self, object: &RawValue) {
        let head = Head::of(object);
        let Some(kind) = head.known_kind() else { return };
        if self.world().has_observed(kind, &head.key(), head.revision().unwrap_or(0)) {
            return;
        }
        match read(kind, object) {
            Ok(Some(object)) => self.change(|world| world.observe_object(object).into_iter().collect()),
            Ok(None) => {}
            Err(error) => tracing::warn!("answer of a write: {error}"),
        }
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
        let mut pause = Pause::default();
        let mut first = true;
        loop {
            match self.list(kind).await {
                Ok(revision) => {
                    if std::mem::take(&mut first) && self.unsynced.fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.synced.notify_waiters();
                    }
                    let lost = self.watch_on(kind, revision, &mut pause).await;
                    tracing::debug!(kind = kind.1, "listing again: {lost}");
                }
                Err(error) => tracing::debug!(kind = kind.1, "list failed: {error}"),
            }
            pause.take().await;
        }
    }

    async fn list(&self, kind: KindName) -> Result<u64, kube::Error> {
        let path = collection_path(kind.0, kind.1, "").unwrap_or_default();
        let mut list = send_json(&self.client, Method::GET, &path, &Value::Null).await?;
        let revision = list["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
        let items = match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        self.change(|world| {
            let (changes, unreadable) = world.replace(kind, items, revision);
            for error in unreadable {
                passed_over(kind, &error);
            }
            changes
        });
        Ok(revision)
    }

    /// Watches, again and again from where the last watch ended in good order, until the place is lost.
    async fn watch_on(&self, kind: KindName, mut reached: u64, pause: &mut Pause) -> kube::Error {
        loop {
            let (from, began) = (reached, Instant::now());
            let ended = self.watch(kind, &mut reached).await;
            // A server that ends watches at once is not well, and is not asked again at once.
            let good = reached > from || began.elapsed() >= LONGEST_PAUSE;
            if good {
                pause.reset();
            }
            match ended {
                Ok(()) if good => {}
                Ok(()) => pause.take().await,
                Err(error) => return error,
            }
        }
    }

    async fn watch(&self, kind: KindName, reached: &mut u64) -> Result<(), kube::Error> {
        let path = collection_path(kind.0, kind.1, "").unwrap_or_default();
        let query = format!(
            "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={reached}"
        );
        let request = Request::get(query).body(Vec::new()).map_err(kube::Error::HttpError)?;
        // Events are read in two steps, for which their type must come first: upstream's servers write it so.
        let mut events = self.client.request_events::<Box<RawValue>>(request).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let head = Head::of(&object);
                    let revision = head.revision();
                    *reached = revision.unwrap_or(*reached);
                    // Most of it was an answer to a write of our own.
                    if self.write().has_heard(kind, &head.key(), revision.unwrap_or(0)) {
                        continue;
                    }
                    match read(kind, &object) {
                        Ok(object) => self.change(|world| {
                            object.and_then(|object| world.apply_object(object)).into_iter().collect()
                        }),
                        Err(error) => passed_over(kind, &error),
                    }
                }
                WatchEvent::Deleted(object) => {
                    *reached = Head::of(&object).revision().unwrap_or(*reached);
                    // One that cannot be read is found missing by the next list.
                    let gone = read(kind, &object).map_err(kube::Error::SerdeError)?;
                    self.change(|world| {
                        gone.and_then(|gone| world.remove_object(&gone)).into_iter().collect()
                    });
                }
                WatchEvent::Bookmark(bookmark) => {
                    *reached = bookmark.metadata.resource_version.parse().unwrap_or(*reached);
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
        Ok(())
    }

    /// Changes the world and tells the listeners.
    fn change(&self, take: impl FnOnce(&mut World) -> Vec<Change>) {
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = {
            let (mut world, now) = (self.write(), self.clock.now());
            let changes = take(&mut world);
            changes.iter().for_each(|change| world.heartbeats.hear(change, now));
            changes
        };
        let world = self.world();
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for change in &changes {
            for listener in listeners.iter() {
                // A listener that fails must not end the watch that all others live on.
                if catch_unwind(AssertUnwindSafe(|| listener(&world, change))).is_err() {
                    let of = change.new.as_ref().or(change.old.as_ref()).map(planner::Object::reference);
                    tracing::error!(?of, "a listener panicked over a change");
                }
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads an object outside the world, which others wait for.
fn read(kind: KindName, object: &RawValue) -> Result<Option<Object>, serde_json::Error> {
    Object::read(kind, &mut serde_json::Deserializer::from_str(object.get()))
}

/// Grows with every failure in a row.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    async fn take(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

fn passed_over(kind: KindName, error: &serde_json::Error) {
    tracing::warn!(kind = kind.1, "passing over an object that is not what its kind says: {error}");
}
