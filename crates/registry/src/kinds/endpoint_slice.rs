//! `discovery.k8s.io/v1` EndpointSlice.

use crate::kind::{Kind, Scope, Strategy};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: true,
    strategy: &Rules,
};

/// Upstream: pkg/registry, pkg/apis.
struct Rules;

impl Strategy for Rules {}
