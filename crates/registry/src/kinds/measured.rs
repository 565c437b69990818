//! Kinds that are measured when somebody asks, and not stored: what nodes and pods use (metrics.k8s.io).

use super::{node, pod};
use crate::kind::{Kind, Scope, Strategy};

/// A kind that is measured, and the kind that it is measured of.
pub struct Measurable {
    /// Its names.
    pub kind: Kind,
    /// Whose figures they are.
    pub of: &'static Kind,
}

const fn measured(names: [&'static str; 3], scope: Scope, of: &'static Kind) -> Measurable {
    let [kind, plural, singular] = names;
    let kind = Kind {
        group: "metrics.k8s.io",
        version: "v1beta1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope,
        subresources: &[],
        ephemeral: true,
        late_status: false,
        has_generation: false,
        strategy: &Unstored,
    };
    Measurable { kind, of }
}

/// Every kind that is measured and not stored.
pub static MEASURED: &[Measurable] = &[
    measured(["NodeMetrics", "nodes", ""], Scope::Cluster, &node::KIND),
    measured(["PodMetrics", "pods", ""], Scope::Namespaced, &pod::KIND),
];

/// There are no rules for what is never stored.
struct Unstored;

impl Strategy for Unstored {}
