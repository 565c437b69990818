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

/// Why a node does not give a pod that it runs the resources that it asks for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeRefusal {
    /// `Deferred`: others have them, and may let go. `Infeasible`: the node does not have as much.
    pub reason: &'static str,
    /// One sentence, in upstream's words.
    pub message: String,
}

/// Whether `node` gives `pod` what its spec asks for, beside `others`, the other pods that it has taken and that have
/// not ended (`canResizePod` of `pkg/kubelet/allocation`).
///
/// # Errors
/// The first resource of which there is too little.
pub fn admit_resize<'p>(
    node: &Node,
    others: impl IntoIterator<Item = &'p Pod>,
    pod: &Pod,
) -> Result<(), ResizeRefusal> {
    // What it has and what it was told count for others, not for the question whether it may have more.
    let wanted = Pod { status: None, ..pod.clone() };
    let mut info = NodeInfo::new(node);
    let is_meant = |short: &Shortage| matches!(short.resource.as_str(), "cpu" | "memory");
    if let Some(Shortage { resource, requested, capacity, .. }) =
        info.shortages(&wanted).into_iter().find(is_meant)
    {
        let message = format!(
            "Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
        );
        return Err(ResizeRefusal { reason: "Infeasible", message });
    }
    for other in others {
        info.add(other);
    }
    let short = info.shortages(&wanted).into_iter().find(is_meant);
    short.map_or(Ok(()), |short| {
        Err(ResizeRefusal { reason: "Deferred", message: Rejection::from(short).message })
    })
}

/// Whether it is a resource of somebody else's making of which the node knows nothing: it may be the
/// cluster's (`removeMissingExtendedResources`).
fn is_elsewhere(info: &NodeInfo<'_>, short: &Shortage) -> bool {
    short.resource.contains('/') && !info.allocatable.contains_key(short.resource.as_str())
}
