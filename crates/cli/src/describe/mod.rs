//! Objects told at length, as `kubectl describe` lays them out (`k8s.io/kubectl/pkg/describe`). Pure: everything that a
//! description needs is fetched before.

mod containers;
mod generic;
mod node;
mod parts;
mod pod;
mod service;
mod set;
mod small;
mod storage;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

use crate::output::tabwriter;
pub(crate) use containers::pod_template;
pub(crate) use parts::{Lines, count, interval};

/// Spaces between the columns of a description.
pub(crate) const PADDING: usize = 2;

/// An object and what else its description shows.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    /// The object.
    pub(crate) object: Value,
    /// Events about it, the oldest first.
    pub(crate) events: Vec<Value>,
    /// Pods that it has, or that use it.
    pub(crate) pods: Vec<Value>,
    /// The slices of a service's endpoints.
    pub(crate) endpoint_slices: Vec<Value>,
    /// A node's lease.
    pub(crate) lease: Option<Value>,
}

/// The description. Ages are relative to `now`; without `show_events` the events are left out.
pub(crate) fn describe(subject: &Subject, show_events: bool, now: Timestamp) -> String {
    let mut lines = Lines::new(now);
    let object = &subject.object;
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some("v1"), Some("Pod")) => pod::write(&mut lines, object),
        (Some("apps/v1"), Some("StatefulSet")) => set::write(&mut lines, object, &subject.pods),
        (Some("v1"), Some("PersistentVolumeClaim")) => storage::claim(&mut lines, object, &subject.pods),
        (Some("v1"), Some("PersistentVolume")) => storage::volume(&mut lines, object),
        (Some("storage.k8s.io/v1"), Some("StorageClass")) => storage::class(&mut lines, object),
        (Some("v1"), Some("Service")) => service::write(&mut lines, object, &subject.endpoint_slices),
        (Some("v1"), Some("Node")) => node::write(&mut lines, object, &subject.pods, subject.lease.as_ref()),
        (Some("v1"), Some("ConfigMap")) => small::config_map(&mut lines, object),
        (Some("v1"), Some("Secret")) => small::secret(&mut lines, object),
        (Some("v1"), Some("Namespace")) => small::namespace(&mut lines, object),
        _ => generic::write(&mut lines, object),
    }
    // Nothing happens to a namespace that an event would tell.
    if show_events && object["kind"] != "Namespace" {
        parts::events(&mut lines, &subject.events);
    }
    tabwriter::align(&lines.into_text(), PADDING)
}
