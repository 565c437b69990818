//! A pod of a set, and what a plan asks of it.
//!
//! What a pod says by itself is read when it changes (`pods::facts`); here is what it means now, for this set.

use std::ops::Deref;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::snapshot::Claimed;

/// A pod that the set manages and may keep.
#[derive(Clone, Copy)]
pub(super) struct Member<'w> {
    /// The pod.
    pub(super) pod: &'w Pod,
    /// By its name.
    pub(super) ordinal: i64,
    /// What its label says that it was made from.
    pub(super) revision: &'w str,
    /// Whether the labels that name it are right.
    pub(super) identity_matches: bool,
    /// Whether all its containers have ended for good.
    pub(super) is_terminal: bool,
    /// Whether it is being deleted.
    pub(super) is_terminating: bool,
    /// `isRunningAndReady`.
    pub(super) is_running_and_ready: bool,
    /// How much longer it must stay Ready to count as available; `None` while it is not Ready.
    pub(super) available_in: Option<SignedDuration>,
}

impl<'w> Member<'w> {
    /// The pod as it is `now`.
    pub(super) fn new(claimed: &Claimed<'w>, min_ready_seconds: i32, now: Timestamp) -> Self {
        let facts = claimed.facts;
        Self {
            pod: claimed.pod,
            ordinal: claimed.ordinal,
            revision: claimed.revision,
            identity_matches: facts.identity_matches,
            is_terminal: facts.is_terminal,
            is_terminating: facts.is_terminating,
            is_running_and_ready: facts.is_running_and_ready(),
            available_in: facts.available_in(min_ready_seconds, now),
        }
    }

    /// Whether it has been Ready for long enough, be it to stay or not.
    pub(super) fn has_become_available(&self) -> bool {
        self.available_in.is_some_and(|rest| rest.is_zero())
    }

    /// Whether it counts as available and is there to stay.
    pub(super) fn is_available(&self) -> bool {
        !self.is_terminating && self.has_become_available()
    }

    /// Whether it is Running, Ready and staying (`isHealthy`).
    pub(super) fn is_healthy(&self) -> bool {
        self.is_running_and_ready && !self.is_terminating
    }
}

impl Deref for Member<'_> {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        self.pod
    }
}
