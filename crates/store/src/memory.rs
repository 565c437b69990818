//! A store that ends with its process: for tests, and for planning ahead of a real one.

use std::sync::{Arc, Mutex};

use futures::future::{self, BoxFuture, FutureExt};

use crate::mvcc::{self, Core, FIRST_REVISION};
use crate::watch::Shared;
use crate::{Error, Page, Revision, Store, Versioned, Watch, Write};

/// Values in memory only. Writes happen on the caller's thread, in the order in which they are polled.
pub struct Memory {
    shared: Arc<Shared>,
    writing: Mutex<()>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self { shared: Shared::new(Core::new([], FIRST_REVISION)), writing: Mutex::default() }
    }

    fn write_now(&self, write: Write) -> Result<Revision, Error> {
        let _writing = self.writing.lock().expect("nothing panics under this lock");
        let (current, newest) = self.shared.get(&write.key);
        mvcc::check(current.as_ref(), &write)?;
        self.shared.publish(&[mvcc::change(current, write, newest + 1)]);
        Ok(newest + 1)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<(Option<Versioned>, Revision), Error>> {
        future::ready(Ok(self.shared.get(key))).boxed()
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> BoxFuture<'_, Result<Page, Error>> {
        future::ready(self.shared.list(prefix, after, limit, revision)).boxed()
    }

    fn write(&self, write: Write) -> BoxFuture<'_, Result<Revision, Error>> {
        future::lazy(|_| self.write_now(write)).boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.shared.watch(prefix, after)
    }

    fn revision(&self) -> Revision {
        self.shared.revision()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }
}
