//! Which ordinals a set wants: as many as it has replicas, from its start on, without the reserved ones.

use apimachinery::annotations::RESERVE_ORDINALS;
use apimachinery::ordinals::Reserved;
use k8s_openapi::api::apps::v1::StatefulSet;

use crate::objects::annotation;

/// The wanted ordinals of a set. They are never spelled out: a set may ask for thousands of millions.
#[derive(Clone, Debug)]
pub struct Ordinals {
    start: i64,
    count: i64,
    reserved: Reserved,
}

impl Ordinals {
    /// What the set's spec and annotations ask for. A reservation that cannot be read reserves nothing: the
    /// API lets none in.
    pub fn of(set: &StatefulSet) -> Self {
        let start = start_ordinal(set);
        let reserved = annotation(&set.metadata, RESERVE_ORDINALS).map(Reserved::parse);
        let reserved = reserved.and_then(Result::ok).unwrap_or_default();
        Self { start, count: replicas(set).min(reserved.free_count(start)), reserved }
    }

    /// How many there are.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// How many wanted ordinals come before this one; `None` when it is not wanted.
    pub fn rank(&self, ordinal: i64) -> Option<i64> {
        self.reserved.rank(self.start, ordinal).filter(|rank| *rank < self.count)
    }

    /// Whether the ordinal is wanted.
    pub fn contains(&self, ordinal: i64) -> bool {
        self.rank(ordinal).is_some()
    }

    /// The first and the last one, if there are any.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let nth = |rank| self.reserved.nth_free(self.start, rank);
        Some((nth(0)?, nth(self.count - 1)?))
    }

    /// What is left out.
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// How many replicas it takes for this ordinal to be wanted; `None` when no number will do.
    pub fn replicas_for(&self, ordinal: i64) -> Option<i64> {
        self.reserved.rank(self.start, ordinal).map(|rank| rank + 1)
    }

    /// The wanted ordinals, upward.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.reserved.free_from(self.start).take(usize::try_from(self.count).unwrap_or(usize::MAX))
    }
}

/// The first ordinal.
fn start_ordinal(set: &StatefulSet) -> i64 {
    let start = set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref()?.start);
    start.unwrap_or(0).max(0).into()
}

/// How many pods are wanted.
pub fn replicas(set: &StatefulSet) -> i64 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0).into()
}
