//! A pod of a set, and what a plan asks of it.
//!
//! A plan asks the same of every pod many times over, and the answers lie scattered over memory: they are read once
//! for each plan.

use std::ops::Deref;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::identity::pod_revision;
use crate::objects::is_terminating;
use crate::pods::{available_in, is_running_and_ready};

/// A pod that the set manages and may keep.
#[derive(Clone, Copy)]
pub(super) struct Member<'w> {
    /// The pod.
    pub(super) pod: &'w Pod,
    /// By its name.
    pub(super) ordinal: i64,
    /// What its label says that it was made from.
    pub(super) revision: &'w str,
    /// Whether it is being deleted.
    pub(super) is_terminating: bool,
    /// `isRunningAndReady`.
    pub(super) is_running_and_ready: bool,
    /// How much longer it must stay Ready to count as available; `None` while it is not Ready.
    pub(super) available_in: Option<SignedDuration>,
}

impl<'w> Member<'w> {
    /// The pod as it is `now`.
    pub(super) fn new(ordinal: i64, pod: &'w Pod, min_ready_seconds: i32, now: Timestamp) -> Self {
        Self {
            pod,
            ordinal,
            revision: pod_revision(pod),
            is_terminating: is_terminating(&pod.metadata),
            is_running_and_ready: is_running_and_ready(pod),
            available_in: available_in(pod, min_ready_seconds, now),
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
