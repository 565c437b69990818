//! A disk in memory that can be stopped, filled up, made to lie and have its power cut.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::{Builder, StorageBackend};
use tokio::sync::watch;

use crate::embedded::disk::Opener;
use crate::{Durability, Revision};

/// The disk. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub(super) struct Platter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    released: Condvar,
    syncs: watch::Sender<usize>,
    waiting: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// What reads see.
    cached: Vec<u8>,
    /// What is there after a power cut, without any of `unsynced`.
    durable: Vec<u8>,
    unsynced: VecDeque<Change>,
    held: bool,
    full: bool,
    lying: bool,
    operations: usize,
    crash_at: Option<(usize, u64)>,
    acknowledged: Vec<(String, Revision, Durability)>,
    crashed: Option<Box<State>>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// What a power cut leaves, and what the writers knew by then.
pub(super) struct Crash {
    pub(super) platter: Platter,
    pub(super) acknowledged: Vec<(String, Revision, Durability)>,
}

impl Default for Platter {
    fn default() -> Self {
        Self::from(State::default())
    }
}

impl From<State> for Platter {
    fn from(state: State) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            released: Condvar::new(),
            syncs: watch::Sender::new(0),
            waiting: watch::Sender::new(false),
        }))
    }
}

impl Platter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub(super) fn opener(&self) -> Opener {
        let platter = self.clone();
        let open = move |builder: &Builder| builder.create_with_backend(platter.clone());
        Opener { path: "platter".into(), open: Box::new(open) }
    }

    /// Cuts the power. Of what was not synced, a part that depends on `seed` is there all the same.
    pub(super) fn crash(&self, seed: u64) -> Crash {
        Crash::from(self.state().cut(seed))
    }

    /// Cuts the power at the operation with this number; the run goes on, see [`Self::take_crash`].
    pub(super) fn crash_at(&self, operation: usize, seed: u64) {
        let mut state = self.state();
        state.crash_at = Some((state.operations + operation, seed));
    }

    pub(super) fn take_crash(&self) -> Option<Crash> {
        self.state().crashed.take().map(|state| Crash::from(*state))
    }

    pub(super) fn acknowledge(&self, key: &str, revision: Revision, durability: Durability) {
        self.state().acknowledged.push((key.to_owned(), revision, durability));
    }

    /// Makes the next sync wait for [`Self::release`].
    pub(super) fn hold(&self) {
        self.state().held = true;
    }

    /// Waits until a sync waits.
    pub(super) async fn held(&self) {
        self.0.waiting.subscribe().wait_for(|waiting| *waiting).await.unwrap();
    }

    pub(super) fn release(&self) {
        self.state().held = false;
        self.0.released.notify_all();
    }

    pub(super) fn syncs(&self) -> usize {
        *self.0.syncs.borrow()
    }

    pub(super) async fn synced_after(&self, syncs: usize) {
        self.0.syncs.subscribe().wait_for(|now| *now > syncs).await.unwrap();
    }

    pub(super) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Makes syncs that work report a failure.
    pub(super) fn lie_about_syncs(&self, lying: bool) {
        self.state().lying = lying;
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state();
        if state.full {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        state.count();
        change.apply(&mut state.cached);
        state.unsynced.push_back(change);
        Ok(())
    }
}

impl From<State> for Crash {
    fn from(mut state: State) -> Self {
        let acknowledged = std::mem::take(&mut state.acknowledged);
        Self { platter: Platter::from(state), acknowledged }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => bytes[*offset..offset + data.len()].copy_from_slice(data),
        }
    }
}

impl State {
    fn count(&mut self) {
        self.operations += 1;
        if let Some((at, seed)) = self.crash_at
            && at == self.operations
        {
            self.crashed = Some(Box::new(self.cut(seed)));
        }
    }

    fn cut(&self, mut seed: u64) -> State {
        let mut left = self.durable.clone();
        for change in &self.unsynced {
            // Lengths are kept, so that the writes that survive have their place; of the writes, any may.
            let length = matches!(change, Change::Length(_));
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if length || (seed >> 60) & 1 == 1 {
                change.apply(&mut left);
            }
        }
        let acknowledged = self.acknowledged.clone();
        State { cached: left.clone(), durable: left, acknowledged, ..State::default() }
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.state();
        let found = state.cached.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(length).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        while state.held {
            self.0.waiting.send_replace(true);
            state = self.0.released.wait(state).unwrap();
        }
        state.count();
        state.durable = state.cached.clone();
        state.unsynced.clear();
        let lying = state.lying;
        drop(state);
        self.0.syncs.send_modify(|syncs| *syncs += 1);
        if lying { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }
}
