//! `apps/v1` ControllerRevision.

use crate::kind::{Kind, Scope, Strategy};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Upstream: pkg/registry, pkg/apis.
struct Rules;

impl Strategy for Rules {}
