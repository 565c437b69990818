//! `coordination.k8s.io/v1` Lease.

use crate::kind::{Kind, Scope, Strategy};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: true,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Upstream: pkg/registry, pkg/apis.
struct Rules;

impl Strategy for Rules {}
