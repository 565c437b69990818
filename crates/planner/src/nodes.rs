//! What a node says of itself, and what is said of it (`pkg/util/node`, `pkg/util/taints`).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};

use crate::pods::node_name;
use crate::world::World;

/// The taint by which somebody says that a node's machine is off for good, and with it every process of its pods.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The effect that drives pods out that are there already.
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// The conditions.
pub(crate) fn conditions(node: &Node) -> &[NodeCondition] {
    node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// The condition of this type.
pub(crate) fn condition<'n>(node: &'n Node, kind: &str) -> Option<&'n NodeCondition> {
    conditions(node).iter().find(|condition| condition.type_ == kind)
}

/// Whether the node has said lately that it is well.
pub(crate) fn is_ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Whether it is written of the node that it is not well. Its agent, if it lives, should say how it is.
pub fn is_doubted(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status != "True")
}

/// The taints.
pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// The taints that drive pods out.
pub(crate) fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    taints(node).iter().filter(|taint| taint.effect == NO_EXECUTE)
}

/// Whether somebody has said that the node's machine is off for good.
pub(crate) fn is_out_of_service(node: &Node) -> bool {
    taints(node).iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// The pods that are bound to the node of this name.
pub(crate) fn pods_on<'w>(world: &'w World, node: &'w str) -> impl Iterator<Item = &'w Arc<Pod>> {
    world.pods.iter().filter(move |pod| node_name(pod) == Some(node))
}
