//! `apps/v1` StatefulSet.

use crate::kind::{Kind, Scope, Strategy, Subresource};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status, Subresource::Scale],
    ephemeral: false,
    late_status: false,
    has_generation: true,
    strategy: &Rules,
};

/// Upstream: pkg/registry, pkg/apis.
struct Rules;

impl Strategy for Rules {}
