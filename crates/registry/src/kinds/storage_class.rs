//! `storage.k8s.io/v1` StorageClass.

use crate::kind::{Kind, Scope, Strategy};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Upstream: pkg/registry, pkg/apis.
struct Rules;

impl Strategy for Rules {}
