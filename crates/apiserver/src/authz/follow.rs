//! What decisions rest on, as the store has it: Roles and bindings, and which node needs what. What has been written is
//! looked at before each decision, so that a binding holds for the very next request; a request that comes while
//! nothing was written costs one comparison.

use std::sync::Arc;

use apimachinery::status::Status;
use futures::{FutureExt, StreamExt};
use registry::nodes::{FOLLOWED, Graph};
use registry::rbac::{GROUP, Policy};
use serde_json::Value;
use store::{Event, Store, Watch};
use tokio::sync::Mutex;

/// What is made of objects one by one.
pub(crate) trait Index: Default + Clone {
    /// The prefixes of the keys whose objects it is made of.
    fn prefixes() -> Vec<String>;

    /// Takes over an object as it is now; `None`: it is gone.
    fn apply(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>);
}

impl Index for Policy {
    fn prefixes() -> Vec<String> {
        vec![format!("/{GROUP}/")]
    }

    fn apply(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>) {
        Self::apply(self, plural, namespace, name, object);
    }
}

impl Index for Graph {
    fn prefixes() -> Vec<String> {
        FOLLOWED.iter().map(|prefix| (*prefix).to_owned()).collect()
    }

    fn apply(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>) {
        Self::apply(self, plural, namespace, name, object);
    }
}

/// An index, and the watches that tell of changes.
#[derive(Default)]
pub(crate) struct Cache<I>(Mutex<Option<Followed<I>>>);

struct Followed<I> {
    index: Arc<I>,
    watches: Vec<Watch>,
    /// The store's revision when the watches were last looked at.
    seen: u64,
}

impl<I: Index> Cache<I> {
    /// The index as of now. Who keeps it makes the next change cost a copy.
    pub(crate) async fn current(&self, store: &dyn Store) -> Result<Arc<I>, Status> {
        let mut followed = self.0.lock().await;
        if let Some(followed) = &mut *followed
            && followed.catch_up(store)
        {
            return Ok(Arc::clone(&followed.index));
        }
        // The first time, or too much has been written since the last time.
        let fresh = Followed::read(store).await.map_err(|error| Status::internal(error.to_string()))?;
        let index = Arc::clone(&fresh.index);
        *followed = Some(fresh);
        Ok(index)
    }
}

impl<I: Index> Followed<I> {
    async fn read(store: &dyn Store) -> Result<Self, store::Error> {
        let (mut index, mut watches, mut seen) = (I::default(), Vec::new(), u64::MAX);
        for prefix in I::prefixes() {
            let page = store.list(&prefix, None, 0, None).await?;
            watches.push(store.watch(&prefix, page.revision)?);
            seen = seen.min(page.revision);
            for item in &page.items {
                apply(&mut index, &item.key, Some(&item.value));
            }
        }
        Ok(Self { index: Arc::new(index), watches, seen })
    }

    /// Takes in what was written; `false` when a watch cannot tell any more.
    fn catch_up(&mut self, store: &dyn Store) -> bool {
        let newest = store.revision();
        if newest == self.seen {
            return true;
        }
        for watch in &mut self.watches {
            loop {
                match watch.next().now_or_never() {
                    Some(Some(Ok(event))) => take(&mut self.index, &event),
                    Some(Some(Err(_)) | None) => return false,
                    None => break,
                }
            }
        }
        self.seen = newest;
        true
    }
}

fn take<I: Index>(index: &mut Arc<I>, event: &Event) {
    let value = event.current.as_ref().map(|current| &current.value[..]);
    apply(Arc::make_mut(index), event.key(), value);
}

fn apply<I: Index>(index: &mut I, key: &str, value: Option<&[u8]>) {
    // "/<group>/<plural>/<name>" or "/<group>/<plural>/<namespace>/<name>"
    let mut parts = key.splitn(5, '/').skip(2);
    let (Some(plural), Some(first)) = (parts.next(), parts.next()) else { return };
    let (namespace, name) = parts.next().map_or(("", first), |name| (first, name));
    // What cannot be read allows nothing.
    let object: Option<Value> = value.map(|bytes| serde_json::from_slice(bytes).unwrap_or_default());
    index.apply(plural, namespace, name, object.as_ref());
}
