//! `rbac.authorization.k8s.io/v1` Role.

use apimachinery::field::FieldError;
use apimachinery::names;
use jiff::Timestamp;
use serde_json::Value;

use super::cluster_role;
use crate::check::Errors;
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::rbac::GROUP;

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: GROUP,
    version: "v1",
    kind: "Role",
    plural: "roles",
    singular: "role",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Upstream: `pkg/apis/rbac/validation`, `ValidateRole`.
struct Rules;

impl Strategy for Rules {
    fn validate(&self, role: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        cluster_role::check_rules(&mut errors, &role["rules"], true);
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment_name(name)
    }

    fn columns(&self) -> &'static [Column] {
        cluster_role::COLUMNS
    }

    fn row(&self, role: &Value, _now: Timestamp) -> Vec<Value> {
        cluster_role::cells(role)
    }
}
