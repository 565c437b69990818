//! `rbac.authorization.k8s.io/v1` ClusterRole, and the rules that Roles share with it.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, NAME, column};
use crate::rbac::GROUP;
use crate::value::{is_empty, items};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: GROUP,
    version: "v1",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

pub(super) const COLUMNS: &[Column] = &[NAME, column("Created At", "date", "When the role was created.")];

/// Upstream: `pkg/apis/rbac/validation`, `ValidateClusterRole`.
struct Rules;

impl Strategy for Rules {
    fn validate(&self, role: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        check_rules(&mut errors, &role["rules"], false);
        if role["aggregationRule"].is_object() {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors");
            let selectors = items(&role["aggregationRule"]["clusterRoleSelectors"]);
            if selectors.is_empty() {
                let words = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(FieldError::required(&path, words));
            }
            for (index, selector) in selectors.iter().enumerate() {
                check::label_selector(&mut errors, &path.index(index), selector);
            }
        }
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment_name(name)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, role: &Value, _now: Timestamp) -> Vec<Value> {
        cells(role)
    }
}

pub(super) fn cells(role: &Value) -> Vec<Value> {
    vec![print::name(role), role.meta_str("creationTimestamp").into()]
}

/// Upstream: `ValidatePolicyRule`, for each rule.
pub(super) fn check_rules(errors: &mut Errors, rules: &Value, namespaced: bool) {
    for (index, rule) in items(rules).iter().enumerate() {
        check_rule(errors, &Path::new("rules").index(index), rule, namespaced);
    }
}

fn check_rule(errors: &mut Errors, path: &Path, rule: &Value, namespaced: bool) {
    let mut need = |field: &str, words: &str| {
        if is_empty(&rule[field]) {
            errors.push(FieldError::required(&path.child(field), words));
        }
    };
    need("verbs", "verbs must contain at least one value");
    let urls = &rule["nonResourceURLs"];
    if is_empty(urls) {
        need("apiGroups", "resource rules must supply at least one api group");
        need("resources", "resource rules must supply at least one resource");
        return;
    }
    let mut refuse = |words| {
        errors.push(FieldError::invalid(&path.child("nonResourceURLs"), urls.clone(), words));
    };
    if namespaced {
        refuse("namespaced rules cannot apply to non-resource URLs");
    }
    if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !is_empty(&rule[*field])) {
        refuse("rules cannot apply to both regular resources and non-resource URLs");
    }
}
