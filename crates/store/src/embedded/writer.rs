//! The thread that writes.
//!
//! What is on disk is always the store as of one revision: a commit carries every late write before it. That
//! is what makes a crash harmless: it can only cut off the newest late writes, never one in the middle.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::Disk;
use crate::watch::Shared;
use crate::{Durability, Error, Event, Revision, Versioned, Write, mvcc};

/// How long a late write may be on its way to the disk; also how long the writer waits before it tries again
/// after the disk failed.
pub const LATE_DELAY: Duration = Duration::from_millis(500);

/// How many writes share one commit at most.
const MAX_BATCH: usize = 1024;

/// What the writer can be asked for.
pub(super) enum Request {
    Write {
        write: Write,
        done: oneshot::Sender<Result<Revision, Error>>,
        /// Its place in the queue, given back when the write is answered.
        _permit: OwnedSemaphorePermit,
    },
    Flush(oneshot::Sender<Result<(), Error>>),
    Close(oneshot::Sender<Result<(), Error>>),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    /// The newest revision given to a write, published or not. A failed write's number is not used again: it
    /// may have reached the disk.
    revision: Revision,
    /// The keys whose value on disk is not, or may not be, the published one.
    dirty: BTreeSet<Arc<str>>,
    flush_at: Option<Instant>,
    /// The disk failed last time, and the log says so.
    failing: bool,
}

/// Accepted writes that no reader sees yet, and the answers that wait for them.
#[derive(Default)]
struct Staged {
    events: Vec<Arc<Event>>,
    /// The newest staged value of each key.
    latest: HashMap<Arc<str>, Option<Versioned>>,
    answers: Vec<Answer>,
    flushes: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Something in here must be on disk before it is seen.
    must_commit: bool,
}

struct Answer {
    done: oneshot::Sender<Result<Revision, Error>>,
    result: Result<Revision, Error>,
    _permit: OwnedSemaphorePermit,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, disk: Disk, revision: Revision) -> Self {
        Self { shared, disk, revision, dirty: BTreeSet::new(), flush_at: None, failing: false }
    }

    /// Serves until it is asked to close, or nobody is left to ask.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let mut asked_to_close = None;
        while asked_to_close.is_none() {
            let first = match self.flush_at {
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => requests.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => {
                    let batch = std::iter::once(first).chain(requests.try_iter()).take(MAX_BATCH);
                    asked_to_close = self.process(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.flush_at.is_some_and(|at| at <= Instant::now()) {
                self.commit(Staged::default());
            }
        }
        let shared = self.shared.clone();
        let closed = self.close();
        shared.close();
        if let Some(done) = asked_to_close {
            let _ = done.send(closed);
        }
    }

    /// Carries out a batch in its order. Answers who asked to close, which ends the batch.
    fn process(
        &mut self,
        batch: impl Iterator<Item = Request>,
    ) -> Option<oneshot::Sender<Result<(), Error>>> {
        let mut staged = Staged::default();
        let mut close = None;
        for request in batch {
            match request {
                Request::Write { write, done, _permit } => {
                    // A number beyond the reservation must not be seen before the next reservation is on disk.
                    if write.durability == Durability::Sync || self.revision >= self.disk.reserved() {
                        self.must_commit(&mut staged);
                    }
                    let result = self.stage(&mut staged, write);
                    staged.answers.push(Answer { done, result, _permit });
                }
                Request::Flush(done) => {
                    self.must_commit(&mut staged);
                    staged.flushes.push(done);
                }
                Request::Close(done) => {
                    close = Some(done);
                    break;
                }
            }
        }
        if staged.must_commit {
            self.commit(staged);
        } else {
            self.publish_late(&mut staged);
        }
        close
    }

    /// From here on the batch waits for the disk; the late writes before it need not.
    fn must_commit(&mut self, staged: &mut Staged) {
        if !staged.must_commit {
            self.publish_late(staged);
            staged.must_commit = true;
        }
    }

    fn stage(&mut self, staged: &mut Staged, write: Write) -> Result<Revision, Error> {
        let current = match staged.latest.get(&write.key) {
            Some(current) => current.clone(),
            None => self.shared.get(&write.key).0,
        };
        mvcc::check(current.as_ref(), &write)?;
        self.revision += 1;
        let key = write.key.clone();
        let event = mvcc::change(current, write, self.revision);
        staged.latest.insert(key, event.current.clone());
        staged.events.push(event);
        Ok(self.revision)
    }

    /// Shows late writes at once. The disk gets them with the next commit.
    fn publish_late(&mut self, staged: &mut Staged) {
        let staged = std::mem::take(staged);
        if !staged.events.is_empty() {
            self.dirty.extend(staged.latest.into_keys());
            self.flush_at.get_or_insert_with(|| Instant::now() + LATE_DELAY);
        }
        self.shared.publish(&staged.events);
        answer(staged.answers);
    }

    /// Writes what is staged and what is dirty, as one; then shows and acknowledges it.
    fn commit(&mut self, staged: Staged) {
        let Err(reason) = self.write_to_disk(&staged.latest) else {
            self.shared.publish(&staged.events);
            answer(staged.answers);
            for done in staged.flushes {
                let _ = done.send(Ok(()));
            }
            return;
        };
        // The commit may have happened all the same: the next one puts the published values back.
        self.dirty.extend(staged.latest.into_keys());
        for Answer { done, .. } in staged.answers {
            let _ = done.send(Err(Error::Backend(reason.clone())));
        }
        for done in staged.flushes {
            let _ = done.send(Err(Error::Backend(reason.clone())));
        }
    }

    fn write_to_disk(&mut self, latest: &HashMap<Arc<str>, Option<Versioned>>) -> Result<(), String> {
        if latest.is_empty() && self.dirty.is_empty() {
            return Ok(());
        }
        let published = self
            .dirty
            .iter()
            .filter(|key| !latest.contains_key(*key))
            .map(|key| (key.clone(), self.shared.get(key).0));
        let staged = latest.iter().map(|(key, value)| (key.clone(), value.clone()));
        match self.disk.commit(published.chain(staged), self.revision) {
            Ok(()) => {
                self.dirty.clear();
                self.flush_at = None;
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the disk takes writes again");
                }
                Ok(())
            }
            Err(reason) => {
                self.flush_at = Some(Instant::now() + LATE_DELAY);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%reason, "the disk refused a commit; trying again");
                }
                Err(reason)
            }
        }
    }

    fn close(mut self) -> Result<(), Error> {
        let flushed = self.write_to_disk(&HashMap::new());
        flushed.and_then(|()| self.disk.close(self.revision)).map_err(|reason| {
            tracing::error!(%reason, "the store could not be closed cleanly");
            Error::Backend(reason)
        })
    }
}

fn answer(answers: Vec<Answer>) {
    for Answer { done, result, .. } in answers {
        let _ = done.send(result);
    }
}
