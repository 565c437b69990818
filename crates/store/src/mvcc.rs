//! The values that readers see, and the history that watches and older listings are read from.
//!
//! Pure: no lock, no thread, no clock. A backend decides when a write happened and calls [`Core::apply`];
//! from then on every reader sees it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::{Error, Event, Expect, Page, Revision, Versioned, Write};

/// How many changes are kept for watches and for listings at older revisions. A reader that asks for more
/// gets [`Error::Compacted`] and lists again.
pub const HISTORY_EVENTS: usize = 10_000;

/// How many bytes of replaced values are kept for the same purpose, whatever their number.
pub const HISTORY_BYTES: usize = 16 << 20;

/// The revision of a store that nothing was written to. Not 0: to Kubernetes' clients that means "any".
pub(crate) const FIRST_REVISION: Revision = 1;

/// Current values and recent changes.
pub(crate) struct Core {
    current: BTreeMap<Arc<str>, Versioned>,
    revision: Revision,
    /// Every change after `compacted`, oldest first.
    history: VecDeque<Arc<Event>>,
    history_bytes: usize,
    compacted: Revision,
}

impl Core {
    /// A core that holds `values` and remembers nothing of how they came to be.
    pub(crate) fn new(values: impl IntoIterator<Item = Versioned>, revision: Revision) -> Self {
        Self {
            current: values.into_iter().map(|value| (value.key.clone(), value)).collect(),
            revision,
            history: VecDeque::new(),
            history_bytes: 0,
            compacted: revision,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The newest value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Versioned> {
        self.current.get(key)
    }

    /// Makes a change visible, and hands what history has no room for any more to `forget`. Changes must come
    /// in the order of their revisions.
    pub(crate) fn apply(&mut self, event: Arc<Event>, mut forget: impl FnMut(&Event)) {
        assert!(event.revision > self.revision, "revisions are applied in order");
        self.revision = event.revision;
        match &event.current {
            Some(value) => drop(self.current.insert(value.key.clone(), value.clone())),
            None => drop(self.current.remove(event.key())),
        }
        self.history_bytes += weight(&event);
        self.history.push_back(event);
        while self.history.len() > HISTORY_EVENTS || self.history_bytes > HISTORY_BYTES {
            let Some(forgotten) = self.history.pop_front() else { break };
            self.history_bytes -= weight(&forgotten);
            self.compacted = forgotten.revision;
            forget(&forgotten);
        }
    }

    /// The oldest revision that history reaches back to.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Refuses a revision that history does not reach, or that has not happened.
    pub(crate) fn check_revision(&self, asked: Revision) -> Result<(), Error> {
        if asked > self.revision {
            return Err(Error::Future { asked, newest: self.revision });
        }
        if asked < self.compacted {
            return Err(Error::Compacted { asked, oldest: self.compacted });
        }
        Ok(())
    }

    /// See [`crate::Store::list`].
    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> Result<Page, Error> {
        let revision = revision.unwrap_or(self.revision);
        self.check_revision(revision)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let now = self
            .current
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, value)| value)
            .take_while(|value| value.key.starts_with(prefix));
        let undone = self.undone_since(revision, prefix);
        if undone.is_empty() {
            return Ok(page(now, limit, revision));
        }
        let mut then: Vec<&Versioned> = now.filter(|value| !undone.contains_key(&*value.key)).collect();
        then.extend(undone.range::<str, _>((start, Bound::Unbounded)).filter_map(|(_, value)| *value));
        then.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(page(then.into_iter(), limit, revision))
    }

    /// What the keys under `prefix` that changed after `revision` held at it.
    fn undone_since(&self, revision: Revision, prefix: &str) -> BTreeMap<&str, Option<&Versioned>> {
        self.history
            .iter()
            .rev()
            .take_while(|event| event.revision > revision)
            .filter(|event| event.key().starts_with(prefix))
            .map(|event| (event.key(), event.previous.as_ref()))
            .collect()
    }

    /// The first `limit` changes under `prefix` after the revision `after`, and the revision up to which
    /// they are all there are. What history has forgotten is not among them.
    pub(crate) fn changes(
        &self,
        prefix: &str,
        after: Revision,
        limit: usize,
    ) -> (VecDeque<Arc<Event>>, Revision) {
        let start = self.history.partition_point(|event| event.revision <= after);
        let found: VecDeque<_> = self
            .history
            .range(start..)
            .filter(|event| event.key().starts_with(prefix))
            .take(limit)
            .cloned()
            .collect();
        let reached = match found.back() {
            Some(last) if found.len() == limit => last.revision,
            _ => self.revision,
        };
        (found, reached)
    }
}

/// The bytes that only history holds on to: newer values are held by the newer events or by the core.
fn weight(event: &Event) -> usize {
    event.previous.as_ref().map_or(0, |previous| previous.value.len())
}

fn page<'a>(mut values: impl Iterator<Item = &'a Versioned>, limit: usize, revision: Revision) -> Page {
    let items = values.by_ref().take(limit).cloned().collect();
    Page { items, revision, remaining: values.count() as u64 }
}

/// Whether `write` may happen when its key holds `current`.
pub(crate) fn check(current: Option<&Versioned>, write: &Write) -> Result<(), Error> {
    match (write.expect, current) {
        (Expect::Absent, Some(current)) => {
            Err(Error::Exists { key: write.key.clone(), current: current.clone() })
        }
        (Expect::Revision(expected), Some(current)) if current.revision == expected => Ok(()),
        (Expect::Absent, None) if write.value.is_some() => Ok(()),
        // Deleting what was never there is a conflict too: there is no change to give a number to.
        (_, current) => Err(Error::Conflict { key: write.key.clone(), current: current.cloned() }),
    }
}

/// The change that `write` makes of `current`.
pub(crate) fn change(current: Option<Versioned>, write: Write, revision: Revision) -> Arc<Event> {
    let key = write.key;
    let value = write.value.map(|value| Versioned { key, value, revision });
    Arc::new(Event { previous: current, current: value, revision })
}
