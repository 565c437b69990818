//! `rbac.authorization.k8s.io/v1` ClusterRoleBinding.

use super::role_binding::Rules;
use crate::kind::{Kind, Scope};
use crate::rbac::GROUP;

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: GROUP,
    version: "v1",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules { roles: &["ClusterRole"] },
};
