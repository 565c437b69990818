//! Whether a node takes a pod that was bound to it, by whomever: the node's own check, after the scheduler's
//! (`pkg/kubelet/lifecycle/predicate.go`, `AdmissionCheck` of `pkg/scheduler`).

use std::fmt;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::affinity;
use super::refusals::Refusal;
use super::resources::{NodeInfo, Shortage};

/// Why a node does not take a pod: it fails with this reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `NodePorts`, `NodeAffinity`, `TaintToleration`, `OutOfcpu`, `OutOfmemory`, `OutOfpods`, …
    pub reason: String,
    /// One sentence, in upstream's words.
    pub message: String,
}

impl Rejection {
    fn predicate(name: &str, why: impl fmt::Display) -> Self {
        Self { reason: name.to_owned(), message: format!("Predicate {name} failed: {why}") }
    }
}

impl From<Shortage> for Rejection {
    fn from(short: Shortage) -> Self {
        let Shortage { resource, requested, used, capacity } = short;
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, \
             capacity: {capacity}"
        );
        Self { reason: format!("OutOf{resource}"), message }
    }
}

/// Whether `node` takes `pod` beside `others`, the pods that it has taken and that have not ended.
///
/// # Errors
/// The first reason against it.
pub fn admit<'p>(node: &Node, others: impl IntoIterator<Item = &'p Pod>, pod: &Pod) -> Result<(), Rejection> {
    let mut info = NodeInfo::new(node);
    for other in others {
        info.add(other);
    }
    if let Some(short) = info.shortages(pod).into_iter().find(|short| !is_elsewhere(&info, short)) {
        return Err(short.into());
    }
    if !affinity::wants_node(pod, node) {
        return Err(Rejection::predicate("NodeAffinity", Refusal::Affinity));
    }
    if let Some(port) = info.port_conflict(pod) {
        return Err(Rejection::predicate("NodePorts", Refusal::HostPort(port)));
    }
    if affinity::untolerated(pod, node, &["NoExecute"]).is_some() {
        let why = "node(s) had taints that the pod didn't tolerate";
        return Err(Rejection::predicate("TaintToleration", why));
    }
    Ok(())
}

/// Whether it is a resource of somebody else's making of which the node knows nothing: it may be the
/// cluster's (`removeMissingExtendedResources`).
fn is_elsewhere(info: &NodeInfo<'_>, short: &Shortage) -> bool {
    short.resource.contains('/') && !info.allocatable.contains_key(short.resource.as_str())
}
