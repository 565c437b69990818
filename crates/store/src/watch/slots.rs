//! Who waits for which prefix.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Notify;

use crate::mvcc::Core;

/// All watches of one prefix.
pub(super) struct Slot {
    pub(super) prefix: Arc<str>,
    pub(super) wake: Notify,
    /// The newest change under the prefix. A watch that is past it need not look.
    pub(super) newest: AtomicU64,
    /// The newest change under the prefix that history has forgotten. A watch that is past it has missed
    /// nothing, however much was forgotten since. (Both start as upper bounds: nobody looked before.)
    pub(super) forgotten: AtomicU64,
}

#[derive(Default)]
pub(super) struct Slots {
    by_prefix: HashMap<Arc<str>, (Arc<Slot>, usize)>,
    /// How many prefixes have this length: a key is looked up by its own first bytes, so that a write costs
    /// the same with ten watches and with ten thousand.
    lengths: BTreeMap<usize, usize>,
}

impl Slots {
    pub(super) fn join(&mut self, prefix: &str, core: &Core) -> Arc<Slot> {
        if let Some((slot, watches)) = self.by_prefix.get_mut(prefix) {
            *watches += 1;
            return slot.clone();
        }
        let prefix: Arc<str> = prefix.into();
        let slot = Arc::new(Slot {
            prefix: prefix.clone(),
            wake: Notify::new(),
            newest: AtomicU64::new(core.revision()),
            forgotten: AtomicU64::new(core.compacted()),
        });
        *self.lengths.entry(prefix.len()).or_default() += 1;
        self.by_prefix.insert(prefix, (slot.clone(), 1));
        slot
    }

    pub(super) fn leave(&mut self, prefix: &str) {
        let Some((_, watches)) = self.by_prefix.get_mut(prefix) else { return };
        *watches -= 1;
        if *watches > 0 {
            return;
        }
        self.by_prefix.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    pub(super) fn matching<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Arc<Slot>> {
        self.lengths
            .range(..=key.len())
            .filter_map(|(length, _)| self.by_prefix.get(key.get(..*length)?))
            .map(|(slot, _)| slot)
    }
}
