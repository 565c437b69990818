//! What readers and watches share: the core behind a lock, and who is to be woken by which change.
//!
//! A watch holds no queue, only its place in the core's history. A change wakes the watches whose prefix it
//! is under and no others: one with nothing ready has told all that there was.

mod slots;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::{StreamExt, stream};
use tokio::sync::Notify;

use self::slots::{Slot, Slots};
use crate::mvcc::Core;
use crate::{Error, Event, Page, Revision, Versioned, Watch};

/// How many changes a watch takes out of history at once.
const READ_AHEAD: usize = 64;

/// The readable side of a store.
pub(crate) struct Shared {
    state: RwLock<State>,
    closed: AtomicBool,
    /// Told when it is closed. All are woken in the order in which they wait; a channel of tokio's would draw it
    /// by chance.
    ended: Notify,
}

struct State {
    core: Core,
    slots: Slots,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State { core, slots: Slots::default() }),
            closed: AtomicBool::new(false),
            ended: Notify::new(),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("nothing panics under this lock")
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("nothing panics under this lock")
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read().core.revision()
    }

    pub(crate) fn get(&self, key: &str) -> (Option<Versioned>, Revision) {
        let state = self.read();
        (state.core.get(key).cloned(), state.core.revision())
    }

    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> Result<Page, Error> {
        self.read().core.list(prefix, after, limit, revision)
    }

    /// Makes changes visible, all at once and in this order, and wakes whom they concern.
    pub(crate) fn publish(&self, events: &[Arc<Event>]) {
        let Some(first) = events.first() else { return };
        let mut woken = Vec::new();
        let mut state = self.change();
        let State { core, slots } = &mut *state;
        for event in events {
            for slot in slots.matching(event.key()) {
                if slot.newest.swap(event.revision, Ordering::Relaxed) < first.revision {
                    woken.push(slot.clone());
                }
            }
            core.apply(event.clone(), |old| {
                for slot in slots.matching(old.key()) {
                    slot.forgotten.store(old.revision, Ordering::Relaxed);
                }
            });
        }
        drop(state);
        for slot in woken {
            slot.wake.notify_waiters();
        }
    }

    /// Ends all watches, once they have yielded what there is.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// See [`crate::Store::watch`].
    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, Error> {
        let mut state = self.change();
        state.core.check_revision(after)?;
        let State { core, slots } = &mut *state;
        let slot = slots.join(prefix, core);
        drop(state);
        let pending = VecDeque::new();
        let watcher = Watcher { shared: self.clone(), slot, position: after, pending };
        let items = stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await? {
                Ok(item) => Some((Ok(item), Some(watcher))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(items.boxed())
    }
}

/// One watch's place in history.
struct Watcher {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    /// All changes up to here are yielded or pending.
    position: Revision,
    /// Taken out of history and not yielded yet: at most [`READ_AHEAD`].
    pending: VecDeque<Arc<Event>>,
}

impl Watcher {
    /// The next change; `None` when the store was closed.
    async fn next(&mut self) -> Option<Result<Arc<Event>, Error>> {
        let (slot, shared) = (self.slot.clone(), self.shared.clone());
        loop {
            // Listening starts before looking: what is published in between wakes us again.
            let mut wake = pin!(slot.wake.notified());
            wake.as_mut().enable();
            let mut ended = pin!(shared.ended.notified());
            ended.as_mut().enable();
            // Looked at first: what came before the end is still told.
            let closed = shared.closed.load(Ordering::Acquire);
            if let Err(compacted) = self.advance() {
                return Some(Err(compacted));
            }
            if let Some(event) = self.pending.pop_front() {
                return Some(Ok(event));
            }
            if closed {
                return None;
            }
            tokio::select! {
                biased;
                () = wake => {}
                () = ended => {}
            }
        }
    }

    /// Moves on through history as far as there is room for what is found.
    fn advance(&mut self) -> Result<(), Error> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        let core = &self.shared.read().core;
        if self.position < self.slot.forgotten.load(Ordering::Relaxed) {
            return Err(Error::Compacted { asked: self.position, oldest: core.compacted() });
        }
        if self.slot.newest.load(Ordering::Relaxed) <= self.position {
            self.position = core.revision();
        } else {
            (self.pending, self.position) = core.changes(&self.slot.prefix, self.position, READ_AHEAD);
        }
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.change().slots.leave(&self.slot.prefix);
    }
}
