//! What readers and watches share: the core behind a lock, and who is to be woken by which change.
//!
//! A watch holds no queue, only its place in the core's history. A change wakes the watches whose prefix it
//! is under and no others; one ticker a store tells all of them, at most once a second and only when
//! something was written, how far the store has come.

mod slots;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::sync::Notify;

use self::slots::{Slot, Slots};
use crate::mvcc::Core;
use crate::{Error, Event, Page, Revision, Versioned, Watch, WatchItem};

/// How long a watch of a quiet prefix may not know that the store moved on.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How many changes a watch takes out of history at once.
const READ_AHEAD: usize = 64;

/// The readable side of a store.
pub(crate) struct Shared {
    state: RwLock<State>,
    tick: Tick,
    /// Something was published since the last tick.
    moved: Arc<Notify>,
    ticking: Arc<AtomicBool>,
}

struct State {
    core: Core,
    slots: Slots,
}

/// What the ticker tells. All are woken in the order in which they wait; a channel of tokio's would draw it by
/// chance.
struct Tick {
    revision: AtomicU64,
    closed: AtomicBool,
    wake: Notify,
}

impl Tick {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Shared {
    pub(crate) fn new(core: Core) -> Arc<Self> {
        let tick = Tick {
            revision: AtomicU64::new(core.revision()),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
        };
        Arc::new(Self {
            state: RwLock::new(State { core, slots: Slots::default() }),
            tick,
            moved: Arc::default(),
            ticking: Arc::default(),
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
        self.moved.notify_one();
    }

    /// Ends all watches, once they have yielded what there is.
    pub(crate) fn close(&self) {
        self.tick.closed.store(true, Ordering::Release);
        self.tick.wake.notify_waiters();
        self.moved.notify_one();
    }

    /// See [`crate::Store::watch`].
    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, Error> {
        let mut state = self.change();
        state.core.check_revision(after)?;
        let State { core, slots } = &mut *state;
        let slot = slots.join(prefix, core);
        drop(state);
        let pending = VecDeque::new();
        let watcher = Watcher { shared: self.clone(), slot, position: after, told: after, pending };
        let items = stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await? {
                Ok(item) => Some((Ok(item), Some(watcher))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(items.boxed())
    }

    /// Starts the ticker if none runs. It lives on the runtime of the watch that needed it first, and goes
    /// when that runtime or the store does; the next watch that is polled starts another.
    fn ensure_ticker(self: &Arc<Self>) {
        if !self.tick.is_closed() && !self.ticking.swap(true, Ordering::AcqRel) {
            let running = Running(self.ticking.clone());
            tokio::spawn(tick(Arc::downgrade(self), self.moved.clone(), running));
        }
    }
}

/// Says that the ticker runs, for as long as it lives.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn tick(shared: Weak<Shared>, moved: Arc<Notify>, _running: Running) {
    loop {
        moved.notified().await;
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        let revision = shared.revision();
        if shared.tick.revision.swap(revision, Ordering::AcqRel) != revision {
            shared.tick.wake.notify_waiters();
        }
        if shared.tick.is_closed() {
            return;
        }
    }
}

/// One watch's place in history.
struct Watcher {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    /// All changes up to here are yielded or pending.
    position: Revision,
    /// The newest revision that the reader knows of.
    told: Revision,
    /// Taken out of history and not yielded yet: at most [`READ_AHEAD`].
    pending: VecDeque<Arc<Event>>,
}

impl Watcher {
    /// The next item; `None` when the store was closed.
    async fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        self.shared.ensure_ticker();
        let (slot, shared) = (self.slot.clone(), self.shared.clone());
        loop {
            // Listening starts before looking: what is published in between wakes us again.
            let mut wake = pin!(slot.wake.notified());
            wake.as_mut().enable();
            let mut ticked = pin!(shared.tick.wake.notified());
            ticked.as_mut().enable();
            // Looked at first: what came before the end is still told.
            let closed = shared.tick.is_closed();
            if let Err(compacted) = self.advance() {
                return Some(Err(compacted));
            }
            if let Some(event) = self.pending.pop_front() {
                self.told = event.revision;
                return Some(Ok(WatchItem::Event(event)));
            }
            if shared.tick.revision.load(Ordering::Acquire) > self.told {
                self.told = self.position;
                return Some(Ok(WatchItem::Progress(self.position)));
            }
            if closed {
                return None;
            }
            tokio::select! {
                biased;
                () = wake => {}
                () = ticked => {}
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
