//! A stead for one test, and the words to drive it.

mod followed;
mod home;
mod stead;
mod timeline;

pub(crate) use followed::Followed;
pub(crate) use home::{Home, Objects};
pub(crate) use stead::{Client, Stead};
pub(crate) use timeline::Timeline;

use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// Waits at most this long for anything, in seconds.
pub(crate) const PATIENCE: u64 = 60;

/// A condition of a pod.
pub(crate) fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// Whether a pod is Ready, and to stay.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready").is_some_and(|c| c.status == "True")
}
