//! A store in one file of this machine.
//!
//! One thread writes. It takes what is queued, checks it against the values that readers see and the writes
//! before it, commits it at once (one fsync for all of it), publishes, and only then acknowledges.

mod disk;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use futures::future::{self, BoxFuture, FutureExt};
use tokio::sync::{Semaphore, oneshot};

use crate::mvcc::Core;
use crate::watch::Shared;
use crate::{Error, Page, Revision, Store, Versioned, Watch, Write};

pub use disk::OpenError;
use disk::{Disk, Opener};
pub use writer::LATE_DELAY;
use writer::{Request, Writer};

/// How many writes may wait for the writer; more wait for room.
const MAX_QUEUED: usize = 4096;

/// Values in memory, kept in a redb file. Dropping it flushes and closes the file, as [`Embedded::close`]
/// does, and waits for that.
pub struct Embedded {
    shared: Arc<Shared>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    room: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the file at `path`, and makes it (mode 0600) if there is none. It blocks for some milliseconds,
    /// and longer in proportion to the file's size after a crash.
    ///
    /// # Errors
    ///
    /// The file is in use, damaged, of a newer format, or the disk refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, OpenError> {
        Self::start(disk::file(path.as_ref())?)
    }

    fn start(opener: Opener) -> Result<Arc<Self>, OpenError> {
        let (disk, values, revision) = Disk::open(opener)?;
        let shared = Shared::new(Core::new(values, revision));
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::new(shared.clone(), disk, revision);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&receiver))
            .map_err(OpenError::Thread)?;
        Ok(Arc::new(Self {
            shared,
            requests: Mutex::new(Some(sender)),
            room: Arc::new(Semaphore::new(MAX_QUEUED)),
            writer: Mutex::new(Some(thread)),
        }))
    }

    /// Flushes, records that nothing was lost, and closes the file. Watches end, reads still work, writes are
    /// refused. Without it (or a drop) the next opening takes it for a crash and skips some revisions.
    ///
    /// # Errors
    ///
    /// The disk failed: late writes of the last moments may be lost.
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(Request::Close).await
    }

    fn send(&self, request: Request) -> Result<(), Error> {
        let requests = self.requests.lock().expect("nothing panics under this lock");
        let sender = requests.as_ref().ok_or_else(stopped)?;
        sender.send(request).map_err(|_| stopped())
    }

    async fn ask(&self, request: fn(oneshot::Sender<Result<(), Error>>) -> Request) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.send(request(done))?;
        answer.await.map_err(|_| stopped())?
    }

    async fn write_queued(&self, write: Write) -> Result<Revision, Error> {
        let permit = self.room.clone().acquire_owned().await.map_err(|_| stopped())?;
        let (done, answer) = oneshot::channel();
        self.send(Request::Write { write, done, _permit: permit })?;
        answer.await.map_err(|_| stopped())?
    }
}

/// The answer when there is no writer any more.
fn stopped() -> Error {
    Error::Backend("the store is closed".into())
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer flushes and closes when nobody can ask it for anything any more.
        drop(self.requests.get_mut().map(Option::take));
        if let Ok(Some(writer)) = self.writer.get_mut().map(Option::take)
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Store for Embedded {
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
        self.write_queued(write).boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.shared.watch(prefix, after)
    }

    fn revision(&self) -> Revision {
        self.shared.revision()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.ask(Request::Flush).boxed()
    }
}
