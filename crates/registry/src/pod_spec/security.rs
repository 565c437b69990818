//! Security contexts of pods and containers (`validatePodSpecSecurityContext`, `ValidateSecurityContext`).

use apimachinery::field::{FieldError, Path};
use serde_json::Value;

use crate::check::{self, Errors};
use crate::value::{is_empty, items, text};

/// The highest user and group id that upstream takes.
const MAX_ID: i64 = i32::MAX as i64;

/// `securityContext` of a pod.
pub(super) fn validate_pod_security_context(errors: &mut Errors, path: &Path, context: &Value) {
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        check::in_range(errors, &path.child(field), &context[field], 0, MAX_ID);
    }
    for (i, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        check::in_range(errors, &path.child("supplementalGroups").index(i), group, 0, MAX_ID);
    }
    check::one_of_if_set(
        errors,
        &path.child("fsGroupChangePolicy"),
        &context["fsGroupChangePolicy"],
        &["Always", "OnRootMismatch"],
    );
    check::one_of_if_set(
        errors,
        &path.child("supplementalGroupsPolicy"),
        &context["supplementalGroupsPolicy"],
        &["Merge", "Strict"],
    );
    for (i, sysctl) in items(&context["sysctls"]).iter().enumerate() {
        check::required(errors, &path.child("sysctls").index(i).child("name"), &sysctl["name"]);
    }
    validate_profiles(errors, path, context);
}

/// `securityContext` of a container.
pub(super) fn validate_security_context(errors: &mut Errors, path: &Path, context: &Value) {
    for field in ["runAsUser", "runAsGroup"] {
        check::in_range(errors, &path.child(field), &context[field], 0, MAX_ID);
    }
    check::one_of_if_set(errors, &path.child("procMount"), &context["procMount"], &["Default", "Unmasked"]);
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            errors.push(FieldError::invalid(
                path,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ));
        }
        let added = items(&context["capabilities"]["add"]);
        if added.iter().any(|c| matches!(text(c), "SYS_ADMIN" | "CAP_SYS_ADMIN")) {
            errors.push(FieldError::invalid(
                path,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            ));
        }
    }
    validate_profiles(errors, path, context);
}

/// Seccomp and AppArmor: a type, and a file exactly with `Localhost`.
fn validate_profiles(errors: &mut Errors, path: &Path, context: &Value) {
    for (field, what) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = &context[field];
        if profile.is_null() {
            continue;
        }
        let path = path.child(field);
        if is_empty(&profile["type"]) {
            let words = format!("type is required when {field} is set");
            errors.push(FieldError::required(&path.child("type"), words));
        }
        let types = &["Localhost", "RuntimeDefault", "Unconfined"];
        check::one_of_if_set(errors, &path.child("type"), &profile["type"], types);
        let file = &profile["localhostProfile"];
        let at = path.child("localhostProfile");
        match (profile["type"] == "Localhost", is_empty(file)) {
            (true, true) => {
                let words = format!("must be set when {what} type is Localhost");
                errors.push(FieldError::required(&at, words));
            }
            (false, false) => {
                let words = format!("can only be set when {what} type is Localhost");
                errors.push(FieldError::invalid(&at, file.clone(), words));
            }
            (true, false) if field == "seccompProfile" => {
                check::local_descending_path(errors, &at, text(file));
            }
            _ => {}
        }
    }
}
