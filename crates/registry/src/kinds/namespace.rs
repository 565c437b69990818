//! `v1` Namespace.

use crate::kind::{Kind, Scope, Strategy, Subresource};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[Subresource::Status, Subresource::Finalize],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Upstream: pkg/registry, pkg/apis.
struct Rules;

impl Strategy for Rules {}
