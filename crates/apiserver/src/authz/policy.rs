//! The rules as the store has them. What has been written is looked at before each decision, so that a binding holds
//! for the very next request; a request that comes while nothing was written costs one comparison.

use std::sync::Arc;

use apimachinery::status::Status;
use futures::{FutureExt, StreamExt};
use registry::rbac::{GROUP, Policy};
use serde_json::Value;
use store::{Event, Store, Watch};
use tokio::sync::Mutex;

/// The rules, and the watch that tells of changes.
#[derive(Default)]
pub(crate) struct PolicyCache(Mutex<Option<Followed>>);

struct Followed {
    policy: Arc<Policy>,
    /// Of everything in the group.
    watch: Watch,
    /// The store's revision when the watch was last looked at.
    seen: u64,
}

impl PolicyCache {
    /// The rules as of now.
    pub(crate) async fn current(&self, store: &dyn Store) -> Result<Arc<Policy>, Status> {
        let mut followed = self.0.lock().await;
        if let Some(followed) = &mut *followed
            && followed.catch_up(store)
        {
            return Ok(Arc::clone(&followed.policy));
        }
        // The first time, or too much has been written since the last time.
        let fresh = Followed::read(store).await.map_err(|error| Status::internal(error.to_string()))?;
        let policy = Arc::clone(&fresh.policy);
        *followed = Some(fresh);
        Ok(policy)
    }
}

impl Followed {
    async fn read(store: &dyn Store) -> Result<Self, store::Error> {
        let prefix = format!("/{GROUP}/");
        let page = store.list(&prefix, None, 0, None).await?;
        let watch = store.watch(&prefix, page.revision)?;
        let mut policy = Policy::default();
        for item in &page.items {
            apply(&mut policy, &item.key, Some(&item.value));
        }
        Ok(Self { policy: Arc::new(policy), watch, seen: page.revision })
    }

    /// Takes in what was written; `false` when the watch cannot tell any more.
    fn catch_up(&mut self, store: &dyn Store) -> bool {
        let newest = store.revision();
        if newest == self.seen {
            return true;
        }
        loop {
            match self.watch.next().now_or_never() {
                Some(Some(Ok(event))) => self.take(&event),
                Some(Some(Err(_)) | None) => return false,
                None => break,
            }
        }
        self.seen = newest;
        true
    }

    fn take(&mut self, event: &Event) {
        let value = event.current.as_ref().map(|current| &current.value[..]);
        apply(Arc::make_mut(&mut self.policy), event.key(), value);
    }
}

fn apply(policy: &mut Policy, key: &str, value: Option<&[u8]>) {
    // "/<group>/<plural>/<name>" or "/<group>/<plural>/<namespace>/<name>"
    let mut parts = key.splitn(5, '/').skip(2);
    let (Some(plural), Some(first)) = (parts.next(), parts.next()) else { return };
    let (namespace, name) = parts.next().map_or(("", first), |name| (first, name));
    // What cannot be read allows nothing.
    let object: Option<Value> = value.map(|bytes| serde_json::from_slice(bytes).unwrap_or_default());
    policy.apply(plural, namespace, name, object.as_ref());
}
