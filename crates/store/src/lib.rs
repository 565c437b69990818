//! Revisions, watch and compaction: a sorted map of keys to bytes in which every write has a number.
//!
//! It knows nothing of Kubernetes: keys are paths, values are bytes, and a value's `resourceVersion` is the
//! revision that the store keeps beside it. **Its one rule: what was acknowledged is never lost and never
//! numbered twice.** Every backend passes the same contract tests.
//!
//! ```
//! use store::{Durability, Expect, Memory, Store, Write};
//! use futures::StreamExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), store::Error> {
//! let store = Memory::new();
//! let mut watch = store.watch("/core/pods/", store.revision())?;
//! let revision = store
//!     .write(Write {
//!         key: "/core/pods/default/db-0".into(),
//!         value: Some("{}".into()),
//!         expect: Expect::Absent,
//!         durability: Durability::Sync,
//!     })
//!     .await?;
//! let Some(Ok(event)) = watch.next().await else { panic!("a change was made") };
//! assert_eq!(event.revision, revision);
//! assert_eq!(store.list("/core/pods/", None, 0, None).await?.items.len(), 1);
//! # Ok(())
//! # }
//! ```

mod embedded;
mod memory;
mod mvcc;
mod sealed;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use embedded::{Embedded, LATE_DELAY, OpenError};
pub use memory::Memory;
pub use mvcc::{HISTORY_BYTES, HISTORY_EVENTS};
pub use sealed::{KeyError, Keys, OpenSealedError, Sealed};

/// The number of a write. Revisions only grow, over restarts and crashes too.
pub type Revision = u64;

/// A value as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The key, for instance `/apps/statefulsets/default/db`.
    pub key: Arc<str>,
    /// The bytes that were written.
    pub value: Bytes,
    /// The write that made this value.
    pub revision: Revision,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and its last write was this one.
    Revision(Revision),
}

/// When a write reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Sync,
    /// Soon after: for what the machine can tell again (pod status, leases, events).
    Late,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key to write.
    pub key: Arc<str>,
    /// The new value; `None` deletes the key.
    pub value: Option<Bytes>,
    /// What must hold.
    pub expect: Expect,
    /// When it must be on disk.
    pub durability: Durability,
}

/// A page of a listing, all as of one revision.
#[derive(Clone, Debug)]
pub struct Page {
    /// The values, by key.
    pub items: Vec<Versioned>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// How many more keys follow; 0 on the last page.
    pub remaining: u64,
}

/// A change of one key.
#[derive(Clone, Debug)]
pub struct Event {
    /// The key's value before; `None` when the write made the key.
    pub previous: Option<Versioned>,
    /// The key's value after; `None` when the write deleted the key.
    pub current: Option<Versioned>,
    /// The write.
    pub revision: Revision,
}

impl Event {
    /// The key that was written.
    pub fn key(&self) -> &str {
        match (&self.current, &self.previous) {
            (Some(value), _) | (None, Some(value)) => &value.key,
            (None, None) => unreachable!("a change has a value before or after it"),
        }
    }
}

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// [`Expect::Absent`] was asked for and the key exists.
    #[error("key {key} exists at revision {}", current.revision)]
    Exists {
        /// The key.
        key: Arc<str>,
        /// What is there.
        current: Versioned,
    },
    /// [`Expect::Revision`] was asked for and the key was written since, or is gone.
    #[error("key {key} is not at the revision expected")]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// What is there; `None` when the key does not exist.
        current: Option<Versioned>,
    },
    /// The revision asked for is older than the history kept.
    #[error("revision {asked} is compacted; the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest that can be asked for.
        oldest: Revision,
    },
    /// The revision asked for has not happened yet.
    #[error("revision {asked} is in the future; the newest is {newest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest.
        newest: Revision,
    },
    /// The disk or the connection failed; nothing was acknowledged.
    #[error("storage failed: {0}")]
    Backend(String),
}

/// A stream of changes, in order of revisions, none left out. What was acknowledged is ready in it at once: one with
/// nothing ready has told all that is under its prefix up to the revision that the store had before it was polled.
/// It ends with [`Error::Compacted`] when its reader fell behind the history kept.
pub type Watch = BoxStream<'static, Result<Arc<Event>, Error>>;

/// A store. Cheap to share behind an `Arc`.
pub trait Store: Send + Sync + 'static {
    /// The newest value of `key`, and the store's revision at that moment.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<(Option<Versioned>, Revision), Error>>;

    /// The values under `prefix` after the key `after` (from the start when `None`), at most `limit` (all
    /// when 0), as of `revision` (now when `None`).
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> BoxFuture<'_, Result<Page, Error>>;

    /// Writes, and answers the write's revision once it is as durable as asked. Nothing is written before
    /// the future is polled; dropped after that, the write may or may not happen.
    fn write(&self, write: Write) -> BoxFuture<'_, Result<Revision, Error>>;

    /// Every change under `prefix` after the revision `after`, then on as they happen. The stream
    /// ends when the store is closed.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// The newest revision.
    fn revision(&self) -> Revision;

    /// Flushes late writes and waits until they are on disk.
    fn flush(&self) -> BoxFuture<'_, Result<(), Error>>;
}
