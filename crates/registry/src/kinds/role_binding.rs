//! `rbac.authorization.k8s.io/v1` RoleBinding, and the rules that ClusterRoleBindings share with it.

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, AGE, NAME, column, wide};
use crate::rbac::GROUP;
use crate::value::{default_to, is_empty, items, object, objects_mut, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: GROUP,
    version: "v1",
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules { roles: &["ClusterRole", "Role"] },
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Role", "string", "The role that is bound."),
    AGE,
    wide("Users", "string", "The users that get it."),
    wide("Groups", "string", "The groups that get it."),
    wide("ServiceAccounts", "string", "The service accounts that get it."),
];

/// Upstream: `pkg/apis/rbac/validation`, `ValidateRoleBinding` and `ValidateClusterRoleBinding`.
pub(super) struct Rules {
    /// The kinds of roles that can be bound; a Role only within its namespace.
    pub(super) roles: &'static [&'static str],
}

impl Rules {
    fn namespaced(&self) -> bool {
        self.roles.contains(&"Role")
    }
}

impl Strategy for Rules {
    fn set_defaults(&self, binding: &mut Value) {
        if let Some(role) = object(binding, "roleRef") {
            default_to(role, "apiGroup", GROUP);
        }
        let Some(binding) = binding.as_object_mut() else { return };
        for subject in objects_mut(binding, "subjects") {
            if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
                default_to(subject, "apiGroup", GROUP);
            }
        }
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        let (mut errors, path, role) = (Errors::new(), Path::new("roleRef"), &binding["roleRef"]);
        check::one_of(&mut errors, &path.child("apiGroup"), &role["apiGroup"], &[GROUP]);
        check::one_of(&mut errors, &path.child("kind"), &role["kind"], self.roles);
        check::required_name(&mut errors, &path.child("name"), text(&role["name"]), names::path_segment_name);
        for (index, subject) in items(&binding["subjects"]).iter().enumerate() {
            check_subject(&mut errors, &Path::new("subjects").index(index), subject, self.namespaced());
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        if new["roleRef"] == old["roleRef"] {
            return Vec::new();
        }
        vec![FieldError::invalid(&Path::new("roleRef"), new["roleRef"].clone(), "cannot change roleRef")]
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

    fn row(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        let role = &binding["roleRef"];
        let of = |kind: &str| -> Value {
            let subjects = items(&binding["subjects"]).iter().filter(|subject| subject["kind"] == kind);
            let names = subjects.map(|subject| match (kind, text(&subject["namespace"])) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", text(&subject["name"])),
                _ => text(&subject["name"]).to_owned(),
            });
            names.collect::<Vec<_>>().join(", ").into()
        };
        vec![
            print::name(binding),
            format!("{}/{}", text(&role["kind"]), text(&role["name"])).into(),
            print::age(binding, now),
            of("User"),
            of("Group"),
            of("ServiceAccount"),
        ]
    }
}

/// Upstream: `ValidateRoleBindingSubject`.
fn check_subject(errors: &mut Errors, path: &Path, subject: &Value, namespaced: bool) {
    if text(&subject["name"]).is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    let group = if subject["apiGroup"].is_null() { json!("") } else { subject["apiGroup"].clone() };
    match text(&subject["kind"]) {
        "ServiceAccount" => {
            if !text(&subject["name"]).is_empty() {
                check::name(errors, &path.child("name"), text(&subject["name"]), names::dns1123_subdomain);
            }
            if group != "" {
                errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && is_empty(&subject["namespace"]) {
                errors.push(FieldError::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[GROUP]));
            }
        }
        kind => {
            let kinds = &["Group", "ServiceAccount", "User"];
            errors.push(FieldError::not_supported(&path.child("kind"), kind, kinds));
        }
    }
}
